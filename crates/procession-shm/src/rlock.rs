//! A lock that its holder can take again.
//!
//! # Layout
//!
//! ```text
//! lock (see `lock`) │ thread: number << 32 | thread │ count
//! ```
//!
//! `thread` and `count` are written by the holder alone. The number of the process stands beside
//! that of the thread so that what a dead holder has left there is nobody's.
//!
//! # Invariants
//!
//! 1. `thread` is this thread's only from after this thread took the lock until before it gives it
//!    up: another thread of this process that has just taken it is not mistaken for this one.
//!
//! # What a crash leaves behind
//!
//! As for the lock. A new holder writes both words anew.

use std::sync::Arc;
use std::time::Instant;

use crate::atomic::{AtomicU32, AtomicU64, Ordering, unmodelled};
use crate::lock::{Acquired, LockWords, NotHeld};
use crate::os::crash_point;
use crate::roster::{Number, Participant};
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    lock: LockWords,
    thread: AtomicU64,
    count: AtomicU32,
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 2;

    fn sweep(core: &Core, dead: Participant) {
        core.body::<Self>().lock.sweep(dead);
    }

    fn wake(&self) {
        self.lock.wake();
    }
}

/// A number that no other thread of this process has.
fn thread_number() -> u32 {
    static NEXT: unmodelled::AtomicU32 = unmodelled::AtomicU32::new(1);
    thread_local! {
        static NUMBER: u32 = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}

/// A reentrant lock on a segment of its own.
#[derive(Clone, Debug)]
pub struct RLock(Segment<Words>);

on_segment!(RLock);

impl RLock {
    /// Makes a lock that nobody holds.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, SegmentError> {
        Segment::create(0).map(Self)
    }

    /// Takes the lock, once more if this thread has it, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when the other participants cannot be watched.
    pub fn acquire(&self, deadline: Option<Instant>) -> Result<Option<Acquired>, SegmentError> {
        self.acquire_by(|lock, core| lock.acquire(core, deadline))
    }

    /// Takes the lock if that is possible now.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<Acquired>, SegmentError> {
        self.acquire_by(LockWords::try_acquire)
    }

    fn acquire_by(
        &self,
        acquire: impl FnOnce(&LockWords, &Arc<Core>) -> Result<Option<Acquired>, SegmentError>,
    ) -> Result<Option<Acquired>, SegmentError> {
        let (words, me) = (self.0.body(), self.0.core.me()?);
        if self.is_mine(me) {
            // Saturated, it is never given up: safer than one that is given up too early.
            let count = words.count.load(Ordering::Relaxed).saturating_add(1);
            words.count.store(count, Ordering::Relaxed);
            return Ok(Some(Acquired::Free));
        }
        let acquired = acquire(&words.lock, &self.0.core)?;
        if acquired.is_some() {
            // CRASH (rlock.acquire.taken): the lock is held by a dead one; the sweep frees it.
            crash_point!("rlock.acquire.taken");
            words.count.store(1, Ordering::Relaxed);
            words.thread.store(own(me), Ordering::Relaxed);
        }
        Ok(acquired)
    }

    /// Takes the lock if it is free or this thread's, in a few instructions; false when that takes
    /// more.
    #[must_use]
    pub fn acquire_at_once(&self) -> bool {
        let acquired = self.acquire_by(|lock, core| {
            let me = core.me()?;
            Ok(lock.acquire_at_once(me).then_some(Acquired::Free))
        });
        matches!(acquired, Ok(Some(_)))
    }

    /// How often this thread has taken it.
    #[must_use]
    pub fn depth(&self) -> u32 {
        let is_mine = self.0.core.me().is_ok_and(|me| self.is_mine(me));
        if is_mine { self.0.body().count.load(Ordering::Relaxed) } else { 0 }
    }

    /// Tells whether this process holds it, in whichever thread.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.core.me().is_ok_and(|me| self.0.body().lock.is_held_by(me))
    }

    /// Gives the lock up altogether, and returns how often this thread had taken it; 0 if it had
    /// not.
    pub fn release_all(&self) -> u32 {
        let depth = self.depth();
        if depth > 0 {
            self.0.body().count.store(1, Ordering::Relaxed);
            let _ = self.release(); // it is this thread's, as was just seen
        }
        depth
    }

    /// Makes it taken `depth` times by this thread, which has taken it once.
    pub fn deepen(&self, depth: u32) {
        if self.depth() > 0 {
            self.0.body().count.store(depth.max(1), Ordering::Relaxed);
        }
    }

    /// Gives the lock up once.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] when this thread does not have it.
    pub fn release(&self) -> Result<(), NotHeld> {
        let me = self.0.core.me().map_err(|_| NotHeld)?;
        if !self.is_mine(me) {
            return Err(NotHeld);
        }
        let words = self.0.body();
        match words.count.load(Ordering::Relaxed) {
            0 | 1 => {
                // Invariant 1: before the lock itself.
                words.thread.store(0, Ordering::Relaxed);
                words.lock.release_own(me)
            }
            u32::MAX => Ok(()),
            count => {
                words.count.store(count - 1, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// Tells whether somebody holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.body().lock.is_held()
    }

    fn is_mine(&self, me: Number) -> bool {
        let words = self.0.body();
        // ORDERING: a thread sees its own writes; those of others only have to be different.
        words.lock.is_held_by(me) && words.thread.load(Ordering::Relaxed) == own(me)
    }
}

fn own(me: Number) -> u64 {
    (u64::from(me) << 32) | u64::from(thread_number())
}
