//! Slots: pieces of work that one process offers, and that others take, one each, and answer.
//!
//! # Layout
//!
//! ```text
//! head │ tail │ gates: offered, answered │ wanted │ urgent │ count │ stop │ changed (a bit per slot)
//! leaving[TAKERS] │ entries[ENTRIES] │ slots[SLOTS] ‖ small areas │ large areas
//!
//! state:  63            16 15      2 1    0
//!        | turn           | lane    | state |       entry: | turn | slot |
//!
//! slot:   state │ items │ flags │ input: store, length │ done │ written │ output: offset, length │ began
//! area:   │ input (if it is not in the store) │ outputs, one after another … │
//! ```
//!
//! A *lane* is one thread of one taker. A piece of work has one or more *items*; the outputs of
//! those that are done lie in the slot's area, in their order. An output too long for it lies in the
//! lane's store, and is the last one of its piece: what is left of a piece comes back to the giver.
//! Every slot has a small area with memory from the beginning, and a large one that gets its memory
//! when it is first used.
//!
//! # States
//!
//! ```text
//!            offer                take: one compare-exchange, which says who
//!   free ───────────► offered(turn) ───────────► taken(turn, lane) ──answer──► answered(turn, lane)
//!    ▲                    │ withdraw                   │ its process died              │
//!    └────────────────────┴────────────────────────────┴───────────────────────────────┘
//!                                                          all by the giver: release
//! ```
//!
//! A turn is never used again, so a taker that comes late takes nothing that is not offered now.
//!
//! # Protocol
//!
//! The giver writes `entries` and `tail`; takers move `head`. A taker looks at the entry at `head`
//! and tries to take its slot, whether that succeeds or not it then moves `head` on, unless another
//! has. So an entry that is there twice, or for a slot that was withdrawn, does no harm, and after a
//! death the giver writes entries for all that is offered once more.
//!
//! A giver that wants to end what a lane is at *holds* its taker first, whose lanes then take nothing
//! more when they are done, and looks again: what it finds there cannot be anything else any more when
//! the taker is killed. If it is done already, the giver lets the taker go on.
//!
//! A taker that is done says so in `changed`, then wakes the giver: if that sleeps, and if as many
//! pieces were answered as it has `wanted` to sleep through, or if no work is left.
//!
//! # Memory ordering
//!
//! `state` is stored with Release and read with Acquire by whoever acts on it: what its writer left
//! in slot and area is there. `done` likewise, for a giver that looks at a dead taker's slot.
//! `entries` are published by `tail`. Sleepers: as in `gate`.
//!
//! # What a crash leaves behind
//!
//! | killed | the giver sees |
//! |---|---|
//! | taker, before it has taken | nothing; another takes |
//! | taker, before it moved `head` | a taken slot; others move `head` |
//! | taker, while it runs an item | taken, with the number of items that are done and their outputs |
//! | taker, between an output and `done` | the item is not done |
//! | taker, before it says `changed` | an answered slot, when it looks at those of the dead lane |
//! | taker, before it wakes the giver | as above: who tells of the death wakes it |
//! | giver | takers end with it, which is not this module's business |
//!
//! # Invariants
//!
//! 1. Areas lie in the tail of a segment that is as long as `LENGTH` (checked when it is opened), and
//!    every offset into one is checked against its length.
//! 2. An area's bytes are copied raw. Between honest processes, state and `done` keep writer and
//!    reader apart; with others the bytes may be garbage, and nothing worse.

mod giver;
mod taker;

use std::ptr::NonNull;

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::gate::Gate;
use crate::os::Handle;
use crate::roster::{PLACES, Participant};
use crate::segment::{Body, Core, Segment, SegmentError};

pub use giver::{Giver, Input, Look, Offer, Waited};
pub use taker::{Answer, NoRoom, Taken, Taker};

/// How many pieces of work can be offered or taken at a time.
pub const SLOTS: usize = if cfg!(loom) { 2 } else { 1024 };
/// How many processes can take. One place of the roster is the giver's.
pub const TAKERS: usize = if cfg!(loom) { 2 } else { PLACES - 12 };
/// The most bytes of input and outputs of a piece that lie in a large area.
pub const LARGE: usize = if cfg!(loom) { 64 } else { 64 * 1024 };
/// The most that lie in a small one.
pub const SMALL: usize = if cfg!(loom) { 64 } else { 1024 };

const ENTRIES: usize = 4 * SLOTS;
/// How long the tail of the segment is.
const LENGTH: usize = SLOTS * (SMALL + LARGE);

