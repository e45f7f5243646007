//! A worker's side: takes pieces of work, has their items run, answers.
//!
//! What an item is and how it is run is its [`Runner`]'s affair; pieces, slots and stores are the
//! worker's.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use procession_shm::segment::SegmentError;
use procession_shm::slots::{Answer, NoRoom, Taken, Taker};
use procession_shm::store::{Block, Reader, Store};
use procession_sys::wire::Wire;
use procession_sys::{BorrowedHandle, Handle, borrow, clock, crash_point, runtime};
use serde::Serialize;

use super::Seat;
use crate::pool::record::{self, HAS_HANDLES, HAS_TIMES, Kind, Refused};

/// What a worker says on its wire when it begins to take tasks.
pub(super) const READY: u8 = b'r';

/// What it says, and why behind it, when it cannot.
pub(super) const FAILED: u8 = b'f';

/// The longest message on a worker's wire.
pub(super) const MESSAGE: usize = 1024;

/// What it is answered, when its parent knows of it.
const GO: u8 = b'g';

/// How a worker is told that it may begin.
pub(super) const BEGIN: [u8; 1] = [GO];

/// How many bytes of its input a lane keeps for the next piece.
const KEPT: usize = 16 << 20;

/// Runs items, in one thread of a worker.
pub trait Runner {
    /// Finds room for an input of `length` bytes, which is long. What is in `input` may go.
    fn make_room(&mut self, input: &mut Vec<u8>, length: usize) {
        let _ = (input, length);
    }

    /// Calls `run` with this runner, once, for all items of a piece.
    fn around(&mut self, run: &mut dyn FnMut(&mut Self)) {
        run(self);
    }

    /// Runs an item, and gives `reply` its outcome, once.
    fn run(&mut self, task: Task<'_>, reply: &mut Reply<'_, '_>);

    /// Has been interrupted by a signal while it waited for work; false if the worker shall leave.
    fn go_on(&mut self) -> bool {
        true
    }

    /// Tells whether the worker shall leave after this piece.
    fn is_over(&self) -> bool {
        false
    }
}

/// An item, and the function that it is for.
#[derive(Debug)]
pub struct Task<'a> {
    /// The bytes of the whole piece. The last item may take them away.
    pub input: &'a mut Vec<u8>,
    /// Where the function is in it.
    pub function: Range<usize>,
    /// Where the item is.
    pub item: Range<usize>,
    /// Whether no other item needs the bytes.
    pub is_last: bool,
    /// What has come with it.
    pub handles: Vec<Handle>,
}

/// Where an item's outcome goes.
#[derive(Debug)]
pub struct Reply<'l, 'w> {
    lane: &'l mut Lane<'w>,
    answer: &'l mut Answer<'w>,
    taken: &'l Taken,
    /// When the item began, if that is to be said.
    began: Option<u64>,
    /// Once there is an outcome: whether it was the last one of its answer.
    pushed: Option<Result<bool, Broken>>,
}

/// Why a lane cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    /// What it shares with the parent is gone.
    Board,
    /// Its runner leaves.
    Leaves,
}

/// A worker, in its own process.
#[derive(Debug)]
pub struct Worker {
    taker: Taker,
    inputs: Reader,
    outputs: Store,
    /// One thread at a time asks for handles and gets them.
    wire: Mutex<Wire>,
    /// How many tasks may still be done, if not any number.
    left: Option<AtomicU64>,
    lanes: Range<usize>,
}

impl Worker {
    /// Takes its seat.
    ///
    /// # Errors
    ///
    /// When what it was given is not what it has to be.
    pub fn new(seat: Seat) -> Result<Self, String> {
        let Seat { slots, inputs, outputs, wire, plan } = seat;
        let first = plan.place.checked_mul(plan.threads).ok_or("no such place")?;
        let end = first.checked_add(plan.threads).ok_or("no such place")?;
        Ok(Self {
            taker: Taker::open(slots.0, plan.place).map_err(|error| error.to_string())?,
            inputs: Reader::new(inputs.0).map_err(|error| error.to_string())?,
            outputs: Store::open(outputs.0).map_err(|error| error.to_string())?,
            wire: Mutex::new(Wire::from_handle(wire.0).map_err(|error| error.to_string())?),
            left: plan.max_tasks.map(AtomicU64::new),
            lanes: first..end,
        })
    }

