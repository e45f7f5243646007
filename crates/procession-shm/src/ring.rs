//! The memory of a queue: rings of growing sizes, of which one is written and one is read.
//!
//! # Layout
//!
//! ```text
//! tail of the segment:  │ region 0 │ region 1 │ region 2 │ …      64 KiB, × 4 each, 10 of them
//!
//! region's words:  tail │ backed │ head as writers have seen it │ next      one cache line
//!                  head │ tail as readers have seen it                     another
//! message:         length (63 bits), whether handles go with it (1) │ sequence │ bytes │ to 8 × n
//! ```
//!
//! `head` and `tail` count bytes and only grow; where a message lies is its count modulo the
//! region's size, and a message that comes to the end goes on at the beginning. What is between them
//! is there to be read. Region 0 has memory from the beginning; the others get theirs as they are
//! written, up to `backed`, so that a lack of memory is an error before anything is written, and not
//! a fatal signal in the middle.
//!
//! # States
//!
//! A message that does not fit goes to another region that nobody uses, which the last one names as
//! its `next`. Readers that come to the end of a region with a `next` follow. So a queue that grows
//! moves to larger regions; one that has drained in a large region moves back to a small one, which
//! is warm, and gives the memory of the large one back.
//!
//! ```text
//! unused ──next of the last one──► written ──its next is set──► only read ──drained──► unused
//! ```
//!
//! # Protocol
//!
//! Each side keeps what it has last seen of the other's count, and looks again only when that is not
//! enough: the other side's line stays where it is changed.
//!
//! Everything a writer does, it does under the queue's lock for writers; everything a reader does,
//! under that for readers. Either commits with one store: the writer of `tail`, when the bytes are
//! there; the reader of `head`, when it has copied them.
//!
//! # Memory ordering
//!
//! The store of `tail` is Release and pairs with the reader's Acquire: the bytes are there. The
//! store of `head` is Release and pairs with the writer's Acquire: they have been copied out.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see |
//! |---|---|
//! | writer, before it stores `tail` | nothing: the bytes lie in free room |
//! | writer, between `next` and moving on | `next`; the next writer follows it |
//! | reader, before it stores `head` | the message, still there |
//! | reader, before it gives memory back | memory that the next one to drain gives back |
//!
//! # Invariants
//!
//! 1. A region's bytes lie in the tail of a segment that is `LENGTH` long (checked when it is
//!    opened), and every offset into them is a count modulo the region's size.
//! 2. `tail - head` is at most the size: whoever reads both and finds otherwise has met garbage.

use std::io;
use std::ptr::{self, NonNull};

use crate::atomic::{AtomicU32, AtomicU64, Ordering, ordering, will_read, will_write};
use crate::lent::Bytes;
use crate::os::crash_point;

use crate::segment::NewLine;

/// How many regions there are.
pub(crate) const REGIONS: usize = if cfg!(loom) { 3 } else { 10 };
const SMALLEST: usize = if cfg!(loom) { 64 } else { 64 * 1024 };
/// The largest region that keeps its memory when it has drained.
const WARM: usize = if cfg!(loom) { 1 } else { 4 };
/// Memory is asked for in pieces of at least this.
const PIECE: usize = 256 * 1024;
/// And in no larger ones than this, as long as no message needs them.
const MOST_AT_ONCE: usize = 64 << 20;
const HEADER: u64 = 16;
const HAS_HANDLES: u64 = 1 << 63;

/// How long the tail of a queue's segment is.
pub(crate) const LENGTH: usize = offset_of(REGIONS);
/// How much of it has memory at first.
pub(crate) const BACKED: usize = SMALLEST;

/// The longest message.
pub(crate) const LONGEST: usize = size_of_region(REGIONS - 1) - HEADER as usize;

const fn size_of_region(index: usize) -> usize {
    SMALLEST << (2 * index)
}

/// The sum of the sizes before it.
const fn offset_of(index: usize) -> usize {
    (size_of_region(index) - SMALLEST) / 3
}

/// One region's words.
#[derive(Debug, Default)]
#[repr(C)]
struct Region {
    writing: NewLine,
    tail: AtomicU64,
    backed: AtomicU64,
    /// What a writer has last seen in `head`, which is at least that.
    head_seen: AtomicU64,
    /// The region that follows, plus one.
    next: AtomicU32,
    reading: NewLine,
    head: AtomicU64,
    /// What a reader has last seen in `tail`, which is at least that.
    tail_seen: AtomicU64,
}

