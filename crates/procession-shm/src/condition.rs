//! A condition: processes that hold its lock wait until another says that something has changed.
//!
//! # Layout
//!
//! ```text
//! lock (see `lock`) │ gate (see `gate`) │ queue │ arrivals │ passing[place] │ asleep[place]
//!
//! queue:  63     48 47     32 31        0
//!        | waiting | permits | turn      |
//! ```
//!
//! A notification adds permits, at most as many as there are waiters, and begins the next turn. A
//! waiter passes when there is a permit and the turn is another one than when it came: who comes
//! later cannot take what was meant for others.
//!
//! But it can take the wake-up, by falling asleep before it was given. `arrivals` counts those who
//! have come; who notifies and sees that somebody has, meanwhile, wakes all.
//!
//! `passing` is how many threads of a process are between the look for a permit and the lock: if it
//! dies then, what it was told may be lost, and as many others are told. `asleep` is how many of its
//! threads count in `waiting` for certain: if it dies, they do not any more.
//!
//! [`Waiters`] is the same without the lock, for a caller that brings another one.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see | who repairs |
//! |---|---|---|
//! | holding the lock | as for the lock | as for the lock |
//! | notified, before it has the lock again | a permit is gone, the others sleep on | the sweep lets another pass |
//! | asleep | `waiting` is one too many | the sweep |
//! | between `asleep` and the queue | `waiting` is one too many for good: a later notification gives a permit that nobody needs, and with the next one somebody passes for nothing | nobody has to |
//! | between the queue and the gate | permits, and all asleep | the sweep opens the gate |

use std::sync::Arc;
use std::time::Instant;

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence, ordering};
use crate::gate::Gate;
use crate::lock::{Acquired, LockWords, NotHeld};
use crate::os::crash_point;
use crate::roster::{OwnCount, PLACES, Participant, place_of};
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};
use crate::wait::block;

/// No more than these wait at once.
const MOST: u64 = u16::MAX as u64;

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    lock: LockWords,
    waiters: WaitersWords,
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 4;

    fn sweep(core: &Core, dead: Participant) {
        let words = core.body::<Self>();
        words.lock.sweep(dead);
        words.waiters.sweep(dead);
    }

    fn wake(&self) {
        self.lock.wake();
        self.waiters.gate.open_all();
    }
}

/// All but the lock.
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct WaitersWords {
    gate: Gate,
    queue: AtomicU64,
    arrivals: AtomicU32,
    passing: [OwnCount; PLACES],
    asleep: [OwnCount; PLACES],
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for WaitersWords {
    const KIND: u32 = 11;

    fn sweep(core: &Core, dead: Participant) {
        core.body::<Self>().sweep(dead);
    }

    fn wake(&self) {
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
    /// A [`ConditionError`]; after [`Segment`](ConditionError::Segment) the lock may not be held.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<(bool, Acquired), ConditionError> {
        let (words, me) = (self.0.body(), self.0.core.me()?);
        if !words.lock.is_held_by(me) {
            return Err(ConditionError::NotHeld);
        }
        let release = || words.lock.release_own(me).is_ok();
        let acquire = || words.lock.acquire(&self.0.core, None);
        let (passed, acquired) = words.waiters.wait(&self.0.core, deadline, release, acquire)?;
        Ok((passed, acquired.unwrap_or(Acquired::Free))) // without a deadline it is always `Some`
    }

    /// Wakes at most `count` of those who wait.
    pub fn notify(&self, count: usize) {
        self.0.core.attend();
        self.0.body().waiters.notify(count);
    }
}

/// A condition without a lock of its own, on a segment of its own.
#[derive(Clone, Debug)]
pub struct Waiters(Segment<WaitersWords>);

on_segment!(Waiters);

impl Waiters {
    /// Makes a condition that nobody waits for.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, SegmentError> {
        Segment::create(0).map(Self)
    }

    /// Calls `release`, which gives the caller's lock up and says whether it was held, waits to be
    /// notified, at most until `deadline`, and calls `acquire`, which takes the lock again.
    ///
    /// Returns whether it was notified before the deadline, and what `acquire` has returned, which
    /// is called also when the wait is given up.
    ///
    /// # Errors
    ///
    /// A [`ConditionError`].
    pub fn wait<T>(
        &self,
        deadline: Option<Instant>,
        release: impl FnOnce() -> bool,
        acquire: impl FnOnce() -> Result<T, SegmentError>,
    ) -> Result<(bool, T), ConditionError> {
        self.0.body().wait(&self.0.core, deadline, release, acquire)
    }

    /// Wakes at most `count` of those who wait.
    pub fn notify(&self, count: usize) {
        self.0.core.attend();
        self.0.body().notify(count);
    }

    /// Returns how many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        Queue::from_word(self.0.body().queue.load(Ordering::Acquire)).waiting.into()
    }
}

