//! A semaphore whose permits come back when their holder dies.
//!
//! # Layout
//!
//! ```text
//! state:   63     32 31    23 22 21 20       0      held[place]:  63      32 31      0
//!         | value   | place  | op  | sequence |                   | sequence | count   |
//!
//! limit │ dead │ initial │ gate │ hunger (see `hunger`)
//! ```
//!
//! # Protocol
//!
//! One compare-exchange on `state` changes the value *and* says who did what: `place` has taken a
//! permit, has given one, or has had all of its own returned. Its count is brought up to date
//! afterwards, by whoever comes next if it dies before: nobody changes `state` before the step that
//! stands there has been settled.
//!
//! A step is settled once: its sequence number is one more than that of the place's count, and the
//! same after. A late helper that has read an old count finds another `state`, or fails to exchange
//! the count.
//!
//! The counts are of permits that a process has taken and not given. One that gives what another
//! has taken counts below zero. When a process dies, its count comes back, but never more than are
//! missing altogether: what another has given for it is not given twice. Every step changes value
//! and counts alike, so as many are missing as the value is below the initial one.
//!
//! A sweeper may be late: another has swept the same death, freed the place, and a newcomer counts
//! there. So it returns permits only by a step from a state that it read before it saw that the dead
//! one's place was not free yet. A newcomer has changed the state by the time it has a count.
//!
//! # Memory ordering
//!
//! Steps are Release on one word, read with Acquire: what a giver did before is seen by the next
//! taker, and so are the counts as of the step before. A step's number is never the same, so who
//! exchanges the word has read the very one that stands there.
//!
//! A count is published with Release by who settles it, and read with Acquire: a helper that finds a
//! later one finds a later `state`, too.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see | who repairs |
//! |---|---|---|
//! | holding permits | its count | the sweep returns them |
//! | between a step and its count | the step in `state` | the next one to come, or the sweep |
//! | between giving and opening the gate | a value, others asleep | the sweep opens the gate |
//! | in a sweep, between returning and `dead` | permits; nobody is told of the death | nobody |

use std::sync::Arc;
use std::time::Instant;

use crate::atomic::{AtomicU32, AtomicU64, Ordering, ordering};
use crate::gate::Gate;
use crate::hunger::Hunger;
use crate::lock::Acquired;
use crate::os::crash_point;
use crate::roster::{Number, PLACES, Participant, place_of};
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};

const SEQUENCE: u32 = (1 << 21) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    None,
    Take,
    Give,
    Return,
}

#[derive(Clone, Copy, Debug)]
struct State {
    value: u32,
    place: usize,
    op: Op,
    sequence: u32,
}

impl State {
    fn from_word(word: u64) -> Self {
        let low = word as u32;
        let op = match low >> 21 & 3 {
            0 => Op::None,
            1 => Op::Take,
            2 => Op::Give,
            _ => Op::Return,
        };
        // Nine bits are a place, whatever they are.
        Self {
            value: (word >> 32) as u32,
            place: (low >> 23) as usize % PLACES,
            op,
            sequence: low & SEQUENCE,
        }
    }

    fn word(self) -> u64 {
        let low = (self.place as u32) << 23 | (self.op as u32) << 21 | self.sequence;
        u64::from(self.value) << 32 | u64::from(low)
    }
}

/// How many permits a process has, as its word says.
#[derive(Clone, Copy, Debug)]
struct Held {
    sequence: u32,
    count: i32,
}

impl Held {
    fn from_word(word: u64) -> Self {
        Self { sequence: (word >> 32) as u32 & SEQUENCE, count: (word as u32).cast_signed() }
    }

    fn word(self) -> u64 {
        u64::from(self.sequence) << 32 | u64::from(self.count.cast_unsigned())
    }
}

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    state: AtomicU64,
    /// The most that the value may be by giving.
    limit: AtomicU32,
    /// The process whose death the next taker is to be told; 0 for none.
    dead: AtomicU32,
    /// The value before anybody took or gave any.
    initial: AtomicU32,
    gate: Gate,
    hunger: Hunger,
    held: [AtomicU64; PLACES],
}

/// The value cannot be higher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overflow {
    /// The most that it can be.
    pub limit: u32,
}

