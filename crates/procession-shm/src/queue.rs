//! A queue: messages from any number of processes to any number of processes.
//!
//! # Layout
//!
//! ```text
//! put lock │ puts │ tickets                                                       one cache line
//! get lock │ gets                                                                 another
//! gates: readers, writers, joiners │ limit │ closed │ pollers │ crowded │ done    changed seldom
//! rings (see `ring`) │ taken[place]
//! ```
//!
//! `puts`, `gets` and `done` count messages from the beginning. `taken` is how many messages a
//! process has taken and not marked as done. When no message is there, and nobody who still takes
//! part has taken one, then what is not done by now will never be: it is lost.
//!
//! # Protocol
//!
//! Writers take turns under one lock, readers under another; what either commits, it commits with
//! one store in the ring. So messages have one order, and each goes to one reader.
//!
//! A put wakes one reader, a get one writer. Who was woken and leaves without a message, or without
//! having put its own, for want of time for instance, wakes another in its place. A writer for
//! whose message there is no room, although the queue is not full, says that it is `crowded`: all
//! writers are woken then, and once more by the next get, as another's message may fit.
//!
//! Handles cannot lie in memory. They travel through a wire that all share, in packets with a ticket
//! that no other packet ever has; the message says which. A reader looks at the packets, without
//! taking them, until its message is its own. When no message is there, all packets are nobody's.
//!
//! The bell tells who waits for several things. Each poller sets `pollers`; whoever puts or closes
//! clears it and rings. Who silences the bell looks itself, and rings again if there is something.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see | who repairs |
//! |---|---|---|
//! | writer, before its message is committed | nothing; perhaps a packet of handles that no message names | the next reader of handles throws it away, or a writer for which the wire is full |
//! | writer, before `puts` | a message, and a count that is one behind | the next writer, which is told by the lock; until then `gets` says so, once it is taken. A writer that cannot look, because a reader is busy for seconds, leaves it one behind |
//! | writer, before the gate | a message, and sleeping readers | the sweep opens the gates and rings the bell |
//! | reader, before it has copied all | the message | – |
//! | reader, between `gets` and the ring | the message, and a count that is one ahead | the next reader, which is told by the lock |
//! | reader, after that | nothing: the message died with it; what it had `taken` is lost | the sweep tells who joins |
//! | one who joins, when it has been told of losses | all done: it has taken the news with it | the sweep opens the gate |
//! | poller, before it looks | a silent bell | the sweep rings it |

use std::convert::Infallible;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use procession_sys::ready::Bell;
use procession_sys::wire::{MAX_HANDLES, ReceiveError, Wire};
use procession_sys::{BorrowedHandle, Handle, crash_point, shared};

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence, fence_after_update};
use crate::gate::Gate;
pub use crate::lent::Bytes;
use crate::lock::LockWords;
use crate::ring::{self, Garbage, Memory, Ring, WriteError};
use crate::roster::{OwnCount, PLACES, Participant, place_of};
use crate::segment::{Body, Core, NewLine, Segment, SegmentError};
use crate::turn::{AT_ONCE, Guard, Turn, patience};
use crate::wait::block;

/// More packets than a wire holds.
const MOST_PACKETS: usize = 10_000;

/// The longest message, in bytes.
pub const LONGEST: usize = ring::LONGEST - size_of::<u64>();

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    writing: NewLine,
    put: LockWords,
    puts: AtomicU64,
    tickets: AtomicU64,
    reading: NewLine,
    get: LockWords,
    gets: AtomicU64,
    seldom: NewLine,
    readers: Gate,
    writers: Gate,
    joiners: Gate,
    limit: AtomicU32,
    closed: AtomicU32,
    pollers: AtomicU32,
    crowded: AtomicU32,
    done: AtomicU64,
    rings: ring::Words,
    taken: [OwnCount; PLACES],
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 9;
    const BACKED: usize = ring::BACKED;

    fn sweep(core: &Core, dead: Participant) {
        let words = core.body::<Self>();
        words.put.sweep(dead);
        words.get.sweep(dead);
        // What it had taken is nobody's when its place is free.
    }

    fn wake(&self) {
        self.put.wake();
        self.get.wake();
        for gate in [&self.readers, &self.writers, &self.joiners] {
            gate.open_all();
        }
    }
}

impl Memory for Core {
    fn start(&self) -> NonNull<u8> {
        self.tail::<Words>().0
    }

