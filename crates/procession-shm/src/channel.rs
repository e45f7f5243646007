//! One direction of a pipe: a bounded ring of messages in shared memory.
//!
//! # Layout
//!
//! ```text
//! words:  writers' line │ readers' line │ slots[256]                 (in the body of the segment)
//! slot:   stamp │ what: length (40 bits), where (2), handles? (1) │ 96 bytes │ at │ ticket
//! tail:   short area, 256 KiB │ long area, 16 MiB                    (memory as it is needed)
//! ```
//!
//! Messages are numbered from 0. Number *n* lies in slot *n* modulo 256, whose stamp is *n* + 1 when
//! it is there to be read. `head` is the number of the next to be read, `tail` that of the next to
//! be written, of which the stamps know better. Up to 96 bytes lie in the slot itself; more in an
//! area, in one piece; more than the long area has, in sealed memory of its own, a handle.
//!
//! Places in an area are counts of bytes that only grow; where one lies is the count modulo the
//! area's turn, which is all that may be unread at a time. A message that is longer than a turn has
//! the area for itself. An area that has drained is written from its beginning, which is warm.
//!
//! # Protocol
//!
//! Everything a writer does, it does under the writers' lock; everything a reader does, under that
//! of the readers. Either commits with one store: the writer of the stamp, when the bytes are there;
//! the reader of `head`, when it has copied them. The words of either are on a line of their own, so
//! that neither waits for the other's processor where there is no need to.
//!
//! # Memory ordering
//!
//! The store of a stamp is Release and pairs with the reader's Acquire: the message is there. The
//! store of `head` is Release and pairs with the writer's Acquire: it has been copied out.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see |
//! |---|---|
//! | writer, before it stamps | nothing, and a piece of an area that is used again when that drains |
//! | writer, before `tail` | a stamp beyond `tail`; the next writer goes on from there |
//! | reader, before it stores `head` | the message, still there |
//! | reader, before `freed` | a piece of an area that is free with the next that is taken |
//!
//! # Invariants
//!
//! 1. The areas of a direction lie in the tail of a segment that is `2 × LENGTH` long (checked when
//!    it is opened), and what is copied from or to a place was checked to lie inside its area.
//! 2. `tail - head` is at most the number of slots: whoever finds otherwise has met garbage.

use crate::atomic::{AtomicU32, AtomicU64, Ordering};
use std::io;
use std::ptr::{self, NonNull};

use procession_sys::crash_point;

use crate::gate::Gate;
use crate::lent::Bytes;
use crate::lock::LockWords;
use crate::roster::Participant;

const SLOTS: u64 = 256;
/// How many bytes fit into a slot.
const INLINE: usize = 96;
/// The longest message of the short area.
const SHORT: usize = 16 * 1024;

/// The longest message that is copied through shared memory.
pub(crate) const LONGEST: usize = AREAS[1].span;
/// How much of a segment's tail the areas of one direction take.
pub(crate) const LENGTH: usize = AREAS[0].span + AREAS[1].span;

/// What does not change about an area.
struct Area {
    /// Where it begins.
    offset: usize,
    /// How long it is.
    span: usize,
    /// How much of it may be unread, unless it is one message.
    turn: u64,
    /// Memory is asked for in pieces of at least this.
    piece: usize,
}

const AREAS: [Area; 2] = [
    Area { offset: 0, span: 256 << 10, turn: 256 << 10, piece: 64 << 10 },
    Area { offset: 256 << 10, span: 16 << 20, turn: 3 << 20, piece: 512 << 10 },
];

/// Where a message lies.
const IN_SLOT: u64 = 0;
const IN_SHORT_AREA: u64 = 1;
const IN_LONG_AREA: u64 = 2;
const ON_ITS_OWN: u64 = 3;
const WHERE: u32 = 40;
const LENGTH_MASK: u64 = (1 << WHERE) - 1;
const HAS_HANDLES: u64 = 1 << 63;

