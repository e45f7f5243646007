//! What is held of one task that was submitted.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use procession_sys::Handle;
use serde::de::DeserializeOwned;

use super::engine::{Awaited, Engine};
use super::ledger::Sink;
use super::sleeper::Sleeper;
use super::{ResultTimeoutError, TaskError, buffers, record};
use crate::codec::{self, DecodeError};

/// The value of a task that runs in a pool, when it will be there.
///
/// It is a handle to wait on, and a [`Future`] for any executor. Dropping it changes nothing: the
/// task runs all the same.
///
/// # Examples
///
/// ```
/// use procession::Pool;
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// let pool = Pool::new(2)?;
/// let result = pool.apply_async(square, (7,))?;
/// assert_eq!(result.get()?, 49);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct AsyncResult<R> {
    cell: Arc<Cell>,
    engine: Arc<Engine>,
    value: PhantomData<fn() -> R>,
}

/// An encoded value and the handles that came with it.
struct Encoded {
    bytes: Vec<u8>,
    /// Where in the bytes the value begins; it goes to their end.
    start: usize,
    handles: Vec<Handle>,
}

impl Drop for Encoded {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.bytes));
    }
}

/// Where the outcome of one task comes.
pub(super) struct Cell {
    state: Mutex<State>,
    engine: Weak<Engine>,
}

#[derive(Default)]
struct State {
    number: u64,
    outcome: Option<Result<Encoded, TaskError>>,
    is_taken: bool,
    sleepers: Vec<Arc<Sleeper>>,
    wakers: Vec<Waker>,
    hooks: Vec<Hook>,
}

/// What is to be done with the outcome, on the callback thread.
type Hook = Box<dyn FnOnce(Arc<Cell>) + Send>;

impl Cell {
    pub(super) fn new(engine: &Arc<Engine>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), engine: Arc::downgrade(engine) })
    }

    /// Says under which number the ledger has the task.
    pub(super) fn set_number(&self, number: u64) {
        self.state().number = number;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(self: &Arc<Self>, outcome: Result<Encoded, TaskError>) {
        let (sleepers, wakers, hooks) = {
            let mut state = self.state();
            state.outcome = Some(outcome);
            let State { sleepers, wakers, hooks, .. } = &mut *state;
            (std::mem::take(sleepers), std::mem::take(wakers), std::mem::take(hooks))
        };
        sleepers.iter().for_each(|sleeper| sleeper.wake());
        let Some(engine) = self.engine.upgrade() else { return };
        engine.stop_listening(wakers.len() + hooks.len());
        wakers.into_iter().for_each(Waker::wake);
        for hook in hooks {
            let cell = Arc::clone(self);
            engine.callbacks.run(Box::new(move || hook(cell)));
        }
    }

    /// Decodes the outcome, which stays.
    fn read<R: DeserializeOwned>(&self) -> Result<R, TaskError> {
        let state = self.state();
        match &state.outcome {
            None if state.is_taken => Err(TaskError::Taken),
            None => Err(TaskError::Closed), // in a forked copy, where nothing comes
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(Encoded { bytes, start, handles })) => decode_copy(&bytes[*start..], handles),
        }
    }
}

/// Decodes a value whose handles stay: it gets duplicates.
#[inline]
pub(super) fn decode_copy<R: DeserializeOwned>(
    bytes: &[u8],
    handles: &[Handle],
) -> Result<R, TaskError> {
    let handles = if handles.is_empty() { Vec::new() } else { duplicate::<R>(handles)? };
    codec::decode(bytes, handles, "the result").map_err(TaskError::Decode)
}

fn duplicate<R>(handles: &[Handle]) -> Result<Vec<Handle>, TaskError> {
    let handles: Result<Vec<Handle>, _> = handles.iter().map(Handle::try_clone).collect();
    handles.map_err(|error| {
        let reason = format!("its handles cannot be duplicated: {error}");
        TaskError::Decode(DecodeError::new::<R>("the result", reason))
    })
}

impl Sink for CellSink {
    fn ran(&self, _: usize, _: usize, records: Vec<u8>, handles: Vec<Handle>, worker: u32) {
        let mut rest = &*records;
        let outcome = match record::take(&mut rest).map(|record| record.value(worker)) {
            // The value's bytes are the end of the record's.
            Some(Ok(bytes)) => {
                let start = records.len() - rest.len() - bytes.len();
                Ok(Encoded { bytes: records, start, handles })
            }
            Some(Err(error)) => Err(error),
            None => Err(TaskError::Decode(DecodeError::new::<()>("the outcome", "there is none"))),
        };
        self.0.settle(outcome);
    }

    fn failed(&self, _: usize, _: usize, error: TaskError) {
        self.0.settle(Err(error));
    }
}

