//! What can go wrong with a pipe.

use std::io;

use crate::channel::{Garbage, WriteError};
use crate::segment::SegmentError;

/// Why a message was not sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SendError {
    /// Nobody has the other end any more.
    Closed,
    /// There was no room in time.
    Full,
    /// It carries more handles than fit.
    TooManyHandles,
    /// The system has no memory or descriptor, or what is in the memory was not written by this
    /// library.
    Io(io::Error),
}

/// Why no message was received.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// Nobody has the other end any more, and all its messages have been taken.
    Closed,
    /// None came in time.
    Empty,
    /// What was taken is no message.
    Garbage,
    /// The system refused, or what is in the memory was not written by this library.
    Io(io::Error),
}

fn overwritten() -> io::Error {
    let what = "something else was written over the pipe's memory: make another pipe";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl From<WriteError> for SendError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Full => Self::Full,
            WriteError::Garbage => Self::Io(overwritten()),
            WriteError::Memory(error) => Self::Io(error),
        }
    }
}

impl From<Garbage> for ReceiveError {
    fn from(garbage: Garbage) -> Self {
        match garbage {
            Garbage::Message => Self::Garbage,
            Garbage::Words => Self::Io(overwritten()),
        }
    }
}

impl From<SegmentError> for SendError {
    fn from(error: SegmentError) -> Self {
        Self::Io(io::Error::other(error))
    }
}

impl From<SegmentError> for ReceiveError {
    fn from(error: SegmentError) -> Self {
        Self::Io(io::Error::other(error))
    }
}
