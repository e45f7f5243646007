//! The system below this crate: `procession-sys`, or a small world in its place under a model.

#[cfg(not(loom))]
pub(crate) use procession_sys::{
    BorrowedHandle, Handle, borrow, crash_point, futex, process, ready, runtime, shared,
};

#[cfg(loom)]
pub(crate) use crate::model::memory::{BorrowedHandle, Handle};
#[cfg(loom)]
pub(crate) use crate::model::{
    futex,
    memory::{self as shared, borrow},
    no_crash_point as crash_point,
    process::{self, runtime},
    ready,
};