/// A cell as the ledger has it.
pub(super) struct CellSink(pub(super) Arc<Cell>);

impl Awaited for Cell {
    fn has_come(&self) -> bool {
        let state = self.state();
        state.outcome.is_some() || state.is_taken
    }

    fn wake(&self, sleeper: Arc<Sleeper>) {
        sleeper.wait_in(&mut self.state().sleepers);
    }
}

impl<R> AsyncResult<R> {
    pub(super) fn new(cell: Arc<Cell>, engine: Arc<Engine>) -> Self {
        Self { cell, engine, value: PhantomData }
    }

    /// Tells whether the task is done, however it ended.
    #[must_use]
    pub fn ready(&self) -> bool {
        if !self.cell.has_come() {
            self.engine.look();
        }
        self.cell.has_come()
    }

    /// Tells whether the task is done, and has a value.
    #[must_use]
    pub fn successful(&self) -> bool {
        self.ready() && matches!(self.cell.state().outcome, Some(Ok(_)))
    }

    /// Waits until the task is done, at most for `timeout`; false if it is not then.
    pub fn wait(&self, timeout: Duration) -> bool {
        self.engine.wait(&*self.cell, Instant::now().checked_add(timeout))
    }

    /// Gives the task up: one that waits is not run, one that runs ends with its worker, which is
    /// replaced. Returns false if it was done already.
    ///
    /// Its outcome is [`Cancelled`](TaskError::Cancelled), unless it is faster.
    pub fn cancel(&self) -> bool {
        if self.ready() {
            return false;
        }
        let number = self.cell.state().number;
        self.engine.cancel(&[number]);
        true
    }
}

impl<R: DeserializeOwned> AsyncResult<R> {
    /// Waits for the value, and returns a copy of it.
    ///
    /// # Blocking
    ///
    /// Until the task is done: run, failed, cancelled, or terminated with its pool. The death of its
    /// worker ends the wait.
    ///
    /// # Errors
    ///
    /// A [`TaskError`] that says how it ended instead.
    pub fn get(&self) -> Result<R, TaskError> {
        self.engine.wait(&*self.cell, None);
        self.cell.read()
    }

    /// As [`get`](Self::get), but waits at most for `timeout`.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Timeout`](ResultTimeoutError::Timeout).
    pub fn get_timeout(&self, timeout: Duration) -> Result<R, ResultTimeoutError> {
        if !self.wait(timeout) {
            return Err(ResultTimeoutError::Timeout);
        }
        Ok(self.cell.read()?)
    }

    /// Waits for the value and takes it: there is none left afterwards.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get), and [`Taken`](TaskError::Taken) the second time.
    pub fn take(&self) -> Result<R, TaskError> {
        self.engine.wait(&*self.cell, None);
        let outcome = {
            let mut state = self.cell.state();
            match state.outcome.take() {
                Some(outcome) => {
                    state.is_taken = true;
                    outcome
                }
                None if state.is_taken => Err(TaskError::Taken),
                None => Err(TaskError::Closed),
            }
        };
        let mut value = outcome?;
        let handles = std::mem::take(&mut value.handles);
        codec::decode(&value.bytes[value.start..], handles, "the result").map_err(TaskError::Decode)
    }

    /// Has `callback` called with the value when it is there, on the pool's callback thread in this
    /// process. Callbacks run one after another; one that panics harms nothing else.
    pub fn callback(self, callback: impl FnOnce(&R) + Send + 'static) -> Self {
        self.hook(Box::new(move |cell| {
            if let Ok(value) = cell.read() {
                callback(&value);
            }
        }));
        self
    }

    /// Has `callback` called with the error if the task fails, as [`callback`](Self::callback).
    pub fn error_callback(self, callback: impl FnOnce(&TaskError) + Send + 'static) -> Self {
        self.hook(Box::new(move |cell| {
            if let Err(error) = cell.read::<R>() {
                callback(&error);
            }
        }));
        self
    }

    fn hook(&self, hook: Hook) {
        {
            let mut state = self.cell.state();
            if state.outcome.is_none() && !state.is_taken {
                state.hooks.push(hook);
                drop(state);
                self.engine.listen();
                return;
            }
        }
        let cell = Arc::clone(&self.cell);
        self.engine.callbacks.run(Box::new(move || hook(cell)));
    }
}

impl<R: DeserializeOwned> Future for AsyncResult<R> {
    type Output = Result<R, TaskError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        {
            let mut state = self.cell.state();
            if state.outcome.is_none() && !state.is_taken {
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
        Poll::Ready(self.cell.read())
    }
}

impl<R> fmt::Debug for AsyncResult<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.cell.has_come()).finish_non_exhaustive()
    }
}
