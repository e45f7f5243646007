//! A barrier: processes wait until as many as it is for have come.
//!
//! # Layout
//!
//! ```text
//! state:  63          32 31      8 7      0         parties │ dead │ gate
//!        | generation   | history | flags  |
//! entry:  63          32 31               0         as many as there are parties, in the tail
//!        | generation   | number           |
//! ```
//!
//! One compare-exchange takes an entry and says who did. An entry counts only in the generation
//! that stands in it, so nobody has to clear them. Who takes the last one opens the next
//! generation. A bit of the history says, for each of the last 24 generations, whether it ended by
//! a reset instead.
//!
//! # States
//!
//! ```text
//!   generation g, i < n entries ──wait──► i + 1 … ──wait──► n ──► generation g + 1, 0 entries
//!             │ abort, a deadline, the death of one of the entries           ▲
//!             ▼                                                              │
//!   generation g, broken ─────────────────────── reset ──────────────────────┘
//! ```
//!
//! # What a crash leaves behind
//!
//! A party that dies after it took an entry, the last one too: the sweep breaks the generation, and
//! opens the gate. One that dies before it took an entry was never there.

use std::fmt;
use std::time::Instant;

use crate::atomic::{AtomicU32, AtomicU64, Ordering, ordering};
use crate::gate::Gate;
use crate::os::crash_point;
use crate::roster::{Number, Participant};
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};
use crate::wait::block;

const BROKEN: u64 = 1;
/// It was broken by the death of the process in `dead`, which says nothing without this.
const BY_DEATH: u64 = 2;
const HISTORY_SHIFT: u32 = 8;
const HISTORY_BITS: u32 = 24;

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    state: AtomicU64,
    parties: AtomicU32,
    /// The process whose death broke it, if `BY_DEATH` says so.
    dead: AtomicU32,
    gate: Gate,
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 5;

    fn sweep(core: &Core, dead: Participant) {
        let words = core.body::<Self>();
        let state = words.state.load(Ordering::Acquire);
        let entry = entry_of(generation(state), dead.number);
        if core.words::<Self>().iter().any(|word| word.load(Ordering::Acquire) == entry) {
            words.dead.store(dead.pid, Ordering::Relaxed);
            words.end(generation(state), |state| state | BROKEN | BY_DEATH);
        }
    }

    fn wake(&self) {
        self.gate.open_all();
    }
}

fn generation(state: u64) -> u32 {
    (state >> 32) as u32
}

fn entry_of(generation: u32, number: Number) -> u64 {
    (u64::from(generation) << 32) | u64::from(number)
}

/// How many generations may go by while one party looks for its entry: more than will. Words that
/// nobody wrote who follows the rules could send it round for ever.
const MOST_TURNS: usize = 100_000;

/// The state after a generation, which ended by a reset or not.
fn next(state: u64, reset: bool) -> u64 {
    let history = (state as u32 >> HISTORY_SHIFT) << 1 | u32::from(reset);
    let history = history & ((1 << HISTORY_BITS) - 1);
    (u64::from(generation(state).wrapping_add(1)) << 32) | (u64::from(history) << HISTORY_SHIFT)
}

/// How a generation has ended, judged by a later state.
fn ended_by_reset(state: u64, ended: u32) -> bool {
    let ago = generation(state).wrapping_sub(ended).wrapping_sub(1);
    ago < HISTORY_BITS && state >> (HISTORY_SHIFT + ago) & 1 != 0
}

impl Words {
    /// Changes the state, if `generation` is still the current one and not broken.
    fn end(&self, current: u32, change: impl Fn(u64) -> u64) -> bool {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            if generation(state) != current || state & BROKEN != 0 {
                return false;
            }
            // ORDERING: Release: what each party did before it came, which who comes here has read
            // with Acquire, is seen by all after it.
            let changed = self.state.compare_exchange_weak(
                state,
                change(state),
                ordering!("barrier.end", Release),
                Ordering::Acquire,
            );
            match changed {
                Ok(_) => return true,
                Err(other) => state = other,
            }
        }
    }
}

/// Why nobody passes.
#[derive(Debug)]
#[non_exhaustive]
pub enum BarrierError {
    /// The barrier is broken: aborted, reset, out of time, or one of the waiting parties is dead.
    Broken {
        /// The process whose death broke it, if that was it.
        dead: Option<u32>,
    },
    /// The other participants cannot be watched.
    Segment(SegmentError),
}

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken { dead: Some(pid) } => {
                write!(f, "the barrier is broken: process {pid} died while it waited there")
            }
            Self::Broken { dead: None } => f.write_str(
                "the barrier is broken: it was aborted or reset, or somebody waited too long",
            ),
            Self::Segment(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for BarrierError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Broken { .. } => None,
            Self::Segment(error) => error.source(),
        }
    }
}