/// What stands in `leaving`: the taker takes nothing for now, or shall go. The higher one counts.
const HELD: u32 = 1;
const LEAVES: u32 = 2;

const FREE: u64 = 0;
const OFFERED: u64 = 1;
const TAKEN: u64 = 2;
const ANSWERED: u64 = 3;
const LANE_BITS: u32 = 14;
const TURN_SHIFT: u32 = 2 + LANE_BITS;
/// Turns begin anew after this many: at a million a second, after nine years.
const TURNS: u64 = 1 << (64 - TURN_SHIFT);

const IS_LARGE: u32 = 1;
const IS_TIMED: u32 = 2;
const HAS_HANDLES: u32 = 4;
const IS_STORED: u32 = 8;
const IS_TRACED: u32 = 16;

fn state_word(state: u64, lane: usize, turn: u64) -> u64 {
    state | ((lane as u64 & ((1 << LANE_BITS) - 1)) << 2) | (turn << TURN_SHIFT)
}

/// Keeps what different processes write apart: they would slow each other down.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
struct Line<T>(T);

/// One slot's words: a line of its own.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(C, align(64))]
struct Slot {
    state: AtomicU64,
    items: AtomicU32,
    flags: AtomicU32,
    input_offset: AtomicU64,
    input_length: AtomicU64,
    done: AtomicU32,
    written: AtomicU32,
    output_offset: AtomicU64,
    output_length: AtomicU64,
    began: AtomicU64,
}

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    head: Line<AtomicU64>,
    tail: Line<AtomicU64>,
    offered: Line<Gate>,
    answered: Line<Gate>,
    /// The `count` at which the giver wants to be woken.
    wanted: AtomicU32,
    /// A taker needs the giver now: it cannot go on without handles.
    urgent: AtomicU32,
    /// Takers go when there is nothing left to take.
    stop: AtomicU32,
    /// How many pieces were ever answered.
    count: Line<AtomicU32>,
    changed: Line<[AtomicU64; SLOTS.div_ceil(64)]>,
    leaving: [AtomicU32; TAKERS],
    entries: [AtomicU64; ENTRIES],
    slots: [Slot; SLOTS],
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 20;
    const BACKED: usize = SLOTS * SMALL;

    /// The giver looks at a dead taker's slots itself: it knows more of it than the roster does.
    fn sweep(_: &Core, _: Participant) {}

    fn wake(&self) {
        self.offered.0.open_all();
        self.answered.0.open_all();
    }
}

/// What giver and takers have in common.
#[derive(Clone, Debug)]
struct Shared(Segment<Words>);

impl Shared {
    fn words(&self) -> &Words {
        self.0.body()
    }

    fn open(handle: Handle) -> Result<Self, SegmentError> {
        let segment = Segment::<Words>::open(handle)?;
        if segment.tail().1 < LENGTH {
            let what = "its memory is too short for slots".to_owned();
            return Err(SegmentError::Foreign { what });
        }
        Ok(Self(segment))
    }

    /// The first byte of a slot's area, and how many it has.
    fn area(&self, slot: usize, flags: u32) -> (NonNull<u8>, usize) {
        let slot = slot % SLOTS;
        let (offset, length) =
            if flags & IS_LARGE == 0 { (slot * SMALL, SMALL) } else { (large_offset(slot), LARGE) };
        // SAFETY: invariant 1: a slot below `SLOTS` has its areas inside of the tail.
        (unsafe { self.0.tail().0.add(offset) }, length)
    }

    fn mark_changed(&self, slot: usize) {
        // ORDERING: Release pairs with the Acquire of the giver's swap: the slot's state is there.
        self.words().changed.0[slot % SLOTS / 64].fetch_or(1 << (slot % 64), Ordering::Release);
    }

    /// Tells whether nothing is left to take, as far as can be seen.
    fn is_dry(&self) -> bool {
        let words = self.words();
        words.head.0.load(Ordering::Relaxed) == words.tail.0.load(Ordering::Relaxed)
    }
}

/// Where a slot's large area lies in the tail.
fn large_offset(slot: usize) -> usize {
    SLOTS * SMALL + slot * LARGE
}

/// Where outputs begin behind an input of this length.
fn outputs_offset(input: usize) -> usize {
    input.next_multiple_of(8)
}

#[cfg(all(test, not(loom)))]
mod tests;

#[cfg(all(test, loom))]
mod model;
