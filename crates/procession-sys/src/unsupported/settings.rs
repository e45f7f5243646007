//! A child's settings.

use super::{BorrowedHandle, Handle, unsupported};
use std::io;
use std::path::Path;

/// The standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    In,
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Returns the standard streams: none that can be passed on.
#[must_use]
pub fn standard_streams() -> [Option<BorrowedHandle<'static>>; 3] {
    [None, None, None]
}

macro_rules! settings {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ty),*) -> $result:ty;)*) => {
        $($(#[$doc])*
        ///
        /// # Errors
        ///
        /// Always: unsupported.
        pub fn $name($(_: $argument),*) -> io::Result<$result> { unsupported() })*
    };
}

settings! {
    /// Opens the null device.
    fn null() -> Handle;
    /// Opens the null device in the place of a closed stream.
    fn open_closed_streams() -> ();
    /// Opens a directory.
    fn open_directory(&Path) -> Handle;
    /// Takes on the affinity of a process.
    fn take_affinity_of(u32) -> ();
    /// Enters a process group.
    fn enter_group(u32) -> ();
    /// Limits memory.
    fn limit_memory(u64) -> ();
}

/// Calls `f`: there is no limit.
pub fn beyond_memory_limit<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Sets a standard stream.
///
/// # Errors
///
/// Always: unsupported.
pub fn set_stream<H>(_: Stream, _: H) -> io::Result<()> {
    unsupported()
}

/// Enters a directory.
///
/// # Errors
///
/// Always: unsupported.
pub fn enter_directory<H>(_: H) -> io::Result<()> {
    unsupported()
}

/// Does nothing: there are no titles.
pub fn set_title(_: &str) {}

/// Does nothing: there are no children.
///
/// # Safety
///
/// Nothing is done.
pub unsafe fn set_environment(_: Vec<(Vec<u8>, Vec<u8>)>) {}

/// Does nothing: nothing is inherited.
pub fn close_inherited(_: &[BorrowedHandle<'_>]) {}