/// The words of all regions, in the body of a queue's segment.
#[derive(Debug, Default)]
#[repr(C)]
pub(crate) struct Words {
    regions: [Region; REGIONS],
    writing: NewLine,
    /// The region that is written.
    written: AtomicU32,
    reading: NewLine,
    /// The region that is read.
    read: AtomicU32,
}

impl Region {
    /// Makes a region that nobody uses one without messages.
    fn empty(&self) {
        for count in [&self.head, &self.tail, &self.head_seen, &self.tail_seen] {
            count.store(0, Ordering::Relaxed);
        }
    }
}

/// What the memory of the regions is asked for.
pub(crate) trait Memory {
    /// The first byte of the tail, of [`LENGTH`] bytes.
    fn start(&self) -> NonNull<u8>;

    /// Gives memory to a part of the tail.
    fn back(&self, offset: usize, length: usize) -> io::Result<()>;

    /// Takes it back.
    fn give_back(&self, offset: usize, length: usize);

    /// How much memory there is in all.
    fn backed(&self) -> io::Result<u64>;
}

/// A queue's rings as this process has them mapped.
pub(crate) struct Ring<'a, M> {
    pub(crate) words: &'a Words,
    pub(crate) memory: &'a M,
}

/// Why a message was not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Every region is in use, or too small.
    NoRoom,
    /// The system has no memory.
    Memory(io::Error),
}

/// Something in the rings was not written by this library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Garbage;

/// A message as it lies there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message {
    region: usize,
    position: u64,
    /// How many messages were put before it.
    pub(crate) sequence: u64,
    /// Its length, and whether handles go with it: one word, as it is copied often.
    header: u64,
}

impl Message {
    #[inline]
    pub(crate) fn length(&self) -> usize {
        (self.header & !HAS_HANDLES) as usize
    }

    #[inline]
    pub(crate) fn has_handles(&self) -> bool {
        self.header & HAS_HANDLES != 0
    }
}

/// Room a message of `length` takes.
fn room(length: usize) -> u64 {
    HEADER + (length as u64).next_multiple_of(8)
}