/// What writers keep of an area.
#[derive(Debug)]
#[repr(C)]
struct AreaWords {
    /// The count up to which it was written.
    written: AtomicU64,
    /// What is before this was read.
    base: AtomicU64,
    /// How many bytes of it have memory.
    backed: AtomicU64,
}

/// What writers write.
#[derive(Debug)]
#[repr(C, align(64))]
struct Writers {
    lock: LockWords,
    /// Where readers sleep; here, because writers look at it each time.
    readers: Gate,
    pollers: AtomicU32,
    /// `head`, as it was when it was last looked at.
    seen: AtomicU64,
    tail: AtomicU64,
    tickets: AtomicU64,
    areas: [AreaWords; 2],
}

/// What readers write.
#[derive(Debug)]
#[repr(C, align(64))]
struct Readers {
    lock: LockWords,
    /// Where writers sleep; here, because readers look at it each time.
    writers: Gate,
    head: AtomicU64,
    /// Every ticket below this was dealt with.
    popped: AtomicU64,
    freed: [AtomicU64; 2],
}

#[derive(Debug)]
#[repr(C, align(64))]
struct Slot {
    stamp: AtomicU64,
    what: AtomicU64,
    bytes: [AtomicU64; INLINE / 8],
    at: AtomicU64,
    ticket: AtomicU64,
}

/// The words of one direction. All zeros are one without messages.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Words {
    writers: Writers,
    readers: Readers,
    slots: [Slot; SLOTS as usize],
}

/// What the memory of the areas is asked for.
pub(crate) trait Memory {
    /// The first byte of this direction's part of the tail.
    fn start(&self) -> NonNull<u8>;

    /// Gives memory to a part of it.
    fn back(&self, offset: usize, length: usize) -> io::Result<()>;
}

/// A direction as this process has it mapped.
pub(crate) struct Channel<'a, M> {
    pub(crate) words: &'a Words,
    pub(crate) memory: M,
}

/// What is in shared memory was not written by this library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Garbage {
    /// One message is none.
    Message,
    /// The words do not fit together: there is no next message, and never will be.
    Words,
}

/// Why a message was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// There is no room now.
    Full,
    /// The words do not fit together.
    Garbage,
    /// The system has no memory.
    Memory(io::Error),
}

impl From<Garbage> for WriteError {
    fn from(_: Garbage) -> Self {
        Self::Garbage
    }
}

/// Room for a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    number: u64,
    lies: u64,
    at: u64,
}

/// A message as it lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    number: u64,
    lies: u64,
    at: u64,
    pub(crate) length: usize,
    /// The name of its packet of handles, if there is one.
    pub(crate) ticket: Option<u64>,
}

impl Message {
    /// Tells whether its bytes are in memory of its own, the first of its handles.
    pub(crate) fn is_on_its_own(self) -> bool {
        self.lies == ON_ITS_OWN
    }
}

impl Words {
    /// The lock of those who write.
    pub(crate) fn writing(&self) -> &LockWords {
        &self.writers.lock
    }

    /// The lock of those who read.
    pub(crate) fn reading(&self) -> &LockWords {
        &self.readers.lock
    }

    /// Where those sleep who wait for a message.
    pub(crate) fn message_gate(&self) -> &Gate {
        &self.writers.readers
    }

    /// Where those sleep who wait for room.
    pub(crate) fn room_gate(&self) -> &Gate {
        &self.readers.writers
    }

    /// Not 0 when somebody waits at the bell for a message.
    pub(crate) fn pollers(&self) -> &AtomicU32 {
        &self.writers.pollers
    }

    /// Takes a dead participant out.
    pub(crate) fn sweep(&self, dead: Participant) {
        self.writers.lock.sweep(dead);
        self.readers.lock.sweep(dead);
    }

    /// Wakes everybody.
    pub(crate) fn wake(&self) {
        self.writers.lock.wake();
        self.readers.lock.wake();
        self.writers.readers.open_all();
        self.readers.writers.open_all();
    }

