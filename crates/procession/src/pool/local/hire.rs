//! How workers come: a pool of one language starts its workers otherwise than that of another.

use std::fmt;
use std::sync::Arc;

use procession_sys::ExitStatus;

use super::Seat;
use crate::pool::{PoolError, TaskError};

/// Starts workers.
pub trait Hire: fmt::Debug + Send + Sync {
    /// Starts a worker that takes `seat`: a process that ends with this one. `name` is the pool's
    /// name for it, with a number that no other worker has had.
    ///
    /// # Errors
    ///
    /// When there is no process afterwards.
    fn hire(&self, name: String, seat: Seat) -> Result<Arc<dyn Hired>, PoolError>;
}

/// A worker's process.
pub trait Hired: Send + Sync {
    /// The process's number.
    fn pid(&self) -> u32;

    /// The process's name.
    fn name(&self) -> &str;

    /// Kills it. If it is dead already, nothing happens.
    fn kill(&self);

    /// Has `hook` called, once, when [`ended`](Self::ended) can tell how it ended; at once if it can
    /// already.
    fn on_end(&self, hook: Box<dyn FnOnce() + Send>);

    /// Tells how it ended, which it has. Called under a lock of the pool's: it waits for nothing.
    fn ended(&self) -> Ended;

    /// Waits until it has ended.
    fn wait(&self);
}

/// How a worker's process ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// What the system says.
    pub exit: ExitStatus,
    /// What tasks fail with that it was at, if there is more to say than that their worker died.
    pub error: Option<TaskError>,
    /// Why it could not begin, if it could not even say so itself.
    pub failed: Option<String>,
}
