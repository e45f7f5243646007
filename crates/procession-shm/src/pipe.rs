//! A pipe: messages both ways between two ends, each of which any number of processes may have.
//!
//! # Layout
//!
//! ```text
//! sockets[2] │ hints[2] │ directions[2] (see `channel`)          tail: areas of both directions
//!
//! handles of an end: its socket of a pair; the memory and a bell, which both ends share
//! ```
//!
//! # Protocol
//!
//! Messages go through the channel of their direction. The socket is the end's *line*: the kernel
//! counts who has it, also where it lies unread in a message and when a process is killed, so the
//! other line hangs up when, and only when, nobody has this end any more. No count in shared memory
//! could know that.
//!
//! Handles cannot lie in memory. They go along the line, in packets with a ticket that no other
//! packet ever has; the message says which. A reader looks at a packet, without taking it, until its
//! message is its own.
//!
//! Who waits sleeps at a gate of the channel. A message, or room, opens it; the end of a line does so
//! by way of the watching thread (see `watch`), which a sleeper has look at its line first. Who waits
//! for several things at once sleeps on the bell, which is rung for a message if somebody has asked.
//!
//! A hint says that some holder of the other end has let go of it: it may have been the last. It only
//! saves the question, which is a system call; the answer is the kernel's.
//!
//! # What a crash leaves behind
//!
//! | killed | survivors see | who repairs |
//! |---|---|---|
//! | writer, before its message is committed | nothing; perhaps a packet that no message names | a reader that finds nothing else throws it away |
//! | writer, before the gate or the bell | a message, and sleeping readers | the sweep opens the gates and rings |
//! | reader, before it has copied all | the message, and its packet | – |
//! | reader, after that | a packet whose message is gone | as above |
//! | reader, before the gate | room, and sleeping writers | the sweep opens the gates |
//! | between closing the line and the hint | a line that has hung up | the kernel tells of it |

mod errors;
mod presence;

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Instant;

use procession_sys::memory::{self, View};
use procession_sys::ready::{Bell, Rings};
use procession_sys::wire::{MAX_HANDLES, ReceiveError as WireError, Wire};
use procession_sys::{BorrowedHandle, Handle, borrow, crash_point, shared};

use crate::atomic::unmodelled::AtomicBool;
use crate::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use crate::channel::{self, Channel, LONGEST, Memory, WriteError};
use crate::roster::Participant;
use crate::segment::{Body, Core, Segment, SegmentError};
use crate::turn::{Guard, Turn, patience};
use crate::wait::{Attempt, block_watching};

pub use crate::lent::Bytes;
pub use errors::{ReceiveError, SendError};
pub use presence::somebody_died;

#[repr(C)]
struct Words {
    /// What tells the two sockets apart: an end is that of its socket.
    sockets: [AtomicU64; 2],
    /// Not 0 when the other end may be gone.
    hints: [AtomicU32; 2],
    /// What each end sends.
    directions: [channel::Words; 2],
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 10;
    const BACKED: usize = 0;

    fn sweep(core: &Core, dead: Participant) {
        core.body::<Self>().directions.iter().for_each(|direction| direction.sweep(dead));
    }

    fn wake(&self) {
        self.directions.iter().for_each(channel::Words::wake);
    }
}

/// The memory of one direction's areas.
struct Areas<'a> {
    core: &'a Core,
    /// Where they begin in the tail.
    offset: usize,
}

impl Memory for Areas<'_> {
    fn start(&self) -> NonNull<u8> {
        // SAFETY: the tail has two directions' areas (checked when it was opened).
        unsafe { self.core.tail::<Words>().0.add(self.offset) }
    }

    fn back(&self, offset: usize, length: usize) -> io::Result<()> {
        let offset = self.core.tail_offset::<Words>() + self.offset + offset;
        shared::back(self.core.handle(), offset, length)
    }
}

/// A message that was taken.
#[derive(Debug)]
pub struct Received<T> {
    /// Its bytes.
    pub content: Content<T>,
    /// Its handles.
    pub handles: Vec<Handle>,
}

