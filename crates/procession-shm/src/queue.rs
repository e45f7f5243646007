//! A queue: messages from any number of processes to any number of processes.
//!
//! # Layout
//!
//! ```text
//! put lock │ get lock │ gates: readers, writers, joiners │ limit │ closed │ pollers
//! puts │ gets │ done │ lost │ tickets │ rings (see `ring`) │ taken[place]
//! ```
//!
//! `puts`, `gets` and `done` count messages from the beginning. `taken` is how many messages a
//! process has taken and not marked as done; when it dies they are `lost`.
//!
//! # Protocol
//!
//! Writers take turns under one lock, readers under another; what either commits, it commits with
//! one store in the ring. So messages have one order, and each goes to one reader.
//!
//! Handles cannot lie in memory. They travel through a wire that all share, in packets with a ticket
//! that no other packet ever has; the message says which. A reader looks at the packets, without
//! taking them, until its message is its own.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see | who repairs |
//! |---|---|---|
//! | writer, before its message is committed | nothing; perhaps a packet of handles that no message names | the next reader throws it away |
//! | writer, before `puts` | a message, and a count that is one behind | the next writer, which is told by the lock |
//! | writer, before the gate | a message, and sleeping readers | the sweep opens the gates |
//! | reader, before it has copied all | the message | – |
//! | reader, before `gets` | a count that is one behind | the next reader, which is told by the lock |
//! | reader, after that | nothing: the message died with it; `lost` for who joins | the sweep |

use std::io;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use procession_sys::ready::Bell;
use procession_sys::wire::{MAX_HANDLES, ReceiveError, Wire};
use procession_sys::{BorrowedHandle, Handle, crash_point, shared};

use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::gate::Gate;
use crate::lock::{Acquired, LockWords};
use crate::ring::{self, Garbage, Memory, Message, Ring, WriteError};
use crate::roster::{Number, PLACES, Participant, place_of};
use crate::segment::{Body, Core, Segment, SegmentError};
use crate::wait::block;

/// The longest message, in bytes.
pub const LONGEST: usize = ring::LONGEST - size_of::<u64>();

#[repr(C)]
struct Words {
    put: LockWords,
    get: LockWords,
    readers: Gate,
    writers: Gate,
    joiners: Gate,
    limit: AtomicU32,
    closed: AtomicU32,
    pollers: AtomicU32,
    puts: AtomicU64,
    gets: AtomicU64,
    done: AtomicU64,
    lost: AtomicU64,
    tickets: AtomicU64,
    rings: ring::Words,
    taken: [AtomicU64; PLACES],
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 9;
    const BACKED: usize = ring::BACKED;

    fn sweep(core: &Core, dead: Participant) {
        let words = core.body::<Self>();
        words.put.sweep(dead);
        words.get.sweep(dead);
        let taken = words.taken[place_of(dead.number)].swap(0, Ordering::AcqRel);
        words.lost.fetch_add(taken, Ordering::AcqRel);
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
    /// The system refused the handles of a message, which is still there.
    Io(io::Error),
}

/// Why a join ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Not in time.
    TimedOut,
    /// Processes died that had taken so many messages and not marked them as done.
    Lost(u64),
}

/// A message that was taken.
#[derive(Debug, Default)]
pub struct Taken {
    /// Its handles.
    pub handles: Vec<Handle>,
}

