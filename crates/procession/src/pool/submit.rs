//! From arguments to pieces of work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_sys::Handle;
use serde::Serialize;

use super::TaskError;
use super::backend::{Stash, Work};
use super::batch::{Batch, BatchSink};
use super::buffers;
use super::engine::Engine;
use super::ledger::Sink;
use super::local::TASK_HANDLES;
use super::record;
use super::result::{AsyncResult, Cell, CellSink};
use crate::codec::arguments_sealed::Encoding;
use crate::codec::{Arguments, EncodeError, Encoded};
use crate::target::{self, NAME_BYTES, Target};

/// Up to this many bytes of arguments make one piece, if nobody has said how many items shall.
const LONGEST_PIECE: usize = 24 * 1024;
/// How many pieces are handed over at a time, or how many bytes, whichever comes first: one by one
/// they would wake a worker each, and all at once the first would wait for the last.
const PIECES: usize = 32;
const BYTES: usize = 8 * 1024;

/// What is the same for some tasks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// How long each may run.
    pub timeout: Option<Duration>,
    /// How often each may run again after its worker died or it timed out.
    pub retries: u32,
}

/// A function as pieces of work name it: the length of its name, and that.
pub(super) fn function<F, Args>() -> Result<Arc<[u8]>, TaskError>
where
    F: Target<Args>,
    Args: Arguments,
    F::Output: Serialize,
{
    let name = target::name_function::<F, Args>()
        .map_err(|error| TaskError::Invalid { message: error.to_string() })?;
    let mut bytes = [0; 4 + NAME_BYTES];
    let (length, rest) = bytes.split_at_mut(4);
    length.copy_from_slice(&(NAME_BYTES as u32).to_ne_bytes());
    rest.copy_from_slice(&name.to_bytes());
    Ok(Arc::new(bytes))
}

/// Encodes one call's arguments behind `items`: their length, then they. Returns their handles.
fn encode<Args: Arguments>(args: &Args, items: &mut Vec<u8>) -> Result<Vec<Handle>, TaskError> {
    write(items, |items| {
        let mut encoded = Encoded { bytes: std::mem::take(items), handles: Vec::new() };
        let result = args.encode(&mut Encoding(&mut encoded));
        *items = encoded.bytes;
        result.map_err(TaskError::Encode)?;
        let count = encoded.handles.len();
        if count > TASK_HANDLES {
            let reason = format!("they carry {count} handles; the most is {TASK_HANDLES}");
            return Err(TaskError::Encode(EncodeError::new::<Args>("the arguments", reason)));
        }
        Ok(encoded.handles)
    })
}

/// Writes an item behind `items`: its length, then what `item` writes.
fn write<T>(
    items: &mut Vec<u8>,
    item: impl FnOnce(&mut Vec<u8>) -> Result<T, TaskError>,
) -> Result<T, TaskError> {
    let before = items.len();
    items.extend([0; 4]);
    let result = item(items);
    let length = items.len() - before - 4;
    let result = result.and_then(|value| match u32::try_from(length) {
        Ok(length) => {
            items[before..before + 4].copy_from_slice(&length.to_ne_bytes());
            Ok(value)
        }
        Err(_) => {
            let reason = format!("{length} bytes are more than 4 GiB");
            Err(TaskError::Encode(EncodeError::new::<()>("the arguments", reason)))
        }
    });
    if result.is_err() {
        items.truncate(before);
    }
    result
}

/// Submits one call.
pub(super) fn one<F, Args>(
    engine: &Arc<Engine>,
    args: &Args,
    limits: Limits,
) -> Result<AsyncResult<F::Output>, TaskError>
where
    F: Target<Args>,
    Args: Arguments,
    F::Output: Serialize,
{
    if !engine.is_open() {
        return Err(TaskError::Closed);
    }
    let function = function::<F, Args>()?;
    let cell = Cell::new(engine);
    let sink: Arc<dyn Sink> = Arc::new(CellSink(Arc::clone(&cell)));
    let mut items = buffers::take();
    match encode(args, &mut items) {
        Ok(handles) => {
            if items.len() < items.capacity() / 4 {
                // A short one does not keep a large buffer.
                let short = items.as_slice().to_vec();
                buffers::give(std::mem::replace(&mut items, short));
            }
            let number = engine.ledger.open(&sink, 0, 1).ok_or(TaskError::Closed)?;
            cell.set_number(number);
            let Limits { timeout, retries } = limits;
            let work =
                Work { number, function, items, count: 1, stash: None, handles, timeout, retries };
            engine.submit(vec![work]);
        }
        Err(error) => engine.refuse(&sink, 0, error),
    }
    Ok(AsyncResult::new(cell, Arc::clone(engine)))
}

/// Submits calls of one function, some to a piece.
pub struct Many<'a> {
    engine: &'a Arc<Engine>,
    batch: &'a Arc<Batch>,
    sink: Arc<dyn Sink>,
    function: Arc<[u8]>,
    limits: Limits,
    /// How many items make a piece, and how many bytes at the most.
    items: u32,
    bytes: usize,
    /// The piece that is being made: how many items, and their bytes.
    count: u32,
    encoded: Vec<u8>,
    ready: Vec<Work>,
    ready_bytes: usize,
}