    fn back(&self, offset: usize, length: usize) -> io::Result<()> {
        shared::back(self.handle(), self.tail_offset::<Words>() + offset, length)
    }

    fn give_back(&self, offset: usize, length: usize) {
        // If the system refuses, the memory stays: it is used again.
        let offset = self.tail_offset::<Words>() + offset;
        let _ = shared::give_back(self.handle(), offset, length);
    }

    fn backed(&self) -> io::Result<u64> {
        shared::backed(self.handle())
    }
}

/// Why a message was not put.
#[derive(Debug)]
#[non_exhaustive]
pub enum PutError {
    /// The queue is closed.
    Closed,
    /// There was no room in time.
    Full,
    /// The message is longer than a queue can hold, or carries more handles than fit.
    TooLarge,
    /// The system has no memory, or no descriptor.
    Io(io::Error),
}

/// Why no message was got.
#[derive(Debug)]
#[non_exhaustive]
pub enum GetError {
    /// The queue is closed, and all its messages have been taken.
    Closed,
    /// None came in time.
    Empty,
    /// What was there is no message; it was thrown away.
    Garbage,
    /// The system has no memory for a message, or refused its handles; it is still there.
    Io(io::Error),
}

/// A message that was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Its handles.
    pub handles: Vec<Handle>,
}

/// A message that was taken, in one of two forms.
#[derive(Debug)]
pub enum Got<T> {
    /// What was made of its bytes where they lay.
    Value(T),
    /// Its bytes are in the buffer.
    Bytes(Taken),
}

/// A queue on a segment of its own, with a wire for handles and a bell for who waits for several
/// things.
#[derive(Debug)]
pub struct Queue {
    segment: Segment<Words>,
    packets_in: Wire,
    packets_out: Wire,
    bell: Arc<Bell>,
}

/// The handles of a queue, in the order in which [`Queue::open`] takes them.
pub const HANDLES: usize = 4;

/// No limit to the number of messages.
const UNBOUNDED: u32 = 0;

