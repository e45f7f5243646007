//! `Lock`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use procession_shm::lock::{self, Acquired};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::failure::{exception, owner_died};
use crate::handles::{get, lend, set, take};
use crate::timeout::Patience;

/// A lock that one thread of one process holds at a time, and that anybody may release.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Lock {
    pub(crate) shared: OnceLock<lock::Lock>,
    /// The thread of this process that has acquired it last.
    thread: AtomicU32,
}

/// A number that no other thread of this process has.
pub(crate) fn thread_number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    thread_local! {
        static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

impl Lock {
    pub(crate) fn take_lock(&self, py: Python<'_>, patience: Patience) -> PyResult<bool> {
        let shared = get(&self.shared)?;
        if !shared.acquire_at_once() {
            let acquired = py.detach(|| match patience {
                Patience::None => shared.try_acquire(),
                Patience::Until(deadline) => shared.acquire(deadline),
            });
            match acquired.map_err(exception)? {
                Some(Acquired::Free) => {}
                Some(Acquired::FromDead { pid }) => {
                    shared.release_own();
                    return Err(owner_died(py, "lock", pid));
                }
                None => return Ok(false),
            }
        }
        self.mark();
        Ok(true)
    }

    /// Says that this thread has acquired it.
    pub(crate) fn mark(&self) {
        self.thread.store(thread_number(), Ordering::Relaxed);
    }

    pub(crate) fn is_mine(&self) -> bool {
        let is_own = self.shared.get().is_some_and(lock::Lock::is_own);
        is_own && self.thread.load(Ordering::Relaxed) == thread_number()
    }
}

#[pymethods]
impl Lock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _init(&self) -> PyResult<()> {
        set(&self.shared, lock::Lock::new().map_err(exception)?)
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        Ok(vec![lend(get(&self.shared)?.handle())])
    }

    fn _open(&self, handles: [i32; 1]) -> PyResult<()> {
        set(&self.shared, lock::Lock::open(take(handles[0])?).map_err(exception)?)
    }

    /// Acquires the lock, and tells whether it did.
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

    /// Releases the lock, whoever holds it.
    ///
    /// Raises:
    ///     ValueError: Nobody does.
    pub(crate) fn release(&self) -> PyResult<()> {
        get(&self.shared)?
            .release()
            .map_err(|_| PyValueError::new_err("semaphore or lock released too many times"))
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

    fn _is_mine(&self) -> bool {
        self.is_mine()
    }

    fn _count(&self) -> u32 {
        u32::from(self.shared.get().is_some_and(lock::Lock::is_own))
    }

    fn _get_value(&self) -> PyResult<u32> {
        Ok(u32::from(!get(&self.shared)?.is_held()))
    }

    fn _is_zero(&self) -> PyResult<bool> {
        self.locked()
    }
}