    fn slot(&self, number: u64) -> &Slot {
        &self.slots[(number % SLOTS) as usize]
    }

    fn head(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `remove`: the bytes were copied out.
        self.readers.head.load(Ordering::Acquire)
    }

    /// Tells whether nothing is there, as far as can be told without a lock.
    pub(crate) fn is_empty(&self) -> bool {
        // Another reader may go on between the two looks; a few times, not for ever.
        for _ in 0..8 {
            let head = self.readers.head.load(Ordering::Relaxed);
            let stamp = self.slot(head).stamp.load(Ordering::Acquire);
            if stamp == head.wrapping_add(1) {
                return false;
            }
            if self.readers.head.load(Ordering::Relaxed) == head {
                // What is neither a message nor the place for one is told by reading.
                return stamp == vacant(head);
            }
        }
        false
    }

    /// Tells whether every slot is in use, as far as can be told without a lock.
    pub(crate) fn is_full(&self) -> bool {
        let tail = self.writers.tail.load(Ordering::Relaxed);
        tail.wrapping_sub(self.head()) == SLOTS
    }

    /// Tells whether a writer that waits is better left asleep: more than half is still to be read.
    pub(crate) fn is_half_full(&self) -> bool {
        let middle = self.readers.head.load(Ordering::Relaxed).wrapping_add(SLOTS / 2);
        self.slot(middle).stamp.load(Ordering::Relaxed) == middle.wrapping_add(1)
    }

    /// Makes a name for a packet of handles; the writers' lock is held.
    pub(crate) fn new_ticket(&self) -> u64 {
        self.writers.tickets.fetch_add(1, Ordering::AcqRel)
    }

    /// Tells whether there may be packets that belong to no message, when there is none.
    pub(crate) fn has_packets(&self) -> bool {
        let tickets = self.writers.tickets.load(Ordering::Acquire);
        tickets != self.readers.popped.load(Ordering::Relaxed)
    }

    /// Says that all packets were thrown away; both locks are held.
    pub(crate) fn no_packets(&self) {
        let tickets = self.writers.tickets.load(Ordering::Acquire);
        self.readers.popped.store(tickets, Ordering::Relaxed);
    }

    /// Says that the packet of this name, and what was before it, was dealt with; the readers' lock
    /// is held.
    pub(crate) fn popped(&self, ticket: u64) {
        self.readers.popped.store(ticket.wrapping_add(1), Ordering::Relaxed);
    }
}

/// The stamp of a slot that waits for the message of this number.
fn vacant(number: u64) -> u64 {
    number.wrapping_add(1).saturating_sub(SLOTS)
}

