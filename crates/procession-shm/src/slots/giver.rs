//! The giver's side of slots: offers work, and looks at what became of it.

use std::time::Instant;

use super::{
    ANSWERED, ENTRIES, FREE, HAS_HANDLES, HELD, IS_LARGE, IS_STORED, IS_TIMED, IS_TRACED,
    LANE_BITS, LARGE, LEAVES, LENGTH, OFFERED, SLOTS, SMALL, Shared, TAKEN, TAKERS, TURN_SHIFT,
    TURNS, Words, large_offset, outputs_offset, state_word,
};
use crate::atomic::{AtomicU64, Ordering, fence, ordering, will_read, will_write};
use crate::os::futex::Woken;
use crate::os::{BorrowedHandle, shared};
use crate::segment::{Segment, SegmentError};
use crate::store::Block;
use crate::wait::spin;

/// The one who offers. Its methods that change anything are for one thread at a time: whoever has
/// them called by several takes turns.
#[derive(Debug)]
pub struct Giver {
    shared: Shared,
    /// Its own count: the shared one can be scribbled over.
    pub(super) tail: AtomicU64,
    /// Which slots' large areas have memory.
    backed: [AtomicU64; SLOTS.div_ceil(64)],
}

/// Where the input of a piece of work is.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Here, in parts; goes to the slot's area.
    Bytes(&'a [&'a [u8]]),
    /// In the giver's store.
    Stored(Block),
}

/// A piece of work.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// What to work on.
    pub input: Input<'a>,
    /// How many items it has.
    pub items: u32,
    /// Whether it goes to the slot's large area.
    pub large: bool,
    /// Whether the taker notes when each item begins.
    pub timed: bool,
    /// Whether it says with each output when the item began and ended.
    pub traced: bool,
    /// Whether handles go with it, which the taker asks for.
    pub handles: bool,
}

/// What has become of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nobody has taken it.
    Offered,
    /// A lane is at work on it.
    Taken {
        /// Which lane.
        lane: usize,
    },
    /// A lane has done as much of it as it will.
    Answered {
        /// Which lane.
        lane: usize,
    },
    /// The slot says what no taker says.
    Garbage,
}

/// Why the giver's wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// There is something to look at, or somebody has nudged.
    Changed,
    /// The deadline passed.
    TimedOut,
    /// A handler of a signal has run in this thread.
    Interrupted,
}

impl Giver {
    /// Makes slots, all of them free.
    ///
    /// # Errors
    ///
    /// When there is no memory or descriptor.
    pub fn new() -> Result<Self, SegmentError> {
        Ok(Self {
            shared: Shared(Segment::create(LENGTH)?),
            tail: AtomicU64::new(0),
            backed: std::array::from_fn(|_| AtomicU64::new(0)),
        })
    }

