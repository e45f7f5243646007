//! Linux: pidfds, memfds, `SEQPACKET` sockets, epoll.

pub mod image;
pub mod memory;
pub mod process;
pub mod ready;
pub mod runtime;
pub mod settings;
pub mod start;
pub mod tether;
pub mod wire;

/// A handle that this process owns: a file descriptor, closed on drop.
pub type Handle = std::os::fd::OwnedFd;

/// A handle that somebody else keeps open for `'a`.
pub type BorrowedHandle<'a> = std::os::fd::BorrowedFd<'a>;

/// Borrows an owned handle.
#[must_use]
pub fn borrow(handle: &Handle) -> BorrowedHandle<'_> {
    std::os::fd::AsFd::as_fd(handle)
}
