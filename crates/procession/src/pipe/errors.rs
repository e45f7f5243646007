//! What can go wrong with a pipe, an enum for each operation.

use std::{fmt, io};

use procession_shm::segment::SegmentError;

use crate::codec::{DecodeError, EncodeError};

/// Why a pipe could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum PipeError {
    /// The system refused: usually because this process has no free descriptor.
    Io(io::Error),
}

/// Why a message could not be sent. The caller still has it: [`send`](crate::Connection::send)
/// takes a reference.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// Every other end is gone: dropped, or its process has ended.
    Closed,
    /// The message could not be turned into bytes.
    Encode(EncodeError),
    /// The system refused.
    Io(io::Error),
}

/// Why [`try_send`](crate::Connection::try_send) has not sent a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum TrySendError {
    /// There is no room now: the peer has not read enough of what is there.
    Full,
    /// Every other end is gone: dropped, or its process has ended.
    Closed,
    /// The message could not be turned into bytes.
    Encode(EncodeError),
    /// The system refused.
    Io(io::Error),
}

/// Why [`send_timeout`](crate::Connection::send_timeout) has not sent a message.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendTimeoutError {
    /// There was no room in time: the peer has not read enough of what is there.
    Timeout,
    /// Every other end is gone: dropped, or its process has ended.
    Closed,
    /// The message could not be turned into bytes.
    Encode(EncodeError),
    /// The system refused.
    Io(io::Error),
}

/// Why [`recv`](crate::Connection::recv) returned no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvError {
    /// End of file: every other end is gone, and every message has been taken.
    Closed,
    /// Something was taken that is not a message of this type.
    Decode(DecodeError),
    /// The system refused.
    Io(io::Error),
}

/// Why [`try_recv`](crate::Connection::try_recv) returned no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum TryRecvError {
    /// No message is there now.
    Empty,
    /// End of file: every other end is gone, and every message has been taken.
    Closed,
    /// Something was taken that is not a message of this type.
    Decode(DecodeError),
    /// The system refused.
    Io(io::Error),
}

/// Why [`recv_timeout`](crate::Connection::recv_timeout) returned no message.
#[derive(Debug)]
#[non_exhaustive]
pub enum RecvTimeoutError {
    /// No message came in time.
    Timeout,
    /// End of file: every other end is gone, and every message has been taken.
    Closed,
    /// Something was taken that is not a message of this type.
    Decode(DecodeError),
    /// The system refused.
    Io(io::Error),
}

const CLOSED: &str = "the other end of the pipe is gone";
const REFUSED: &str = "the system refused to use the pipe";

impl fmt::Display for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "a pipe cannot be made: {error}"),
        }
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Encode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for TrySendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full => f.write_str("the pipe is full: the other end has to receive first"),
            Self::Closed => f.write_str(CLOSED),
            Self::Encode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for SendTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => {
                f.write_str("the pipe was full, and the other end received too little in time")
            }
            Self::Closed => f.write_str(CLOSED),
            Self::Encode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for RecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str(CLOSED),
            Self::Decode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for TryRecvError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no message is there yet"),
            Self::Closed => f.write_str(CLOSED),
            Self::Decode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl fmt::Display for RecvTimeoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no message came in time"),
            Self::Closed => f.write_str(CLOSED),
            Self::Decode(error) => error.fmt(f),
            Self::Io(error) => write!(f, "{REFUSED}: {error}"),
        }
    }
}

impl PipeError {
    /// Shared memory is had, or not, as a descriptor is.
    pub(super) fn from_segment(error: SegmentError) -> Self {
        Self::Io(match error {
            SegmentError::Io(error) => error,
            error => io::Error::other(error),
        })
    }
}

impl From<TrySendError> for SendError {
    /// `Full`, which a caller that waits never sees, becomes an error of the system.
    fn from(error: TrySendError) -> Self {
        match error {
            TrySendError::Full => Self::Io(io::ErrorKind::WouldBlock.into()),
            TrySendError::Closed => Self::Closed,
            TrySendError::Encode(error) => Self::Encode(error),
            TrySendError::Io(error) => Self::Io(error),
        }
    }
}

impl From<TrySendError> for SendTimeoutError {
    fn from(error: TrySendError) -> Self {
        match error {
            TrySendError::Full => Self::Timeout,
            TrySendError::Closed => Self::Closed,
            TrySendError::Encode(error) => Self::Encode(error),
            TrySendError::Io(error) => Self::Io(error),
        }
    }
}

impl From<TryRecvError> for RecvError {
    /// `Empty`, which a caller that waits never sees, becomes an error of the system.
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => Self::Io(io::ErrorKind::WouldBlock.into()),
            TryRecvError::Closed => Self::Closed,
            TryRecvError::Decode(error) => Self::Decode(error),
            TryRecvError::Io(error) => Self::Io(error),
        }
    }
}

impl From<TryRecvError> for RecvTimeoutError {
    fn from(error: TryRecvError) -> Self {
        match error {
            TryRecvError::Empty => Self::Timeout,
            TryRecvError::Closed => Self::Closed,
            TryRecvError::Decode(error) => Self::Decode(error),
            TryRecvError::Io(error) => Self::Io(error),
        }
    }
}

impl std::error::Error for PipeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let Self::Io(error) = self;
        Some(error)
    }
}

crate::error::sources! {
    SendError { Encode, Io }
    TrySendError { Encode, Io }
    SendTimeoutError { Encode, Io }
    RecvError { Decode, Io }
    TryRecvError { Decode, Io }
    RecvTimeoutError { Decode, Io }
}
