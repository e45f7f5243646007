//! A condition: processes that hold its lock wait until another says that something has changed.
//!
//! # Layout
//!
//! ```text
//! lock (see `lock`) │ gate (see `gate`) │ queue │ passing[place]
//!
//! queue:  63     48 47     32 31    16 15     0
//!        | waiting | permits | total  | limit  |
//! ```
//!
//! A waiter gets the number `total`, which then grows. It passes when there is a permit and its
//! number is below `limit`. A notification adds permits, at most as many as there are waiters, and
//! moves `limit` up to `total`: who comes later cannot take what was meant for others.
//!
//! `passing` is how many threads of a process are between the look for a permit and the lock: if it
//! dies then, what it was told may be lost, and as many others are told.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see | who repairs |
//! |---|---|---|
//! | holding the lock | as for the lock | as for the lock |
//! | notified, before it has the lock again | a permit is gone, the others sleep on | the sweep lets another pass |
//! | asleep | `waiting` is one too many: a later notification gives a permit that nobody needs, and with the next one somebody passes for nothing | nobody has to |
//! | between the queue and the gate | permits, and all asleep | the sweep opens the gate |

use std::time::Instant;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::gate::Gate;
use crate::lock::{Acquired, LockWords, NotHeld};
use crate::os::crash_point;
use crate::roster::{PLACES, Participant, place_of};
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};
use crate::wait::block;

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    lock: LockWords,
    gate: Gate,
    queue: AtomicU64,
    passing: [AtomicU32; PLACES],
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 4;

    fn sweep(core: &Core, dead: Participant) {
        let words = core.body::<Self>();
        words.lock.sweep(dead);
        // It has said so before it took the permit; perhaps there was none. A spare wake is fine.
        let passing = words.passing[place_of(dead.number)].swap(0, Ordering::AcqRel);
        if passing > 0 {
            words.change(|queue| Some(queue.notify(passing as usize)));
        }
    }

    fn wake(&self) {
        self.lock.wake();
        self.gate.open_all();
    }
}

/// Why a wait did not begin, or could not end as it should.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConditionError {
    /// This process does not hold the lock.
    NotHeld,
    /// More wait already than can.
    Full,
    /// The other participants cannot be watched.
    Segment(SegmentError),
}

impl From<SegmentError> for ConditionError {
    fn from(error: SegmentError) -> Self {
        Self::Segment(error)
    }
}

/// A condition on a segment of its own.
#[derive(Clone, Debug)]
pub struct Condition(Segment<Words>);

on_segment!(Condition);

impl Condition {
    /// Makes a condition whose lock nobody holds.
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

    /// Gives the lock up, whoever holds it.
    ///
    /// # Errors
    ///
    /// [`NotHeld`] when nobody does.
    pub fn release(&self) -> Result<(), NotHeld> {
        self.0.body().lock.release()
    }

    /// Gives the lock up if this process holds it, and does nothing else.
    pub fn release_own(&self) {
        if let Ok(me) = self.0.core.me() {
            let _ = self.0.body().lock.release_own(me);
        }
    }

    /// Gives the lock up, waits to be notified, at most until `deadline`, and takes the lock again.
    ///
    /// Returns whether it was notified before the deadline, and from whom the lock was taken.
    ///
    /// # Errors
    ///
    /// A [`ConditionError`]; after [`Segment`](ConditionError::Segment) the lock is not held.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<(bool, Acquired), ConditionError> {
        let (words, me) = (self.0.body(), self.0.core.me()?);
        if !words.lock.is_held_by(me) {
            return Err(ConditionError::NotHeld);
        }
        let Some(before) = words.change(Queue::enter) else { return Err(ConditionError::Full) };
        let number = before.total;
        if words.lock.release_own(me).is_err() {
            words.change(|queue| Some(queue.leave()));
            return Err(ConditionError::NotHeld);
        }
        // CRASH (condition.wait.released): it holds nothing; it counts as a waiter for ever.
        crash_point!("condition.wait.released");
        let passing = &words.passing[place_of(me)];
        let passed = block(&self.0.core, &words.gate, deadline, |_| {
            let queue = Queue::from_word(words.queue.load(Ordering::Acquire));
            if !queue.may_pass(number) {
                return Ok(None);
            }
            // ORDERING: before the permit is gone, for whoever sweeps.
            passing.fetch_add(1, Ordering::AcqRel);
            let passed = words.change(|queue| queue.pass(number));
            if passed.is_none() {
                passing.fetch_sub(1, Ordering::AcqRel);
            }
            Ok(passed)
        });
        let passed = passed.map(|passed| passed.is_some());
        if !matches!(passed, Ok(true)) {
            words.change(|queue| Some(queue.leave()));
        }
        let passed = passed?;
        // CRASH (condition.wait.passed): what it was told is lost; the sweep lets another pass.
        crash_point!("condition.wait.passed");
        let acquired = words.lock.acquire(&self.0.core, None)?;
        if passed {
            passing.fetch_sub(1, Ordering::AcqRel);
        }
        Ok((passed, acquired.unwrap_or(Acquired::Free))) // without a deadline it is always `Some`
    }

    /// Wakes at most `count` of those who wait.
    pub fn notify(&self, count: usize) {
        let words = self.0.body();
        let before = words.change(|queue| Some(queue.notify(count)));
        // CRASH (condition.notify.counted): others sleep; the sweep opens the gate.
        crash_point!("condition.notify.counted");
        if before.is_some_and(|queue| queue.waiting > 0) {
            words.gate.open(u32::try_from(count).unwrap_or(u32::MAX));
        }
    }
}