impl Words {
    /// Reads the state, and brings the count of its last step up to date.
    fn settled(&self) -> (u64, State) {
        loop {
            let word = self.state.load(ordering!("semaphore.state", Acquire));
            let state = State::from_word(word);
            if state.op == Op::None {
                return (word, state);
            }
            let held_word = self.held[state.place].load(ordering!("semaphore.held", Acquire));
            let held = Held::from_word(held_word);
            if held.sequence == state.sequence {
                return (word, state);
            }
            // ORDERING: a later count was read with Acquire, so the state is seen to be later, too.
            if self.state.load(Ordering::Relaxed) != word {
                continue; // settled by whoever has changed it
            }
            let count = match state.op {
                Op::Take => held.count.saturating_add(1),
                Op::Give => held.count.saturating_sub(1),
                Op::Return | Op::None => 0,
            };
            let new = Held { sequence: state.sequence, count }.word();
            // If it fails, another has done just this.
            let _ = self.held[state.place].compare_exchange(
                held_word,
                new,
                ordering!("semaphore.settle", Release),
                Ordering::Relaxed,
            );
            return (word, state);
        }
    }

    /// Makes one step in the name of `place`, if `change` of the value says that it is possible.
    fn step<E>(
        &self,
        place: usize,
        op: Op,
        change: impl Fn(u32) -> Result<u32, E>,
    ) -> Result<(), E> {
        loop {
            let (word, state) = self.settled();
            // ORDERING: settled before the step that has just been read with Acquire.
            let held = Held::from_word(self.held[place].load(Ordering::Relaxed));
            let value = change(state.value)?;
            let sequence = held.sequence.wrapping_add(1) & SEQUENCE;
            let next = State { value, place, op, sequence }.word();
            let done = self.state.compare_exchange(
                word,
                next,
                ordering!("semaphore.step", Release),
                Ordering::Relaxed,
            );
            if done.is_ok() {
                // CRASH (semaphore.step.taken): the count is behind; whoever comes next settles it.
                crash_point!("semaphore.step.taken");
                self.settled();
                return Ok(());
            }
        }
    }

    fn take(&self, me: Number) -> Option<Acquired> {
        self.step(place_of(me), Op::Take, |value| value.checked_sub(1).ok_or(())).ok()?;
        if self.dead.load(Ordering::Relaxed) != 0 {
            let pid = self.dead.swap(0, Ordering::AcqRel);
            if pid != 0 {
                return Some(Acquired::FromDead { pid });
            }
        }
        Some(Acquired::Free)
    }

    /// Returns what a dead participant had, as long as `takes_part` says that its place is its own.
    fn return_of(&self, dead: Participant, takes_part: impl Fn() -> bool) {
        let place = place_of(dead.number);
        loop {
            let (word, state) = self.settled();
            let held = Held::from_word(self.held[place].load(Ordering::Acquire));
            // After the look at the state, as the module says.
            if held.count == 0 || !takes_part() {
                return;
            }
            let missing = self.initial.load(Ordering::Relaxed).saturating_sub(state.value);
            let back = u32::try_from(held.count).unwrap_or(0).min(missing);
            let value = state.value.saturating_add(back);
            let sequence = held.sequence.wrapping_add(1) & SEQUENCE;
            let next = State { value, place, op: Op::Return, sequence }.word();
            let done =
                self.state.compare_exchange(word, next, Ordering::Release, Ordering::Relaxed);
            if done.is_ok() {
                // CRASH (semaphore.sweep.returned): as `semaphore.step.taken`.
                crash_point!("semaphore.sweep.returned");
                self.settled();
                if back > 0 {
                    self.dead.store(dead.pid, Ordering::Release);
                }
                return;
            }
        }
    }
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 6;

    fn sweep(core: &Core, dead: Participant) {
        core.body::<Self>().return_of(dead, || core.takes_part(dead.number));
    }

    fn wake(&self) {
        self.gate.open_all();
    }
}

/// A semaphore on a segment of its own.
#[derive(Clone, Debug)]
pub struct Semaphore(Segment<Words>);

on_segment!(Semaphore);