impl<'a> Many<'a> {
    /// `chunk` is the user's own choice of how many items make a piece; without, it is a guess from
    /// how many items there are.
    pub(super) fn new(
        engine: &'a Arc<Engine>,
        batch: &'a Arc<Batch>,
        function: Arc<[u8]>,
        limits: Limits,
        chunk: Option<u32>,
        known: usize,
    ) -> Self {
        // As CPython's: about four pieces for each worker, so that the last ones even out.
        let guess = known.div_ceil(engine.backend().width().max(1) * 4).max(1);
        Self {
            engine,
            batch,
            sink: Arc::new(BatchSink(Arc::clone(batch))),
            function,
            limits,
            items: chunk.unwrap_or(u32::try_from(guess).unwrap_or(u32::MAX)),
            bytes: if chunk.is_some() { usize::MAX } else { LONGEST_PIECE },
            count: 0,
            encoded: Vec::new(),
            ready: Vec::new(),
            ready_bytes: 0,
        }
    }

    /// Adds one call.
    pub(super) fn push<Args: Arguments>(&mut self, args: &Args) {
        let before = self.encoded.len();
        match encode(args, &mut self.encoded) {
            Ok(handles) if handles.is_empty() => self.count(),
            // What carries handles is a piece of its own.
            Ok(handles) => {
                let own = self.encoded.split_off(before);
                self.cut(Vec::new());
                (self.count, self.encoded) = (1, own);
                self.cut(handles);
            }
            Err(error) => {
                // Items of a piece follow each other: this one is left out.
                self.cut(Vec::new());
                let index = self.batch.grow(1);
                self.engine.refuse(&self.sink, index, error);
            }
        }
    }

    /// Adds one call, whose item `write` writes behind what is there; none if that returns false. If
    /// it fails, nothing is added.
    ///
    /// # Errors
    ///
    /// What `write` returns.
    pub fn push_bytes<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<bool, E>,
    ) -> Result<(), E> {
        let mut added = Ok(true);
        let written = self::write(&mut self.encoded, |items| {
            added = write(items);
            // The error is not seen: it takes away what was written.
            if matches!(added, Ok(true)) { Ok(()) } else { Err(TaskError::Cancelled) }
        });
        if !added? {
            return Ok(());
        }
        match written {
            Ok(()) => self.count(),
            Err(error) => {
                self.cut(Vec::new());
                let index = self.batch.grow(1);
                self.engine.refuse(&self.sink, index, error);
            }
        }
        Ok(())
    }

    /// Adds one call, whose item is long: it goes to where workers find it, and is not copied again
    /// before. `parts` are the item's bytes.
    pub fn push_long(&mut self, parts: &[&[u8]]) {
        self.cut(Vec::new());
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let stash = u32::try_from(length).ok().and_then(|length| {
            let length = length.to_ne_bytes();
            let ends: [&[u8]; 2] = [&self.function, &length];
            let parts: Vec<&[u8]> = ends.into_iter().chain(parts.iter().copied()).collect();
            self.engine.backend().stash(&parts)
        });
        match stash {
            Some(stash) => {
                self.count = 1;
                self.cut_stashed(stash);
                // It is worth a worker's while at once.
                let ready = self.take_ready();
                self.engine.submit_some(ready);
            }
            None => {
                // Without a place of its own it is a piece as others are.
                let written = self.push_bytes(|items| {
                    parts.iter().for_each(|part| items.extend_from_slice(part));
                    Ok::<_, std::convert::Infallible>(true)
                });
                let Ok(()) = written;
                self.cut(Vec::new());
            }
        }
    }

    /// Settles one call here and now: `kind` and `bytes` are its outcome.
    pub fn settle(&mut self, kind: u8, bytes: &[u8]) {
        self.cut(Vec::new());
        let index = self.batch.grow(1);
        let record = [&record::header(kind, bytes.len())[..], bytes].concat();
        self.sink.ran(index, 1, record, Vec::new(), 0);
    }

    fn count(&mut self) {
        self.count += 1;
        if self.count >= self.items || self.encoded.len() >= self.bytes {
            self.cut(Vec::new());
        }
    }

    fn cut_stashed(&mut self, stash: Stash) {
        self.cut_with(Vec::new(), Some(stash));
    }

    fn cut(&mut self, handles: Vec<Handle>) {
        self.cut_with(handles, None);
    }

    /// Ends the piece that is being made.
    fn cut_with(&mut self, handles: Vec<Handle>, stash: Option<Stash>) {
        if self.count == 0 {
            return;
        }
        let first = self.batch.grow(self.count as usize);
        let count = std::mem::take(&mut self.count);
        let items = std::mem::take(&mut self.encoded);
        let Some(number) = self.engine.ledger.open(&self.sink, first, count) else {
            self.sink.failed(first, count as usize, TaskError::Terminated);
            return;
        };
        self.encoded.reserve(items.len());
        self.ready_bytes += items.len();
        let Limits { timeout, retries } = self.limits;
        let function = Arc::clone(&self.function);
        self.ready.push(Work { number, function, items, count, stash, handles, timeout, retries });
        if self.ready.len() >= PIECES || self.ready_bytes >= BYTES {
            let ready = self.take_ready();
            self.engine.submit_some(ready);
        }
    }

    /// Submits what has not been.
    pub fn finish(mut self) {
        self.cut(Vec::new());
        let ready = self.take_ready();
        self.engine.submit(ready);
    }

    /// Takes the pieces that are to be submitted; from now on they can be cancelled.
    fn take_ready(&mut self) -> Vec<Work> {
        self.ready_bytes = 0;
        self.batch.state().note(self.ready.iter().map(|work| work.number));
        std::mem::replace(&mut self.ready, Vec::with_capacity(PIECES))
    }
}

impl fmt::Debug for Many<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Many").field("ready", &self.ready.len()).finish_non_exhaustive()
    }
}

impl Drop for Many<'_> {
    /// After a panic of the items' iterator: nobody is to wait for what was not submitted.
    fn drop(&mut self) {
        for work in self.ready.drain(..) {
            self.engine.give_up(work.number, TaskError::Cancelled);
        }
    }
}
