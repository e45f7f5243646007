//! What can go wrong with a queue, an enum for each operation.

use std::{fmt, io};

use crate::codec::{DecodeError, EncodeError};

const CLOSED: &str = "the queue is closed: nothing can be put into it any more";
const DRAINED: &str = "the queue is closed, and every message has been taken: none will come";
const REFUSED: &str = "the system refused to use the queue";

/// Why [`put`](crate::Queue::put) put no message. The caller still has it: a put takes a
/// reference.
#[derive(Debug)]
#[non_exhaustive]
pub enum PutError {
    /// The queue is closed.
    Closed,
    /// The message could not be turned into bytes, is longer than 16 GiB, or carries too many handles.
    Encode(EncodeError),
    /// The system has no memory, or no descriptor, for it.
    Io(io::Error),
}

/// Why [`try_put`](crate::Queue::try_put) put no message. The caller still has it: a put takes a
/// reference.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryPutError {
    /// The queue has as many messages as it may have.
    Full,
    /// The queue is closed.
    Closed,
    /// The message could not be turned into bytes, is longer than 16 GiB, or carries too many handles.
    Encode(EncodeError),
    /// The system has no memory, or no descriptor, for it.
    Io(io::Error),
}

/// Why [`put_timeout`](crate::Queue::put_timeout) put no message. The caller still has it: a put takes a
/// reference.
#[derive(Debug)]
#[non_exhaustive]
pub enum PutTimeoutError {
    /// There was no room in time.
    Timeout,
    /// The queue is closed.
    Closed,
    /// The message could not be turned into bytes, is longer than 16 GiB, or carries too many handles.
    Encode(EncodeError),
    /// The system has no memory, or no descriptor, for it.
    Io(io::Error),
}

/// Why [`get`](crate::Queue::get) returned no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is closed, and every message has been taken.
    Closed,
    /// Something was taken that is not a message of this type.
    Decode(DecodeError),
    /// The system refused.
    Io(io::Error),
}

/// Why [`try_get`](crate::Queue::try_get) returned no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryGetError {
    /// No message is there now.
    Empty,
    /// The queue is closed, and every message has been taken.
    Closed,
    /// Something was taken that is not a message of this type.
    Decode(DecodeError),
    /// The system refused.
    Io(io::Error),
}

/// Why [`get_timeout`](crate::Queue::get_timeout) returned no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum GetTimeoutError {
    /// No message came in time.
    Timeout,
    /// The queue is closed, and every message has been taken.
    Closed,
    /// Something was taken that is not a message of this type.
    Decode(DecodeError),
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for PutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Encode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for TryPutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str(
                "the queue has as many messages as it may have: try again when one was got",
            ),
            Self::Closed => f.write_str(CLOSED),
            Self::Encode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for PutTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("there was no room in time"),
            Self::Closed => f.write_str(CLOSED),
            Self::Encode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(DRAINED),
            Self::Decode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for TryGetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no message is there yet"),
            Self::Closed => f.write_str(DRAINED),
            Self::Decode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for GetTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no message came in time"),
            Self::Closed => f.write_str(DRAINED),
            Self::Decode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl From<TryPutError> for PutError {
    fn from(error: TryPutError) -> Self {
        match error {
            TryPutError::Full => Self::Io(io::ErrorKind::WouldBlock.into()),
            TryPutError::Closed => Self::Closed,
            TryPutError::Encode(error) => Self::Encode(error),
            TryPutError::Io(error) => Self::Io(error),
        }
    }
}

impl From<TryPutError> for PutTimeoutError {
    fn from(error: TryPutError) -> Self {
        match error {
            TryPutError::Full => Self::Timeout,
            TryPutError::Closed => Self::Closed,
            TryPutError::Encode(error) => Self::Encode(error),
            TryPutError::Io(error) => Self::Io(error),
        }
    }
}

impl From<TryGetError> for GetError {
    fn from(error: TryGetError) -> Self {
        match error {
            TryGetError::Empty => Self::Io(io::ErrorKind::WouldBlock.into()),
            TryGetError::Closed => Self::Closed,
            TryGetError::Decode(error) => Self::Decode(error),
            TryGetError::Io(error) => Self::Io(error),
        }
    }
}

impl From<TryGetError> for GetTimeoutError {
    fn from(error: TryGetError) -> Self {
        match error {
            TryGetError::Empty => Self::Timeout,
            TryGetError::Closed => Self::Closed,
            TryGetError::Decode(error) => Self::Decode(error),
            TryGetError::Io(error) => Self::Io(error),
        }
    }
}

/// Why [`task_done`](crate::Queue::task_done) failed: every message has been marked as done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskDoneError;

impl fmt::Display for TaskDoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "every message of the queue has been marked as done already; call `task_done` once for \
             each that was got",
        )
    }
}

impl std::error::Error for TaskDoneError {}

/// Why [`join`](crate::Queue::join) ended without every message done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueJoinError {
    /// Processes have died that had taken messages and not marked them as done. Every other message
    /// is done. It is told once.
    Lost {
        /// How many messages.
        messages: usize,
    },
    /// Not all were done in time.
    Timeout,
}

impl fmt::Display for QueueJoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { messages } => write!(
                f,
                "{messages} messages were taken by processes that died before they marked them as done"
            ),
            Self::Timeout => f.write_str("not every message was done in time"),
        }
    }
}

impl std::error::Error for QueueJoinError {}

crate::error::sources! {
    PutError { Encode, Io }
    TryPutError { Encode, Io }
    PutTimeoutError { Encode, Io }
    GetError { Decode, Io }
    TryGetError { Decode, Io }
    GetTimeoutError { Decode, Io }
}
