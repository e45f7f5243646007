//! A worker's side: takes pieces of work, runs their items, answers.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use procession_shm::slots::{Answer, NoRoom, Taken, Taker};
use procession_shm::store::{self, Block, Store};
use procession_sys::wire::Wire;
use procession_sys::{BorrowedHandle, Handle, borrow, crash_point, runtime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::bootstrap;
use crate::codec::arguments_sealed::Decoding;
use crate::codec::{self, Encoded};
use crate::pool::record::{self, HAS_HANDLES, Kind, Panicked, Refused};
use crate::target::{CallError, Entry, TargetName};

/// What a worker says on its wire when it begins to take tasks.
pub(super) const READY: u8 = b'r';

/// What it is answered, when its parent knows of it.
pub(super) const GO: u8 = b'g';

/// How many bytes of its buffers a lane keeps for the next task.
const KEPT: usize = 16 << 20;

/// A handle that is passed on each time that it is written.
#[derive(Debug)]
pub(crate) struct Passed(pub(crate) Handle);

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        codec::serialize_handle(borrow(&self.0), serializer)
    }
}

impl<'de> Deserialize<'de> for Passed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        codec::deserialize_handle(deserializer).map(Self)
    }
}

/// What each worker runs before its first task.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Initializer {
    pub(crate) target: TargetName,
    pub(crate) arguments: Vec<u8>,
    pub(crate) handles: Vec<Passed>,
}

impl Initializer {
    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let handles = self.handles.iter().map(|handle| handle.0.try_clone().map(Passed));
        Ok(Self {
            target: self.target,
            arguments: self.arguments.clone(),
            handles: handles.collect::<io::Result<_>>()?,
        })
    }
}

/// What a worker is told at its start.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Orders {
    pub(super) slots: Passed,
    /// The parent's store, with inputs.
    pub(super) inputs: Passed,
    /// The worker's own, for outputs.
    pub(super) outputs: Passed,
    pub(super) wire: Passed,
    pub(super) place: usize,
    pub(super) threads: usize,
    pub(super) max_tasks: Option<u64>,
    pub(super) initializer: Option<Initializer>,
}

/// How a worker ends that was not killed by anything.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum WorkerEnd {
    /// It was told to go, has done all the tasks that it may, or cannot do any more.
    Left,
    /// It could not begin.
    Failed { message: String },
}

/// What all threads of a worker share.
#[derive(Debug)]
struct Worker {
    taker: Taker,
    inputs: Handle,
    outputs: Store,
    /// One thread at a time asks for handles and gets them.
    wire: Mutex<Wire>,
    /// How many tasks may still be done.
    left: AtomicU64,
}

/// The target of a worker's process.
pub(super) fn work(orders: Orders) -> WorkerEnd {
    match Worker::new(orders) {
        Ok((worker, lanes)) => {
            worker.run(lanes);
            WorkerEnd::Left
        }
        Err(message) => WorkerEnd::Failed { message },
    }
}

impl Worker {
    fn new(orders: Orders) -> Result<(Self, std::ops::Range<usize>), String> {
        let Orders { slots, inputs, outputs, wire, place, threads, max_tasks, initializer } =
            orders;
        let worker = Self {
            taker: Taker::open(slots.0, place).map_err(|error| error.to_string())?,
            inputs: inputs.0,
            outputs: Store::open(outputs.0).map_err(|error| error.to_string())?,
            wire: Mutex::new(Wire::from_handle(wire.0).map_err(|error| error.to_string())?),
            left: AtomicU64::new(max_tasks.unwrap_or(u64::MAX)),
        };
        if let Some(initializer) = initializer {
            initializer.run()?;
        }
        // CRASH (pool.initialized): it has not said that it is ready: counted as a failed start.
        crash_point!("pool.initialized");
        worker.wire().send(&[&[READY]], &[]).map_err(|error| error.to_string())?;
        // CRASH (pool.ready): it is replaced; nothing is hurt.
        crash_point!("pool.ready");
        // Nothing is taken by a worker that the parent does not know yet: it could not tell whose
        // the outcome is.
        let (mut buffer, mut handles) = ([0; 8], Vec::new());
        match worker.wire().receive(&mut buffer, &mut handles, true) {
            Ok(1) if buffer[0] == GO => {}
            _ => return Err("its parent has not let it begin".to_owned()),
        }
        Ok((worker, place * threads..(place + 1) * threads))
    }

