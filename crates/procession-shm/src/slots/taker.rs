//! A taker's side of slots: takes work, and answers.

use super::{
    ANSWERED, ENTRIES, HAS_HANDLES, HELD, IS_STORED, IS_TIMED, IS_TRACED, LEAVES, OFFERED, SLOTS,
    Shared, Slot, TAKEN, TAKERS, TURN_SHIFT, Words, outputs_offset, state_word,
};
use crate::atomic::{Ordering, fence, ordering, will_read, will_write};
use crate::os::futex::Woken;
use crate::os::{Handle, clock, crash_point};
use crate::segment::SegmentError;
use crate::store::Block;
use crate::wait::{gives_up, spin};

/// One who takes: a process, with one lane for each of its threads.
#[derive(Clone, Debug)]
pub struct Taker {
    shared: Shared,
    place: usize,
}

/// A piece of work that this lane has taken, with its input copied out.
#[derive(Debug)]
pub struct Taken {
    /// Where it was offered.
    pub slot: usize,
    /// When it was offered: never the same twice.
    pub turn: u64,
    /// How many items it has.
    pub items: u32,
    /// Where its input is in the giver's store, if it is not in the buffer.
    pub stored: Option<Block>,
    /// Whether handles go with it.
    pub handles: bool,
    /// Whether each output says when its item began and ended.
    pub traced: bool,
}

/// The answer to a piece of work, item by item. Dropped without [`finish`](Self::finish), the piece
/// stays taken.
#[derive(Debug)]
pub struct Answer<'a> {
    shared: &'a Shared,
    slot: usize,
    turn: u64,
    lane: usize,
    /// Where in the area outputs begin, and how many bytes there are.
    offset: usize,
    room: usize,
    written: usize,
    done: u32,
    timed: bool,
}

