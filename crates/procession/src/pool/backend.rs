//! The seam between a pool and where its tasks run.
//!
//! Above it: what a pool's users see, and the ledger that decides each task's outcome. Below it: who
//! runs tasks. Work crosses as bytes that mean the same in every process of this build, outcomes
//! carry the work's number, and nothing above assumes that both sides are on one machine.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_sys::Handle;

use super::sleeper::Interrupted;
use super::trace::Telling;
use super::{PoolError, PoolStats, TaskError};

/// A piece of work: one function, and the items to call it with.
#[derive(Debug)]
pub(crate) struct Work {
    /// The ledger's number.
    pub(crate) number: u64,
    /// Names the function, to whoever runs it.
    pub(crate) function: Arc<[u8]>,
    /// The items: each a length (4 bytes) and its bytes.
    pub(crate) items: Vec<u8>,
    pub(crate) count: u32,
    /// Where function and item are instead, if it is a long one.
    pub(crate) stash: Option<Stash>,
    /// What the only item of a piece carries besides its bytes.
    pub(crate) handles: Vec<Handle>,
    pub(crate) timeout: Option<Duration>,
    /// How often an item may run again after its worker died or it timed out.
    pub(crate) retries: u32,
}

/// A place of the backend's own with the bytes of one piece of work; free when it is dropped.
pub(crate) type Stash = Box<dyn Any + Send>;

/// What has become of the next items of a piece, in their order.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) number: u64,
    pub(crate) settled: Settled,
}

#[derive(Debug)]
pub(crate) enum Settled {
    /// `count` items have run; their records, one after the other (see `record`).
    Ran { records: Vec<u8>, count: u32, handles: Vec<Handle>, worker: u32 },
    /// One item has failed.
    Failed(TaskError),
    /// All that is left of the piece has.
    AllFailed(TaskError),
}

/// How long a collector sleeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) deadline: Option<Instant>,
    /// How many pieces may be answered before it wants to know.
    pub(crate) pieces: u32,
}

/// How a backend ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// When all is done.
    Finish,
    /// At once: what is not done is `Terminated`.
    Terminate,
}

/// Who runs tasks.
pub(crate) trait Backend: fmt::Debug + Send + Sync {
    /// Takes work on. Never waits.
    fn submit(&self, work: Vec<Work>);

    /// Puts the bytes of a piece of a single item, its function's and its own, where workers find
    /// them; `None` if there is no such place, or no room.
    fn stash(&self, parts: &[&[u8]]) -> Option<Stash> {
        let _ = parts;
        None
    }

    /// Gives up pieces, also those that run: each gets its outcome all the same.
    fn cancel(&self, numbers: &[u64]);

    /// Collects outcomes; sleeps if there are none, until there are, or it is nudged. One thread at
    /// a time calls this.
    ///
    /// # Errors
    ///
    /// A signal's handler has ended the sleep.
    fn poll(&self, patience: Patience, outcomes: &mut Vec<Outcome>) -> Result<(), Interrupted>;

    /// Wakes who sleeps in `poll`.
    fn nudge(&self);

    /// Tells whether somebody has to poll even if nobody waits for an outcome.
    fn needs_polling(&self) -> bool;

    /// Tells whether `tend` has something to do now.
    fn wants_tending(&self) -> bool;

    /// Does what takes long: replaces workers. Returns when it wants to be called again, if not when
    /// something happens.
    fn tend(&self) -> Option<Instant>;

    /// How many tasks can run at a time.
    fn width(&self) -> usize;

    /// Changes how many workers there are.
    fn resize(&self, workers: usize) -> Result<(), PoolError>;

    /// From now on tells a timeline what happens, or nobody.
    fn trace(&self, telling: Option<Telling>);

    /// Ends the workers; waits for them to be gone.
    fn end(&self, how: End);

    /// How it is.
    fn stats(&self) -> PoolStats;
}
