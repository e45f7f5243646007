//! A lock that survives its holder.
//!
//! # Layout
//!
//! ```text
//! word:  31          30     29  28            0
//!       | contended | died |   | holder number |
//!
//! gate (see `gate`) │ dead: the process that died with it last │ hunger (see `hunger`)
//! ```
//!
//! # States
//!
//! ```text
//!            acquire                       release, nobody waits
//!   free ─────────────► held(n) ◄────────────────────────────────┐
//!    ▲                    │ a second one comes                   │
//!    │ release            ▼                                      │
//!    └──────────── held(n), contended ──► free, gate opened ─────┘
//!                         │ n is dead, or has left: sweep
//!                         ▼
//!                        died ──acquire──► held(m), and m is told
//! ```
//!
//! # Memory ordering
//!
//! Taking the word is Acquire and giving it up is Release: what a holder has written is seen by the
//! next. The sweep of a dead holder is Release, so that what the dead one had written until its death
//! is seen as well.
//!
//! Taking it is Release, too, and a look at a holder is Acquire: whoever reads a number here sees
//! its claim on the roster. Without one the lock would be taken away from a live newcomer.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see | who repairs |
//! |---|---|---|
//! | holding | held(dead) | the sweep: died, gate opened; also a newcomer that finds it so |
//! | between free and opening the gate | free, others asleep | the sweep opens the gate |
//! | woken, before it took the word | free, others asleep | the same |
//! | asleep | contended without need | the next release opens a gate where nobody is |

use std::time::Instant;

use crate::atomic::{AtomicU32, Ordering, ordering};
use crate::gate::Gate;
use crate::hunger::Hunger;
use crate::os::crash_point;
use crate::roster::{Number, Participant};
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};
use crate::wait::Attempt;

const CONTENDED: u32 = 1 << 31;
const DIED: u32 = 1 << 30;
const HOLDER: u32 = (1 << 29) - 1;

/// The words of a lock, for whatever has one inside.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct LockWords {
    word: AtomicU32,
    gate: Gate,
    /// The process whose death the next holder is to be told.
    dead: AtomicU32,
    hunger: Hunger,
}

/// That the lock was taken, and from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Acquired {
    /// From nobody.
    Free,
    /// From a process that died while it held it: what the lock guards may be half-changed.
    FromDead {
        /// The process.
        pid: u32,
    },
}

/// The lock was not held by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotHeld;

impl LockWords {
    /// One step towards taking it. With `contend`, whoever holds it will wake sleepers.
    fn attempt(
        &self,
        core: &std::sync::Arc<Core>,
        me: Number,
        contend: bool,
    ) -> Result<Option<Acquired>, SegmentError> {
        loop {
            // ORDERING: Acquire pairs with the Release of who took it: its claim on the roster.
            let word = self.word.load(Ordering::Acquire);
            let holder = word & HOLDER;
            if holder == 0 {
                let taken = me | if contend { CONTENDED } else { word & CONTENDED };
                // ORDERING: Acquire pairs with the Release in `release`: the last holder's writes, which
                // may be another one's than when the word was loaded. Release, as the module says.
                let exchanged = self.word.compare_exchange_weak(
                    word,
                    taken,
                    ordering!("lock.take", AcqRel),
                    Ordering::Relaxed,
                );
                if exchanged.is_err() {
                    continue;
                }
                // CRASH (lock.acquire.taken): held by a dead one; the sweep frees it.
                crash_point!("lock.acquire.taken");
                let died = word & DIED != 0;
                let pid = self.dead.load(Ordering::Relaxed);
                return Ok(Some(if died { Acquired::FromDead { pid } } else { Acquired::Free }));
            }
            if !contend {
                return Ok(None);
            }
            if !core.takes_part(holder) {
                // Nobody has this number: its process has left, or was swept, or the word is garbage.
                self.free_from(holder, 0);
                continue;
            }
            if word & CONTENDED != 0 {
                return Ok(None);
            }
            let marked = word | CONTENDED;
            // ORDERING: the mark guards nothing; who sleeps has a ticket from before it.
            let exchanged =
                self.word.compare_exchange_weak(word, marked, Ordering::Relaxed, Ordering::Relaxed);
            if exchanged.is_ok() {
                return Ok(None);
            }
        }
    }

    /// Takes the lock, at most until `deadline`; `None` when that has passed.
    #[inline]
    pub(crate) fn acquire(
        &self,
        core: &std::sync::Arc<Core>,
        deadline: Option<Instant>,
    ) -> Result<Option<Acquired>, SegmentError> {
        let me = core.me()?;
        if self.acquire_at_once(me) {
            return Ok(Some(Acquired::Free));
        }
        self.acquire_in_time(core, me, deadline)
    }

    /// Takes the lock when it is not to be had at once.
    #[cold]
    pub(crate) fn acquire_in_time(
        &self,
        core: &std::sync::Arc<Core>,
        me: Number,
        deadline: Option<Instant>,
    ) -> Result<Option<Acquired>, SegmentError> {
        let is_free = || !self.is_held();
        self.hunger.block(core, &self.gate, deadline, is_free, |attempt| {
            self.attempt(core, me, attempt == Attempt::Sleeping)
        })
    }

