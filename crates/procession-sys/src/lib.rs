//! The operating system under `procession`, as one small set of types and functions.
//!
//! Everything that differs between systems lives here, and only here: the crates above contain no
//! system call. Each system's folder offers the same list:
//!
//! | module | what it is |
//! |---|---|
//! | `clock` | a clock that all processes read alike |
//! | `futex` | sleeping on a word that processes share |
//! | `image` | the running executable: what lies in it, and which build it is |
//! | `inherited` | what a child has from its maker: user, session, limits |
//! | `process` | a death handle: signal it, wait for it, reap it |
//! | `start` | new processes: the executable again, a sibling copy, a fork |
//! | `tether` | a child that the system kills when its parent is gone |
//! | `wire` | a socket pair that carries whole messages and handles |
//! | `memory` | sealed anonymous memory |
//! | `named` | memory with a name, for processes that are not related |
//! | `ready` | waiting for several handles at once |
//! | `runtime` | what Rust's runtime sets up before `main`, and hooks at fork and at exit |
//! | `shared` | anonymous memory that several processes write |
//! | `settings` | what a child changes of itself before it runs its target |
//!
//! The crate is internal to procession: its API follows procession's needs without notice.

#[cfg(all(target_os = "linux", not(target_pointer_width = "64")))]
compile_error!("procession reads the headers of 64-bit executables only");

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as os;

#[cfg(not(target_os = "linux"))]
mod unsupported;
#[cfg(not(target_os = "linux"))]
use unsupported as os;

pub mod crash_point;
mod exit_status;

pub use exit_status::ExitStatus;
pub use os::{BorrowedHandle, Handle, borrow};
pub use os::{
    clock, futex, image, inherited, memory, named, process, ready, runtime, settings, shared,
    start, tether, wire,
};
