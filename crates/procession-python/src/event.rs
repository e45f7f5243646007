//! `Event`.

use std::sync::OnceLock;

use procession_shm::event;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::failure::exception;
use crate::handles::{get, lend, set, take};
use crate::timeout::deadline;

/// A flag that processes wait for.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Event {
    shared: OnceLock<event::Event>,
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _init(&self) -> PyResult<()> {
        set(&self.shared, event::Event::new().map_err(exception)?)
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        Ok(vec![lend(get(&self.shared)?.handle())])
    }

    fn _open(&self, handles: [i32; 1]) -> PyResult<()> {
        set(&self.shared, event::Event::open(take(handles[0])?).map_err(exception)?)
    }

    /// Tells whether it is set.
    fn is_set(&self) -> PyResult<bool> {
        Ok(get(&self.shared)?.is_set())
    }

    /// Sets it and wakes all who wait.
    fn set(&self) -> PyResult<()> {
        get(&self.shared)?.set();
        Ok(())
    }

    /// Clears it.
    fn clear(&self) -> PyResult<()> {
        get(&self.shared)?.clear();
        Ok(())
    }

    /// Waits until it is set, and tells whether it was before `timeout` had passed.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let shared = get(&self.shared)?;
        if shared.is_set() {
            return Ok(true);
        }
        let deadline = deadline(timeout)?;
        py.detach(|| shared.wait(deadline)).map_err(exception)
    }
}