impl<M: Memory> Ring<'_, M> {
    #[inline]
    fn region(&self, index: usize) -> &Region {
        &self.words.regions[index % REGIONS]
    }

    /// The index that a word names, whatever stands there.
    #[inline]
    fn named(word: &AtomicU32) -> usize {
        // ORDERING: Acquire pairs with the Release in `first`: what a region that is not read any
        // more was left in.
        word.load(Ordering::Acquire) as usize % REGIONS
    }

    #[inline]
    fn next(&self, index: usize) -> Option<usize> {
        // ORDERING: Acquire pairs with the Release in `move_on`: the region is ready.
        let next = self.region(index).next.load(Ordering::Acquire) as usize;
        next.checked_sub(1).map(|next| next % REGIONS)
    }

    /// `(head, tail)`, if they can be.
    #[inline]
    fn counts(&self, index: usize) -> Result<(u64, u64), Garbage> {
        let region = self.region(index);
        let head = region.head.load(Ordering::Acquire);
        let tail = region.tail.load(ordering!("ring.tail", Acquire));
        let used = tail.wrapping_sub(head);
        if used > size_of_region(index) as u64 { Err(Garbage) } else { Ok((head, tail)) }
    }

    /// As [`counts`](Self::counts), but the head may be an older one if `needed` bytes fit all the
    /// same; the writers' lock is held.
    #[inline]
    fn counts_to_write(&self, index: usize, needed: u64) -> Result<(u64, u64), Garbage> {
        let (region, size) = (self.region(index), size_of_region(index) as u64);
        let tail = region.tail.load(Ordering::Relaxed);
        // ORDERING: who stored it had it from an Acquire, and the lock from there to here.
        let head = region.head_seen.load(Ordering::Relaxed);
        let used = tail.wrapping_sub(head);
        if used <= size && needed <= size - used {
            return Ok((head, tail));
        }
        let counts = self.counts(index)?;
        region.head_seen.store(counts.0, Ordering::Relaxed);
        Ok(counts)
    }

    /// As [`counts`](Self::counts), but the tail may be an older one if there is something before
    /// it; the readers' lock is held.
    #[inline]
    fn counts_to_read(&self, index: usize) -> Result<(u64, u64), Garbage> {
        let region = self.region(index);
        if let Some(counts) = self.known_to_be_there(index) {
            return Ok(counts);
        }
        let counts = self.counts(index)?;
        region.tail_seen.store(counts.1, Ordering::Relaxed);
        Ok(counts)
    }

    /// What is there by what readers have seen, if there is something; without a lock, a guess.
    #[inline]
    fn known_to_be_there(&self, index: usize) -> Option<(u64, u64)> {
        let region = self.region(index);
        let head = region.head.load(Ordering::Relaxed);
        // ORDERING: as in `counts_to_write`.
        let tail = region.tail_seen.load(Ordering::Relaxed);
        let used = tail.wrapping_sub(head);
        (used != 0 && used <= size_of_region(index) as u64).then_some((head, tail))
    }

    /// Where the byte at `position` of a region is, and how many follow it without a break.
    #[inline]
    fn place(&self, index: usize, position: u64) -> (NonNull<u8>, usize) {
        let size = size_of_region(index);
        // A remainder: sizes are powers of two, which the compiler does not see.
        let within = position as usize & (size - 1);
        // SAFETY: invariant 1: region and offset lie inside the tail.
        let start = unsafe { self.memory.start().add(offset_of(index) + within) };
        (start, size - within)
    }

    #[inline]
    fn copy_in(&self, index: usize, position: u64, bytes: &[u8]) {
        let (start, contiguous) = self.place(index, position);
        let (first, second) = bytes.split_at(bytes.len().min(contiguous));
        will_write(start, first.len());
        // SAFETY: invariant 1; the room is free and the writers' lock is held, and a process that
        // breaks that leaves other bytes, nothing worse.
        unsafe { ptr::copy_nonoverlapping(first.as_ptr(), start.as_ptr(), first.len()) };
        if !second.is_empty() {
            let (start, _) = self.place(index, position.wrapping_add(first.len() as u64));
            will_write(start, second.len());
            // SAFETY: as above; what is left is shorter than the region.
            unsafe { ptr::copy_nonoverlapping(second.as_ptr(), start.as_ptr(), second.len()) };
        }
    }

    /// As [`copy_in`](Self::copy_in), for a word of a header.
    #[inline]
    fn write_word(&self, index: usize, position: u64, word: u64) {
        let (start, contiguous) = self.place(index, position);
        if contiguous < size_of::<u64>() {
            // No message that follows the rules begins there.
            return self.copy_in(index, position, &word.to_ne_bytes());
        }
        will_write(start, size_of::<u64>());
        // SAFETY: as in `copy_in`. It is one store: a vector's would wait for two words' to be done.
        unsafe { start.cast::<u64>().write_unaligned(word) };
    }

    /// As [`copy_out`](Self::copy_out), for a word of a header.
    #[inline]
    fn read_word(&self, index: usize, position: u64) -> u64 {
        let (start, contiguous) = self.place(index, position);
        if contiguous < size_of::<u64>() {
            let mut bytes = [0; size_of::<u64>()];
            self.copy_out(index, position, &mut bytes);
            return u64::from_ne_bytes(bytes);
        }
        will_read(start, size_of::<u64>());
        // SAFETY: as in `copy_out`.
        unsafe { start.cast::<u64>().read_unaligned() }
    }

    #[inline]
    fn copy_out(&self, index: usize, position: u64, bytes: &mut [u8]) {
        let (start, contiguous) = self.place(index, position);
        let (first, second) = bytes.split_at_mut(bytes.len().min(contiguous));
        will_read(start, first.len());
        // SAFETY: invariant 1; the readers' lock is held, so nobody writes there but one who breaks
        // the rules, which leaves other bytes, nothing worse.
        unsafe { ptr::copy_nonoverlapping(start.as_ptr(), first.as_mut_ptr(), first.len()) };
        if !second.is_empty() {
            let (start, _) = self.place(index, position.wrapping_add(first.len() as u64));
            will_read(start, second.len());
            // SAFETY: as above; what is left is shorter than the region.
            unsafe { ptr::copy_nonoverlapping(start.as_ptr(), second.as_mut_ptr(), second.len()) };
        }
    }

    /// Writes a message and commits it; the writers' lock is held.
    #[inline]
    pub(crate) fn write(
        &self,
        prefix: &[u8],
        parts: &[&[u8]],
        sequence: u64,
        has_handles: bool,
    ) -> Result<(), WriteError> {
        let length = parts.iter().fold(prefix.len(), |sum, part| sum + part.len());
        let needed = room(length);
        let mut index = Self::named(&self.words.written);
        // A writer that died has moved on, but not told.
        for _ in 0..REGIONS {
            let Some(next) = self.next(index) else { break };
            index = next;
        }
        let mut counts =
            if index > WARM { self.counts(index) } else { self.counts_to_write(index, needed) };
        let is_drained = matches!(counts, Ok((head, tail)) if head == tail);
        let small = index > WARM && is_drained && needed <= size_of_region(WARM) as u64;
        let size = size_of_region(index) as u64;
        let fits = |(head, tail): (u64, u64)| tail.wrapping_sub(head) + needed <= size;
        if small || !counts.is_ok_and(fits) {
            let other = self.unused(index, needed, small);
            match other {
                Some(other) => {
                    self.move_on(index, other);
                    index = other;
                    counts = Ok((0, 0));
                }
                None if small => {}
                None => return Err(WriteError::NoRoom),
            }
        }
        if Self::named(&self.words.written) != index {
            self.words.written.store(index as u32, Ordering::Relaxed);
        }
        let Ok((_, tail)) = counts else { return Err(WriteError::NoRoom) };
        self.back(index, tail, needed).map_err(WriteError::Memory)?;
        let header = length as u64 | if has_handles { HAS_HANDLES } else { 0 };
        self.write_word(index, tail, header);
        // Counts that nobody wrote who follows the rules may be about to wrap.
        self.write_word(index, tail.wrapping_add(HEADER / 2), sequence);
        let mut position = tail.wrapping_add(HEADER);
        for part in std::iter::once(&prefix).chain(parts).filter(|part| !part.is_empty()) {
            self.copy_in(index, position, part);
            position = position.wrapping_add(part.len() as u64);
        }
        // CRASH (ring.write.copied): the bytes lie in free room; nobody sees them.
        crash_point!("ring.write.copied");
        // ORDERING: Release pairs with the Acquire in `counts`: the bytes are there.
        self.region(index).tail.store(tail.wrapping_add(needed), ordering!("ring.write", Release));
        // CRASH (ring.write.committed): the message is there; a sleeping reader does not know.
        crash_point!("ring.write.committed");
        Ok(())
    }

    /// Finds a region for a message that does not fit into `index`.
    fn unused(&self, index: usize, needed: u64, smaller: bool) -> Option<usize> {
        let mut used = [false; REGIONS];
        used[index] = true;
        // ORDERING: a reader that moves on meanwhile has one region less in use, not one more.
        let mut reading = Self::named(&self.words.read);
        for _ in 0..REGIONS {
            used[reading] = true;
            match self.next(reading) {
                Some(next) => reading = next,
                None => break,
            }
        }
        let fits = |other: &usize| !used[*other] && size_of_region(*other) as u64 >= needed;
        if smaller {
            return (0..=WARM).rev().find(fits);
        }
        // One that is larger, so that a queue that grows soon has room; else any.
        (index + 1..REGIONS).find(fits).or_else(|| (0..index).rev().find(fits))
    }

    /// Makes `other` the region after `index`.
    fn move_on(&self, index: usize, other: usize) {
        let region = self.region(other);
        region.next.store(0, Ordering::Relaxed);
        region.empty();
        // ORDERING: Release pairs with the Acquire in `next`.
        self.region(index).next.store(other as u32 + 1, ordering!("ring.move", Release));
        // CRASH (ring.write.moved): the next writer follows.
        crash_point!("ring.write.moved");
    }

    /// Makes sure that there is memory for `needed` bytes from `position` on.
    #[inline]
    fn back(&self, index: usize, position: u64, needed: u64) -> io::Result<()> {
        let (region, size) = (self.region(index), size_of_region(index));
        let backed = if index == 0 { size } else { region.backed.load(Ordering::Relaxed) as usize };
        let within = (position % size as u64) as usize;
        // One that goes on at the beginning has gone through to the end.
        let end = within.saturating_add(needed as usize).min(size);
        if end <= backed {
            return Ok(());
        }
        // Large pieces of large regions: the system looks whether there is so much.
        let more = (end - backed).max(PIECE).max((size / 16).min(MOST_AT_ONCE)).min(size - backed);
        self.memory.back(offset_of(index) + backed, more)?;
        region.backed.store((backed + more) as u64, Ordering::Relaxed);
        Ok(())
    }

    /// Finds the next message; the readers' lock is held.
    #[inline]
    pub(crate) fn first(&self) -> Result<Option<Message>, Garbage> {
        let mut index = Self::named(&self.words.read);
        for _ in 0..=REGIONS {
            let (head, tail) = self.counts_to_read(index)?;
            if head == tail {
                // ORDERING: `next` is set after the last `tail`: with it, that is the last.
                let Some(next) = self.next(index) else { return Ok(None) };
                if self.counts(index)? != (head, tail) {
                    continue;
                }
                // Before it may be written again.
                self.drained(index);
                // ORDERING: Release: a writer that finds it unused finds its memory given back.
                self.words.read.store(next as u32, Ordering::Release);
                index = next;
                continue;
            }
            return self.message_at(index, head, tail).map(Some);
        }
        Err(Garbage)
    }

    #[inline]
    fn message_at(&self, region: usize, position: u64, tail: u64) -> Result<Message, Garbage> {
        let header = self.read_word(region, position);
        let sequence = self.read_word(region, position.wrapping_add(HEADER / 2));
        let length = usize::try_from(header & !HAS_HANDLES).map_err(|_| Garbage)?;
        if length > LONGEST || room(length) > tail.wrapping_sub(position) {
            return Err(Garbage);
        }
        // A long one could be a lie that costs as much memory as it claims.
        if length > PIECE && self.memory.backed().is_ok_and(|backed| backed < length as u64) {
            return Err(Garbage);
        }
        Ok(Message { region, position, sequence, header })
    }

    /// Lends a message's bytes; the readers' lock is held as long.
    #[cfg_attr(loom, expect(dead_code, reason = "queues are not modelled"))]
    #[inline]
    pub(crate) fn bytes(&self, message: Message) -> Bytes<'_> {
        let (Message { region, position, .. }, length) = (message, message.length());
        let position = position.wrapping_add(HEADER);
        let (start, contiguous) = self.place(region, position);
        let first = length.min(contiguous);
        let (rest, _) = self.place(region, position.wrapping_add(first as u64));
        // SAFETY: invariant 1: what is left is shorter than the region. The memory stays mapped as
        // long as it is borrowed.
        unsafe { Bytes::new([(start, first), (rest, length - first)]) }
    }

    /// Copies a message out; the readers' lock is held. An error if there is no memory for it.
    #[inline]
    pub(crate) fn read(&self, message: Message, bytes: &mut Vec<u8>) -> io::Result<()> {
        bytes.try_reserve(message.length().saturating_sub(bytes.len()))?;
        // What is there already is overwritten: only more of it costs.
        bytes.resize(message.length(), 0);
        self.copy_out(message.region, message.position.wrapping_add(HEADER), bytes);
        Ok(())
    }

    /// As [`read`](Self::read), behind what is in `bytes` already, which is unchanged by an error.
    pub(crate) fn read_behind(&self, message: Message, bytes: &mut Vec<u8>) -> io::Result<()> {
        let before = bytes.len();
        bytes.try_reserve(message.length())?;
        bytes.resize(before + message.length(), 0);
        let behind = &mut bytes[before..];
        self.copy_out(message.region, message.position.wrapping_add(HEADER), behind);
        Ok(())
    }

    /// Takes a message away; the readers' lock is held.
    #[inline]
    pub(crate) fn remove(&self, message: Message) {
        // CRASH (ring.read.copied): nothing was taken.
        crash_point!("ring.read.copied");
        let head = message.position.wrapping_add(room(message.length()));
        // ORDERING: Release pairs with the Acquire in `counts`: the bytes were copied out.
        self.region(message.region).head.store(head, Ordering::Release);
        // CRASH (ring.read.committed): taken, and gone with the reader.
        crash_point!("ring.read.committed");
    }

    /// Returns how many messages were put before the first that is there, and how many were put
    /// before the end; `None` if none is there. Both locks are held.
    pub(crate) fn sequences(&self) -> Result<Option<(u64, u64)>, Garbage> {
        let Some(first) = self.first()? else { return Ok(None) };
        let (mut message, mut last, mut moves) = (first, first.sequence, 0);
        // Messages lie in memory that is there. Counts that somebody changes meanwhile against the
        // rules could lead past an end, and then round and round.
        let mut left = self.memory.backed().map_err(|_| Garbage)?;
        loop {
            last = last.max(message.sequence);
            left = left.checked_sub(room(message.length())).ok_or(Garbage)?;
            let after = message.position.wrapping_add(room(message.length()));
            let (_, tail) = self.counts(message.region)?;
            let at = if after != tail {
                Some((message.region, after))
            } else {
                let next = self.next(message.region);
                let head = |next| Ok::<_, Garbage>((next, self.counts(next)?));
                match next.map(head).transpose()? {
                    Some((next, (head, tail))) if head != tail => Some((next, head)),
                    _ => None,
                }
            };
            let Some((region, position)) = at else {
                return Ok(Some((first.sequence, last.wrapping_add(1))));
            };
            // Regions that name each other have no end.
            moves += usize::from(region != message.region);
            if moves > REGIONS {
                return Err(Garbage);
            }
            message = self.message_at(region, position, self.counts(region)?.1)?;
        }
    }

    /// Throws away what cannot be read; both locks are held.
    pub(crate) fn reset(&self) {
        for region in &self.words.regions {
            region.next.store(0, Ordering::Relaxed);
            region.empty();
            region.backed.store(0, Ordering::Relaxed);
        }
        self.words.written.store(0, Ordering::Relaxed);
        self.words.read.store(0, Ordering::Release);
    }

    /// Gives the memory of a region that nobody uses any more back.
    fn drained(&self, index: usize) {
        if index > WARM {
            self.region(index).backed.store(0, Ordering::Relaxed);
            self.memory.give_back(offset_of(index), size_of_region(index));
        }
    }

    /// Gives the memory of a large region back that is empty but still written; both locks are
    /// held.
    pub(crate) fn shrink(&self) {
        let index = Self::named(&self.words.read);
        if matches!(self.counts(index), Ok((head, tail)) if head == tail)
            && self.next(index).is_none()
        {
            self.drained(index);
        }
    }

    /// Tells whether the next message would come from a region that is better given up.
    #[inline]
    pub(crate) fn is_large(&self) -> bool {
        Self::named(&self.words.read) > WARM
    }

    /// Tells whether there is a message, as far as can be told without a lock.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        let mut index = Self::named(&self.words.read);
        if self.known_to_be_there(index).is_some() {
            return false;
        }
        for _ in 0..REGIONS {
            match (self.counts(index), self.next(index)) {
                (Ok((head, tail)), Some(next)) if head == tail => index = next,
                (Ok((head, tail)), _) => return head == tail,
                (Err(Garbage), _) => return false,
            }
        }
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use procession_sys::{Handle, shared};

    struct Mapped(shared::Mapping, Handle);

    impl Memory for Mapped {
        fn start(&self) -> NonNull<u8> {
            self.0.start()
        }

        fn back(&self, offset: usize, length: usize) -> io::Result<()> {
            shared::back(&self.1, offset, length)
        }

        fn give_back(&self, offset: usize, length: usize) {
            shared::give_back(&self.1, offset, length).expect("it is ours");
        }

        fn backed(&self) -> io::Result<u64> {
            shared::backed(&self.1)
        }
    }

    fn new() -> (Box<Words>, Mapped) {
        let words = Words::default();
        let memory = shared::create_sparse(LENGTH, BACKED).expect("memory");
        let mapping = shared::Mapping::sparse(&memory, BACKED).expect("mapping");
        (Box::new(words), Mapped(mapping, memory))
    }

    fn take<M: Memory>(ring: &Ring<'_, M>) -> Option<Vec<u8>> {
        let message = ring.first().expect("no garbage")?;
        let mut bytes = Vec::new();
        ring.read(message, &mut bytes).expect("memory");
        ring.remove(message);
        Some(bytes)
    }

    fn bytes(seed: usize, length: usize) -> Vec<u8> {
        (0..length).map(|i| (i.wrapping_mul(31) + seed) as u8).collect()
    }

    #[test]
    fn messages_of_every_size_come_back_in_order() {
        let (words, memory) = new();
        let ring = Ring { words: &words, memory: &memory };
        assert!(ring.is_empty() && take(&ring).is_none());
        let sizes = [0, 1, 7, 8, 9, 1000, 65_000, 65_536, 70_000, 1 << 20, 9 << 20];
        for round in 0..50 {
            for size in sizes.iter().take(if round == 0 { 11 } else { 9 }) {
                let (all, middle) = (bytes(round, *size), size / 3);
                ring.write(&all[..middle], &[&all[middle..]], 0, false).expect("room");
            }
            for size in sizes.iter().take(if round == 0 { 11 } else { 9 }) {
                assert_eq!(take(&ring), Some(bytes(round, *size)), "{round}: {size}");
            }
            assert!(ring.is_empty() && take(&ring).is_none());
        }
    }

    #[test]
    fn it_grows_and_gives_back() {
        let (words, memory) = new();
        let ring = Ring { words: &words, memory: &memory };
        for i in 0..300 {
            ring.write(&bytes(i, 100_000), &[], 0, false).expect("room");
        }
        assert!(memory.backed().expect("stat") >= 30_000_000);
        for i in 0..300 {
            assert_eq!(take(&ring), Some(bytes(i, 100_000)));
        }
        // The next message goes to a small region, and the one after it finds the large one left.
        ring.write(b"small", &[], 0, false).expect("room");
        assert_eq!(take(&ring).as_deref(), Some(&b"small"[..]));
        let warm: usize = (0..=WARM).map(size_of_region).sum();
        assert!(memory.backed().expect("stat") <= warm as u64);
        for i in 0..1000 {
            ring.write(&bytes(i, 3000), &[], 0, false).expect("room");
            assert_eq!(take(&ring), Some(bytes(i, 3000)));
        }
        assert!(memory.backed().expect("stat") <= warm as u64);
    }

    #[test]
    fn counts_may_wrap() {
        let (words, memory) = new();
        let ring = Ring { words: &words, memory: &memory };
        let region = &words.regions[0];
        for count in [&region.head, &region.tail, &region.head_seen, &region.tail_seen] {
            count.store(0u64.wrapping_sub(2008), Ordering::Relaxed);
        }
        for i in 0..5 {
            ring.write(&bytes(i, 500), &[&bytes(i, 500)], i as u64, false).expect("room");
        }
        assert!(matches!(ring.sequences(), Ok(Some((0, 5)))));
        for i in 0..5 {
            assert_eq!(take(&ring), Some([bytes(i, 500), bytes(i, 500)].concat()));
        }
        assert!(ring.is_empty());
    }

    #[test]
    fn regions_in_a_circle_are_garbage() {
        let (words, memory) = new();
        let ring = Ring { words: &words, memory: &memory };
        ring.write(&bytes(1, 60_000), &[], 0, false).expect("room");
        ring.write(&bytes(2, 60_000), &[], 1, false).expect("room");
        assert!(matches!(ring.sequences(), Ok(Some((0, 2)))));
        words.regions[1].next.store(1, Ordering::Relaxed);
        assert!(ring.sequences().is_err());
    }

    #[test]
    fn messages_where_no_memory_is_are_garbage() {
        let (words, memory) = new();
        let ring = Ring { words: &words, memory: &memory };
        words.read.store(5, Ordering::Relaxed);
        words.regions[5].tail.store(size_of_region(5) as u64, Ordering::Relaxed);
        assert!(matches!(ring.first(), Ok(Some(_))));
        assert!(ring.sequences().is_err());
        assert!(memory.backed().expect("stat") < 1 << 20, "it has looked at few of them");
    }

    #[test]
    fn garbage_is_told_and_nothing_is_allocated() {
        let (words, memory) = new();
        let ring = Ring { words: &words, memory: &memory };
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..20_000 {
            for region in &words.regions {
                match random() % 6 {
                    0 => region.head.store(random(), Ordering::Relaxed),
                    1 => region.tail.store(random(), Ordering::Relaxed),
                    2 => region.tail.store(random() % 100_000, Ordering::Relaxed),
                    3 => region.next.store(random() as u32, Ordering::Relaxed),
                    _ => {}
                }
            }
            words.read.store(random() as u32, Ordering::Relaxed);
            words.written.store(random() as u32, Ordering::Relaxed);
            if let Ok(Some(message)) = ring.first() {
                assert!(message.length() <= LONGEST);
                if message.length() < 1 << 16 {
                    ring.read(message, &mut Vec::new()).expect("memory");
                }
            }
            let _ = ring.is_empty();
            let _ = ring.sequences();
        }
        ring.reset();
        ring.write(b"well", &[], 0, false).expect("room");
        assert_eq!(take(&ring).as_deref(), Some(&b"well"[..]));
    }
}

#[cfg(all(test, loom))]
mod model;