/// The word `queue`, taken apart.
#[derive(Clone, Copy, Debug)]
struct Queue {
    waiting: u16,
    permits: u16,
    turn: u32,
}

impl Queue {
    fn from_word(word: u64) -> Self {
        Self { waiting: (word >> 48) as u16, permits: (word >> 32) as u16, turn: word as u32 }
    }

    fn word(self) -> u64 {
        u64::from(self.waiting) << 48 | u64::from(self.permits) << 32 | u64::from(self.turn)
    }

    /// One more waits, if there are numbers for so many.
    fn enter(self) -> Option<Self> {
        Some(Self { waiting: self.waiting.checked_add(1)?, ..self })
    }

    /// Tells whether one may pass that came in turn `came`.
    fn may_pass(self, came: u32) -> bool {
        self.permits > 0 && self.turn != came
    }

    /// One passes that came in turn `came`, if it may.
    fn pass(self, came: u32) -> Option<Self> {
        let (permits, waiting) = (self.permits.checked_sub(1)?, self.waiting.saturating_sub(1));
        self.may_pass(came).then_some(Self { permits, waiting, ..self })
    }

    /// One waits no longer, and has not passed.
    fn leave(self) -> Self {
        let waiting = self.waiting.saturating_sub(1);
        Self { waiting, permits: self.permits.min(waiting), ..self }
    }

    fn notify(self, count: usize) -> Self {
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let permits = self.permits.saturating_add(count).min(self.waiting);
        let begins = count > 0 && self.waiting > 0;
        Self { permits, turn: self.turn.wrapping_add(u32::from(begins)), ..self }
    }
}

impl WaitersWords {
    fn sweep(&self, dead: Participant) {
        for _ in 0..self.asleep[place_of(dead.number)].take(dead.number).min(MOST) {
            self.change(|queue| Some(queue.leave()));
        }
        // It has said so before it took the permit; perhaps there was none. A spare wake is fine.
        let passing = self.passing[place_of(dead.number)].take(dead.number);
        if passing > 0 {
            let passing = usize::try_from(passing).unwrap_or(usize::MAX);
            self.change(|queue| Some(queue.notify(passing)));
        }
    }

    fn wait<T>(
        &self,
        core: &Arc<Core>,
        deadline: Option<Instant>,
        release: impl FnOnce() -> bool,
        acquire: impl FnOnce() -> Result<T, SegmentError>,
    ) -> Result<(bool, T), ConditionError> {
        let me = core.me()?;
        let Some(before) = self.change(Queue::enter) else { return Err(ConditionError::Full) };
        // ORDERING: after the entry and before the sleep, as `notify` reads it the other way round.
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        if !release() {
            self.change(|queue| Some(queue.leave()));
            return Err(ConditionError::NotHeld);
        }
        let (passing, asleep) = (&self.passing[place_of(me)], &self.asleep[place_of(me)]);
        // It is in the queue for certain from before `more` to after `less`, and not the other way
        // round: a sweep that took out one too many would take what a living one was told.
        asleep.more(me);
        // CRASH (condition.wait.released): it holds nothing; the sweep takes it out of the queue.
        crash_point!("condition.wait.released");
        let passed = block(core, &self.gate, deadline, |_| {
            let queue = Queue::from_word(self.queue.load(Ordering::Acquire));
            if !queue.may_pass(before.turn) {
                return Ok(None);
            }
            // Before the permit is gone, for whoever sweeps.
            passing.more(me);
            asleep.less(me);
            let passed = self.change(|queue| queue.pass(before.turn));
            if passed.is_none() {
                asleep.more(me);
                passing.less(me);
            }
            Ok(passed)
        });
        let passed = passed.map(|passed| passed.is_some());
        if !matches!(passed, Ok(true)) {
            asleep.less(me);
            self.change(|queue| Some(queue.leave()));
        }
        // CRASH (condition.wait.passed): what it was told is lost; the sweep lets another pass.
        crash_point!("condition.wait.passed");
        let acquired = acquire();
        if matches!(passed, Ok(true)) {
            passing.less(me);
        }
        Ok((passed?, acquired?))
    }

