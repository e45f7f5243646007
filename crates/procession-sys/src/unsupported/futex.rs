//! Sleeping on a word.

use super::unsupported;
use std::io;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

/// Why [`wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Somebody called [`wake`].
    Woken,
    /// The word was not what the caller expected.
    Changed,
    /// The deadline passed.
    TimedOut,
    /// A handler of a signal has run.
    Interrupted,
}

/// Sleeps.
///
/// # Errors
///
/// Always: unsupported.
pub fn wait(_: &AtomicU32, _: u32, _: Option<Instant>) -> io::Result<Woken> {
    unsupported()
}

/// Wakes nobody.
pub fn wake(_: &AtomicU32, _: u32) -> usize {
    0
}
