//! `RLock`.

use std::sync::OnceLock;

use procession_shm::lock::Acquired;
use procession_shm::rlock;
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::failure::{exception, owner_died};
use crate::handles::{get, lend, set, take};
use crate::timeout::Patience;

/// A lock that the thread that holds it can acquire again.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct RLock {
    pub(crate) shared: OnceLock<rlock::RLock>,
}

/// The lock, held until this is dropped.
pub(crate) struct Held<'a>(&'a rlock::RLock);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It is this thread's: nothing else can go wrong.
        let _ = self.0.release();
    }
}

impl RLock {
    /// Acquires the lock for as long as what is returned lives.
    pub(crate) fn hold(&self, py: Python<'_>) -> PyResult<Held<'_>> {
        self.take_lock(py, Patience::Until(None))?;
        Ok(Held(get(&self.shared)?))
    }

    fn take_lock(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        let shared = get(&self.shared)?;
        if shared.acquire_at_once() {
            return Ok(true);
        }
        let acquired = py.detach(|| match patience {
            Patience::None => shared.try_acquire(),
            Patience::Until(deadline) => shared.acquire(deadline),
        });
        match acquired.map_err(exception)? {
            Some(Acquired::Free) => Ok(true),
            Some(Acquired::FromDead { pid }) => {
                shared.release_all();
                Err(owner_died(py, "lock", pid))
            }
            None => Ok(false),
        }
    }
}

#[pymethods]
impl RLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _init(&self) -> PyResult<()> {
        set(&self.shared, rlock::RLock::new().map_err(exception)?)
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        Ok(vec![lend(get(&self.shared)?.handle())])
    }

    fn _open(&self, handles: [i32; 1]) -> PyResult<()> {
        set(&self.shared, rlock::RLock::open(take(handles[0])?).map_err(exception)?)
    }

    /// Acquires the lock, once more if this thread has it, and tells whether it did.
    ///
    /// Raises:
    ///     OwnerDied: The process that held it has died. The lock is free again.
    #[pyo3(signature = (block=None, timeout=None), text_signature = "($self, block=True, timeout=None)")]
    fn acquire(
        &self,
        py: Python<'_>,
        block: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        self.take_lock(py, Patience::new(block, timeout)?)
    }

    /// Releases the lock once.
    ///
    /// Raises:
    ///     AssertionError: This thread does not hold it.
    fn release(&self) -> PyResult<()> {
        get(&self.shared)?.release().map_err(|_| {
            PyAssertionError::new_err("attempt to release recursive lock not owned by thread")
        })
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.take_lock(py, Patience::Until(None))
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

    /// Tells whether somebody holds the lock.
    fn locked(&self) -> PyResult<bool> {
        Ok(get(&self.shared)?.is_held())
    }

    fn _is_mine(&self) -> PyResult<bool> {
        Ok(get(&self.shared)?.depth() > 0)
    }

    fn _count(&self) -> PyResult<u32> {
        let shared = get(&self.shared)?;
        Ok(shared.depth().max(u32::from(shared.is_own())))
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(u32::from(!get(&self.shared)?.is_held()))
    }

    fn _is_zero(&self) -> PyResult<bool> {
        self.locked()
    }
}