    fn notify(&self, count: usize) {
        let arrivals = self.arrivals.load(Ordering::Acquire);
        let before = self.change(|queue| Some(queue.notify(count)));
        // CRASH (condition.notify.counted): others sleep; the sweep opens the gate.
        crash_point!("condition.notify.counted");
        if before.is_some_and(|queue| queue.waiting > 0) {
            self.gate.open(u32::try_from(count).unwrap_or(u32::MAX));
            // ORDERING: SeqCst: who was woken in another's place has counted itself before it slept.
            fence(Ordering::SeqCst);
            if self.arrivals.load(Ordering::Acquire) != arrivals {
                self.gate.open_all();
            }
        }
    }

    /// Changes the queue if `change` says how; returns what it was before.
    fn change(&self, change: impl Fn(Queue) -> Option<Queue>) -> Option<Queue> {
        let change = |word| change(Queue::from_word(word)).map(Queue::word);
        // ORDERING: Release: what the notifier did before is seen by who passes, lock or not.
        let changed = self.queue.fetch_update(
            ordering!("condition.queue", Release),
            Ordering::Acquire,
            change,
        );
        changed.ok().map(Queue::from_word)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::watch::Watched;

    #[test]
    fn a_notification_is_for_those_who_wait_already() {
        let empty = Queue::from_word(0);
        assert_eq!(empty.notify(3).permits, 0, "nobody waits");
        let one = empty.enter().expect("room");
        let notified = one.notify(1);
        let late = notified.enter().expect("room");
        assert!(late.pass(notified.turn).is_none(), "it came after the notification");
        let passed = late.pass(empty.turn).expect("it was there");
        assert_eq!((passed.waiting, passed.permits), (1, 0));
        assert!(passed.pass(notified.turn).is_none());
        assert_eq!(passed.notify(usize::MAX).leave().permits, 0, "it has gone meanwhile");
        let word = Queue { waiting: 1, permits: 2, turn: u32::MAX }.word();
        assert_eq!(Queue::from_word(word).word(), word);
    }

    #[test]
    fn the_dead_do_not_wait() {
        let condition = Condition::new().expect("condition");
        let (words, core) = (&condition.0.body().waiters, &condition.0.core);
        let namespace = procession_sys::process::namespace().expect("proc");
        let dead = core.roster().join(1, 1, namespace).expect("a place");
        words.change(Queue::enter).expect("room");
        words.change(Queue::enter).expect("room");
        words.asleep[place_of(dead)].more(dead);
        let dead = core.roster().find(dead).expect("it takes part");
        <Words as Body>::sweep(core, dead);
        <Words as Body>::sweep(core, dead);
        let queue = Queue::from_word(words.queue.load(Ordering::Acquire));
        assert_eq!(queue.waiting, 1, "the other one is alive");
    }

    #[test]
    fn who_waits_long_is_told_however_many_come_and_go() {
        let condition = Condition::new().expect("condition");
        let acquire = || condition.acquire(None).expect("lock").expect("no deadline");
        let word = || condition.0.body().waiters.queue.load(Ordering::Acquire);
        std::thread::scope(|scope| {
            let patient = scope.spawn(|| {
                let _ = acquire();
                let notified = condition.wait(None).expect("wait").0;
                condition.release().expect("held");
                notified
            });
            while Queue::from_word(word()).waiting == 0 {
                std::thread::yield_now();
            }
            let _ = acquire();
            for _ in 0..40_000 {
                assert!(!condition.wait(Some(Instant::now())).expect("wait").0);
            }
            condition.release().expect("held");
            condition.notify(1);
            assert!(patient.join().expect("it was told"));
        });
    }

    #[test]
    fn waiters_bring_a_lock_of_their_own() {
        let lock = crate::rlock::RLock::new().expect("lock");
        let waiters = Waiters::new().expect("waiters");
        let acquire = || lock.acquire(None);
        assert!(matches!(
            waiters.wait(None, || lock.release_all() > 0, acquire),
            Err(ConditionError::NotHeld)
        ));
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| {
                for _ in 0..3 {
                    assert!(matches!(acquire(), Ok(Some(Acquired::Free))));
                }
                let mut depth = 0;
                let release = || {
                    depth = lock.release_all();
                    depth > 0
                };
                let (passed, _) = waiters.wait(None, release, acquire).expect("wait");
                lock.deepen(depth);
                let depth = lock.depth();
                lock.release_all();
                (passed, depth, lock.depth())
            });
            while waiters.waiting() == 0 {
                std::thread::yield_now();
            }
            waiters.notify(1);
            assert_eq!(waiter.join().expect("waiter"), (true, 3, 0));
        });
    }
}

#[cfg(all(test, loom))]
mod model;