impl From<SegmentError> for BarrierError {
    fn from(error: SegmentError) -> Self {
        Self::Segment(error)
    }
}

/// A barrier on a segment of its own.
#[derive(Clone, Debug)]
pub struct Barrier(Segment<Words>);

on_segment!(Barrier);

impl Barrier {
    /// Makes a barrier for `parties`, at least one.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new(parties: u32) -> Result<Self, SegmentError> {
        let segment: Segment<Words> = Segment::create(parties as usize * size_of::<AtomicU64>())?;
        let words = segment.body();
        words.parties.store(parties, Ordering::Relaxed);
        // Zeros are entries of generation 0.
        words.state.store(1 << 32, Ordering::Release);
        Ok(Self(segment))
    }

    /// Returns how many parties it is for.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> &[AtomicU64] {
        let entries = self.0.core.words::<Words>();
        let parties = self.0.body().parties.load(Ordering::Relaxed) as usize;
        &entries[..parties.min(entries.len())]
    }

    /// Waits until all parties have come, at most until `deadline`, which breaks the barrier.
    ///
    /// Returns which of them this one is.
    ///
    /// # Errors
    ///
    /// A [`BarrierError`].
    pub fn wait(&self, deadline: Option<Instant>) -> Result<usize, BarrierError> {
        self.wait_for(deadline, None)
    }

    /// As [`wait`](Self::wait); who comes last first runs `action`, which breaks the barrier if it
    /// returns false. All parties have to come with an action, or none.
    ///
    /// # Errors
    ///
    /// A [`BarrierError`].
    pub fn wait_with(
        &self,
        deadline: Option<Instant>,
        action: &mut dyn FnMut() -> bool,
    ) -> Result<usize, BarrierError> {
        self.wait_for(deadline, Some(action))
    }

    fn wait_for(
        &self,
        deadline: Option<Instant>,
        action: Option<&mut dyn FnMut() -> bool>,
    ) -> Result<usize, BarrierError> {
        let (words, entries) = (self.0.body(), self.entries());
        let me = self.0.core.me()?;
        let mut turns = 0;
        let (current, index) = loop {
            turns += 1;
            if turns > MOST_TURNS {
                return Err(BarrierError::Broken { dead: None });
            }
            let state = words.state.load(Ordering::Acquire);
            if state & BROKEN != 0 {
                return Err(self.broken(state));
            }
            if let Some(index) = take_entry(entries, generation(state), me) {
                break (generation(state), index);
            }
            // All have come, and the last one has not opened the next generation yet.
            if action.is_none() {
                self.complete(generation(state));
            } else if !self.leave_generation(generation(state), deadline)? {
                return Err(BarrierError::Broken { dead: None });
            }
        };
        // CRASH (barrier.wait.entered): an entry of a dead one; the sweep breaks the generation.
        crash_point!("barrier.wait.entered");
        if index + 1 == entries.len() {
            if action.is_some_and(|action| !action()) {
                self.break_generation(current);
            }
            self.complete(current);
        }
        let outcome = || {
            let state = words.state.load(ordering!("barrier.state", Acquire));
            if generation(state) != current && !ended_by_reset(state, current) {
                return Some(Ok(index));
            }
            let is_over = generation(state) != current || state & BROKEN != 0;
            is_over.then(|| Err(self.broken(state)))
        };
        let waited = block(&self.0.core, &words.gate, deadline, |_| Ok(outcome()));
        if waited.is_err() {
            // Its entry stays, and it is not there any more.
            self.break_generation(current);
        }
        match waited? {
            Some(outcome) => outcome,
            None if self.break_generation(current) => Err(BarrierError::Broken { dead: None }),
            // It has ended at the last moment.
            None => outcome().unwrap_or(Err(BarrierError::Broken { dead: None })),
        }
    }

    /// Waits until the next generation, or the end of this one; false when `deadline` passes.
    fn leave_generation(
        &self,
        current: u32,
        deadline: Option<Instant>,
    ) -> Result<bool, SegmentError> {
        let words = self.0.body();
        let left = block(&self.0.core, &words.gate, deadline, |_| {
            let state = words.state.load(Ordering::Acquire);
            Ok((generation(state) != current || state & BROKEN != 0).then_some(()))
        })?;
        Ok(left.is_some())
    }

    fn complete(&self, current: u32) {
        if self.0.body().end(current, |state| next(state, false)) {
            // CRASH (barrier.wait.completed): others sleep; the sweep opens the gate.
            crash_point!("barrier.wait.completed");
            self.0.body().gate.open_all();
        }
    }

    fn break_generation(&self, current: u32) -> bool {
        let words = self.0.body();
        let broken = words.end(current, |state| state | BROKEN);
        if broken {
            words.gate.open_all();
        }
        broken
    }

    fn broken(&self, state: u64) -> BarrierError {
        let dead = (state & BY_DEATH != 0).then(|| self.0.body().dead.load(Ordering::Relaxed));
        BarrierError::Broken { dead }
    }

    /// Breaks the barrier for all who wait and all who come, until it is reset.
    pub fn abort(&self) {
        self.0.core.attend();
        let state = self.0.body().state.load(Ordering::Acquire);
        self.break_generation(generation(state));
    }

    /// Begins anew; who waits gets an error.
    pub fn reset(&self) {
        let words = self.0.body();
        self.0.core.attend();
        let reset = |state| Some(next(state, true));
        // It always changes.
        let _ = words.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, reset);
        words.gate.open_all();
    }

    /// Tells whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.0.body().state.load(Ordering::Acquire) & BROKEN != 0
    }

    /// Returns how many parties wait now.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        let state = self.0.body().state.load(Ordering::Acquire);
        if state & BROKEN != 0 {
            return 0;
        }
        let is_current =
            |entry: &&AtomicU64| is_taken(entry.load(Ordering::Acquire), generation(state));
        self.entries().iter().filter(is_current).count()
    }
}