    /// Says that it cannot begin, and why: the pool fails after a few of these.
    pub fn fail(&self, message: &str) {
        let mut end = message.len().min(MESSAGE - 1);
        while !message.is_char_boundary(end) {
            end -= 1;
        }
        // If the parent is gone there is nobody to tell.
        let _ = self.wire().send(&[&[FAILED], &message.as_bytes()[..end]], &[]);
    }

    /// Says that it can begin, and waits until it may.
    ///
    /// # Errors
    ///
    /// When its parent is gone.
    pub fn begin(&self) -> Result<(), String> {
        // CRASH (pool.initialized): it has not said that it is ready: counted as a failed start.
        crash_point!("pool.initialized");
        self.wire().send(&[&[READY]], &[]).map_err(|error| error.to_string())?;
        // CRASH (pool.ready): it is replaced; nothing is hurt.
        crash_point!("pool.ready");
        // Nothing is taken by a worker that the parent does not know yet: it could not tell whose
        // the outcome is.
        let (mut buffer, mut handles) = ([0; 8], Vec::new());
        match self.wire().receive(&mut buffer, &mut handles, true) {
            Ok(1) if buffer[0] == GO => Ok(()),
            _ => Err("its parent has not let it begin".to_owned()),
        }
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a task that was run.
    fn count(&self) {
        if let Some(left) = &self.left {
            let less = |left: u64| Some(left.saturating_sub(1));
            let _ = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }

    /// Tells whether it has run as many as it may.
    fn is_done(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// Runs tasks in all its threads, of which this is one, until it shall leave.
    pub fn run<R: Runner>(&self, runner: impl Fn() -> R + Sync) {
        std::thread::scope(|scope| {
            for lane in self.lanes.clone().skip(1) {
                let runner = &runner;
                let name = format!("lane {}", lane - self.lanes.start);
                let builder = std::thread::Builder::new().name(name);
                let run = move || Lane::new(self, lane).run(&mut runner());
                if let Err(error) = builder.spawn_scoped(scope, run) {
                    // The others do its work.
                    crate::tell::tell(format_args!(
                        "procession: a worker has one thread less than it should have: {error}"
                    ));
                }
            }
            Lane::new(self, self.lanes.start).run(&mut runner());
        });
    }
}

/// One thread of a worker.
#[derive(Debug)]
struct Lane<'a> {
    worker: &'a Worker,
    number: usize,
    /// Blocks of our store, by the slot and turn of the answer that they belong to.
    blocks: Vec<(usize, u64, Block)>,
    copies: u32,
}

impl<'w> Lane<'w> {
    fn new(worker: &'w Worker, number: usize) -> Self {
        let copies = runtime::copies().unwrap_or(0);
        Self { worker, number, blocks: Vec::new(), copies }
    }

    fn run<R: Runner>(&mut self, runner: &mut R) {
        let mut input = Vec::new();
        loop {
            let taken = match self.worker.taker.take(self.number, &mut input) {
                Ok(Some(taken)) => taken,
                Err(SegmentError::Interrupted) if runner.go_on() => continue,
                Ok(None) | Err(_) => return,
            };
            let mut result = Ok(());
            runner.around(&mut |runner| result = self.answer(&taken, &mut input, runner));
            if result.is_err() || self.worker.is_done() || runner.is_over() {
                return;
            }
            // One large value is not kept for ever.
            input.shrink_to(KEPT);
        }
    }

    /// Runs the items of a piece, as many as fit into one answer.
    fn answer<R: Runner>(
        &mut self,
        taken: &Taken,
        input: &mut Vec<u8>,
        runner: &mut R,
    ) -> Result<(), Broken> {
        let mut answer = self.worker.taker.answer(taken, self.number);
        let mut handles = Vec::new();
        let mut prepared = Ok(());
        if let Some(block) = taken.stored {
            input.clear();
            if let Ok(length) = usize::try_from(block.length) {
                runner.make_room(input, length);
            }
            prepared = self.worker.inputs.read(block, input);
        }
        if taken.handles && prepared.is_ok() {
            prepared = self.ask_for_handles(taken).map(|received| handles = received);
        }
        if let Err(error) = prepared {
            let reason = format!("they cannot be read: {error}");
            let mut reply = Reply::new(self, &mut answer, taken);
            reply.refuse(Kind::Arguments, "the arguments", "a task", reason);
            answer.finish();
            return Err(Broken::Board);
        }
        let mut at = 0;
        let function = take_part(input, &mut at);
        let mut result = Ok(());
        for index in 0..taken.items {
            // CRASH (pool.item): the item that begins here is hurt.
            crash_point!("pool.item");
            answer.begin();
            let mut reply = Reply::new(self, &mut answer, taken);
            match (function.clone(), take_part(input, &mut at)) {
                (Some(function), Some(item)) => {
                    let handles = std::mem::take(&mut handles);
                    let is_last = index + 1 == taken.items;
                    runner.run(Task { input, function, item, is_last, handles }, &mut reply);
                }
                _ => reply.refuse(Kind::Arguments, "the arguments", "a task", "they are cut off"),
            }
            if reply.pushed.is_none() {
                reply.refuse(Kind::Result, "the result", "a task's", "there is none");
            }
            let was_last = match reply.pushed {
                Some(Ok(was_last)) => was_last,
                Some(Err(Broken::Leaves)) => return Err(Broken::Leaves),
                _ => {
                    result = Err(Broken::Board);
                    true
                }
            };
            self.worker.count();
            let goes_on = self.worker.taker.goes_on(&answer);
            if was_last || self.worker.is_done() || runner.is_over() || !goes_on {
                break;
            }
        }
        answer.finish();
        result
    }

    /// Asks the parent for the handles that go with a piece, and waits for them.
    fn ask_for_handles(&self, taken: &Taken) -> io::Result<Vec<Handle>> {
        let wire = self.worker.wire();
        self.worker.taker.call_giver(taken);
        loop {
            let (mut buffer, mut handles) = ([0; 8], Vec::new());
            match wire.receive(&mut buffer, &mut handles, true) {
                Ok(8) if u64::from_ne_bytes(buffer) == taken.turn => return Ok(handles),
                Ok(_) => {} // those of a piece that ended otherwise
                Err(error) => {
                    return Err(io::Error::other(format!("no handles came: {error:?}")));
                }
            }
        }
    }

    fn store(&mut self, parts: &[&[u8]]) -> io::Result<Block> {
        let Worker { taker, outputs, .. } = self.worker;
        self.blocks.retain(|(slot, turn, block)| {
            let needed = taker.is_answered(*slot, *turn, self.number);
            if !needed {
                outputs.free(*block);
            }
            needed
        });
        outputs.put(parts)
    }
}

impl<'l, 'w> Reply<'l, 'w> {
    /// An item begins.
    fn new(lane: &'l mut Lane<'w>, answer: &'l mut Answer<'w>, taken: &'l Taken) -> Self {
        Self { lane, answer, taken, began: taken.traced.then(clock::now), pushed: None }
    }

    /// The outcome: what kind it is, to whoever submitted the item, and its bytes, in parts.
    ///
    /// A second one is left out.
    pub fn push(&mut self, kind: u8, parts: &[&[u8]], handles: &[Handle]) {
        if runtime::known_copies() != self.lane.copies {
            // The item has forked this process, and this is the copy: the original answers.
            runtime::exit_now(0);
        }
        // CRASH (pool.ran): the item was run, and is hurt: its outcome is nowhere yet.
        crash_point!("pool.ran");
        if self.pushed.is_none() {
            self.pushed = Some(self.try_push(kind, parts, handles));
        }
    }

    /// There is no outcome: the worker leaves in the middle of the item, which is hurt as by its death.
    pub fn leave(&mut self) {
        self.pushed.get_or_insert(Err(Broken::Leaves));
    }

    /// The outcome: there is none, and why.
    pub(crate) fn refuse(
        &mut self,
        kind: Kind,
        what: &str,
        type_name: &str,
        reason: impl ToString,
    ) {
        let refused = Refused {
            what: what.to_owned(),
            type_name: type_name.to_owned(),
            reason: reason.to_string(),
        };
        self.push_encoded(kind, &refused);
    }

    /// The outcome: what is no value of the user's.
    pub(crate) fn push_encoded(&mut self, kind: Kind, value: &impl Serialize) {
        // Strings always encode.
        let bytes = postcard::to_allocvec(value).unwrap_or_default();
        self.push(kind as u8, &[&bytes], &[]);
    }

    /// Writes the outcome; true if it has to be the last one of the answer.
    fn try_push(&mut self, kind: u8, parts: &[&[u8]], handles: &[Handle]) -> Result<bool, Broken> {
        let mut byte = kind;
        if !handles.is_empty() {
            let lent: Vec<BorrowedHandle<'_>> = handles.iter().map(borrow).collect();
            let turn = self.taken.turn.to_ne_bytes();
            if let Err(error) = self.lane.worker.wire().send(&[&turn], &lent) {
                self.push_instead(format!("its handles cannot be sent: {error}"))?;
                return Err(Broken::Board);
            }
            byte |= HAS_HANDLES;
        }
        let length = parts.iter().map(|part| part.len()).sum();
        let times = self.began.map(|began| {
            byte |= HAS_TIMES;
            [began.to_ne_bytes(), clock::now().to_ne_bytes()]
        });
        let header = record::header(byte, length);
        let mut few = [&header[..]; 4];
        let many: Vec<&[u8]>;
        let record: &[&[u8]] = match few.get_mut(1..=parts.len()) {
            Some(room) if times.is_none() => {
                room.copy_from_slice(parts);
                &few[..=parts.len()]
            }
            _ => {
                let times = times.iter().map(|times| times.as_flattened());
                many = std::iter::once(&header[..])
                    .chain(parts.iter().copied())
                    .chain(times)
                    .collect();
                &many
            }
        };
        if self.answer.push(record).is_ok() {
            return Ok(!handles.is_empty());
        }
        let stored = if u32::try_from(length).is_ok() {
            self.lane.store(record)
        } else {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 GiB"))
        };
        match stored {
            Ok(block) => {
                self.lane.blocks.push((self.taken.slot, self.taken.turn, block));
                self.answer.push_stored(block);
                Ok(true)
            }
            Err(error) => {
                self.push_instead(format!("its {length} bytes cannot be stored: {error}"))?;
                if error.kind() == io::ErrorKind::OutOfMemory {
                    Ok(true)
                } else {
                    Err(Broken::Board)
                }
            }
        }
    }

    /// Writes why there is no outcome.
    fn push_instead(&mut self, reason: String) -> Result<(), Broken> {
        let (what, type_name) = ("the result".to_owned(), "a task's".to_owned());
        let refused = Refused { what, type_name, reason };
        let bytes = postcard::to_allocvec(&refused).unwrap_or_default();
        let header = record::header(Kind::Result as u8, bytes.len());
        // Without room for this the answer ends here, and the item counts as not done.
        self.answer.push(&[&header, &bytes]).map_err(|NoRoom| Broken::Board)
    }
}

/// Where the part is that begins at `at`: its length, then its bytes. Goes on behind it.
fn take_part(bytes: &[u8], at: &mut usize) -> Option<Range<usize>> {
    let length = u32::from_ne_bytes(*bytes.get(*at..)?.first_chunk::<4>()?);
    let start = *at + 4;
    let end = start.checked_add(usize::try_from(length).ok()?)?;
    bytes.get(start..end)?;
    *at = end;
    Some(start..end)
}
