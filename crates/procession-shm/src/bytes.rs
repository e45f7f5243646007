//! Plain bytes in shared memory, with and without a lock.
//!
//! # Layout
//!
//! ```text
//! lock (see `lock`), or nothing │ tail: the bytes, aligned to 64
//! ```
//!
//! # What a crash leaves behind
//!
//! A holder that dies while it writes leaves what it had written; the next one is told.

use std::ptr::NonNull;
use std::time::Instant;

use crate::atomic::AtomicU64;
use crate::lock::{Acquired, LockWords, NotHeld};
use crate::roster::Participant;
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Locked {
    lock: LockWords,
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Locked {
    const KIND: u32 = 7;

    fn sweep(core: &Core, dead: Participant) {
        core.body::<Self>().lock.sweep(dead);
    }

    fn wake(&self) {
        self.lock.wake();
    }
}

/// Bytes behind a lock.
#[derive(Clone, Debug)]
pub struct LockedBytes(Segment<Locked>);

on_segment!(LockedBytes);

impl LockedBytes {
    /// Makes `length` zeros whose lock nobody holds.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new(length: usize) -> Result<Self, SegmentError> {
        Segment::create(length).map(Self)
    }

    /// Takes the lock, at most until `deadline`; `None` when that has passed.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when the other participants cannot be watched.
    pub fn acquire(&self, deadline: Option<Instant>) -> Result<Option<Acquired>, SegmentError> {
        self.0.body().lock.acquire(&self.0.core, deadline)
    }

    /// Takes the lock if that is possible now.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<Acquired>, SegmentError> {
        self.0.body().lock.try_acquire(&self.0.core)
    }

    /// Gives the lock up.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] when nobody holds it.
    pub fn release(&self) -> Result<(), NotHeld> {
        self.0.body().lock.release()
    }

    /// Gives the lock up if this process holds it, and does nothing else.
    pub fn release_own(&self) {
        if let Ok(me) = self.0.core.me() {
            let _ = self.0.body().lock.release_own(me);
        }
    }

    /// Returns where the bytes are, aligned to 64, and how many: mapped for as long as `self` is.
    #[must_use]
    pub fn bytes(&self) -> (NonNull<u8>, usize) {
        self.0.tail()
    }
}

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Bare {
    nothing: AtomicU64,
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Bare {
    const KIND: u32 = 8;

    fn sweep(_: &Core, _: Participant) {}

    fn wake(&self) {}
}

/// Bytes that everybody may read and write at any time.
#[derive(Clone, Debug)]
pub struct Bytes(Segment<Bare>);

on_segment!(Bytes);

impl Bytes {
    /// Makes `length` zeros.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new(length: usize) -> Result<Self, SegmentError> {
        Segment::create(length).map(Self)
    }

    /// Returns where the bytes are, aligned to 64, and how many: mapped for as long as `self` is.
    #[must_use]
    pub fn bytes(&self) -> (NonNull<u8>, usize) {
        self.0.tail()
    }
}
