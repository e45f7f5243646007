//! What is held of many tasks that were submitted together.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::batch::{All, Batch, Hook};
use super::engine::{Awaited, Engine};
use super::{ResultTimeoutError, TaskError};

/// The values of many tasks that run in a pool, when all of them will be there.
///
/// It is a handle to wait on, and a [`Future`] for any executor.
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// fn half(number: u32) -> u32 {
///     assert!(number % 2 == 0, "{number} is odd");
///     number / 2
/// }
///
/// let pool = Pool::new(2)?;
/// let result = pool.map_async(half, [2, 3, 4])?;
/// let values = result.get_all();
/// assert_eq!(values[0], Ok(1));
/// assert!(values[1].is_err()); // this one panicked, the others did not
/// assert_eq!(values[2], Ok(2));
/// # Ok::<(), procession::Error>(())
/// ```
pub struct MapResult<R> {
    batch: Arc<Batch>,
    engine: Arc<Engine>,
    value: PhantomData<fn() -> R>,
}

impl<R> MapResult<R> {
    pub(super) fn new(batch: Arc<Batch>, engine: Arc<Engine>) -> Self {
        Self { batch, engine, value: PhantomData }
    }

    /// Tells whether all tasks are done, however they ended.
    #[must_use]
    pub fn ready(&self) -> bool {
        if !All(&self.batch).has_come() {
            self.engine.look();
        }
        All(&self.batch).has_come()
    }

    /// Tells whether all tasks are done, and all have not failed on the way to their values.
    #[must_use]
    pub fn successful(&self) -> bool {
        self.ready() && !self.batch.state().has_failed()
    }

    /// Waits until all tasks are done, at most for `timeout`; false if they are not then.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.wait_until(Instant::now().checked_add(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> bool {
        let has_come = self.engine.wait(&All(&self.batch), deadline);
        if has_come {
            self.batch.end_progress();
        }
        has_come
    }

    /// Gives up all tasks that are not done: those that wait are not run, those that run end with
    /// their workers, which are replaced. Returns false if all were done already.
    pub fn cancel(&self) -> bool {
        if self.ready() {
            return false;
        }
        let numbers = self.batch.state().numbers.clone();
        self.engine.cancel(&numbers);
        true
    }
}

impl<R: DeserializeOwned> MapResult<R> {
    /// Waits for all values, and returns copies of them, in the order of the items.
    ///
    /// # Blocking
    ///
    /// Until all tasks are done, whatever became of them.
    ///
    /// # Errors
    ///
    /// The error of the first item that has one.
    pub fn get(&self) -> Result<Vec<R>, TaskError> {
        self.wait_until(None);
        self.read()
    }

    /// As [`get`](Self::get), but waits at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Timeout`](ResultTimeoutError::Timeout).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Vec<R>, ResultTimeoutError> {
        if !self.wait(timeout) {
            return Err(ResultTimeoutError::Timeout);
        }
        Ok(self.read()?)
    }

    /// Waits for all tasks, and returns what became of each, in the order of the items.
    #[must_use]
    pub fn get_all(&self) -> Vec<Result<R, TaskError>> {
        self.wait_until(None);
        let state = self.batch.state();
        if state.is_over() {
            state.decode_all()
        } else {
            // A forked copy, where nothing comes.
            (0..state.count()).map(|_| Err(TaskError::Closed)).collect()
        }
    }

    fn read(&self) -> Result<Vec<R>, TaskError> {
        read(&self.batch)
    }

    /// Has `callback` called with all values when they are there and none has failed, on the pool's
    /// callback thread in this process.
    pub fn callback(self, callback: impl FnOnce(&Vec<R>) + Send + 'static) -> Self {
        let batch = Arc::clone(&self.batch);
        self.hook(Box::new(move || {
            if let Ok(values) = read(&batch) {
                callback(&values);
            }
        }));
        self
    }

    /// Has `callback` called with the first error when all are done, if there is one.
    pub fn error_callback(self, callback: impl FnOnce(&TaskError) + Send + 'static) -> Self {
        let batch = Arc::clone(&self.batch);
        self.hook(Box::new(move || {
            if let Err(error) = read::<R>(&batch) {
                callback(&error);
            }
        }));
        self
    }

    fn hook(&self, hook: Hook) {
        self.batch.hook(&self.engine, hook);
    }
}

pub(super) fn read<R: DeserializeOwned>(batch: &Batch) -> Result<Vec<R>, TaskError> {
    let state = batch.state();
    if !state.is_over() {
        return Err(TaskError::Closed); // a forked copy, where nothing comes
    }
    state.decode_values()
}

impl<R: DeserializeOwned> Future for MapResult<R> {
    type Output = Result<Vec<R>, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        {
            let mut state = self.batch.state();
            if !state.is_over() {
                if !self.engine.is_ours() {
                    return Poll::Ready(Err(TaskError::Closed));
                }
                // An executor has one waker for one future: the last one counts.
                let replaced = state.wakers.pop().is_some();
                state.wakers.push(context.waker().clone());
                drop(state);
                if !replaced {
                    self.engine.listen();
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(self.read())
    }
}

impl<R> fmt::Debug for MapResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = All(&self.batch).has_come();
        f.debug_struct("MapResult").field("ready", &ready).finish_non_exhaustive()
    }
}