    fn wire(&self) -> std::sync::MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, lanes: std::ops::Range<usize>) {
        let own = lanes.start;
        std::thread::scope(|scope| {
            for lane in lanes.skip(1) {
                let builder = std::thread::Builder::new().name(format!("lane {}", lane - own));
                let started = builder.spawn_scoped(scope, move || Lane::new(self, lane).run());
                if let Err(error) = started {
                    // The others do its work.
                    crate::tell::tell(format_args!(
                        "procession: a worker has one thread less than it should have: {error}"
                    ));
                }
            }
            Lane::new(self, own).run();
        });
    }
}

impl Initializer {
    fn run(self) -> Result<(), String> {
        let entry = self.target.find().map_err(|error| error.to_string())?;
        let handles = self.handles.into_iter().map(|handle| Some(handle.0)).collect();
        let mut decoding = Decoding { bytes: &self.arguments, handles };
        match bootstrap::catch(|| entry.call(&mut decoding)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(CallError::Arguments(error))) => {
                Err(format!("the initializer could not be called: {error}"))
            }
            Ok(Err(CallError::Result(error))) => Err(format!("the initializer: {error}")),
            Err(panic) => {
                Err(format!("the initializer panicked at {}: {}", panic.location, panic.message))
            }
        }
    }
}

/// One thread of a worker.
struct Lane<'a> {
    worker: &'a Worker,
    number: usize,
    /// Blocks of our store, by the slot and turn of the answer that they belong to.
    blocks: Vec<(usize, u64, Block)>,
    /// The function of the last piece.
    known: Option<(Vec<u8>, &'static Entry)>,
    copies: u32,
    /// The last value's bytes, whose memory the next one's use.
    spare: Vec<u8>,
}

/// A lane cannot go on: what it shares with the parent is gone.
struct Broken;

/// One item's outcome, as it goes into its record.
struct Ran {
    kind: Kind,
    bytes: Vec<u8>,
    handles: Vec<Handle>,
}

impl Ran {
    fn refused(kind: Kind, what: &str, type_name: &str, reason: impl ToString) -> Self {
        let refused = Refused {
            what: what.to_owned(),
            type_name: type_name.to_owned(),
            reason: reason.to_string(),
        };
        Self::of(kind, &refused)
    }

    fn of(kind: Kind, value: &impl Serialize) -> Self {
        // Strings always encode.
        let bytes = postcard::to_allocvec(value).unwrap_or_default();
        Self { kind, bytes, handles: Vec::new() }
    }
}

impl<'a> Lane<'a> {
    fn new(worker: &'a Worker, number: usize) -> Self {
        let copies = runtime::copies().unwrap_or(0);
        Self { worker, number, blocks: Vec::new(), known: None, copies, spare: Vec::new() }
    }

    fn run(&mut self) {
        bootstrap::remember_panics();
        let mut input = Vec::new();
        while let Ok(Some(taken)) = self.worker.taker.take(self.number, &mut input) {
            if self.answer(&taken, &mut input).is_err()
                || self.worker.left.load(Ordering::Relaxed) == 0
            {
                return;
            }
            // One large value is not kept for ever.
            input.shrink_to(KEPT);
        }
    }