/// A queue on a segment of its own, with a wire for handles and a bell for who waits for several
/// things.
#[derive(Debug)]
pub struct Queue {
    segment: Segment<Words>,
    packets_in: Wire,
    packets_out: Wire,
    bell: Bell,
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
        Ok(Self { segment, packets_in, packets_out, bell: Bell::new()? })
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
        Ok(Self { segment, packets_in, packets_out, bell: Bell::from_handle(bell) })
    }

    /// Lends the handles to pass on.
    #[must_use]
    pub fn handles(&self) -> [BorrowedHandle<'_>; HANDLES] {
        let (packets_in, packets_out) = (self.packets_in.handle(), self.packets_out.handle());
        [self.segment.handle(), packets_in, packets_out, self.bell.handle()]
    }

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
        if bytes.len() > LONGEST || handles.len() > MAX_HANDLES {
            return Err(PutError::TooLarge);
        }
        let (words, core) = (self.segment.body(), &self.segment.core);
        let patience = if wait { deadline } else { patience() };
        if let Some(outcome) = self.try_put(bytes, handles, patience)? {
            return outcome;
        }
        if !wait {
            return Err(PutError::Full);
        }
        let put = block(core, &words.writers, deadline, |_| {
            Ok(self.try_put(bytes, handles, deadline).unwrap_or_else(|error| Some(Err(error))))
        });
        put?.unwrap_or(Err(PutError::Full))
    }

    /// One attempt: `None` when there is no room, or no turn until `deadline`.
    fn try_put(
        &self,
        bytes: &[u8],
        handles: &[BorrowedHandle<'_>],
        deadline: Option<Instant>,
    ) -> Result<Option<Result<(), PutError>>, PutError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        if words.closed.load(Ordering::Acquire) != 0 {
            return Ok(Some(Err(PutError::Closed)));
        }
        if self.is_full() {
            return Ok(None);
        }
        let Some(guard) = Guard::acquire(core, &words.put, deadline)? else { return Ok(None) };
        if guard.from_dead {
            self.recover_puts()?;
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
            match self.packets_in.try_send(&[&ticket], handles) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(PutError::Io(error)),
            }
            // CRASH (queue.put.packed): a packet that no message names; a reader throws it away.
            crash_point!("queue.put.packed");
        }
        match self.ring().write([prefix, bytes], sequence, !handles.is_empty()) {
            Ok(()) => {}
            // Nothing was written; a packet of handles is thrown away by a reader.
            Err(WriteError::NoRoom) => return Ok(None),
            Err(WriteError::Memory(error)) => return Err(PutError::Io(error)),
        }
        words.puts.store(sequence.wrapping_add(1), Ordering::Release);
        drop(guard);
        // ORDERING: SeqCst: the message is before the looks at who waits for one.
        fence(Ordering::SeqCst);
        words.readers.open_fenced(1);
        self.tell_pollers();
        Ok(Some(Ok(())))
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
        let (words, core) = (self.segment.body(), &self.segment.core);
        let patience = if wait { deadline } else { patience() };
        if let Some(outcome) = self.try_get(bytes, patience) {
            return outcome;
        }
        if !wait {
            return Err(GetError::Empty);
        }
        let got = block(core, &words.readers, deadline, |_| Ok(self.try_get(bytes, deadline)));
        got?.unwrap_or(Err(GetError::Empty))
    }

    /// One attempt: `None` when no message is there, or no turn comes until `deadline`.
    fn try_get(
        &self,
        bytes: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Option<Result<Taken, GetError>> {
        let words = self.segment.body();
        // In this order: what was put before the closing is seen.
        let closed = words.closed.load(Ordering::Acquire) != 0;
        if self.ring().is_empty() {
            return closed.then_some(Err(GetError::Closed));
        }
        self.take(bytes, deadline).transpose()
    }

    fn take(
        &self,
        bytes: &mut Vec<u8>,
        deadline: Option<Instant>,
    ) -> Result<Option<Taken>, GetError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let me = core.me()?;
        let Some(guard) = Guard::acquire(core, &words.get, deadline)? else { return Ok(None) };
        let ring = self.ring();
        let message = match ring.first() {
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
        ring.read(message, bytes);
        let handles = match self.handles_of(message, bytes) {
            Ok(handles) => handles,
            Err(GetError::Garbage) => {
                ring.remove(message);
                return Err(GetError::Garbage);
            }
            Err(error) => return Err(error),
        };
        let taken = &words.taken[place_of(me)];
        // Before it is taken: a death in between is a task too many that is lost, not too few.
        taken.fetch_add(1, Ordering::AcqRel);
        ring.remove(message);
        words.gets.store(message.sequence.wrapping_add(1), Ordering::Release);
        if message.has_handles {
            // It was looked at only; it may be thrown away now.
            let _ = self.packets_out.receive(&mut [0; 8], &mut Vec::new(), false);
        }
        let is_large = ring.is_large() && ring.is_empty();
        drop(guard);
        // An unbounded queue has no waiting writers, but for want of memory.
        words.writers.open(1);
        if is_large {
            self.shrink();
        }
        Ok(Some(Taken { handles }))
    }

    /// Finds the handles that belong to a message, without taking them away yet.
    fn handles_of(&self, message: Message, bytes: &mut Vec<u8>) -> Result<Vec<Handle>, GetError> {
        let mut handles = Vec::new();
        if !message.has_handles {
            return Ok(handles);
        }
        let ticket = bytes.first_chunk::<8>().copied().ok_or(GetError::Garbage)?;
        bytes.drain(..8);
        let wanted = u64::from_ne_bytes(ticket);
        loop {
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
    }

    /// After a writer's death: as many were put as the last message says.
    fn recover_puts(&self) -> Result<(), PutError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let Some(_readers) = Guard::acquire(core, &words.get, patience())? else { return Ok(()) };
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
        words.closed.store(1, Ordering::Release);
        // CRASH (queue.close.closed): others sleep; the sweep opens the gates.
        crash_point!("queue.close.closed");
        words.wake();
        fence(Ordering::SeqCst);
        self.tell_pollers();
    }

    /// Tells whether it is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.segment.body().closed.load(Ordering::Acquire) != 0
    }

    /// Returns how many messages are there now.
    #[must_use]
    pub fn len(&self) -> usize {
        let words = self.segment.body();
        let gets = words.gets.load(Ordering::Acquire);
        let there = words.puts.load(Ordering::Acquire).saturating_sub(gets);
        usize::try_from(there).unwrap_or(usize::MAX)
    }

    /// Tells whether no message is there now.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring().is_empty()
    }

    /// Tells whether there are as many as there may be.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let limit = self.segment.body().limit.load(Ordering::Relaxed);
        limit != UNBOUNDED && self.len() >= limit as usize
    }

    /// Marks one message as done; false if there is none that was not.
    #[must_use]
    pub fn task_done(&self) -> bool {
        let words = self.segment.body();
        let puts = words.puts.load(Ordering::Acquire);
        let more = |done: u64| {
            let lost = words.lost.load(Ordering::Acquire);
            (done.saturating_add(lost) < puts).then_some(done.wrapping_add(1))
        };
        let done = words.done.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        let Ok(before) = done else { return false };
        if let Ok(me) = self.segment.core.me() {
            let less = |taken: u64| taken.checked_sub(1);
            let taken = &words.taken[place_of(me)];
            // One that another process has taken is done all the same.
            let _ = taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        }
        if before.wrapping_add(1) >= puts {
            words.joiners.open_all();
        }
        true
    }

    /// Waits until every message that was put has been marked as done, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// [`SegmentError`] when this process cannot take part; inside, [`Unfinished`].
    pub fn join(&self, deadline: Option<Instant>) -> Result<Result<(), Unfinished>, SegmentError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let joined = block(core, &words.joiners, deadline, |_| {
            let done = words.done.load(Ordering::Acquire);
            let lost = words.lost.load(Ordering::Acquire);
            let puts = words.puts.load(Ordering::Acquire);
            Ok((done.saturating_add(lost) >= puts).then_some(()))
        })?;
        if joined.is_none() {
            return Ok(Err(Unfinished::TimedOut));
        }
        // Told once.
        let lost = words.lost.swap(0, Ordering::AcqRel);
        if lost == 0 {
            return Ok(Ok(()));
        }
        words.done.fetch_add(lost, Ordering::AcqRel);
        words.joiners.open_all();
        Ok(Err(Unfinished::Lost(lost)))
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
        self.segment.body().pollers.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let ready = self.is_ready();
        if ready {
            // Others may be on their way to the bell, which was silenced here.
            self.bell.ring();
        }
        ready
    }

    /// Rings for who waits at the bell; the caller has made a fence since its change.
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

/// How long a call that does not wait for messages or room waits for its turn: long enough for the
/// longest message of another.
fn patience() -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(5))
}

/// One of the queue's locks, held.
struct Guard<'a> {
    lock: &'a LockWords,
    me: Number,
    from_dead: bool,
}

impl<'a> Guard<'a> {
    fn acquire(
        core: &std::sync::Arc<Core>,
        lock: &'a LockWords,
        deadline: Option<Instant>,
    ) -> Result<Option<Self>, SegmentError> {
        let Some(acquired) = lock.acquire(core, deadline)? else { return Ok(None) };
        let from_dead = matches!(acquired, Acquired::FromDead { .. });
        Ok(Some(Self { lock, me: core.me()?, from_dead }))
    }

    fn try_acquire(core: &std::sync::Arc<Core>, lock: &'a LockWords) -> Option<Self> {
        let acquired = lock.try_acquire(core).ok()??;
        let from_dead = matches!(acquired, Acquired::FromDead { .. });
        Some(Self { lock, me: core.me().ok()?, from_dead })
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let _ = self.lock.release_own(self.me);
    }
}