impl Queue {
    /// Makes a queue for at most `limit` messages; 0 for any number.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new(limit: u32) -> Result<Self, SegmentError> {
        let segment: Segment<Words> = Segment::create(ring::LENGTH)?;
        segment.body().limit.store(limit, Ordering::Relaxed);
        let (packets_in, packets_out) = Wire::pair()?;
        let bell = Arc::new(Bell::new()?);
        segment.core.set_bell(&bell);
        Ok(Self { segment, packets_in, packets_out, bell })
    }

    /// Opens the queue that four handles are on.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] that says what the handles are instead.
    pub fn open(handles: [Handle; HANDLES]) -> Result<Self, SegmentError> {
        let [segment, packets_in, packets_out, bell] = handles;
        let segment: Segment<Words> = Segment::open(segment)?;
        if segment.tail().1 != ring::LENGTH {
            let what = "its memory has another length".to_owned();
            return Err(SegmentError::Foreign { what });
        }
        let (packets_in, packets_out) =
            (Wire::from_handle(packets_in)?, Wire::from_handle(packets_out)?);
        let bell = Arc::new(Bell::from_handle(bell));
        segment.core.set_bell(&bell);
        // Who waits for several things has to have this process watched, too.
        bell.ring();
        Ok(Self { segment, packets_in, packets_out, bell })
    }

    /// Lends the handles to pass on.
    #[must_use]
    pub fn handles(&self) -> [BorrowedHandle<'_>; HANDLES] {
        let (packets_in, packets_out) = (self.packets_in.handle(), self.packets_out.handle());
        [self.segment.handle(), packets_in, packets_out, self.bell.handle()]
    }

    #[inline]
    fn ring(&self) -> Ring<'_, Core> {
        Ring { words: &self.segment.body().rings, memory: &self.segment.core }
    }

    /// Puts a message in, at most until `deadline`. With `wait` false, not at all if there is no
    /// room now.
    ///
    /// # Errors
    ///
    /// A [`PutError`]; nothing was put.
    pub fn put(
        &self,
        bytes: &[u8],
        handles: &[BorrowedHandle<'_>],
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<(), PutError> {
        self.put_parts(&[bytes], handles, wait, deadline)
    }

    /// As [`put`](Self::put), for a message whose parts lie in several places.
    ///
    /// # Errors
    ///
    /// A [`PutError`]; nothing was put.
    pub fn put_parts(
        &self,
        parts: &[&[u8]],
        handles: &[BorrowedHandle<'_>],
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<(), PutError> {
        let length = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        if length > LONGEST || handles.len() > MAX_HANDLES {
            return Err(PutError::TooLarge);
        }
        let (words, core) = (self.segment.body(), &self.segment.core);
        let turn = Turn::Until(if wait { deadline } else { patience() });
        if let Some(outcome) = self.try_put(parts, handles, turn)? {
            return outcome;
        }
        if !wait {
            return Err(PutError::Full);
        }
        let put = block(core, &words.writers, deadline, |_| {
            let put = self.try_put(parts, handles, Turn::Until(deadline));
            Ok(put.unwrap_or_else(|error| Some(Err(error))))
        });
        let put = put.map_err(PutError::from).and_then(|put| put.unwrap_or(Err(PutError::Full)));
        if put.is_err() && !self.is_full() {
            // It may have been woken for room that it leaves to others.
            words.writers.open(1);
        }
        put
    }

    /// Puts a short message in if that takes but a few instructions; false when it takes more, or
    /// cannot be.
    #[must_use]
    pub fn put_at_once(&self, bytes: &[u8]) -> bool {
        matches!(self.try_put(&[bytes], &[], Turn::AtOnce), Ok(Some(Ok(()))))
    }

    /// One attempt: `None` when there is no room, or no turn in time.
    fn try_put(
        &self,
        parts: &[&[u8]],
        handles: &[BorrowedHandle<'_>],
        turn: Turn,
    ) -> Result<Option<Result<(), PutError>>, PutError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        if words.closed.load(Ordering::Acquire) != 0 {
            return Ok(Some(Err(PutError::Closed)));
        }
        if self.is_full() {
            return Ok(None);
        }
        let Some(guard) = Guard::acquire(core, &words.put, turn)? else { return Ok(None) };
        if guard.from_dead {
            self.recover_puts()?;
        }
        // Once more: who gets has waited for us before it says that nothing will come any more.
        if words.closed.load(Ordering::Acquire) != 0 {
            return Ok(Some(Err(PutError::Closed)));
        }
        let sequence = words.puts.load(Ordering::Relaxed);
        if self.is_full() {
            return Ok(None);
        }
        let ticket;
        let mut prefix: &[u8] = &[];
        if !handles.is_empty() {
            ticket = words.tickets.fetch_add(1, Ordering::Relaxed).to_ne_bytes();
            prefix = &ticket;
            let send = || self.packets_in.try_send(&[&ticket], handles);
            let is_full = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
            let sent = match send() {
                Err(error) if is_full(&error) && self.discard_packets()? => send(),
                sent => sent,
            };
            match sent {
                Ok(()) => {}
                Err(error) if is_full(&error) => return Ok(self.crowded()),
                Err(error) => return Err(PutError::Io(error)),
            }
            // CRASH (queue.put.packed): a packet that no message names; a reader throws it away.
            crash_point!("queue.put.packed");
        }
        match self.ring().write(prefix, parts, sequence, !handles.is_empty()) {
            Ok(()) => {}
            // Nothing was written; a packet of handles is thrown away by a reader.
            Err(WriteError::NoRoom) => return Ok(self.crowded()),
            Err(WriteError::Memory(error)) => return Err(PutError::Io(error)),
        }
        words.puts.store(sequence.wrapping_add(1), Ordering::Release);
        drop(guard);
        // ORDERING: the message is before the looks at who waits for one.
        fence_after_update();
        words.readers.open_fenced(1);
        self.tell_pollers();
        Ok(Some(Ok(())))
    }

    /// Says that there is no room for a certain message, although the queue is not full.
    fn crowded<T>(&self) -> Option<T> {
        let words = self.segment.body();
        if words.crowded.swap(1, Ordering::AcqRel) == 0 {
            // It may have been woken for room in which another's message fits.
            words.writers.open_all();
        }
        None
    }

    /// Throws away packets that no message names, if no message is there; the writers' lock is held.
    /// Tells whether there may be room now.
    fn discard_packets(&self) -> Result<bool, SegmentError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        if !self.is_empty() {
            return Ok(false);
        }
        let turn = Turn::Until(patience());
        let Some(_readers) = Guard::acquire(core, &words.get, turn)? else {
            return Ok(false);
        };
        // As many as fit, and no more than that: others do not send while the lock is held.
        for _ in 0..MOST_PACKETS {
            let received = self.packets_out.receive(&mut [0; 8], &mut Vec::new(), false);
            // With or without its handles, a packet is gone.
            if !matches!(received, Ok(_) | Err(ReceiveError::HandlesLost { .. })) {
                break;
            }
        }
        Ok(true)
    }

    /// Takes a message out, at most until `deadline`. With `wait` false, not if none is there now.
    /// Its bytes are in `bytes` then.
    ///
    /// # Errors
    ///
    /// A [`GetError`].
    pub fn get(
        &self,
        bytes: &mut Vec<u8>,
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<Taken, GetError> {
        let copy = |_: &Bytes<'_>| None::<Infallible>;
        match self.get_with(bytes, copy, wait, deadline)? {
            Got::Bytes(taken) => Ok(taken),
            Got::Value(never) => match never {},
        }
    }

    /// As [`get`](Self::get), for who can make something of the bytes where they lie, quickly: others
    /// wait for their turn. Where `copy` makes nothing, and of a message with handles, the bytes
    /// are in `bytes` then.
    ///
    /// # Errors
    ///
    /// A [`GetError`].
    pub fn get_with<T>(
        &self,
        bytes: &mut Vec<u8>,
        copy: impl Fn(&Bytes<'_>) -> Option<T>,
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<Got<T>, GetError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let turn = Turn::Until(if wait { deadline } else { patience() });
        if let Some(outcome) = self.try_get(bytes, &copy, turn) {
            return outcome;
        }
        if !wait {
            return Err(GetError::Empty);
        }
        let turn = Turn::Until(deadline);
        let got = block(core, &words.readers, deadline, |_| Ok(self.try_get(bytes, &copy, turn)));
        let got = got.map_err(GetError::from).and_then(|got| got.unwrap_or(Err(GetError::Empty)));
        if got.is_err() && !self.is_empty() {
            // It may have been woken for a message that it leaves to others.
            words.readers.open(1);
        }
        got
    }

    /// Takes a message out if one is there and that takes but a few instructions; `None` when it
    /// takes more, or cannot be.
    pub fn get_at_once(&self, bytes: &mut Vec<u8>) -> Option<Taken> {
        match self.try_get(bytes, &|_: &Bytes<'_>| None::<Infallible>, Turn::AtOnce)?.ok()? {
            Got::Bytes(taken) => Some(taken),
            Got::Value(never) => match never {},
        }
    }

    /// One attempt: `None` when no message is there, or no turn comes in time.
    fn try_get<T>(
        &self,
        bytes: &mut Vec<u8>,
        copy: &impl Fn(&Bytes<'_>) -> Option<T>,
        turn: Turn,
    ) -> Option<Result<Got<T>, GetError>> {
        // In this order: what was put before the closing is seen.
        let closed = self.is_closed();
        if !self.is_empty() {
            return self.take(bytes, copy, turn).transpose();
        }
        if !closed {
            return None;
        }
        // A put that began before the closing may be about to end.
        match self.last_put_is_over(turn) {
            Ok(true) if self.is_empty() => Some(Err(GetError::Closed)),
            Ok(true) => self.take(bytes, copy, turn).transpose(),
            Ok(false) => None,
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Waits for a writer that may not have seen that the queue is closed; false if no turn comes in
    /// time.
    fn last_put_is_over(&self, turn: Turn) -> Result<bool, SegmentError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        // ORDERING: a writer that takes the lock after us sees what we have seen: `closed`.
        let Some(guard) = Guard::acquire(core, &words.put, turn)? else { return Ok(false) };
        if guard.from_dead {
            self.recover_puts()?;
        }
        Ok(true)
    }

    fn take<T>(
        &self,
        bytes: &mut Vec<u8>,
        copy: &impl Fn(&Bytes<'_>) -> Option<T>,
        turn: Turn,
    ) -> Result<Option<Got<T>>, GetError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let me = core.me()?;
        let Some(guard) = Guard::acquire(core, &words.get, turn)? else { return Ok(None) };
        let ring = self.ring();
        let message = match ring.first() {
            Ok(Some(message)) if turn == Turn::AtOnce && message.length() > AT_ONCE => {
                return Ok(None);
            }
            Ok(Some(message)) => message,
            Ok(None) => {
                if guard.from_dead {
                    words.gets.store(words.puts.load(Ordering::Acquire), Ordering::Release);
                }
                return Ok(None);
            }
            Err(Garbage) => return Err(self.throw_away()?),
        };
        if guard.from_dead {
            words.gets.store(message.sequence, Ordering::Release);
        }
        let value = if message.has_handles() { None } else { copy(&ring.bytes(message)) };
        if value.is_none() {
            ring.read(message, bytes).map_err(GetError::Io)?;
        }
        let found = message.has_handles().then(|| self.handles_of(bytes)).transpose();
        let handles = match found {
            Ok(handles) => handles.unwrap_or_default(),
            Err(GetError::Garbage) => {
                words.gets.store(message.sequence.wrapping_add(1), Ordering::Release);
                ring.remove(message);
                drop(guard);
                self.has_room(1);
                words.joiners.open_all();
                return Err(GetError::Garbage);
            }
            Err(error) => return Err(error),
        };
        // Before it is taken: there is no instant at which nobody has it who joins would wait for.
        words.taken[place_of(me)].more(me);
        // A count that is ahead lets one more in; one behind could keep all out of an empty queue.
        words.gets.store(message.sequence.wrapping_add(1), Ordering::Release);
        // CRASH (queue.get.counted): the message is there; the next reader sets the count back.
        crash_point!("queue.get.counted");
        ring.remove(message);
        if message.has_handles() {
            // It was looked at only; it may be thrown away now.
            let _ = self.packets_out.receive(&mut [0; 8], &mut Vec::new(), false);
        }
        let is_large = ring.is_large() && ring.is_empty();
        drop(guard);
        self.has_room(1);
        if is_large {
            self.shrink();
        }
        Ok(Some(value.map_or(Got::Bytes(Taken { handles }), Got::Value)))
    }

    /// Wakes who waits for the room of messages that were taken; the readers' lock was given up just
    /// now.
    #[inline]
    fn has_room(&self, messages: u32) {
        let words = self.segment.body();
        // ORDERING: the room is before the look at who waits for it.
        fence_after_update();
        words.writers.open_fenced(messages);
        // ORDERING: after the opening: who said so later has seen it, and does not sleep.
        if words.crowded.load(Ordering::Acquire) != 0 {
            // Before the opening: who is woken by it may say so again.
            words.crowded.store(0, Ordering::SeqCst);
            words.writers.open_all();
        }
    }

    /// Finds the handles that belong to a message with these bytes, without taking them away yet.
    fn handles_of(&self, bytes: &mut Vec<u8>) -> Result<Vec<Handle>, GetError> {
        let mut handles = Vec::new();
        let ticket = bytes.first_chunk::<8>().copied().ok_or(GetError::Garbage)?;
        bytes.drain(..8);
        let wanted = u64::from_ne_bytes(ticket);
        // Others do not send as many while the lock is held, unless they are hostile.
        for _ in 0..MOST_PACKETS {
            let mut found = [0; 8];
            handles.clear();
            match self.packets_out.peek(&mut found, &mut handles) {
                Ok(8) if u64::from_ne_bytes(found) == wanted => return Ok(handles),
                // Of a message after this one: this one's are gone.
                Ok(8) if u64::from_ne_bytes(found) > wanted => return Err(GetError::Garbage),
                Err(ReceiveError::Empty | ReceiveError::Closed) => return Err(GetError::Garbage),
                Err(ReceiveError::HandlesLost { .. }) => {
                    return Err(GetError::Io(io::Error::other(
                        "no descriptor is free for the handles in the message: raise the limit of \
                         open files",
                    )));
                }
                // Of a writer that died before its message was there, or of nobody.
                Ok(_) => {
                    let _ = self.packets_out.receive(&mut found, &mut Vec::new(), false);
                }
                Err(ReceiveError::Io(error)) => return Err(GetError::Io(error)),
                Err(_) => return Err(GetError::Garbage),
            }
        }
        Err(GetError::Garbage)
    }

    /// After a writer's death: as many were put as the last message says.
    fn recover_puts(&self) -> Result<(), SegmentError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let turn = Turn::Until(patience());
        let Some(_readers) = Guard::acquire(core, &words.get, turn)? else { return Ok(()) };
        let known = words.puts.load(Ordering::Acquire).max(words.gets.load(Ordering::Acquire));
        let puts = match self.ring().sequences() {
            Ok(Some((_, end))) => known.max(end),
            Ok(None) | Err(Garbage) => known,
        };
        words.puts.store(puts, Ordering::Release);
        Ok(())
    }

    /// Empties rings that are not what they should be; the readers' lock is held.
    fn throw_away(&self) -> Result<GetError, SegmentError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        // Writers take the other lock first only after a death, and then hold neither for long.
        let Some(_) = words.put.try_acquire(core)? else { return Ok(GetError::Garbage) };
        self.ring().reset();
        words.gets.store(words.puts.load(Ordering::Acquire), Ordering::Release);
        let _ = words.put.release_own(core.me()?);
        words.writers.open_all();
        words.joiners.open_all();
        Ok(GetError::Garbage)
    }

    /// Gives back the memory of a burst, if nobody else is busy with the queue.
    fn shrink(&self) {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let Some(writers) = Guard::try_acquire(core, &words.put) else { return };
        if writers.from_dead {
            // For want of anything better to do, the count stays one behind.
            let _ = self.recover_puts();
            return;
        }
        // Nobody is told of a dead reader here: with its message gone, the queue may be empty, and
        // then `gets` is what `puts` is.
        let Some(readers) = Guard::try_acquire(core, &words.get) else { return };
        if readers.from_dead && self.is_empty() {
            words.gets.store(words.puts.load(Ordering::Acquire), Ordering::Release);
        }
        self.ring().shrink();
    }

    /// Closes the queue: nothing more can be put, what is there can be got.
    pub fn close(&self) {
        let words = self.segment.body();
        self.segment.core.attend();
        words.closed.store(1, Ordering::Release);
        // CRASH (queue.close.closed): others sleep; the sweep opens the gates.
        crash_point!("queue.close.closed");
        words.wake();
        fence(Ordering::SeqCst);
        self.tell_pollers();
    }

    /// Tells whether it is closed.
    #[must_use]
    #[inline]
    pub fn is_closed(&self) -> bool {
        self.segment.body().closed.load(Ordering::Acquire) != 0
    }

    /// Returns how many messages are there now.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        let words = self.segment.body();
        let gets = words.gets.load(Ordering::Acquire);
        let there = words.puts.load(Ordering::Acquire).saturating_sub(gets);
        usize::try_from(there).unwrap_or(usize::MAX)
    }

    /// Tells whether no message is there now.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ring().is_empty()
    }

    /// Tells whether there are as many as there may be.
    #[must_use]
    #[inline]
    pub fn is_full(&self) -> bool {
        let limit = self.segment.body().limit.load(Ordering::Relaxed);
        limit != UNBOUNDED && self.len() >= limit as usize
    }

    fn is_ready(&self) -> bool {
        !self.is_empty() || self.is_closed()
    }

    /// The handle to wait on after [`prepare_wait`](Self::prepare_wait) has said that nothing is
    /// there.
    #[must_use]
    pub fn bell(&self) -> BorrowedHandle<'_> {
        self.bell.handle()
    }

    /// Tells whether a get would not wait now; if it would, the bell rings when that has changed.
    #[must_use]
    pub fn prepare_wait(&self) -> bool {
        self.bell.silence();
        // CRASH (queue.poll.silenced): others wait at the bell; the sweep rings it.
        crash_point!("queue.poll.silenced");
        let words = self.segment.body();
        words.pollers.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Whoever joins from here on rings. Without a descriptor left, deaths go unnoticed here.
        let _ = self.segment.core.watch_others();
        let ready = self.is_ready();
        if ready {
            // Others may be on their way to the bell, which was silenced here.
            self.bell.ring();
        }
        ready
    }

    /// Rings for who waits at the bell; the caller has made a fence since its change.
    #[inline]
    fn tell_pollers(&self) {
        let words = self.segment.body();
        if words.pollers.load(Ordering::Relaxed) != 0 {
            words.pollers.store(0, Ordering::SeqCst);
            self.bell.ring();
        }
    }
}

impl From<SegmentError> for PutError {
    fn from(error: SegmentError) -> Self {
        Self::Io(io::Error::other(error))
    }
}

impl From<SegmentError> for GetError {
    fn from(error: SegmentError) -> Self {
        Self::Io(io::Error::other(error))
    }
}

mod done;
mod many;

pub use done::Unfinished;
pub use many::Ends;

#[cfg(all(test, not(loom)))]
mod tests;
