//! Tethers.

use super::{BorrowedHandle, Handle, unsupported};
use std::io;

/// The parent's side of a tether.
#[derive(Debug)]
pub struct Tether(std::convert::Infallible);

impl Tether {
    /// Makes a tether.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn new() -> io::Result<Self> {
        unsupported()
    }

    /// Lends the child's end.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        match self.0 {}
    }
}

/// Ties this process to a tether.
///
/// # Errors
///
/// Always: unsupported.
pub fn tie(_: Handle) -> io::Result<()> {
    unsupported()
}

/// Does nothing: nothing is tied.
pub fn untie_copy() {}