    /// Takes the lock if it is free, nobody died with it and nobody has waited long for it; looks at
    /// nothing else.
    #[inline]
    pub(crate) fn acquire_at_once(&self, me: Number) -> bool {
        if self.hunger.is_felt() {
            return false;
        }
        // ORDERING: as in `attempt`.
        let order = ordering!("lock.fast", AcqRel);
        let taken = self.word.compare_exchange(0, me, order, Ordering::Relaxed).is_ok();
        if taken {
            crash_point!("lock.acquire.fast");
        }
        taken
    }

    /// Takes the lock if that is possible now.
    pub(crate) fn try_acquire(
        &self,
        core: &std::sync::Arc<Core>,
    ) -> Result<Option<Acquired>, SegmentError> {
        let me = core.me()?;
        loop {
            if let Some(acquired) = self.attempt(core, me, false)? {
                return Ok(Some(acquired));
            }
            // ORDERING: Acquire, as in `attempt`.
            let holder = self.word.load(Ordering::Acquire) & HOLDER;
            if holder == 0 {
                continue;
            }
            if !core.is_gone(holder) {
                return Ok(None);
            }
            self.free_from(holder, 0);
        }
    }

    /// Gives the lock up, whoever holds it.
    #[inline]
    pub(crate) fn release(&self) -> Result<(), NotHeld> {
        self.release_if(|_| true)
    }

    /// Gives the lock up if this process holds it.
    #[inline]
    pub(crate) fn release_own(&self, me: Number) -> Result<(), NotHeld> {
        self.release_if(|holder| holder == me)
    }

    #[inline]
    fn release_if(&self, may: impl Fn(Number) -> bool) -> Result<(), NotHeld> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let holder = word & HOLDER;
            if holder == 0 || !may(holder) {
                return Err(NotHeld);
            }
            // ORDERING: Release pairs with the Acquire in `attempt`.
            let freed = self.word.compare_exchange_weak(
                word,
                0,
                ordering!("lock.release", Release),
                Ordering::Relaxed,
            );
            match freed {
                Ok(_) => break,
                Err(other) => word = other,
            }
        }
        if word & CONTENDED != 0 {
            // CRASH (lock.release.freed): free, and others sleep; the sweep opens the gate.
            crash_point!("lock.release.freed");
            self.gate.open(1);
        }
        Ok(())
    }

    /// Takes the lock away from a participant that is no more, which was the process `pid`.
    fn free_from(&self, holder: Number, pid: u32) {
        let word = self.word.load(Ordering::Relaxed);
        if word & HOLDER == holder {
            if pid != 0 {
                self.dead.store(pid, Ordering::Relaxed);
            }
            // ORDERING: Release: what the dead one wrote is passed on to the next. It was before the
            // system told of the death, or before the sweep that freed its place.
            // If it fails, another has freed it, and perhaps a third has taken it.
            let _ = self.word.compare_exchange(
                word,
                DIED | (word & CONTENDED),
                ordering!("lock.sweep", Release),
                Ordering::Relaxed,
            );
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        self.word.load(Ordering::Relaxed) & HOLDER != 0
    }

    /// Tells whether this process is the one that holds it.
    pub(crate) fn is_held_by(&self, me: Number) -> bool {
        self.word.load(Ordering::Relaxed) & HOLDER == me
    }

    pub(crate) fn sweep(&self, dead: Participant) {
        self.free_from(dead.number, dead.pid);
    }

    pub(crate) fn wake(&self) {
        self.gate.open_all();
    }
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for LockWords {
    const KIND: u32 = 1;

    fn sweep(core: &Core, dead: Participant) {
        core.body::<Self>().sweep(dead);
    }

    fn wake(&self) {
        self.wake();
    }
}

/// A lock on a segment of its own.
#[derive(Clone, Debug)]
pub struct Lock(Segment<LockWords>);

on_segment!(Lock);

impl Lock {
    /// Makes a lock that nobody holds.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, SegmentError> {
        Segment::create(0).map(Self)
    }

    /// Takes the lock, at most until `deadline`; `None` when that has passed.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when the other participants cannot be watched.
    pub fn acquire(&self, deadline: Option<Instant>) -> Result<Option<Acquired>, SegmentError> {
        self.0.body().acquire(&self.0.core, deadline)
    }

    /// Takes the lock if that is possible now.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<Acquired>, SegmentError> {
        self.0.body().try_acquire(&self.0.core)
    }

    /// Takes the lock if it is free, in a few instructions; false when that takes more.
    #[must_use]
    pub fn acquire_at_once(&self) -> bool {
        self.0.core.me().is_ok_and(|me| self.0.body().acquire_at_once(me))
    }

    /// Gives the lock up, whoever holds it.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] when nobody does.
    pub fn release(&self) -> Result<(), NotHeld> {
        self.0.body().release()
    }

    /// Gives the lock up if this process holds it, and does nothing else.
    pub fn release_own(&self) {
        if let Ok(me) = self.0.core.me() {
            // In a forked copy, or after somebody else has released it: not ours to give up.
            let _ = self.0.body().release_own(me);
        }
    }

    /// Tells whether somebody holds it.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.body().is_held()
    }

    /// Tells whether this process holds it.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.0.core.me().is_ok_and(|me| self.0.body().is_held_by(me))
    }

    #[cfg(test)]
    pub(crate) fn hunger(&self) -> &Hunger {
        &self.0.body().hunger
    }

    #[cfg(test)]
    pub(crate) fn wake(&self) {
        self.0.body().wake();
    }
}

#[cfg(all(test, loom))]
mod model;
