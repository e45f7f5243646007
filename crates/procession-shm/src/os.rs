//! The system below this crate: `procession-sys`, or a small world in its place under a model.

#[cfg(not(loom))]
pub(crate) use procession_sys::{
    BorrowedHandle, Handle, borrow, clock, crash_point, futex, process, ready, runtime, shared,
};

#[cfg(loom)]
pub(crate) use crate::model::{
    clock::{machine as clock, now},
    futex,
    memory::{self as shared, BorrowedHandle, Handle, borrow},
    no_crash_point as crash_point,
    process::{self, runtime},
    ready,
};

/// What time it is.
#[cfg(not(loom))]
pub(crate) fn now() -> std::time::Instant {
    std::time::Instant::now()
}
