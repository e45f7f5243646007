//! The pool's engine without types: bytes in, bytes out. For front ends in other languages.
//!
//! What the bytes of functions, items and outcomes mean is the front end's own affair, on both
//! sides: it submits them here, and its workers ([`Worker`]) run them by its [`Runner`].
//!
//! Nothing of the pool's runs a front end's code under a lock. So its threads may hold a lock of the
//! front end's own (an interpreter's) when they call in here, but not while they wait.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::batch::{All, Batch, Next, Room, Run as RawRun};
use super::engine::{Awaited, Engine};
use super::local::Local;
use super::{PoolError, PoolStats, TaskError, record};

pub use super::batch::Order;
pub use super::local::{CrewSettings, Ended, Hire, Hired, Plan, Reply, Runner, Seat, Task, Worker};
pub use super::sleeper::Interrupted;
pub use super::submit::{Limits, Many};

/// A pool that carries bytes.
#[derive(Clone, Debug)]
pub struct BytesPool {
    engine: Arc<Engine>,
}

impl BytesPool {
    /// Makes a pool and starts its workers, by `hire`.
    ///
    /// # Errors
    ///
    /// When there cannot be such a pool, or a worker does not start.
    pub fn new(settings: CrewSettings, hire: Arc<dyn Hire>) -> Result<Self, PoolError> {
        let engine = Engine::new(|wake| Ok(Box::new(Local::new(settings, hire, wake)?)))?;
        Ok(Self { engine })
    }

    /// Tells whether tasks are taken on.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.engine.is_open()
    }

    /// Tells whether this process is the one that has the pool, and not a forked copy of it.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.engine.is_ours()
    }

    /// How many tasks can run at a time.
    #[must_use]
    pub fn width(&self) -> usize {
        self.engine.backend().width()
    }

    /// Takes no more tasks.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Ends it at once: what is not done is `Terminated`. Waits for the workers to be gone, and for
    /// the pool's own threads.
    pub fn terminate(&self) {
        self.engine.terminate();
        if self.engine.is_ours() {
            self.engine.wait_for_threads();
        }
    }

    /// Waits until nothing is outstanding, all workers are gone, and the pool's own threads.
    ///
    /// # Errors
    ///
    /// When it is open, or not ours.
    pub fn join(&self) -> Result<Result<(), PoolError>, Interrupted> {
        let joined = self.engine.join_interruptibly()?;
        if joined.is_ok() {
            self.engine.wait_for_threads();
        }
        Ok(joined)
    }

    /// Changes how many workers there are.
    ///
    /// # Errors
    ///
    /// When there cannot be so many.
    pub fn resize(&self, workers: usize) -> Result<(), PoolError> {
        self.engine.backend().resize(workers)
    }

    /// How it is.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.engine.stats()
    }

    /// Where the outcomes of tasks come that belong together.
    #[must_use]
    pub fn outcomes(&self, order: Order) -> Outcomes {
        Outcomes { batch: Batch::new(&self.engine, order, None), engine: Arc::clone(&self.engine) }
    }
}

/// The outcomes of tasks that belong together.
#[derive(Clone)]
pub struct Outcomes {
    batch: Arc<Batch>,
    engine: Arc<Engine>,
}

impl Outcomes {
    /// Submits tasks of one function: `chunk` items to a piece, or as many as seems right for
    /// `known` of them.
    #[must_use]
    pub fn submit(
        &self,
        function: &[u8],
        limits: Limits,
        chunk: Option<u32>,
        known: usize,
    ) -> Many<'_> {
        let length = u32::try_from(function.len()).unwrap_or(u32::MAX);
        let function = [&length.to_ne_bytes(), function].concat().into();
        Many::new(&self.engine, &self.batch, function, limits, chunk, known)
    }

    /// Says that no more will be submitted.
    pub fn complete(&self) {
        self.batch.complete();
    }

    /// Tells whether all have come.
    #[must_use]
    pub fn are_over(&self) -> bool {
        if !All(&self.batch).has_come() {
            self.engine.look();
        }
        All(&self.batch).has_come()
    }

    /// Waits until all have come; false if they have not until `deadline`.
    ///
    /// # Errors
    ///
    /// A signal's handler has ended the wait.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        self.engine.wait_interruptibly(&All(&self.batch), deadline)
    }

    /// Waits until no more than `most` of those that were submitted are outstanding.
    ///
    /// # Errors
    ///
    /// A signal's handler has ended the wait.
    pub fn wait_for_room(&self, most: usize) -> Result<bool, Interrupted> {
        self.engine.wait_interruptibly(&Room { batch: &self.batch, most }, None)
    }

    /// Tells whether the next one can be taken.
    #[must_use]
    pub fn has_next(&self) -> bool {
        Next(&self.batch).has_come()
    }

    /// Waits until the next one can be taken; false if it cannot until `deadline`.
    ///
    /// # Errors
    ///
    /// A signal's handler has ended the wait.
    pub fn wait_next(&self, deadline: Option<Instant>) -> Result<bool, Interrupted> {
        self.engine.wait_interruptibly(&Next(&self.batch), deadline)
    }

    /// Has `hook` called when all have come, on the pool's thread for callbacks.
    pub fn on_end(&self, hook: Box<dyn FnOnce() + Send>) {
        self.batch.hook(&self.engine, hook);
    }

    /// Gives up what is not done, of tasks whose outcomes are taken all at once.
    pub fn cancel(&self) {
        let numbers = self.batch.state().numbers.clone();
        self.engine.cancel(&numbers);
    }

    /// Takes away all that have come, those that are taken next first.
    #[must_use]
    pub fn take(&self) -> Vec<Run> {
        self.batch.state().take_runs().into_iter().map(Run).collect()
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outcomes").finish_non_exhaustive()
    }
}

/// Some outcomes.
#[derive(Debug)]
pub struct Run(RawRun);

/// The outcome of a task that ran.
#[derive(Debug)]
pub struct Ran<'a> {
    /// The kind that the worker's runner gave it, or one of the worker's own.
    pub kind: u8,
    /// Its bytes, and those of others that follow it.
    pub records: &'a mut Vec<u8>,
    /// Where it is in them.
    pub range: Range<usize>,
    /// Whether no other needs the bytes: they may be taken away.
    pub is_last: bool,
    /// The number of the process that ran it; 0 if none did.
    pub worker: u32,
}

impl Run {
    /// Takes the next one away and calls `f` with it.
    pub fn next<R>(&mut self, f: impl FnOnce(Result<Ran<'_>, &TaskError>) -> R) -> Option<R> {
        match &mut self.0 {
            RawRun::Ran { count: 0, .. } | RawRun::Failed { count: 0, .. } => None,
            RawRun::Failed { error, count } => {
                *count -= 1;
                Some(f(Err(error)))
            }
            RawRun::Ran { records, start, count, worker, .. } => {
                *count -= 1;
                let mut rest = &records[*start..];
                let Some(record) = record::take(&mut rest) else {
                    return Some(f(Err(&TaskError::Closed))); // the desk counts records: no less
                };
                let (kind, length) = (record.kind(), record.bytes.len());
                let end = records.len() - rest.len();
                *start = end;
                let (is_last, worker) = (*count == 0, *worker);
                Some(f(Ok(Ran { kind, records, range: end - length..end, is_last, worker })))
            }
        }
    }
}