/// An output is longer than what is left of the area.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Taker {
    /// Opens slots by the giver's handle, as the taker in `place`.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] that says what the handle is instead.
    pub fn open(handle: Handle, place: usize) -> Result<Self, SegmentError> {
        Ok(Self { shared: Shared::open(handle)?, place: place % TAKERS })
    }

    fn words(&self) -> &Words {
        self.shared.words()
    }

    fn leaves(&self) -> bool {
        self.leaving() == LEAVES
    }

    fn leaving(&self) -> u32 {
        self.words().leaving[self.place].load(Ordering::Acquire)
    }

    /// Waits until this taker is not held, if it is.
    fn wait_to_go_on(&self) -> Result<(), SegmentError> {
        // ORDERING: after the fence in `Answer::finish`, which pairs with that in `Giver::hold`.
        while self.leaving() == HELD {
            let ticket = self.words().offered.0.ticket();
            if self.leaving() == HELD
                && self.words().offered.0.sleep(ticket, None)? == Woken::Interrupted
                && gives_up()
            {
                return Err(SegmentError::Interrupted);
            }
        }
        Ok(())
    }

    /// Tells whether the piece may be gone on with: not when its taker is held, if it is a timed one,
    /// whose giver may be about to end the item that it has last seen begin.
    #[must_use]
    pub fn goes_on(&self, answer: &Answer<'_>) -> bool {
        if !answer.timed {
            return true;
        }
        // ORDERING: SeqCst pairs with the fence in `Giver::hold`.
        fence(ordering!("slots.go-on", SeqCst));
        self.leaving() == 0
    }

    /// Waits for a piece of work and takes it; its input replaces what is in `buffer`. `None` when
    /// this taker is to leave.
    ///
    /// # Errors
    ///
    /// When the system refuses to sleep.
    pub fn take(&self, lane: usize, buffer: &mut Vec<u8>) -> Result<Option<Taken>, SegmentError> {
        loop {
            self.wait_to_go_on()?;
            if self.leaves() {
                return Ok(None);
            }
            let try_take = || Ok(self.try_take(lane));
            if let Some((slot, turn)) = spin(try_take)? {
                return Ok(Some(self.copy_input(slot, turn, buffer)));
            }
            let ticket = self.words().offered.0.ticket();
            // ORDERING: Acquire pairs with the Release in `Giver::stop`, and before the last look: what
            // was offered before the giver has said stop is not left behind.
            let stops = self.words().stop.load(Ordering::Acquire) != 0;
            if let Some((slot, turn)) = self.try_take(lane) {
                return Ok(Some(self.copy_input(slot, turn, buffer)));
            }
            if self.leaves() || stops {
                return Ok(None);
            }
            if self.words().offered.0.sleep(ticket, None)? == Woken::Interrupted && gives_up() {
                return Err(SegmentError::Interrupted);
            }
        }
    }

    pub(super) fn try_take(&self, lane: usize) -> Option<(usize, u64)> {
        let words = self.words();
        // A bound, for a `head` that somebody scribbles over all the time.
        for _ in 0..ENTRIES {
            let head = words.head.0.load(Ordering::Acquire);
            // ORDERING: Acquire pairs with the Release in `Giver::push`: the entry is there, and
            // what was stored before it.
            let tail = words.tail.0.load(Ordering::Acquire);
            if tail.wrapping_sub(head).wrapping_sub(1) >= ENTRIES as u64 {
                return None; // empty, or garbage, which the giver finds
            }
            let entry = words.entries[head as usize % ENTRIES].load(Ordering::Relaxed);
            let (slot, turn) = ((entry & 0xffff) as usize, entry >> 16);
            let taken = words.slots.get(slot).is_some_and(|words| {
                let (offered, taken) =
                    (state_word(OFFERED, 0, turn), state_word(TAKEN, lane, turn));
                // ORDERING: Acquire pairs with the Release in `Giver::offer`.
                words
                    .state
                    .compare_exchange(offered, taken, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            });
            if taken {
                // CRASH (slots.taken): the slot says who; another taker moves `head` on.
                crash_point!("slots.taken");
            }
            // ORDERING: Release: who sees the new head sees that the slot is taken. If it has moved
            // already, the entry is done with.
            let _ = words.head.0.compare_exchange(
                head,
                head.wrapping_add(1),
                Ordering::AcqRel,
                Ordering::Relaxed,
            );
            if taken {
                // CRASH (slots.moved-on): the slot says who; nothing has begun.
                crash_point!("slots.moved-on");
                return Some((slot, turn));
            }
        }
        None
    }

    pub(super) fn copy_input(&self, slot: usize, turn: u64, buffer: &mut Vec<u8>) -> Taken {
        let words = &self.words().slots[slot];
        let flags = words.flags.load(Ordering::Relaxed);
        let length = words.input_length.load(Ordering::Relaxed);
        buffer.clear();
        let stored = (flags & IS_STORED != 0)
            .then(|| Block { offset: words.input_offset.load(Ordering::Relaxed), length });
        if stored.is_none() {
            let (area, room) = self.shared.area(slot, flags);
            let length = usize::try_from(length).unwrap_or(usize::MAX).min(room);
            will_read(area, length);
            buffer.reserve(length);
            // SAFETY: invariants 1 and 2: the area has that many bytes, and so has the buffer.
            unsafe { std::ptr::copy_nonoverlapping(area.as_ptr(), buffer.as_mut_ptr(), length) };
            // SAFETY: they have just been written.
            unsafe { buffer.set_len(length) };
        }
        Taken {
            slot,
            turn,
            items: words.items.load(Ordering::Relaxed),
            stored,
            handles: flags & HAS_HANDLES != 0,
            traced: flags & IS_TRACED != 0,
        }
    }

    /// Begins to answer.
    #[must_use]
    pub fn answer(&self, taken: &Taken, lane: usize) -> Answer<'_> {
        let words = &self.words().slots[taken.slot % SLOTS];
        let flags = words.flags.load(Ordering::Relaxed);
        let input = if flags & IS_STORED == 0 {
            usize::try_from(words.input_length.load(Ordering::Relaxed)).unwrap_or(usize::MAX / 2)
        } else {
            0
        };
        let room = self.shared.area(taken.slot, flags).1;
        let offset = outputs_offset(input.min(room)).min(room);
        Answer {
            shared: &self.shared,
            slot: taken.slot % SLOTS,
            turn: taken.turn,
            lane,
            offset,
            room: room - offset,
            written: 0,
            done: 0,
            timed: flags & IS_TIMED != 0,
        }
    }

    /// Has the giver look at a piece that is not done: to ask for its handles.
    pub fn call_giver(&self, taken: &Taken) {
        self.shared.mark_changed(taken.slot);
        // ORDERING: SeqCst, as the gate's own: a giver that does not see it sees the gate open.
        self.words().urgent.store(1, Ordering::SeqCst);
        self.words().answered.0.open(1);
    }

    /// Tells whether the giver still needs what lane `lane` has answered in `slot` at `turn`.
    #[must_use]
    pub fn is_answered(&self, slot: usize, turn: u64, lane: usize) -> bool {
        // ORDERING: Acquire pairs with the Release in `Giver::release`: the giver has copied it.
        let state = self.words().slots[slot % SLOTS].state.load(Ordering::Acquire);
        state == state_word(ANSWERED, lane, turn)
    }
}

