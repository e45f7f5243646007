//! `Synchronized`: a scalar of `ctypes` in shared memory, read and written under its lock.

use std::sync::OnceLock;

use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::rlock::RLock;

/// A scalar in shared memory with a lock around it.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Synchronized {
    bound: OnceLock<(Py<PyAny>, Py<RLock>)>,
}

impl Synchronized {
    fn get(&self) -> PyResult<&(Py<PyAny>, Py<RLock>)> {
        let unbound = || PyValueError::new_err("__init__ has not been called");
        self.bound.get().ok_or_else(unbound)
    }
}

#[pymethods]
impl Synchronized {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _bind(&self, object: Py<PyAny>, lock: Py<RLock>) -> PyResult<()> {
        let bound = self.bound.set((object, lock));
        bound.map_err(|_| PyValueError::new_err("__init__ has been called before"))
    }

    /// The value; reading it and setting it each take the lock for themselves.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let (object, lock) = self.get()?;
        let _held = lock.get().hold(py)?;
        object.bind(py).getattr(intern!(py, "value"))
    }

    #[setter(value)]
    fn set_value(&self, py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let (object, lock) = self.get()?;
        let _held = lock.get().hold(py)?;
        object.bind(py).setattr(intern!(py, "value"), value)
    }

    /// Returns the lock.
    fn get_lock(&self, py: Python<'_>) -> PyResult<Py<RLock>> {
        Ok(self.get()?.1.clone_ref(py))
    }
}
