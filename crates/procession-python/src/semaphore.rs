//! `Semaphore` and `BoundedSemaphore`.

use std::sync::OnceLock;

use procession_shm::lock::Acquired;
use procession_shm::semaphore;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::failure::{exception, owner_died};
use crate::handles::{get, lend, set, take};
use crate::timeout::Patience;

/// A number of permits, which come back when the process that has acquired them dies.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Semaphore {
    shared: OnceLock<semaphore::Semaphore>,
}

impl Semaphore {
    fn take_permit(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        let shared = get(&self.shared)?;
        let acquired = match shared.acquire_at_once() {
            Some(acquired) => Some(acquired),
            None => {
                let acquired = py.detach(|| match patience {
                    Patience::None => shared.try_acquire(),
                    Patience::Until(deadline) => shared.acquire(deadline),
                });
                acquired.map_err(exception)?
            }
        };
        match acquired {
            Some(Acquired::Free) => Ok(true),
            Some(Acquired::FromDead { pid }) => {
                // As many are there as before; who comes next is not told again.
                let _ = shared.release();
                Err(owner_died(py, "semaphore", pid))
            }
            None => Ok(false),
        }
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _init(&self, value: u32, limit: u32) -> PyResult<()> {
        set(&self.shared, semaphore::Semaphore::new(value, limit).map_err(exception)?)
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        Ok(vec![lend(get(&self.shared)?.handle())])
    }

    fn _open(&self, handles: [i32; 1]) -> PyResult<()> {
        set(&self.shared, semaphore::Semaphore::open(take(handles[0])?).map_err(exception)?)
    }

    /// Takes a permit, and tells whether it did.
    ///
    /// Raises:
    ///     OwnerDied: A process has died that had permits. They are there again.
    #[pyo3(signature = (block=None, timeout=None), text_signature = "($self, block=True, timeout=None)")]
    fn acquire(
        &self,
        py: Python<'_>,
        block: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.take_permit(py, Patience::new(block, timeout)?)
    }

    /// Gives a permit.
    ///
    /// Raises:
    ///     ValueError: There are as many as there may be.
    fn release(&self) -> PyResult<()> {
        get(&self.shared)?
            .release()
            .map_err(|_| PyValueError::new_err("semaphore or lock released too many times"))
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.take_permit(py, Patience::Until(None))
    }

    // Three of them, and not a tuple of any number, which would be made each time.
    #[pyo3(signature = (_a=None, _b=None, _c=None), text_signature = "($self, *_args)")]
    fn __exit__(
        &self,
        _a: Option<&Bound<'_, PyAny>>,
        _b: Option<&Bound<'_, PyAny>>,
        _c: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        self.release()
    }

    /// Returns how many permits are there.
    fn get_value(&self) -> PyResult<u32> {
        Ok(get(&self.shared)?.value())
    }

    /// Tells whether none is there.
    fn locked(&self) -> PyResult<bool> {
        Ok(self.get_value()? == 0)
    }

    fn _get_value(&self) -> PyResult<u32> {
        self.get_value()
    }

    fn _is_zero(&self) -> PyResult<bool> {
        self.locked()
    }
}