impl Semaphore {
    /// Makes a semaphore with `value` permits, of which there are never more than `limit`.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new(value: u32, limit: u32) -> Result<Self, SegmentError> {
        let segment: Segment<Words> = Segment::create(0)?;
        let words = segment.body();
        words.limit.store(limit, Ordering::Relaxed);
        words.initial.store(value, Ordering::Relaxed);
        let state = State { value, place: 0, op: Op::None, sequence: 0 };
        words.state.store(state.word(), Ordering::Release);
        Ok(Self(segment))
    }

    fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    /// Takes a permit, at most until `deadline`; `None` when that has passed.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when the other participants cannot be watched.
    pub fn acquire(&self, deadline: Option<Instant>) -> Result<Option<Acquired>, SegmentError> {
        let (words, me) = (self.0.body(), self.core().me()?);
        let is_free = || self.value() > 0;
        words.hunger.block(self.core(), &words.gate, deadline, is_free, |_| Ok(words.take(me)))
    }

    /// Takes a permit if one is there, in a few instructions; `None` when that takes more.
    pub fn acquire_at_once(&self) -> Option<Acquired> {
        let words = self.0.body();
        if words.hunger.is_felt() {
            return None;
        }
        self.core().me().ok().and_then(|me| words.take(me))
    }

    /// Takes a permit if one is there, also one that comes back from a process that has died.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<Acquired>, SegmentError> {
        let (words, me) = (self.0.body(), self.core().me()?);
        if let Some(acquired) = words.take(me) {
            return Ok(Some(acquired));
        }
        self.core().sweep_dead();
        Ok(words.take(me))
    }

    /// Gives a permit, taken by this process or by another.
    ///
    /// # Errors
    ///
    /// [`Overflow`] when there are as many as there may be.
    pub fn release(&self) -> Result<(), Overflow> {
        let words = self.0.body();
        let limit = words.limit.load(Ordering::Relaxed);
        let give = |value: u32| {
            value.checked_add(1).filter(|value| *value <= limit).ok_or(Overflow { limit })
        };
        // A process that cannot take part has no place in which to count; nor can it have taken.
        let me = self.core().me().map_err(|_| Overflow { limit })?;
        words.step(place_of(me), Op::Give, give)?;
        // CRASH (semaphore.release.given): a permit, and others asleep; the sweep opens the gate.
        crash_point!("semaphore.release.given");
        words.gate.open(1);
        Ok(())
    }

    /// Returns how many permits are there now.
    #[must_use]
    pub fn value(&self) -> u32 {
        State::from_word(self.0.body().state.load(Ordering::Acquire)).value
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::watch::Watched;

    #[test]
    fn words_come_back() {
        for op in [Op::None, Op::Take, Op::Give, Op::Return] {
            let state = State { value: u32::MAX, place: 511, op, sequence: SEQUENCE };
            let back = State::from_word(state.word());
            assert_eq!((back.value, back.place, back.sequence), (u32::MAX, 511, SEQUENCE));
            assert_eq!(back.op, op);
        }
        let held = Held::from_word(Held { sequence: 5, count: -3 }.word());
        assert_eq!((held.sequence, held.count), (5, -3));
    }

    #[test]
    fn permits_are_counted_and_end() {
        let semaphore = Semaphore::new(2, 2).expect("semaphore");
        assert_eq!(semaphore.try_acquire().expect("take"), Some(Acquired::Free));
        assert_eq!(semaphore.try_acquire().expect("take"), Some(Acquired::Free));
        assert_eq!(semaphore.try_acquire().expect("take"), None);
        assert_eq!(semaphore.value(), 0);
        assert_eq!(semaphore.release(), Ok(()));
        assert_eq!(semaphore.release(), Ok(()));
        assert_eq!(semaphore.release(), Err(Overflow { limit: 2 }));
    }

    #[test]
    fn a_late_sweeper_takes_nothing_from_a_newcomer() {
        let semaphore = Semaphore::new(3, u32::MAX).expect("semaphore");
        let (words, roster) = (semaphore.0.body(), semaphore.core().roster());
        let namespace = procession_sys::process::namespace().expect("proc");
        let join = || roster.join(1, 1, namespace).expect("a place");
        let number = join();
        let dead = roster.find(number).expect("it takes part");
        assert!(words.take(number).is_some());
        <Words as Body>::sweep(semaphore.core(), dead);
        assert_eq!(semaphore.value(), 3);
        roster.free(number);
        let newcomer = join();
        assert_eq!(place_of(newcomer), place_of(number));
        assert_eq!(words.take(newcomer), Some(Acquired::FromDead { pid: 1 }));
        // Another process has seen the same death, and comes only now.
        <Words as Body>::sweep(semaphore.core(), dead);
        assert_eq!(semaphore.value(), 2, "the newcomer has its permit");
    }

    #[test]
    fn what_others_have_given_does_not_come_back() {
        let semaphore = Semaphore::new(0, u32::MAX).expect("semaphore");
        let (words, roster) = (semaphore.0.body(), semaphore.core().roster());
        let namespace = procession_sys::process::namespace().expect("proc");
        let taker = roster.join(1, 1, namespace).expect("a place");
        for _ in 0..10 {
            semaphore.release().expect("room");
            assert!(words.take(taker).is_some());
        }
        <Words as Body>::sweep(semaphore.core(), roster.find(taker).expect("it takes part"));
        assert_eq!(semaphore.value(), 0, "there was none to begin with");
    }

    #[test]
    fn threads_share_permits() {
        let semaphore = Semaphore::new(3, u32::MAX).expect("semaphore");
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        let _ = semaphore.acquire(None).expect("take").expect("no deadline");
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 3);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        semaphore.release().expect("give");
                    }
                });
            }
        });
        assert_eq!(semaphore.value(), 3);
    }
}

#[cfg(all(test, loom))]
mod model;
