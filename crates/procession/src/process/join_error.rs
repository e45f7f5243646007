//! Why a child returned no value.

use std::{fmt, io};

use procession_sys::ExitStatus;

use crate::codec::{DecodeError, EncodeError};
use crate::supervisor::WaitFailed;

/// Why a child returned no value, or could not be waited for.
#[derive(Debug)]
#[non_exhaustive]
pub enum JoinError {
    /// The target panicked.
    Panicked {
        /// What it said.
        message: String,
        /// Where: file, line and column.
        location: String,
        /// The backtrace, if `RUST_BACKTRACE` asked for one; else empty.
        backtrace: String,
    },
    /// The child exited by itself before its target returned, for instance by
    /// [`std::process::exit`].
    Exited(ExitStatus),
    /// A signal ended the child: a crash, [`std::process::abort`] (signal 6), somebody's `kill`.
    Signaled {
        /// The signal's number.
        signal: i32,
        /// Whether the child left a core dump.
        core_dumped: bool,
    },
    /// The child's main thread used up its stack.
    StackOverflow,
    /// The child was refused memory, and aborted.
    OutOfMemory {
        /// The limit that [`Process::memory_limit`](crate::Process::memory_limit) had set.
        limit: Option<u64>,
    },
    /// The child could not be set up as asked; its target has not run.
    Bootstrap {
        /// What failed.
        message: String,
    },
    /// The target returned, but its result could not be turned into bytes.
    Encode(EncodeError),
    /// Arguments or result crossed, but are not of the type that the other side expects.
    Decode(DecodeError),
    /// This process is a forked copy of the child's parent; only the parent can wait for it.
    NotOurChild {
        /// The child.
        pid: u32,
    },
    /// The child is dead, but something else in this program has taken its exit status: a `wait`
    /// for any child, or an ignored `SIGCHLD`.
    StatusLost {
        /// The child.
        pid: u32,
    },
    /// The system refused to wait.
    Io(io::Error),
}

impl JoinError {
    pub(crate) fn waiting(failed: WaitFailed, pid: u32) -> Self {
        match failed {
            WaitFailed::NotOurChild => Self::NotOurChild { pid },
            WaitFailed::Io(error) => Self::Io(error),
        }
    }

    pub(crate) fn ended(status: ExitStatus) -> Self {
        match status.signal() {
            Some(signal) => Self::Signaled { signal, core_dumped: status.core_dumped() },
            None => Self::Exited(status),
        }
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked { message, location, .. } => {
                write!(f, "the process panicked at {location}: {message}")
            }
            Self::Exited(status) => {
                write!(f, "the process ended before its target returned: {status}")
            }
            Self::Signaled { signal, core_dumped } => {
                write!(
                    f,
                    "the process was ended by {}",
                    ExitStatus::from_signal(*signal, *core_dumped)
                )
            }
            Self::StackOverflow => f.write_str("the process has overflowed its stack"),
            Self::OutOfMemory { limit: Some(limit) } => {
                write!(f, "the process ran out of memory under its limit of {limit} bytes")
            }
            Self::OutOfMemory { limit: None } => f.write_str("the process ran out of memory"),
            Self::Bootstrap { message } => write!(f, "the process could not be set up: {message}"),
            Self::Encode(error) => error.fmt(f),
            Self::Decode(error) => error.fmt(f),
            Self::NotOurChild { pid } => write!(
                f,
                "process {pid} is not a child of this process, which is a forked copy of its parent; wait for \
                 it in the parent"
            ),
            Self::StatusLost { pid } => write!(
                f,
                "process {pid} has ended, but something else in this program took its exit status: a wait for \
                 any child, or SIGCHLD set to be ignored"
            ),
            Self::Io(error) => write!(f, "the system refused to wait for the process: {error}"),
        }
    }
}

crate::error::sources! {
    JoinError { Encode, Decode, Io }
}
