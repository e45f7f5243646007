//! Rust's runtime, and hooks.

use super::{BorrowedHandle, unsupported};
use std::io;

/// Whether the target runs on the process's own main thread.
pub const TARGET_ON_MAIN_THREAD: bool = false;

/// What killed a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    /// Its main thread has used up its stack.
    StackOverflow,
    /// An allocation has failed.
    OutOfMemory,
}

/// Does nothing: there are no children.
pub fn prepare(_: impl FnOnce()) {}
/// Does nothing: there are no children.
pub fn set_last_word(_: LastWord, _: Vec<u8>) {}
/// Does nothing: there are no children.
pub fn enter_child(_: BorrowedHandle<'_>) {}
/// Does nothing: there are no children.
pub fn install_altstack() {}
/// Does nothing: there are no signals.
pub fn block_all_signals() {}

/// Returns 0: nothing forks.
///
/// # Errors
///
/// Never.
pub fn copies() -> io::Result<u32> {
    Ok(0)
}

/// Returns 0: nothing forks.
#[must_use]
pub fn known_copies() -> u32 {
    0
}

/// Runs `f`: there are no signals.
pub fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    f()
}

/// Installs a hook at exit.
///
/// # Errors
///
/// Always: unsupported.
pub fn at_exit(_: extern "C" fn()) -> io::Result<()> {
    unsupported()
}

/// Installs a hook at fork.
///
/// # Errors
///
/// Always: unsupported.
pub fn in_fork_copy(_: extern "C" fn()) -> io::Result<()> {
    unsupported()
}

/// Ends this process.
pub fn exit_now(code: i32) -> ! {
    std::process::exit(code)
}

/// Ends this process.
pub fn kill_self() -> ! {
    std::process::abort()
}
