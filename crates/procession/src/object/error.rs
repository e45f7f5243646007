//! What can go wrong with objects in shared memory.

use std::fmt;

use procession_shm::segment::SegmentError;

/// Why an object in shared memory could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum CreateError {
    /// There is no such object.
    Invalid {
        /// What is wrong with it, and what would be right.
        message: String,
    },
    /// The system has no memory or descriptor for it.
    System(SegmentError),
}

impl CreateError {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid { message } => f.write_str(message),
            Self::System(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for CreateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Invalid { .. } => None,
            Self::System(error) => error.source(),
        }
    }
}

impl From<SegmentError> for CreateError {
    fn from(error: SegmentError) -> Self {
        Self::System(error)
    }
}

/// Something was to be given up that was not held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotHeldError {
    pub(crate) what: &'static str,
}

impl fmt::Display for NotHeldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl std::error::Error for NotHeldError {}

/// A part of shared memory was asked for that lies outside of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfBounds {
    pub(crate) offset: usize,
    pub(crate) count: usize,
    pub(crate) length: usize,
}

impl fmt::Display for OutOfBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { offset, count, length } = self;
        write!(f, "{count} bytes at {offset} are not all inside shared memory of {length} bytes")
    }
}

impl std::error::Error for OutOfBounds {}

/// What an operation returned, in a process that takes part.
///
/// # Panics
///
/// In a forked copy of a process that takes part, if no place is left for it, or no `/proc` is
/// there to say who it is.
pub(crate) fn taking_part<T>(result: Result<T, SegmentError>) -> T {
    result.unwrap_or_else(|error| {
        panic!("this forked copy cannot use an object that its original had: {error}")
    })
}
