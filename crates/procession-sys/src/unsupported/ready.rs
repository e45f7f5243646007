//! Waiting for several handles.

use super::{BorrowedHandle, unsupported};
use std::io;
use std::time::Instant;

/// Waits for one of several handles.
///
/// # Errors
///
/// Always: unsupported.
pub fn wait(_: &[BorrowedHandle<'_>], _: Option<Instant>) -> io::Result<Vec<bool>> {
    unsupported()
}

/// Waits for one handle.
///
/// # Errors
///
/// Always: unsupported.
pub fn wait_one(_: BorrowedHandle<'_>, _: Option<Instant>) -> io::Result<bool> {
    unsupported()
}

/// The token of a nudge.
pub const NUDGED: u64 = u64::MAX;

/// A set of handles.
#[derive(Debug)]
pub struct Set(std::convert::Infallible);

impl Set {
    /// Makes a set.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn new() -> io::Result<Self> {
        unsupported()
    }

    /// Adds a handle.
    ///
    /// # Errors
    ///
    /// Never: there is no such set.
    pub fn add(&self, _: BorrowedHandle<'_>, _: u64) -> io::Result<()> {
        match self.0 {}
    }

    /// Takes a handle out.
    pub fn remove(&self, _: BorrowedHandle<'_>) {
        match self.0 {}
    }

    /// Makes the waiting thread return.
    pub fn nudge(&self) {
        match self.0 {}
    }

    /// Waits.
    ///
    /// # Errors
    ///
    /// Never: there is no such set.
    pub fn wait(&self, _: &mut Vec<u64>) -> io::Result<()> {
        match self.0 {}
    }
}
