//! What can go wrong with a pool and its tasks.

use std::fmt;
use std::time::Duration;

use procession_sys::ExitStatus;

use crate::codec::{DecodeError, EncodeError};
use crate::object::CreateError;
use crate::start::StartError;

/// Why a task has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. Its worker goes on.
    Panicked {
        /// What it said.
        message: String,
        /// Where: file, line and column.
        location: String,
        /// The backtrace, if `RUST_BACKTRACE` asked for one; else empty.
        backtrace: String,
        /// The number of the process that ran it.
        worker: u32,
    },
    /// The worker died while it ran the task: a crash, an `exit`, somebody's `kill`.
    WorkerDied {
        /// The worker's number.
        pid: u32,
        /// How it ended.
        exit: ExitStatus,
    },
    /// The task ran longer than it may. Its worker was killed.
    TimedOut {
        /// How long that was.
        after: Duration,
    },
    /// It was cancelled.
    Cancelled,
    /// The pool was terminated.
    Terminated,
    /// The worker needed more memory than it may have while it ran the task.
    MemoryLimit {
        /// The worker's number.
        pid: u32,
        /// The limit in bytes, if it was the pool's and not the machine's.
        limit: Option<u64>,
    },
    /// An argument, or the result, could not be turned into bytes.
    Encode(EncodeError),
    /// An argument, or the result, is not what the other side expects.
    Decode(DecodeError),
    /// The pool cannot run tasks any more: its workers fail before they are ready.
    NoWorkers {
        /// Why.
        message: String,
    },
    /// The pool takes no more tasks: it was closed or terminated, or belongs to another process.
    Closed,
    /// There is no such task.
    Invalid {
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// The value was taken before.
    Taken,
}

impl TaskError {
    /// In a word or two, for who looks at many.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Panicked { .. } => "panicked",
            Self::WorkerDied { .. } => "worker died",
            Self::TimedOut { .. } => "timed out",
            Self::Cancelled => "cancelled",
            Self::Terminated => "terminated",
            Self::MemoryLimit { .. } => "out of memory",
            Self::NoWorkers { .. } => "no workers",
            _ => "failed",
        }
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location, worker, .. } => {
                write!(f, "the task panicked at {location} in worker {worker}: {message}")
            }
            Self::WorkerDied { pid, exit } => {
                write!(f, "worker {pid} died while it ran the task: {exit}")
            }
            Self::TimedOut { after } => {
                write!(f, "the task ran longer than {after:?}, and its worker was ended")
            }
            Self::Cancelled => f.write_str("the task was cancelled"),
            Self::Terminated => f.write_str("the pool was terminated before the task was done"),
            Self::MemoryLimit { pid, limit: Some(limit) } => write!(
                f,
                "worker {pid} ran out of memory under its limit of {limit} bytes while it ran the task"
            ),
            Self::MemoryLimit { pid, limit: None } => {
                write!(f, "worker {pid} ran out of memory while it ran the task")
            }
            Self::Encode(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
            Self::NoWorkers { message } => {
                write!(f, "the pool has no workers that could run the task: {message}")
            }
            Self::Closed => f.write_str(CLOSED),
            Self::Invalid { message } => f.write_str(message),
            Self::Taken => f.write_str("the task's value was taken before"),
        }
    }
}

const CLOSED: &str = "the pool takes no more tasks: it was closed or terminated, or this process is \
                      a forked copy of the one that has it";

impl std::error::Error for TaskError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::Decode(error) => Some(error),
            _ => None,
        }
    }
}

impl From<EncodeError> for TaskError {
    fn from(error: EncodeError) -> Self {
        Self::Encode(error)
    }
}

/// Why a task was not taken on. Its arguments come back.
pub struct SubmitError<Args> {
    args: Args,
    error: TaskError,
}

impl<Args> SubmitError<Args> {
    pub(crate) fn new(args: Args, error: TaskError) -> Self {
        Self { args, error }
    }

    /// Gives the arguments back.
    pub fn into_args(self) -> Args {
        self.args
    }

    /// Returns the reason.
    #[must_use]
    pub fn error(&self) -> &TaskError {
        &self.error
    }
}

impl<Args> fmt::Debug for SubmitError<Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SubmitError").field("error", &self.error).finish_non_exhaustive()
    }
}

impl<Args> fmt::Display for SubmitError<Args> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl<Args> std::error::Error for SubmitError<Args> {}

impl<Args> From<SubmitError<Args>> for TaskError {
    fn from(error: SubmitError<Args>) -> Self {
        error.error
    }
}

/// Why [`get_timeout`](crate::AsyncResult::get_timeout) returned no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResultTimeoutError {
    /// The task is not done yet.
    Timeout,
    /// It has failed.
    Task(TaskError),
}

impl fmt::Display for ResultTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the task was not done in time"),
            Self::Task(error) => error.fmt(f),
        }
    }
}

impl From<TaskError> for ResultTimeoutError {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

crate::error::sources! {
    ResultTimeoutError { Task }
}

/// Why a pool could not be made, or changed, or joined.
#[derive(Debug)]
#[non_exhaustive]
pub enum PoolError {
    /// There is no such pool, or no such timeline of it.
    Invalid {
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// A worker could not be started.
    Start(StartError),
    /// The initializer's arguments do not encode.
    Encode(EncodeError),
    /// There is no memory or descriptor for what pool and workers share.
    Create(CreateError),
    /// It can be joined only when it takes no more tasks.
    StillOpen,
    /// Its workers failed for good.
    NoWorkers {
        /// Why.
        message: String,
    },
    /// This process is a forked copy of the one that has the pool.
    NotOurs,
}

impl PoolError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    pub(crate) fn system(error: std::io::Error) -> Self {
        Self::Create(CreateError::System(error.into()))
    }
}

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message } => f.write_str(message),
            Self::Start(error) => write!(f, "a worker of the pool could not be started: {error}"),
            Self::Encode(error) => error.fmt(f),
            Self::Create(error) => error.fmt(f),
            Self::StillOpen => f.write_str(
                "the pool still takes tasks, so it would be joined for ever: close or terminate it first",
            ),
            Self::NoWorkers { message } => write!(f, "the pool's workers have failed: {message}"),
            Self::NotOurs => f.write_str(
                "this process is a forked copy of the one that has the pool; use the pool there",
            ),
        }
    }
}

crate::error::sources! {
    PoolError { Start, Encode, Create }
}
