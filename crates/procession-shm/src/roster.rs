//! The roster: who takes part in a segment.
//!
//! # Layout
//!
//! ```text
//! namespace │ used │ version │ claims[PLACES]
//!
//! claim:  63        42 41       29 28              0
//!        | process    | start     | number          |     number = turn × PLACES + place
//! ```
//!
//! A claim is one word, so that one compare-exchange takes a place and says who did. Its number
//! names the participant in every other word of the segment, and is never used again: the next one
//! in the same place gets the next turn. `process` is 0 when the place is free.
//!
//! `start` is the low part of the process's start time. With the process's number alone, a stranger
//! that gets that number later would be taken for the dead participant and keep it alive.
//!
//! # States of a claim
//!
//! ```text
//! free(n) ──join──► taken(n + PLACES) ──leave, or swept after death──► free(n + PLACES) ──► …
//! ```
//!
//! # Memory ordering
//!
//! `version` grows with each join, before the gates are opened for it: who takes a ticket and then
//! reads the version either sees the newcomer or is woken by it.
//!
//! # What a crash leaves behind
//!
//! A participant that dies keeps its claim until somebody sweeps; its number is in no word by then.

use crate::atomic::{AtomicU32, AtomicU64, Ordering, ordering};

/// How many processes can take part in one segment at a time.
pub const PLACES: usize = if cfg!(loom) { 4 } else { 512 };

const NUMBER_BITS: u32 = 29;
const START_BITS: u32 = 13;
const NUMBER_MASK: u64 = (1 << NUMBER_BITS) - 1;
const START_MASK: u64 = (1 << START_BITS) - 1;
/// Numbers from here on are not given away.
const END: u32 = 1 << NUMBER_BITS;

/// A participant's number: not 0, and below 2^29.
pub(crate) type Number = u32;

/// All zeros are a roster without participants.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C)]
pub(crate) struct Roster {
    /// Where the numbers of processes mean the same; 0 until the first has joined.
    namespace: AtomicU64,
    /// No place from here on was ever taken.
    used: AtomicU32,
    version: AtomicU32,
    claims: [AtomicU64; PLACES],
}

/// A participant as its claim shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Participant {
    pub(crate) number: Number,
    pub(crate) pid: u32,
    start: u64,
}

/// Why a process cannot take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinFailed {
    /// All places are taken.
    Full,
    /// The participants are in another container, where numbers of processes mean something else.
    OtherNamespace,
}

/// The place of a number.
pub(crate) fn place_of(number: Number) -> usize {
    number as usize % PLACES
}

impl Participant {
    fn from_claim(place: usize, claim: u64) -> Option<Self> {
        let pid = (claim >> (NUMBER_BITS + START_BITS)) as u32;
        let number = (claim & NUMBER_MASK) as Number;
        let start = (claim >> NUMBER_BITS) & START_MASK;
        // What does not fit together was not written by a participant.
        (pid != 0 && place_of(number) == place && number != 0).then_some(Self {
            number,
            pid,
            start,
        })
    }

    fn claim(self) -> u64 {
        (u64::from(self.pid) << (NUMBER_BITS + START_BITS))
            | ((self.start & START_MASK) << NUMBER_BITS)
            | u64::from(self.number)
    }

    /// Tells whether this is a number of the same process in another segment.
    pub(crate) fn is_same_process(self, other: Self) -> bool {
        (self.pid, self.start) == (other.pid, other.start)
    }

    /// Tells whether a process with this participant's number that was started at `start` is it.
    pub(crate) fn was_started(self, start: u64) -> bool {
        start & START_MASK == self.start
    }
}

impl Roster {
    /// Takes a place for the process `pid`, started at `start`.
    pub(crate) fn join(&self, pid: u32, start: u64, namespace: u64) -> Result<Number, JoinFailed> {
        let first =
            self.namespace.compare_exchange(0, namespace, Ordering::AcqRel, Ordering::Acquire);
        if first.is_err_and(|other| other != namespace) {
            return Err(JoinFailed::OtherNamespace);
        }
        for place in 0..PLACES {
            let claim = self.claims[place].load(Ordering::Acquire);
            if Participant::from_claim(place, claim).is_some() {
                continue;
            }
            let turn = (claim & NUMBER_MASK) as u32 / PLACES as u32 + 1;
            let number = turn * PLACES as u32 + place as u32;
            if number >= END {
                continue; // every number of this place has been used
            }
            let me = Participant { number, pid, start: start & START_MASK };
            // ORDERING: Acquire: what the last one in this place left, and its sweep, is before us.
            let taken = self.claims[place].compare_exchange(
                claim,
                me.claim(),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if taken.is_ok() {
                self.used.fetch_max(place as u32 + 1, Ordering::AcqRel);
                // ORDERING: Release: who sees the version sees the claim. The fences of the gates put it
                // before the look at their sleepers, or the sleepers' look at it after.
                self.version.fetch_add(1, ordering!("roster.version", Release));
                return Ok(number);
            }
        }
        Err(JoinFailed::Full)
    }

    /// Frees the place of a participant that has left, or is dead and in no word any more.
    pub(crate) fn free(&self, number: Number) {
        let place = place_of(number);
        let claim = self.claims[place].load(Ordering::Acquire);
        if Participant::from_claim(place, claim).is_some_and(|found| found.number == number) {
            // ORDERING: Release: the sweep is before whoever comes next. If somebody else was
            // faster, it is free.
            let _ = self.claims[place].compare_exchange(
                claim,
                u64::from(number),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
        }
    }

    /// Finds a participant that has not left and was not swept.
    pub(crate) fn find(&self, number: Number) -> Option<Participant> {
        let place = place_of(number);
        let claim = self.claims[place].load(Ordering::Acquire);
        Participant::from_claim(place, claim).filter(|found| found.number == number)
    }

    /// Changes with each join.
    pub(crate) fn version(&self) -> u32 {
        // ORDERING: Acquire pairs with the increment in `join`.
        self.version.load(ordering!("roster.look", Acquire))
    }

    /// Everybody who takes part.
    pub(crate) fn participants(&self) -> impl Iterator<Item = Participant> + '_ {
        let used = (self.used.load(Ordering::Acquire) as usize).min(PLACES);
        (0..used).filter_map(|place| {
            Participant::from_claim(place, self.claims[place].load(Ordering::Acquire))
        })
    }
}

/// A count that a participant keeps in its place: `number << 35 | count`.
///
/// The number is beside it because places are given away again: a sweeper that is late, or a count
/// that the last one in the place has left, concerns nobody else.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(transparent)]
pub(crate) struct OwnCount(AtomicU64);

impl OwnCount {
    const SHIFT: u32 = 64 - NUMBER_BITS;
    const MOST: u64 = (1 << Self::SHIFT) - 1;

