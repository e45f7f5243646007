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

/// A handle that rings; there is none.
#[derive(Debug)]
pub struct Bell(std::convert::Infallible);

impl Bell {
    /// Makes a bell.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn new() -> io::Result<Self> {
        unsupported()
    }

    /// Takes a handle for a bell.
    ///
    /// # Panics
    ///
    /// Always: there are no handles to take.
    #[must_use]
    pub fn from_handle(_: super::Handle) -> Self {
        unreachable!("no handle comes from elsewhere on a system without wires")
    }

    /// Lends the handle.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        match self.0 {}
    }

    /// Rings.
    pub fn ring(&self) {
        match self.0 {}
    }

    /// Stops ringing.
    pub fn silence(&self) {
        match self.0 {}
    }
}

/// What is ready after each ring; there is none.
#[derive(Debug)]
pub struct Rings(std::convert::Infallible);

impl Rings {
    /// Makes one.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn new() -> io::Result<Self> {
        unsupported()
    }

    /// Adds a bell.
    ///
    /// # Errors
    ///
    /// Never: there is no such thing.
    pub fn add_bell(&self, _: BorrowedHandle<'_>) -> io::Result<()> {
        match self.0 {}
    }

    /// Adds a wire.
    ///
    /// # Errors
    ///
    /// Never: there is no such thing.
    pub fn add_wire(&self, _: BorrowedHandle<'_>) -> io::Result<()> {
        match self.0 {}
    }

    /// Lends the handle.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        match self.0 {}
    }

    /// Makes it ready only after the next ring.
    pub fn clear(&self) {
        match self.0 {}
    }
}

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

    /// Adds a handle for when its other end is gone.
    ///
    /// # Errors
    ///
    /// Never: there is no such set.
    pub fn add_hang_up(&self, _: BorrowedHandle<'_>, _: u64) -> io::Result<()> {
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