/// The bytes of a message that was taken.
#[derive(Debug)]
pub enum Content<T> {
    /// What the receiver has made of them.
    Copied(T),
    /// They are in memory of their own, which nobody can change.
    Apart(View),
}

/// More packets than a line holds; somebody who sends on and on is not waited for.
const MOST_PACKETS: usize = 1024;

/// An end of a pipe.
#[derive(Clone, Debug)]
pub struct End(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Closed before the hint is given: fields are dropped in their order.
    line: Wire,
    hint: Hint,
    /// The line has hung up. That is for good: an end that nobody has cannot be had from anybody.
    gone: AtomicBool,
    /// In which copy of this process the line is watched, and as what: `copies << 32 | number`.
    watched: AtomicU64,
    sends: AtomicU32,
    deaths: AtomicU32,
}

/// Tells the other end, when it is dropped, that this one may have been the last of its kind.
#[derive(Debug)]
struct Hint {
    segment: Segment<Words>,
    /// 0 or 1.
    side: usize,
}

impl Drop for Hint {
    fn drop(&mut self) {
        // CRASH (pipe.drop.closed): the line has hung up; the kernel tells of it.
        crash_point!("pipe.drop.closed");
        let words = self.segment.body();
        // ORDERING: SeqCst: the line was closed before, and the hint is there before the look at who
        // sleeps.
        words.hints[1 - self.side].store(1, Ordering::SeqCst);
        words.directions[1 - self.side].room_gate().open_all();
        words.directions[self.side].message_gate().open_all();
    }
}

