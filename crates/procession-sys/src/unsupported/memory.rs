//! Sealed anonymous memory.

use super::{BorrowedHandle, Handle, unsupported};
use std::io;

/// Copies `parts` into sealed memory.
///
/// # Errors
///
/// Always: unsupported.
pub fn sealed(_: &[&[u8]]) -> io::Result<Handle> {
    unsupported()
}

/// A read-only view of sealed memory.
#[derive(Debug)]
pub struct View(std::convert::Infallible);

impl View {
    /// Maps sealed memory.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn map(_: BorrowedHandle<'_>, _: usize) -> io::Result<Self> {
        unsupported()
    }
}

impl std::ops::Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self.0 {}
    }
}
