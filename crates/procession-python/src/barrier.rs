//! `Barrier`.

use std::sync::OnceLock;

use procession_shm::barrier::{self, BarrierError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::failure::{exception, of_class, raised};
use crate::handles::{get, lend, set, take};
use crate::timeout::deadline;

/// Where processes and threads wait until as many as it is for have come.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Barrier {
    shared: OnceLock<barrier::Barrier>,
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _init(&self, parties: u32) -> PyResult<()> {
        set(&self.shared, barrier::Barrier::new(parties).map_err(exception)?)
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        Ok(vec![lend(get(&self.shared)?.handle())])
    }

    fn _open(&self, handles: [i32; 1]) -> PyResult<()> {
        set(&self.shared, barrier::Barrier::open(take(handles[0])?).map_err(exception)?)
    }

    /// Waits until all have come. Who comes last calls `action` before the others go on.
    fn _wait(
        &self,
        py: Python<'_>,
        action: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<usize> {
        let (shared, deadline) = (get(&self.shared)?, deadline(timeout)?);
        let waited = match action {
            None => py.detach(|| shared.wait(deadline)),
            Some(action) => {
                let action = action.clone().unbind();
                let mut failure = None;
                let waited = py.detach(|| {
                    shared.wait_with(deadline, &mut || {
                        failure = Python::attach(|py| action.call0(py).err());
                        failure.is_none()
                    })
                });
                if let Some(failure) = failure {
                    return Err(failure);
                }
                waited
            }
        };
        waited.map_err(|error| match error {
            BarrierError::Segment(error) => exception(error),
            error => raised().unwrap_or_else(|| {
                static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
                of_class(py, &CLASS, "threading", "BrokenBarrierError", (error.to_string(),))
            }),
        })
    }

    /// Breaks the barrier: all who wait, and all who come, get a `BrokenBarrierError`.
    fn abort(&self) -> PyResult<()> {
        get(&self.shared)?.abort();
        Ok(())
    }

    /// Begins anew: all who wait get a `BrokenBarrierError`.
    fn reset(&self) -> PyResult<()> {
        get(&self.shared)?.reset();
        Ok(())
    }

    /// How many it is for.
    #[getter]
    fn parties(&self) -> PyResult<usize> {
        Ok(get(&self.shared)?.parties())
    }

    /// How many wait.
    #[getter]
    fn n_waiting(&self) -> PyResult<usize> {
        Ok(get(&self.shared)?.n_waiting())
    }

    /// Whether it is broken.
    #[getter]
    fn broken(&self) -> PyResult<bool> {
        Ok(get(&self.shared)?.is_broken())
    }
}
