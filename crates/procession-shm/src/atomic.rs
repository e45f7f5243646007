//! Atomics: the one way to them in this crate, so that a model checker can take their place.
//!
//! `cargo xtask tidy` refuses any other.

#[cfg(not(loom))]
pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use crate::model::atomic::{AtomicU32, AtomicU64, fence};
#[cfg(loom)]
pub(crate) use std::sync::atomic::Ordering;

/// For statics that one process keeps to itself; they are part of no protocol, and of no model.
pub(crate) mod unmodelled {
    /// For what a process notes of an object that it has open, for itself.
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic::AtomicBool;
    #[cfg(not(loom))]
    pub(crate) use std::sync::atomic::AtomicPtr;
    pub(crate) use std::sync::atomic::AtomicU32;
}

/// An ordering with a name, by which a model can weaken it: `ordering!("lock.release", Release)`.
///
/// A test then expects the model to fail, which shows that the ordering is needed, and that the
/// model would notice.
macro_rules! ordering {
    ($name:literal, $ordering:ident) => {{
        #[cfg(not(loom))]
        let ordering = $crate::atomic::Ordering::$ordering;
        #[cfg(loom)]
        let ordering = $crate::model::ordering($name, $crate::atomic::Ordering::$ordering);
        ordering
    }};
}
pub(crate) use ordering;

/// As `fence(SeqCst)`, for who has changed an atomic in one step, a lock's word for instance, since the
/// stores that are to be before it.
#[inline(always)]
pub(crate) fn fence_after_update() {
    // PLATFORM: x86's locked instructions are such fences, and a second one costs as much again: only
    // the compiler has to be told.
    #[cfg(all(target_arch = "x86_64", not(loom), not(miri)))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(loom), not(miri))))]
    fence(Ordering::SeqCst);
}

/// Says that plain bytes of shared memory are about to be read: a model sees whether another may be
/// writing them.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn will_read(_: std::ptr::NonNull<u8>, _: usize) {}

/// Says that plain bytes of shared memory are about to be written.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) fn will_write(_: std::ptr::NonNull<u8>, _: usize) {}

#[cfg(loom)]
pub(crate) use crate::model::bytes::{will_read, will_write};

/// What a body is made of: its beginning is all zeros, which a model makes value by value.
#[cfg(not(loom))]
pub(crate) trait Zeros {}
#[cfg(not(loom))]
impl<T> Zeros for T {}
#[cfg(loom)]
pub(crate) use std::default::Default as Zeros;