fn is_taken(entry: u64, current: u32) -> bool {
    generation(entry) == current && entry as u32 != 0
}

/// Takes the first free entry; `None` if there is none, or the generation is over.
fn take_entry(entries: &[AtomicU64], current: u32, me: Number) -> Option<usize> {
    for (index, word) in entries.iter().enumerate() {
        let mut entry = word.load(Ordering::Acquire);
        while !is_taken(entry, current) {
            if generation(entry).wrapping_sub(current).cast_signed() > 0 {
                return None; // of a later generation: not to be overwritten by a late one
            }
            let taken = word.compare_exchange(
                entry,
                entry_of(current, me),
                ordering!("barrier.enter", Release),
                Ordering::Acquire,
            );
            match taken {
                Ok(_) => return Some(index),
                Err(other) => entry = other,
            }
        }
    }
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::watch::Watched;

    #[test]
    fn whose_death_broke_it_is_told_whoever_else_would_have() {
        let barrier = Barrier::new(3).expect("barrier");
        let (words, core) = (barrier.0.body(), &barrier.0.core);
        let namespace = procession_sys::process::namespace().expect("proc");
        let number = core.roster().join(1, 1, namespace).expect("a place");
        let dead = core.roster().find(number).expect("it takes part");
        assert_eq!(take_entry(barrier.entries(), 1, number), Some(0));
        <Words as Body>::sweep(core, dead);
        // A deadline that passes at the same time, and an abort.
        assert!(!barrier.break_generation(1));
        barrier.abort();
        let told = barrier.wait(None);
        assert!(matches!(told, Err(BarrierError::Broken { dead: Some(1) })), "{told:?}");
        // What broke it then has nothing to do with what breaks it later.
        barrier.reset();
        barrier.abort();
        let told = barrier.wait(None);
        assert!(matches!(told, Err(BarrierError::Broken { dead: None })), "{told:?}");
        assert_eq!(words.state.load(Ordering::Relaxed) & BY_DEATH, 0);
    }

    #[test]
    fn the_last_one_acts_before_anybody_passes() {
        let barrier = Barrier::new(3).expect("barrier");
        let actions = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for turn in 1..=200 {
                        let mut act = || {
                            actions.fetch_add(1, Ordering::SeqCst);
                            true
                        };
                        barrier.wait_with(None, &mut act).expect("it is whole");
                        assert!(actions.load(Ordering::SeqCst) >= turn);
                    }
                });
            }
        });
        assert_eq!(actions.load(Ordering::SeqCst), 200);
        let alone = Barrier::new(1).expect("barrier");
        assert!(alone.wait_with(None, &mut || false).is_err());
        assert!(alone.is_broken(), "the action has failed");
    }
}

#[cfg(all(test, loom))]
mod model;
