//! Memory that processes share.

use super::{Handle, unsupported};
use std::convert::Infallible;
use std::io;
use std::ptr::NonNull;

/// Makes shared memory.
///
/// # Errors
///
/// Always: unsupported.
pub fn create(_: usize) -> io::Result<Handle> {
    unsupported()
}

/// Makes sparse shared memory.
///
/// # Errors
///
/// Always: unsupported.
pub fn create_sparse(_: usize, _: usize) -> io::Result<Handle> {
    unsupported()
}

/// Gives memory.
///
/// # Errors
///
/// Always: unsupported.
pub fn back<H>(_: H, _: usize, _: usize) -> io::Result<()> {
    unsupported()
}

/// Takes memory back.
///
/// # Errors
///
/// Always: unsupported.
pub fn give_back<H>(_: H, _: usize, _: usize) -> io::Result<()> {
    unsupported()
}

/// Tells a length.
///
/// # Errors
///
/// Always: unsupported.
pub fn length<H>(_: H) -> io::Result<u64> {
    unsupported()
}

/// Tells how much memory there is.
///
/// # Errors
///
/// Always: unsupported.
pub fn backed<H>(_: H) -> io::Result<u64> {
    unsupported()
}

/// Mapped memory; there is none.
#[derive(Debug)]
pub struct Mapping(Infallible);

impl Mapping {
    /// Maps memory.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn new<H>(_: H) -> io::Result<Self> {
        unsupported()
    }

    /// Maps sparse memory.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn sparse<H>(_: H, _: usize) -> io::Result<Self> {
        unsupported()
    }

    /// Maps the front of memory.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn front<H>(_: H, _: usize) -> io::Result<Self> {
        unsupported()
    }

    /// Returns where it starts.
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        match self.0 {}
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub fn length(&self) -> usize {
        match self.0 {}
    }
}

/// Tells one memory from another.
///
/// # Errors
///
/// Always: unsupported.
pub fn identity<H>(_: H) -> io::Result<(u64, u64)> {
    unsupported()
}

/// Tells whether nobody can cut memory short.
#[must_use]
pub fn is_sealed<H>(_: H) -> bool {
    false
}