impl Answer<'_> {
    fn words(&self) -> &Slot {
        &self.shared.words().slots[self.slot]
    }

    /// Notes that the next item begins.
    #[inline]
    pub fn begin(&self) {
        if self.timed {
            self.words().began.store(clock::now(), Ordering::Release);
        }
    }

    /// Writes the next item's output, made of `parts`, behind the others.
    ///
    /// # Errors
    ///
    /// [`NoRoom`], when nothing was written.
    #[inline]
    pub fn push(&mut self, parts: &[&[u8]]) -> Result<(), NoRoom> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length > self.room - self.written {
            return Err(NoRoom);
        }
        let flags = self.words().flags.load(Ordering::Relaxed);
        let (area, room) = self.shared.area(self.slot, flags);
        for part in parts {
            let at = self.offset + self.written;
            if part.len() > room.saturating_sub(at) {
                return Err(NoRoom); // somebody has changed the flags meanwhile
            }
            // SAFETY: invariant 1: `at` is inside of the area, or at its end.
            let to = unsafe { area.add(at) };
            will_write(to, part.len());
            // SAFETY: as above, there is room for the part (checked); invariant 2; what is mapped
            // does not overlap with what a caller has borrowed.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), to.as_ptr(), part.len()) };
            self.written += part.len();
        }
        // CRASH (slots.written): the output is there, the item is not done: it has killed its taker.
        crash_point!("slots.written");
        self.words().written.store(self.written as u32, Ordering::Relaxed);
        self.count();
        Ok(())
    }

    /// Says that the next item's output is in the lane's store. It is the last one of this answer.
    pub fn push_stored(&mut self, block: Block) {
        let words = self.words();
        words.output_offset.store(block.offset, Ordering::Relaxed);
        words.output_length.store(block.length, Ordering::Relaxed);
        self.count();
    }

    #[inline]
    fn count(&mut self) {
        self.done += 1;
        if self.timed {
            // Who sees that this item is done does not see when it began, but the next one or none.
            self.words().began.store(0, Ordering::Relaxed);
        }
        // ORDERING: Release pairs with the Acquire in `Giver::done`: the output is there.
        self.words().done.store(self.done, Ordering::Release);
        // CRASH (slots.done): the item is done; the next one has not begun, and is taken for the
        // one that has killed the taker. Nothing tells them apart.
        crash_point!("slots.done");
    }

    /// Says that this is all, and wakes the giver if it wants to know.
    pub fn finish(self) {
        let words = self.shared.words();
        // ORDERING: Release pairs with the Acquire in `Giver::look`: `done` and outputs are there.
        let answered = state_word(ANSWERED, self.lane, self.turn);
        words.slots[self.slot].state.store(answered, Ordering::Release);
        // CRASH (slots.answered): the giver finds it among the slots of the dead lane.
        crash_point!("slots.answered");
        self.shared.mark_changed(self.slot);
        // ORDERING: Release pairs with the Acquire in `Giver::count`: who has counted this piece sees
        // that its slot has changed, and does not wait for one more.
        let count = words.count.0.fetch_add(1, Ordering::Release).wrapping_add(1);
        // CRASH (slots.counted): whoever tells the giver of the death wakes it.
        crash_point!("slots.counted");
        // ORDERING: SeqCst pairs with the fence in `Giver::wait`.
        fence(ordering!("slots.finish", SeqCst));
        let wanted = words.wanted.load(Ordering::Relaxed);
        if count.wrapping_sub(wanted).cast_signed() >= 0 || self.shared.is_dry() {
            words.answered.0.open_fenced(1);
        }
    }
}

const _: () = assert!(TURN_SHIFT == 16, "an entry has the turn where a state has it");