impl<M: Memory> Channel<'_, M> {
    /// The number of the next message to be written; the writers' lock is held.
    fn tail(&self) -> Result<u64, Garbage> {
        let mut tail = self.words.writers.tail.load(Ordering::Relaxed);
        for _ in 0..=SLOTS {
            let stamp = self.words.slot(tail).stamp.load(Ordering::Relaxed);
            // Who died before it stored `tail` has stamped.
            if stamp != tail.wrapping_add(1) {
                return if stamp == vacant(tail) { Ok(tail) } else { Err(Garbage::Words) };
            }
            tail = tail.wrapping_add(1);
        }
        Err(Garbage::Words)
    }

    /// Finds room for a message of `length`; the writers' lock is held.
    pub(crate) fn room(&self, length: usize) -> Result<Room, WriteError> {
        let writers = &self.words.writers;
        let number = self.tail()?;
        let unread = number.wrapping_sub(writers.seen.load(Ordering::Relaxed));
        if length <= INLINE && unread < SLOTS {
            return Ok(Room { number, lies: IN_SLOT, at: 0 });
        }
        let head = self.words.head();
        writers.seen.store(head, Ordering::Relaxed);
        let unread = number.wrapping_sub(head);
        if unread >= SLOTS {
            return Err(if unread == SLOTS { WriteError::Full } else { WriteError::Garbage });
        }
        let lies = match length {
            0..=INLINE => return Ok(Room { number, lies: IN_SLOT, at: 0 }),
            _ if length <= SHORT => IN_SHORT_AREA,
            _ if length <= LONGEST => IN_LONG_AREA,
            _ => ON_ITS_OWN,
        };
        let index = usize::from(lies != IN_SHORT_AREA);
        let at = self.place(index, length, unread == 0)?;
        if lies != ON_ITS_OWN {
            self.back(index, at, length).map_err(WriteError::Memory)?;
        }
        Ok(Room { number, lies, at })
    }

    /// Finds a place in an area.
    fn place(&self, index: usize, length: usize, is_drained: bool) -> Result<u64, WriteError> {
        let (area, words) = (&AREAS[index], &self.words.writers.areas[index]);
        let length = (length as u64).next_multiple_of(64);
        let written = words.written.load(Ordering::Relaxed);
        let freed = self.words.readers.freed[index].load(Ordering::Acquire);
        let unread_from = freed.max(words.base.load(Ordering::Relaxed));
        let next_turn = || written.checked_next_multiple_of(area.turn).ok_or(WriteError::Garbage);
        let is_drained = is_drained || unread_from >= written;
        let at = match written % area.turn {
            0 => written,
            _ if is_drained => next_turn()?,
            within if within.saturating_add(length) > area.turn => next_turn()?,
            _ => written,
        };
        let end = at.checked_add(length).ok_or(WriteError::Garbage)?;
        if is_drained {
            words.base.store(at, Ordering::Relaxed);
        } else if end - unread_from > area.turn {
            return Err(WriteError::Full);
        }
        Ok(at)
    }

    /// Makes sure that there is memory.
    fn back(&self, index: usize, at: u64, length: usize) -> io::Result<()> {
        let (area, words) = (&AREAS[index], &self.words.writers.areas[index]);
        let backed = (words.backed.load(Ordering::Relaxed) as usize).min(area.span);
        let end = (at % area.turn) as usize + length;
        if end <= backed {
            return Ok(());
        }
        let more = (end - backed).next_multiple_of(area.piece).min(area.span - backed);
        self.memory.back(area.offset + backed, more)?;
        words.backed.store((backed + more) as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Where a message's bytes are, if they can be there.
    fn start(&self, number: u64, lies: u64, at: u64, length: usize) -> Option<NonNull<u8>> {
        let area = match lies {
            IN_SLOT if length <= INLINE => {
                return Some(NonNull::from(&self.words.slot(number).bytes).cast());
            }
            IN_SHORT_AREA => &AREAS[0],
            IN_LONG_AREA => &AREAS[1],
            _ => return None,
        };
        let within = (at % area.turn) as usize;
        if length > area.span - within {
            return None;
        }
        // SAFETY: invariant 1: the place and `length` bytes from there on are inside the area.
        Some(unsafe { self.memory.start().add(area.offset + within) })
    }

    /// Writes a message into its room and commits it; the writers' lock is held. The bytes of one
    /// that is on its own are elsewhere.
    pub(crate) fn write(
        &self,
        room: Room,
        parts: [&[u8]; 2],
        ticket: Option<u64>,
    ) -> Result<(), WriteError> {
        let Room { number, lies, at } = room;
        let length = parts[0].len() + parts[1].len();
        let writers = &self.words.writers;
        if lies != IN_SLOT {
            let area = &writers.areas[usize::from(lies != IN_SHORT_AREA)];
            // Before the stamp: what was stamped is not written over.
            let end = at.wrapping_add((length as u64).next_multiple_of(64));
            area.written.store(end, Ordering::Relaxed);
        }
        if lies != ON_ITS_OWN {
            let start = self.start(number, lies, at, length).ok_or(WriteError::Garbage)?;
            // SAFETY: `start` has room for both parts (invariant 1). The lock is held, and a process
            // that breaks that leaves other bytes, nothing worse.
            unsafe { ptr::copy_nonoverlapping(parts[0].as_ptr(), start.as_ptr(), parts[0].len()) };
            // SAFETY: as above.
            let second = unsafe { start.add(parts[0].len()) };
            // SAFETY: as above.
            unsafe { ptr::copy_nonoverlapping(parts[1].as_ptr(), second.as_ptr(), parts[1].len()) };
        }
        let slot = self.words.slot(number);
        let has_handles = if ticket.is_some() { HAS_HANDLES } else { 0 };
        slot.what.store(length as u64 | lies << WHERE | has_handles, Ordering::Relaxed);
        if lies != IN_SLOT {
            slot.at.store(at, Ordering::Relaxed);
        }
        if let Some(ticket) = ticket {
            slot.ticket.store(ticket, Ordering::Relaxed);
        }
        // CRASH (channel.write.copied): the bytes lie in free room; nobody sees them.
        crash_point!("channel.write.copied");
        // ORDERING: Release pairs with the Acquire in `first`: the message is there.
        slot.stamp.store(number.wrapping_add(1), Ordering::Release);
        // CRASH (channel.write.committed): it is there; sleeping readers do not know, `tail` is
        // behind. The sweep opens the gate, the next writer looks at the stamps.
        crash_point!("channel.write.committed");
        writers.tail.store(number.wrapping_add(1), Ordering::Relaxed);
        Ok(())
    }

    /// Finds the next message; the readers' lock is held. One that is none is taken away.
    pub(crate) fn first(&self) -> Result<Option<Message>, Garbage> {
        let number = self.words.readers.head.load(Ordering::Relaxed);
        let slot = self.words.slot(number);
        // ORDERING: Acquire pairs with the Release in `write`.
        let stamp = slot.stamp.load(Ordering::Acquire);
        if stamp != number.wrapping_add(1) {
            return if stamp == vacant(number) { Ok(None) } else { Err(Garbage::Words) };
        }
        let what = slot.what.load(Ordering::Relaxed);
        let lies = what >> WHERE & 3;
        let at = slot.at.load(Ordering::Relaxed);
        let length = (what & LENGTH_MASK) as usize;
        let ticket = (what & HAS_HANDLES != 0).then(|| slot.ticket.load(Ordering::Relaxed));
        let message = Message { number, lies, at, length, ticket };
        let can_be = if message.is_on_its_own() {
            ticket.is_some()
        } else {
            self.start(number, lies, at, length).is_some()
        };
        if can_be {
            return Ok(Some(message));
        }
        self.remove(Message { lies: IN_SLOT, ..message });
        Err(Garbage::Message)
    }

    /// Lends a message's bytes; the readers' lock is held, and `message` comes from
    /// [`first`](Self::first).
    pub(crate) fn bytes(&self, message: Message) -> Bytes<'_> {
        let Message { number, lies, at, length, .. } = message;
        match self.start(number, lies, at, length) {
            // SAFETY: so many bytes from there on are the message's, as long as the words are mapped;
            // whoever breaks the rules writes other bytes there, nothing worse.
            Some(start) => unsafe { Bytes::new([(start, length), (start, 0)]) },
            None => Bytes::empty(),
        }
    }

    /// Takes a message away; the readers' lock is held.
    pub(crate) fn remove(&self, message: Message) {
        // CRASH (channel.read.copied): nothing was taken.
        crash_point!("channel.read.copied");
        // ORDERING: Release pairs with the Acquire in `head`: the bytes were copied out.
        self.words.readers.head.store(message.number.wrapping_add(1), Ordering::Release);
        // CRASH (channel.read.committed): taken, and gone with the reader. Its piece of an area is
        // free with the next; a sleeping writer is woken by the sweep.
        crash_point!("channel.read.committed");
        if message.lies != IN_SLOT {
            let freed = &self.words.readers.freed[usize::from(message.lies != IN_SHORT_AREA)];
            let end = message.at.wrapping_add((message.length as u64).next_multiple_of(64));
            // ORDERING: as for `head`.
            freed.store(end, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests;