    #[inline]
    fn part(word: u64, number: Number) -> u64 {
        if word >> Self::SHIFT == u64::from(number) { word & Self::MOST } else { 0 }
    }

    /// Changes the count of `number`, which takes part; at most and at least what it can be.
    #[inline]
    fn change(&self, number: Number, change: impl Fn(u64) -> u64) {
        let own = u64::from(number) << Self::SHIFT;
        let change = |word| Some(own | change(Self::part(word, number)).min(Self::MOST));
        // ORDERING: AcqRel: before what the caller does next, for whoever sweeps. It always changes.
        let _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, change);
    }

    #[inline]
    pub(crate) fn more(&self, number: Number) {
        self.change(number, |count| count + 1);
    }

    #[inline]
    pub(crate) fn less(&self, number: Number) {
        self.change(number, |count| count.saturating_sub(1));
    }

    pub(crate) fn get(&self, number: Number) -> u64 {
        Self::part(self.0.load(Ordering::Acquire), number)
    }

    /// Takes the count of a participant that is no more; once, however many sweep.
    pub(crate) fn take(&self, dead: Number) -> u64 {
        let take = |word| (Self::part(word, dead) != 0).then_some(0);
        let taken = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.map_or(0, |word| Self::part(word, dead))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::HashSet;

    impl Roster {
        /// One that is in no segment.
        pub(crate) fn empty() -> Box<Self> {
            Box::new(Self {
                namespace: AtomicU64::new(0),
                used: AtomicU32::new(0),
                version: AtomicU32::new(0),
                claims: [const { AtomicU64::new(0) }; PLACES],
            })
        }
    }

    #[test]
    fn numbers_are_never_used_again() {
        let roster = Roster::empty();
        let mut seen = HashSet::new();
        for round in 0..1000 {
            let number = roster.join(100 + round, round.into(), 7).expect("a place");
            assert!(number != 0 && seen.insert(number), "{number}");
            let found = roster.find(number).expect("it takes part");
            assert_eq!((found.pid, found.was_started(round.into())), (100 + round, true));
            assert!(!found.was_started(u64::from(round) + 1));
            roster.free(number);
            assert_eq!(roster.find(number), None);
            roster.free(number);
        }
        assert_eq!(roster.participants().count(), 0);
    }

    #[test]
    fn a_count_is_its_owners() {
        let count = OwnCount(AtomicU64::new(0));
        let (old, new) = (PLACES as Number + 3, 2 * PLACES as Number + 3);
        count.more(old);
        count.more(old);
        count.less(old);
        assert_eq!((count.get(old), count.get(new)), (1, 0));
        assert_eq!((count.take(old), count.take(old)), (1, 0));
        count.more(new);
        assert_eq!(count.take(old), 0, "a late sweeper");
        count.less(new);
        count.less(new);
        count.more(new);
        assert_eq!(count.take(new), 1);
        count.0.store(u64::MAX, Ordering::Relaxed);
        count.more(END - 1);
        assert_eq!(count.take(END - 1), OwnCount::MOST, "it stops there");
    }

    #[test]
    fn it_is_full_when_it_is() {
        let roster = Roster::empty();
        let numbers: Vec<Number> =
            (0..PLACES).map(|i| roster.join(1, i as u64, 7).expect("a place")).collect();
        assert_eq!(roster.join(1, 0, 7), Err(JoinFailed::Full));
        assert_eq!(roster.join(1, 0, 8), Err(JoinFailed::OtherNamespace));
        assert_eq!(roster.participants().count(), PLACES);
        roster.free(numbers[3]);
        assert_eq!(place_of(roster.join(1, 0, 7).expect("the free one")), place_of(numbers[3]));
    }

    #[test]
    fn garbage_is_nobody_and_ends() {
        let roster = Roster::empty();
        for garbage in [u64::MAX, 1 << 63, 0x1234_5678_9abc_def0, NUMBER_MASK] {
            for claim in &roster.claims {
                claim.store(garbage, Ordering::Relaxed);
            }
            roster.used.store(u32::MAX, Ordering::Relaxed);
            for participant in roster.participants() {
                assert!(participant.number < END && participant.number != 0);
            }
            let _ = roster.join(1, 1, 7);
            let _ = roster.find(u32::MAX);
            roster.free(u32::MAX);
        }
    }
}

#[cfg(all(test, loom))]
mod model;
