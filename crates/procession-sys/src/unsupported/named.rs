//! Memory with a name.

use super::shared::Mapping;
use super::{Handle, unsupported};
use std::io;

/// Where the names would be.
pub const FOLDER: &str = "";
/// The longest name, in bytes.
pub const LONGEST: usize = 255;

/// Makes memory.
///
/// # Errors
///
/// Always: unsupported.
pub fn create(_: usize) -> io::Result<Handle> {
    unsupported()
}

/// Gives it a name.
///
/// # Errors
///
/// Always: unsupported.
pub fn publish<H>(_: H, _: &str) -> io::Result<()> {
    unsupported()
}

/// Opens what has a name.
///
/// # Errors
///
/// Always: unsupported.
pub fn open(_: &str) -> io::Result<Handle> {
    unsupported()
}

/// Checks a handle.
///
/// # Errors
///
/// Always: unsupported.
pub fn check<H>(_: H) -> io::Result<()> {
    unsupported()
}

/// Takes a name away.
///
/// # Errors
///
/// Always: unsupported.
pub fn unlink(_: &str) -> io::Result<()> {
    unsupported()
}

/// Lists names.
///
/// # Errors
///
/// Always: unsupported.
pub fn names(_: &str) -> io::Result<Vec<String>> {
    unsupported()
}

/// Tells whose a name is.
#[must_use]
pub fn owner(_: &str) -> Option<u32> {
    None
}

/// Tells how long memory is.
///
/// # Errors
///
/// Always: unsupported.
pub fn length<H>(_: H) -> io::Result<usize> {
    unsupported()
}

/// Copies bytes out.
///
/// # Errors
///
/// Always: unsupported.
pub fn read<H>(_: H, _: usize, _: &mut [u8]) -> io::Result<usize> {
    unsupported()
}

/// Copies bytes in.
///
/// # Errors
///
/// Always: unsupported.
pub fn write<H>(_: H, _: usize, _: &[u8]) -> io::Result<usize> {
    unsupported()
}

/// Maps memory.
///
/// # Errors
///
/// Always: unsupported.
pub fn map<H>(_: H) -> io::Result<Mapping> {
    unsupported()
}

/// Tells whether somebody else has it open.
///
/// # Errors
///
/// Always: unsupported.
pub fn is_open_elsewhere(_: &Handle) -> io::Result<bool> {
    unsupported()
}
