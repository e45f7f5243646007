//! `Condition`: those who wait for it; its lock is an object of its own.

use std::sync::OnceLock;

use procession_shm::condition::{ConditionError, Waiters};
use procession_shm::segment::SegmentError;
use pyo3::exceptions::{PyAssertionError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::failure::{exception, raised};
use crate::handles::{get, lend, set, take};
use crate::lock::Lock;
use crate::rlock::RLock;
use crate::timeout::deadline;

/// What processes that hold a lock wait for.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Condition {
    shared: OnceLock<Waiters>,
}

/// Takes a lock again after a wait, through one interruption: without it, who waited could not
/// leave its `with` block.
fn again<T>(mut acquire: impl FnMut() -> Result<T, SegmentError>) -> Result<T, SegmentError> {
    match acquire() {
        Err(SegmentError::Interrupted) => acquire(),
        acquired => acquired,
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _init(&self) -> PyResult<()> {
        set(&self.shared, Waiters::new().map_err(exception)?)
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        Ok(vec![lend(get(&self.shared)?.handle())])
    }

    fn _open(&self, handles: [i32; 1]) -> PyResult<()> {
        set(&self.shared, Waiters::open(take(handles[0])?).map_err(exception)?)
    }

    /// Releases `lock`, waits to be notified, and acquires it again, as often as it was.
    fn _wait(
        &self,
        py: Python<'_>,
        lock: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        let (shared, deadline) = (get(&self.shared)?, deadline(timeout)?);
        let waited = if let Ok(lock) = lock.cast::<RLock>() {
            let lock = get(&lock.get().shared)?;
            let mut depth = 0;
            py.detach(|| {
                let release = || {
                    depth = lock.release_all();
                    depth > 0
                };
                shared.wait(deadline, release, || again(|| lock.acquire(None))).inspect(|_| {
                    lock.deepen(depth);
                })
            })
            .map(|(passed, _)| passed)
        } else {
            let holder = lock.cast::<Lock>()?.get();
            let lock = get(&holder.shared)?;
            let waited = py.detach(|| {
                let release = || lock.release().is_ok();
                shared.wait(deadline, release, || again(|| lock.acquire(None)))
            });
            holder.mark();
            waited.map(|(passed, _)| passed)
        };
        // Also when it has passed: the handler of a signal has raised on the way.
        if let Some(raised) = raised() {
            return Err(raised);
        }
        waited.map_err(|error| match error {
            ConditionError::NotHeld => PyAssertionError::new_err("the lock is not held"),
            ConditionError::Segment(error) => exception(error),
            _ => PyRuntimeError::new_err("more wait for the condition than can"),
        })
    }

    /// Wakes at most `count` of those who wait.
    fn _notify(&self, count: usize) -> PyResult<()> {
        get(&self.shared)?.notify(count);
        Ok(())
    }

    /// Returns how many wait.
    fn _waiting(&self) -> PyResult<usize> {
        Ok(get(&self.shared)?.waiting())
    }
}
