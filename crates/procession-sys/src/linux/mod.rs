//! Linux: pidfds, memfds, `SEQPACKET` sockets, epoll.

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

/// A handle that this process owns: a file descriptor, closed on drop.
pub type Handle = std::os::fd::OwnedFd;

/// A handle that somebody else keeps open for `'a`.
pub type BorrowedHandle<'a> = std::os::fd::BorrowedFd<'a>;

/// Moves a handle away from the places of the standard streams, which a host that has closed one
/// of them may fill again with `dup2` at any time.
pub(crate) fn off_streams(handle: Handle) -> std::io::Result<Handle> {
    use std::os::fd::AsRawFd;
    if handle.as_raw_fd() > 2 {
        return Ok(handle);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(handle, 3)?)
}

/// Borrows an owned handle.
#[must_use]
pub fn borrow(handle: &Handle) -> BorrowedHandle<'_> {
    std::os::fd::AsFd::as_fd(handle)
}