    /// Runs the items of a piece, as many as fit into one answer.
    fn answer(&mut self, taken: &Taken, input: &mut Vec<u8>) -> Result<(), Broken> {
        let mut answer = self.worker.taker.answer(taken, self.number);
        let mut handles = Vec::new();
        let mut prepared = Ok(());
        if let Some(block) = taken.stored {
            input.clear();
            prepared = store::read(borrow(&self.worker.inputs), block, input);
        }
        if taken.handles && prepared.is_ok() {
            prepared = self.ask_for_handles(taken).map(|received| handles = received);
        }
        if let Err(error) = prepared {
            let reason = format!("they cannot be read: {error}");
            let ran = Ran::refused(Kind::Arguments, "the arguments", "a task", reason);
            self.push(&mut answer, taken, ran)?;
            answer.finish();
            return Err(Broken);
        }
        let mut items: &[u8] = input;
        let function = take_part(&mut items);
        let mut result = Ok(());
        for _ in 0..taken.items {
            // CRASH (pool.item): the item that begins here is hurt.
            crash_point!("pool.item");
            answer.begin();
            let ran = match (function, take_part(&mut items)) {
                (Some(function), Some(item)) => {
                    self.run_item(function, item, std::mem::take(&mut handles))
                }
                _ => Ran::refused(Kind::Arguments, "the arguments", "a task", "they are cut off"),
            };
            if runtime::known_copies() != self.copies {
                // The item has forked this process, and this is the copy: the original answers.
                runtime::exit_now(0);
            }
            // CRASH (pool.ran): the item was run, and is hurt: its outcome is nowhere yet.
            crash_point!("pool.ran");
            let was_last = match self.push(&mut answer, taken, ran) {
                Ok(was_last) => was_last,
                Err(Broken) => {
                    result = Err(Broken);
                    true
                }
            };
            let left =
                self.worker.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                    Some(left.saturating_sub(1))
                });
            if was_last || left.is_ok_and(|left| left <= 1) {
                break;
            }
        }
        answer.finish();
        result
    }

    /// Writes an item's outcome; true if it has to be the last one of the answer.
    fn push(&mut self, answer: &mut Answer<'_>, taken: &Taken, ran: Ran) -> Result<bool, Broken> {
        let Ran { kind, bytes, handles } = ran;
        let mut byte = kind as u8;
        if !handles.is_empty() {
            let lent: Vec<BorrowedHandle<'_>> = handles.iter().map(borrow).collect();
            if let Err(error) = self.worker.wire().send(&[&taken.turn.to_ne_bytes()], &lent) {
                let reason = format!("its handles cannot be sent: {error}");
                let ran = Ran::refused(Kind::Result, "the result", "a handle", reason);
                self.push(answer, taken, ran)?;
                return Err(Broken);
            }
            byte |= HAS_HANDLES;
        }
        let header = record::header(byte, bytes.len());
        if answer.push(&[&header, &bytes]).is_ok() {
            self.spare = bytes;
            return Ok(!handles.is_empty());
        }
        let stored = if u32::try_from(bytes.len()).is_ok() {
            self.store(&[&header, &bytes])
        } else {
            Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 GiB"))
        };
        match stored {
            Ok(block) => {
                self.spare = bytes;
                self.spare.clear();
                self.spare.shrink_to(KEPT);
                self.blocks.push((taken.slot, taken.turn, block));
                answer.push_stored(block);
                Ok(true)
            }
            Err(error) => {
                let reason = format!("its {} bytes cannot be stored: {error}", bytes.len());
                let ran = Ran::refused(Kind::Result, "the result", "a task's", reason);
                let header = record::header(ran.kind as u8, ran.bytes.len());
                // Without room for this the answer ends here, and the item counts as not done.
                let said: Result<(), NoRoom> = answer.push(&[&header, &ran.bytes]);
                if said.is_err() || error.kind() != io::ErrorKind::OutOfMemory {
                    return Err(Broken);
                }
                Ok(true)
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

    fn run_item(&mut self, function: &[u8], item: &[u8], handles: Vec<Handle>) -> Ran {
        let entry = match self.entry(function) {
            Ok(entry) => entry,
            Err(reason) => {
                return Ran::refused(Kind::Arguments, "the function", "a task's", reason);
            }
        };
        let handles = handles.into_iter().map(Some).collect();
        let mut decoding = Decoding { bytes: item, handles };
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        let mut value = Encoded { bytes: spare, handles: Vec::new() };
        match bootstrap::catch(|| entry.call_into(&mut decoding, &mut value)) {
            Ok(Ok(())) => Ran { kind: Kind::Value, bytes: value.bytes, handles: value.handles },
            Ok(Err(CallError::Arguments(error))) => {
                let (what, type_name, reason) = error.into_parts();
                Ran::refused(Kind::Arguments, &what, &type_name, reason)
            }
            Ok(Err(CallError::Result(error))) => {
                let (what, type_name, reason) = error.into_parts();
                Ran::refused(Kind::Result, &what, &type_name, reason)
            }
            Err(panic) => {
                let bootstrap::Caught { message, location, backtrace } = panic;
                Ran::of(Kind::Panicked, &Panicked { message, location, backtrace })
            }
        }
    }

    /// Finds the function that a piece names; most of the time it is that of the last one.
    fn entry(&mut self, function: &[u8]) -> Result<&'static Entry, String> {
        if let Some((known, entry)) = &self.known
            && known == function
        {
            return Ok(entry);
        }
        let name = TargetName::from_bytes(function).ok_or("its name is cut off")?;
        let entry = name.find().map_err(|error| error.to_string())?;
        self.known = Some((function.to_vec(), entry));
        Ok(entry)
    }
}

/// Takes a part from the front: its length, then its bytes.
fn take_part<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_ne_bytes(*length)).ok()?;
    let (part, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(part)
}