impl End {
    /// Makes a pipe.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn pair() -> Result<(Self, Self), SegmentError> {
        let (a, b) = Wire::pair()?;
        let segment: Segment<Words> = Segment::create(2 * channel::LENGTH)?;
        segment.core.set_bell(&Arc::new(Bell::new()?));
        for (word, line) in segment.body().sockets.iter().zip([&a, &b]) {
            word.store(shared::identity(line.handle())?.1, Ordering::Relaxed);
        }
        Ok((Self::new(a, segment.clone(), 0), Self::new(b, segment, 1)))
    }

    fn new(line: Wire, segment: Segment<Words>, side: usize) -> Self {
        Self(Arc::new(Inner {
            line,
            hint: Hint { segment, side },
            gone: AtomicBool::new(false),
            watched: AtomicU64::new(0),
            sends: AtomicU32::new(0),
            deaths: AtomicU32::new(presence::deaths()),
        }))
    }

    /// Opens the end that three handles are of: its line, of which this is one holder more, the
    /// memory, and the bell.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] that says what the handles are instead.
    pub fn open(
        line: Handle,
        memory: BorrowedHandle<'_>,
        bell: BorrowedHandle<'_>,
    ) -> Result<Self, SegmentError> {
        let foreign = |what: &str| SegmentError::Foreign { what: what.to_owned() };
        let line = Wire::from_handle(line)?;
        let segment: Segment<Words> = Segment::open_borrowed(memory)?;
        if segment.tail().1 != 2 * channel::LENGTH {
            return Err(foreign("its memory has another length"));
        }
        if segment.core.bell().is_none() {
            segment.core.set_bell(&Arc::new(Bell::from_handle(bell.try_clone_to_owned()?)));
        }
        let socket = shared::identity(line.handle())?.1;
        let is_it = |word: &AtomicU64| word.load(Ordering::Relaxed) == socket;
        let side = segment.body().sockets.iter().position(is_it);
        let side = side.ok_or_else(|| foreign("it is an end of another pipe"))?;
        Ok(Self::new(line, segment, side))
    }

    /// Lends the handle of the line to pass on: one for each new holder.
    #[must_use]
    pub fn line(&self) -> BorrowedHandle<'_> {
        self.0.line.handle()
    }

    /// Lends the handles of the memory and the bell to pass on, which holders can share.
    #[must_use]
    pub fn shared(&self) -> Option<[BorrowedHandle<'_>; 2]> {
        let core = self.core();
        Some([core.handle(), core.bell()?.handle()])
    }

    fn words(&self) -> &Words {
        self.0.hint.segment.body()
    }

    fn core(&self) -> &Arc<Core> {
        &self.0.hint.segment.core
    }

    fn outgoing(&self) -> Channel<'_, Areas<'_>> {
        self.channel(self.0.hint.side)
    }

    fn incoming(&self) -> Channel<'_, Areas<'_>> {
        self.channel(1 - self.0.hint.side)
    }

    fn channel(&self, direction: usize) -> Channel<'_, Areas<'_>> {
        let memory = Areas { core: self.core(), offset: direction * channel::LENGTH };
        Channel { words: &self.words().directions[direction], memory }
    }

    /// Sends the concatenation of two parts as one message, at most until `deadline`. With `wait`
    /// false, not at all if there is no room now.
    ///
    /// # Errors
    ///
    /// A [`SendError`]; nothing was sent.
    pub fn send(
        &self,
        parts: [&[u8]; 2],
        handles: &[BorrowedHandle<'_>],
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        if self.is_gone_to_send() {
            return Err(SendError::Closed);
        }
        let length = parts[0].len() + parts[1].len();
        if length > LONGEST {
            let memory = memory::sealed(&parts).map_err(SendError::Io)?;
            let handles: Vec<_> =
                [borrow(&memory)].into_iter().chain(handles.iter().copied()).collect();
            return self.send_whole(parts, &handles, wait, deadline);
        }
        self.send_whole(parts, handles, wait, deadline)
    }

    fn send_whole(
        &self,
        parts: [&[u8]; 2],
        handles: &[BorrowedHandle<'_>],
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<(), SendError> {
        if handles.len() > MAX_HANDLES {
            return Err(SendError::TooManyHandles);
        }
        let turn_until = if wait { deadline } else { patience() };
        if self.try_send(parts, handles, turn_until)?.is_some() {
            return Ok(());
        }
        if !wait {
            return Err(SendError::Full);
        }
        let words = self.outgoing().words;
        let sent = self.block(words.room_gate(), deadline, |attempt| {
            // To ask for a turn each time would be in the way of those who have room.
            if attempt == Attempt::Spinning && words.is_full() {
                return Ok(None);
            }
            if attempt == Attempt::Sleeping && self.is_gone_to_sleep() {
                return Ok(Some(Err(SendError::Closed)));
            }
            Ok(self.try_send(parts, handles, deadline).transpose())
        })?;
        if matches!(sent, Some(Err(_))) {
            // It may have been woken for room that it leaves to others.
            words.room_gate().open(1);
        }
        sent.unwrap_or(Err(SendError::Full))
    }

    /// One attempt: `None` when there is no room, or no turn until `deadline`.
    fn try_send(
        &self,
        parts: [&[u8]; 2],
        handles: &[BorrowedHandle<'_>],
        deadline: Option<Instant>,
    ) -> Result<Option<()>, SendError> {
        let channel = self.outgoing();
        let words = channel.words;
        let Some(turn) = Guard::acquire(self.core(), words.writing(), Turn::Until(deadline))?
        else {
            return Ok(None);
        };
        let room = match channel.room(parts[0].len() + parts[1].len()) {
            Err(WriteError::Full) => return Ok(None),
            room => room?,
        };
        let mut ticket = None;
        if !handles.is_empty() {
            let name = words.new_ticket();
            match self.0.line.try_send(&[&name.to_ne_bytes()], handles) {
                Ok(()) => ticket = Some(name),
                Err(error) => {
                    return match error.kind() {
                        io::ErrorKind::WouldBlock => Ok(None),
                        io::ErrorKind::BrokenPipe => Err(SendError::Closed),
                        _ => Err(SendError::Io(error)),
                    };
                }
            }
            // CRASH (pipe.send.packed): a packet that no message names; a reader throws it away.
            crash_point!("pipe.send.packed");
        }
        channel.write(room, parts, ticket)?;
        drop(turn);
        // ORDERING: SeqCst: the message is before the looks at who waits for one.
        fence(Ordering::SeqCst);
        words.message_gate().open_fenced(1);
        if words.pollers().load(Ordering::Relaxed) != 0 {
            words.pollers().store(0, Ordering::SeqCst);
            self.ring();
        }
        Ok(Some(()))
    }

    /// Takes the next message, at most until `deadline`; with `wait` false, only if it is there now.
    /// `copy` makes something of its bytes, quickly: others wait for their turn.
    ///
    /// # Errors
    ///
    /// A [`ReceiveError`].
    pub fn receive<T>(
        &self,
        copy: impl Fn(&Bytes<'_>) -> T,
        wait: bool,
        deadline: Option<Instant>,
    ) -> Result<Received<T>, ReceiveError> {
        let turn_until = if wait { deadline } else { patience() };
        if let Some(received) = self.try_receive(&copy, turn_until)? {
            return Ok(received);
        }
        if !wait {
            return Err(if self.is_gone() {
                // It may have been sent since, before the end.
                match self.try_receive(&copy, turn_until)? {
                    Some(received) => return Ok(received),
                    None if self.incoming().words.is_empty() => ReceiveError::Closed,
                    None => ReceiveError::Empty,
                }
            } else {
                ReceiveError::Empty
            });
        }
        let gate = self.incoming().words.message_gate();
        let received = self.block(gate, deadline, |attempt| {
            if let Some(received) = self.try_receive(&copy, deadline).transpose() {
                return Ok(Some(received));
            }
            if attempt == Attempt::Sleeping {
                self.throw_packets_away();
                if self.is_gone_to_sleep() {
                    let last = self.try_receive(&copy, deadline).transpose();
                    // Without a turn, as another takes its own, there may be something all the same.
                    let is_over = last.is_none() && self.incoming().words.is_empty();
                    return Ok(if is_over { Some(Err(ReceiveError::Closed)) } else { last });
                }
            }
            Ok(None)
        })?;
        if matches!(received, Some(Err(ReceiveError::Io(_)))) {
            // It may have been woken for a message that it leaves to others.
            gate.open(1);
        }
        received.unwrap_or(Err(ReceiveError::Empty))
    }

    /// One attempt: `None` when no message is there, or no turn comes until `deadline`.
    fn try_receive<T>(
        &self,
        copy: &impl Fn(&Bytes<'_>) -> T,
        deadline: Option<Instant>,
    ) -> Result<Option<Received<T>>, ReceiveError> {
        let channel = self.incoming();
        let words = channel.words;
        if words.is_empty() {
            return Ok(None);
        }
        let Some(turn) = Guard::acquire(self.core(), words.reading(), Turn::Until(deadline))?
        else {
            return Ok(None);
        };
        let Some(message) = channel.first()? else { return Ok(None) };
        let mut handles = Vec::new();
        let found = match message.ticket {
            Some(ticket) => self.handles_of(ticket, &mut handles),
            None => Ok(()),
        };
        let received = found.and_then(|()| {
            let content = if message.is_on_its_own() {
                Content::Apart(view(&mut handles, message.length)?)
            } else {
                Content::Copied(copy(&channel.bytes(message)))
            };
            Ok(Received { content, handles })
        });
        if let Err(ReceiveError::Io(error)) = received {
            return Err(ReceiveError::Io(error)); // the message stays
        }
        channel.remove(message);
        if let (Some(ticket), Ok(_)) = (message.ticket, &received) {
            // It was looked at only; it may be thrown away now.
            let _ = self.0.line.receive(&mut [0; 8], &mut Vec::new(), false);
            words.popped(ticket);
        }
        drop(turn);
        // ORDERING: SeqCst: the room is before the look at who waits for some.
        fence(Ordering::SeqCst);
        if !words.is_half_full() {
            words.room_gate().open_fenced(1);
        }
        received.map(Some)
    }

    /// Finds the handles that belong to a message, without taking them away yet.
    fn handles_of(&self, wanted: u64, handles: &mut Vec<Handle>) -> Result<(), ReceiveError> {
        for _ in 0..MOST_PACKETS {
            let mut found = [0; 8];
            handles.clear();
            match self.0.line.peek(&mut found, handles) {
                Ok(8) if u64::from_ne_bytes(found) == wanted => return Ok(()),
                // Of a message after this one: this one's are gone.
                Ok(8) if u64::from_ne_bytes(found) > wanted => return Err(ReceiveError::Garbage),
                Err(WireError::Empty | WireError::Closed) => return Err(ReceiveError::Garbage),
                Err(WireError::HandlesLost { .. }) => {
                    return Err(ReceiveError::Io(io::Error::other(
                        "no descriptor is free for the handles in the message: raise the limit of \
                         open files",
                    )));
                }
                Err(WireError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                    return Err(ReceiveError::Io(error));
                }
                // Of a writer that died before its message was there, or of nobody.
                _ => {
                    let _ = self.0.line.receive(&mut found, &mut Vec::new(), false);
                }
            }
        }
        Err(ReceiveError::Garbage)
    }

    /// Throws away what came along the line and belongs to no message, so that what its handles are
    /// of can end.
    fn throw_packets_away(&self) {
        let words = self.incoming().words;
        if !words.has_packets() {
            return;
        }
        let Some(_reading) = Guard::try_acquire(self.core(), words.reading()) else { return };
        // Who writes now has perhaps sent a packet, and will tell of its message.
        let Some(_writing) = Guard::try_acquire(self.core(), words.writing()) else { return };
        if !words.is_empty() {
            return;
        }
        for _ in 0..MOST_PACKETS {
            let received = self.0.line.receive(&mut [0; 8], &mut Vec::new(), false);
            if matches!(received, Err(WireError::Empty | WireError::Closed)) {
                break;
            }
        }
        words.no_packets();
    }

    /// Waits until a message or the end can be received, at most until `deadline`; false if neither.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when the system refuses.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<bool, SegmentError> {
        if self.is_ready() {
            return Ok(true);
        }
        let words = self.incoming().words;
        let waited = self.block(words.message_gate(), deadline, |attempt| {
            if attempt == Attempt::Sleeping {
                self.throw_packets_away();
            }
            let is_over = attempt == Attempt::Sleeping && self.is_gone_to_sleep();
            Ok((is_over || !words.is_empty()).then_some(()))
        })?;
        // Who only looks passes on that it was woken: another may be there to take the message.
        words.message_gate().open(1);
        Ok(waited.is_some())
    }

    /// Tells whether a message or the end can be received now.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.incoming().words.is_empty() || self.is_gone()
    }

    /// As [`is_ready`](Self::is_ready); if not, what [`add_to`](Self::add_to) has added tells of a
    /// change.
    #[must_use]
    pub fn prepare_wait(&self) -> bool {
        self.throw_packets_away();
        // A death that nobody watches is found out by the next to come.
        let _ = self.core().watch_others();
        self.incoming().words.pollers().store(1, Ordering::SeqCst);
        // ORDERING: SeqCst pairs with the fence in `try_send`: either that sees this poller, or its
        // message is seen here.
        fence(Ordering::SeqCst);
        self.is_ready()
    }

    /// Adds what tells of a change to `rings`.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory or watch left.
    pub fn add_to(&self, rings: &Rings) -> io::Result<()> {
        rings.add_wire(self.0.line.handle())?;
        self.core().bell().map_or(Ok(()), |bell| rings.add_bell(bell.handle()))
    }

    fn ring(&self) {
        if let Some(bell) = self.core().bell() {
            bell.ring();
        }
    }

    fn block<T>(
        &self,
        gate: &crate::gate::Gate,
        deadline: Option<Instant>,
        attempt: impl FnMut(Attempt) -> Result<Option<T>, SegmentError>,
    ) -> Result<Option<T>, SegmentError> {
        block_watching(gate, deadline, || self.watch(), attempt)
    }
}

/// Maps the memory of a message that has its own: the first of its handles.
fn view(handles: &mut Vec<Handle>, length: usize) -> Result<View, ReceiveError> {
    if handles.is_empty() {
        return Err(ReceiveError::Garbage);
    }
    let memory = handles.remove(0);
    View::map(borrow(&memory), length).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => ReceiveError::Garbage,
        _ => ReceiveError::Io(error),
    })
}
