//! Systems without an implementation yet: the same functions, each of which says so.
//!
//! It keeps the seam honest: what compiles against this compiles against any system. PLATFORM.md
//! says what each system will need.

pub mod clock;
pub mod futex;
pub mod image;
pub mod inherited;
pub mod memory;
pub mod named;
pub mod process;
pub mod ready;
pub mod runtime;
pub mod settings;
pub mod shared;
pub mod start;
pub mod tether;
pub mod wire;

use std::io;

#[cfg(unix)]
pub use std::os::fd::{BorrowedFd as BorrowedHandle, OwnedFd as Handle};
#[cfg(windows)]
pub use std::os::windows::io::{BorrowedHandle, OwnedHandle as Handle};

fn unsupported<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "procession does not support this system yet"))
}

/// Borrows an owned handle.
#[must_use]
pub fn borrow(handle: &Handle) -> BorrowedHandle<'_> {
    #[cfg(unix)]
    return std::os::fd::AsFd::as_fd(handle);
    #[cfg(windows)]
    return std::os::windows::io::AsHandle::as_handle(handle);
}