/// The word `queue`, taken apart.
#[derive(Clone, Copy, Debug)]
struct Queue {
    waiting: u16,
    permits: u16,
    total: u16,
    limit: u16,
}

impl Queue {
    fn from_word(word: u64) -> Self {
        let part = |shift: u32| (word >> shift) as u16;
        Self { waiting: part(48), permits: part(32), total: part(16), limit: part(0) }
    }

    fn word(self) -> u64 {
        let part = |value: u16, shift: u32| u64::from(value) << shift;
        part(self.waiting, 48) | part(self.permits, 32) | part(self.total, 16) | part(self.limit, 0)
    }

    /// One more waits, if numbers can still be told from older ones then.
    fn enter(self) -> Option<Self> {
        let waiting = self.waiting.checked_add(1).filter(|waiting| *waiting < 1 << 14)?;
        Some(Self { waiting, total: self.total.wrapping_add(1), ..self })
    }

    fn may_pass(self, number: u16) -> bool {
        self.permits > 0 && number.wrapping_sub(self.limit).cast_signed() < 0
    }

    /// The waiter `number` passes, if it may.
    fn pass(self, number: u16) -> Option<Self> {
        let (permits, waiting) = (self.permits.checked_sub(1)?, self.waiting.saturating_sub(1));
        self.may_pass(number).then_some(Self { permits, waiting, ..self })
    }

    /// One waits no longer, and has not passed.
    fn leave(self) -> Self {
        let waiting = self.waiting.saturating_sub(1);
        Self { waiting, permits: self.permits.min(waiting), ..self }
    }

    fn notify(self, count: usize) -> Self {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let permits = self.permits.saturating_add(count).min(self.waiting);
        Self { permits, limit: self.total, ..self }
    }
}

impl Words {
    /// Changes the queue if `change` says how; returns what it was before.
    fn change(&self, change: impl Fn(Queue) -> Option<Queue>) -> Option<Queue> {
        let change = |word| change(Queue::from_word(word)).map(Queue::word);
        // ORDERING: AcqRel: what the notifier did before is seen by who passes, lock or not.
        let changed = self.queue.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
        changed.ok().map(Queue::from_word)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_notification_is_for_those_who_wait_already() {
        let empty = Queue::from_word(0);
        assert_eq!(empty.notify(3).permits, 0, "nobody waits");
        let one = empty.enter().expect("room");
        let notified = one.notify(1);
        let late = notified.enter().expect("room");
        assert!(late.pass(1).is_none(), "it came after the notification");
        let passed = late.pass(0).expect("it was there");
        assert_eq!((passed.waiting, passed.permits), (1, 0));
        assert!(passed.pass(1).is_none());
        assert_eq!(passed.notify(usize::MAX).leave().permits, 0, "it has gone meanwhile");
    }

    #[test]
    fn numbers_go_round() {
        let mut queue = Queue::from_word(0);
        for number in 0..200_000u32 {
            let waiting = queue.enter().expect("room");
            assert_eq!(u32::from(queue.total), number & 0xffff);
            assert!(waiting.pass(queue.total).is_none());
            queue = waiting.notify(1).pass(queue.total).expect("notified");
        }
    }
}