    /// Lends the handle that a taker opens.
    #[must_use]
    pub fn handle(&self) -> BorrowedHandle<'_> {
        self.shared.0.handle()
    }

    pub(super) fn words(&self) -> &Words {
        self.shared.words()
    }

    /// Tells whether an input of this length fits into an area, with room for some outputs.
    #[must_use]
    pub fn fits(length: usize, large: bool) -> bool {
        outputs_offset(length) <= if large { LARGE / 2 } else { SMALL / 2 }
    }

    /// Has a slot's large area get its memory.
    ///
    /// # Errors
    ///
    /// When the system has none.
    pub fn back(&self, slot: usize) -> std::io::Result<()> {
        let (word, bit) = (&self.backed[slot / 64], 1 << (slot % 64));
        if word.load(Ordering::Relaxed) & bit == 0 {
            let offset = self.shared.0.core.tail_offset::<Words>() + large_offset(slot);
            shared::back(self.handle(), offset, LARGE)?;
            word.fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Offers a piece of work in a free slot. Takers are not woken yet.
    ///
    /// # Panics
    ///
    /// If the slot does not exist, or the input does not fit, see [`fits`](Self::fits).
    pub fn offer(&self, slot: usize, turn: u64, offer: Offer<'_>) {
        let Offer { input, items, large, timed, traced, handles } = offer;
        let flag = |set, bit| if set { bit } else { 0 };
        let words = &self.words().slots[slot];
        let mut flags = flag(large, IS_LARGE) | flag(timed, IS_TIMED) | flag(handles, HAS_HANDLES);
        flags |= flag(traced, IS_TRACED);
        let length = match input {
            Input::Bytes(parts) => {
                let (area, room) = self.shared.area(slot, flags);
                let mut at = 0;
                for part in parts {
                    assert!(part.len() <= room - at, "an input longer than its area");
                    // SAFETY: invariant 1: `at` is at most the area's length.
                    let to = unsafe { area.add(at) };
                    will_write(to, part.len());
                    // SAFETY: as above, there is room for the part (checked); invariant 2; what is
                    // mapped does not overlap with what a caller has borrowed.
                    unsafe {
                        std::ptr::copy_nonoverlapping(part.as_ptr(), to.as_ptr(), part.len())
                    };
                    at += part.len();
                }
                at as u64
            }
            Input::Stored(block) => {
                flags |= IS_STORED;
                words.input_offset.store(block.offset, Ordering::Relaxed);
                block.length
            }
        };
        words.input_length.store(length, Ordering::Relaxed);
        words.items.store(items, Ordering::Relaxed);
        words.flags.store(flags, Ordering::Relaxed);
        words.done.store(0, Ordering::Relaxed);
        words.written.store(0, Ordering::Relaxed);
        words.output_length.store(0, Ordering::Relaxed);
        words.began.store(0, Ordering::Relaxed);
        // ORDERING: Release pairs with the take's Acquire: all of the above is there.
        words.state.store(state_word(OFFERED, 0, turn % TURNS), Ordering::Release);
        self.enter(slot, turn);
    }

    /// Writes an entry for a slot that is offered: once more does no harm.
    pub fn enter(&self, slot: usize, turn: u64) {
        let words = self.words();
        let tail = self.tail.load(Ordering::Relaxed);
        let head = words.head.0.load(Ordering::Acquire);
        if tail.wrapping_sub(head) >= ENTRIES as u64 {
            // Four times as many entries as slots: most of these are old, or somebody has scribbled
            // over `head`. Takers skip what is not offered, so all can be dropped and entered anew.
            words.head.0.store(tail, Ordering::Release);
            for (slot, words) in words.slots.iter().enumerate() {
                let state = words.state.load(Ordering::Relaxed);
                if state & 3 == OFFERED {
                    self.push(slot, state >> TURN_SHIFT);
                }
            }
            return;
        }
        self.push(slot, turn % TURNS);
    }

    fn push(&self, slot: usize, turn: u64) {
        let words = self.words();
        let tail = self.tail.load(Ordering::Relaxed);
        let entry = (turn << 16) | slot as u64;
        words.entries[tail as usize % ENTRIES].store(entry, Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire in `Taker::try_take`: the entry is there.
        words.tail.0.store(tail.wrapping_add(1), Ordering::Release);
        self.tail.store(tail.wrapping_add(1), Ordering::Relaxed);
    }

    /// Wakes as many takers as there are pieces newly offered.
    pub fn wake_takers(&self, count: usize) {
        self.words().offered.0.open(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// Takes back what nobody has taken.
    #[must_use]
    pub fn withdraw(&self, slot: usize, turn: u64) -> bool {
        let offered = state_word(OFFERED, 0, turn % TURNS);
        let state = &self.words().slots[slot].state;
        state.compare_exchange(offered, FREE, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Looks at the piece of work that was offered in a slot.
    #[must_use]
    pub fn look(&self, slot: usize, turn: u64) -> Look {
        // ORDERING: Acquire: what a taker has left is there.
        let state = self.words().slots[slot].state.load(Ordering::Acquire);
        let lane = (state >> 2) as usize & ((1 << LANE_BITS) - 1);
        match state & 3 {
            _ if state >> TURN_SHIFT != turn % TURNS => Look::Garbage,
            OFFERED if lane == 0 => Look::Offered,
            TAKEN => Look::Taken { lane },
            ANSWERED => Look::Answered { lane },
            _ => Look::Garbage,
        }
    }

    /// How many items of the piece are done.
    #[must_use]
    pub fn done(&self, slot: usize) -> u32 {
        // ORDERING: Acquire pairs with the Release in `Answer`: the outputs are there.
        self.words().slots[slot].done.load(Ordering::Acquire)
    }

    /// When the item that a lane is at has begun, by the machine's clock; 0 if it has not.
    #[must_use]
    pub fn began(&self, slot: usize) -> u64 {
        self.words().slots[slot].began.load(Ordering::Acquire)
    }

    /// Copies what a lane has written into the slot's area, large or not, behind an input of this
    /// length, to the end of `buffer`, and returns where in the lane's store one more output is, if
    /// there is one. Which area it is, the caller knows: the flags may be scribbled over, and a
    /// large area may have no memory.
    pub fn outputs(
        &self,
        slot: usize,
        large: bool,
        input: usize,
        buffer: &mut Vec<u8>,
    ) -> Option<Block> {
        let words = &self.words().slots[slot];
        let (area, room) = self.shared.area(slot, if large { IS_LARGE } else { 0 });
        // ORDERING: the caller has read `state` or `done`, with Acquire, before.
        let written = words.written.load(Ordering::Relaxed) as usize;
        let offset = outputs_offset(input).min(room);
        let length = written.min(room - offset);
        // SAFETY: invariant 1: the offset is at most the area's length.
        let from = unsafe { area.add(offset) };
        will_read(from, length);
        buffer.reserve(length);
        let to = buffer.spare_capacity_mut().as_mut_ptr().cast::<u8>();
        // SAFETY: invariants 1 and 2: `length` bytes from there on are in the area; the buffer has
        // room for them, and is ours.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to, length) };
        let whole = buffer.len() + length;
        // SAFETY: they have just been written.
        unsafe { buffer.set_len(whole) };
        let stored = words.output_length.load(Ordering::Relaxed);
        (stored > 0)
            .then(|| Block { offset: words.output_offset.load(Ordering::Relaxed), length: stored })
    }

    /// Frees a slot of which all that is to be known is known.
    pub fn release(&self, slot: usize) {
        // ORDERING: Release: the outputs were copied before a lane finds that it can use the memory
        // of those in its store again.
        self.words().slots[slot].state.store(FREE, Ordering::Release);
    }

    /// Calls `f` with each slot that a taker has said something of since the last time.
    pub fn changed(&self, mut f: impl FnMut(usize)) {
        if self.words().urgent.load(Ordering::Relaxed) != 0 {
            // Before the looks below: who sets it from here on is looked at the next time.
            self.words().urgent.swap(0, Ordering::SeqCst);
        }
        for (index, word) in self.words().changed.0.iter().enumerate() {
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // ORDERING: Acquire pairs with the Release in `mark_changed`.
            let mut bits = word.swap(0, Ordering::Acquire);
            while bits != 0 {
                f(index * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    fn any_changed(&self) -> bool {
        self.words().changed.0.iter().any(|word| word.load(Ordering::Relaxed) != 0)
    }

    /// How many pieces were ever answered, as the takers say.
    #[must_use]
    pub fn count(&self) -> u32 {
        // ORDERING: Acquire pairs with the Release in `Answer::finish`.
        self.words().count.0.load(Ordering::Acquire)
    }

    /// Waits until takers have answered `more` pieces since `count` was read, or one and nothing is
    /// left to take, or until `nudged` says so, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// When the system refuses to sleep.
    pub fn wait(
        &self,
        count: u32,
        more: u32,
        deadline: Option<Instant>,
        nudged: impl Fn() -> bool,
    ) -> Result<Waited, SegmentError> {
        let words = self.words();
        let wanted = count.wrapping_add(more);
        let is_time = || {
            nudged()
                || words.urgent.load(Ordering::Relaxed) != 0
                || (self.count().wrapping_sub(wanted).cast_signed() >= 0
                    || more <= 1
                    || self.shared.is_dry())
                    && self.any_changed()
        };
        if spin(|| Ok(is_time().then_some(())))?.is_some() {
            return Ok(Waited::Changed);
        }
        words.wanted.store(wanted, Ordering::Relaxed);
        let ticket = words.answered.0.ticket();
        // ORDERING: SeqCst pairs with the fence in `Answer::finish`: either the taker sees what is
        // wanted and the ticket, or what it has answered is seen here.
        fence(Ordering::SeqCst);
        if is_time() {
            return Ok(Waited::Changed);
        }
        Ok(match words.answered.0.sleep(ticket, deadline)? {
            Woken::TimedOut => Waited::TimedOut,
            Woken::Interrupted => Waited::Interrupted,
            Woken::Woken | Woken::Changed => Waited::Changed,
        })
    }

    /// Wakes the giver's own thread that waits, to look at what `nudged` tells it.
    pub fn nudge(&self) {
        self.words().answered.0.open_all();
    }

    /// Has one taker leave after the piece that it is at.
    pub fn dismiss(&self, taker: usize) {
        self.words().leaving[taker % TAKERS].store(LEAVES, Ordering::Release);
        self.words().offered.0.open_all();
    }

    /// Has the lanes of a taker take nothing more when they are done. Whoever looks after this and
    /// finds one at a piece finds it there until it lets them go on; and an item of a timed piece that
    /// is not done now is the last one that its lane begins with.
    pub fn hold(&self, taker: usize) {
        self.words().leaving[taker % TAKERS].fetch_max(HELD, Ordering::Relaxed);
        // ORDERING: SeqCst pairs with the fences in `Answer::finish` and `Taker::goes_on`: either what a
        // lane has done is seen by who looks now, or the lane sees that its taker leaves.
        fence(ordering!("slots.hold", SeqCst));
    }

    /// Lets a taker that was held go on.
    pub fn let_go_on(&self, taker: usize) {
        let leaving = &self.words().leaving[taker % TAKERS];
        // If it fails, it shall leave.
        let _ = leaving.compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed);
        // What one of its lanes was woken for meanwhile, any may take.
        self.words().offered.0.open_all();
    }

    /// Prepares a place for a new taker.
    pub fn welcome(&self, taker: usize) {
        self.words().leaving[taker % TAKERS].store(0, Ordering::Release);
    }

    /// Has all takers leave when nothing is left to take.
    pub fn stop(&self) {
        self.words().stop.store(1, Ordering::Release);
        self.words().offered.0.open_all();
    }
}
