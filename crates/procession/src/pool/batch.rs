//! Where the outcomes of many tasks come that belong together.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread::Thread;

use procession_sys::Handle;
use serde::de::DeserializeOwned;

use super::engine::{Awaited, Engine};
use super::ledger::Sink;
use super::result::decode_copy;
use super::{TaskError, record};
use crate::codec::DecodeError;

/// The outcomes of many tasks, by their index; those at the front may have been taken away.
pub(super) struct Batch {
    state: Mutex<State>,
    engine: Weak<Engine>,
}

pub(super) type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct State {
    /// The index of the first of `places`.
    base: usize,
    places: VecDeque<Place>,
    /// How many were settled, of all that ever were there.
    settled: usize,
    /// How many there will be; not known while more are submitted.
    total: Option<usize>,
    /// The order in which they were settled, if that is the order in which they are taken.
    order: Option<VecDeque<usize>>,
    /// The ledger's numbers of all pieces.
    pub(super) numbers: Vec<u64>,
    threads: Vec<Thread>,
    pub(super) wakers: Vec<Waker>,
    pub(super) hooks: Vec<Hook>,
}

enum Place {
    Waiting,
    Settled(Item),
    Taken,
}

/// The outcome of one task.
pub(super) enum Item {
    Ran {
        /// The records of its piece, and where in them its own begins.
        records: Arc<Records>,
        start: usize,
        handles: Box<[Handle]>,
    },
    Failed(Box<TaskError>),
}

pub(super) struct Records {
    bytes: Vec<u8>,
    worker: u32,
}

impl Item {
    /// Tells whether it has no value to decode.
    pub(super) fn has_failed(&self) -> bool {
        match self {
            Self::Failed(_) => true,
            Self::Ran { records, start, .. } => {
                let record = record::take(&mut &records.bytes[*start..]);
                record.is_none_or(|record| record.value(records.worker).is_err())
            }
        }
    }

    pub(super) fn decode<R: DeserializeOwned>(&self) -> Result<R, TaskError> {
        match self {
            Self::Failed(error) => Err((**error).clone()),
            Self::Ran { records, start, handles } => {
                let mut rest = &records.bytes[*start..];
                let record = record::take(&mut rest).ok_or_else(|| {
                    TaskError::Decode(DecodeError::new::<R>("the outcome", "there is none"))
                })?;
                decode_copy(record.value(records.worker)?, handles)
            }
        }
    }
}

impl Batch {
    /// An empty batch; `unordered` if its outcomes are taken in the order in which tasks end.
    pub(super) fn new(engine: &Arc<Engine>, unordered: bool) -> Arc<Self> {
        let state = State { order: unordered.then(VecDeque::new), ..State::default() };
        Arc::new(Self { state: Mutex::new(state), engine: Arc::downgrade(engine) })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more, and returns its index.
    pub(super) fn grow(&self) -> usize {
        let mut state = self.state();
        state.places.push_back(Place::Waiting);
        state.base + state.places.len() - 1
    }

    /// Says that there will be no more.
    pub(super) fn complete(&self) {
        let mut state = self.state();
        state.total = Some(state.base + state.places.len());
        self.tell(state);
    }

    /// Settles outcomes, and tells whoever waits for one of them or for all.
    fn settle(&self, outcomes: impl Iterator<Item = (usize, Item)>) {
        let mut state = self.state();
        for (index, item) in outcomes {
            state.settle(index, item);
        }
        self.tell(state);
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        let threads = std::mem::take(&mut state.threads);
        let (wakers, hooks) = if state.is_over() {
            (std::mem::take(&mut state.wakers), std::mem::take(&mut state.hooks))
        } else {
            Default::default()
        };
        drop(state);
        threads.iter().for_each(Thread::unpark);
        if wakers.is_empty() && hooks.is_empty() {
            return;
        }
        let Some(engine) = self.engine.upgrade() else { return };
        engine.stop_listening(wakers.len() + hooks.len());
        wakers.into_iter().for_each(Waker::wake);
        hooks.into_iter().for_each(|hook| engine.callbacks.run(hook));
    }
}

impl State {
    /// Tells whether all are settled.
    pub(super) fn is_over(&self) -> bool {
        self.total == Some(self.settled)
    }

    /// How many have not been taken away.
    pub(super) fn len(&self) -> usize {
        self.places.iter().filter(|place| !matches!(place, Place::Taken)).count()
    }

    /// Tells whether the next one can be taken away.
    pub(super) fn has_next(&self) -> bool {
        match &self.order {
            Some(order) => !order.is_empty(),
            None => matches!(self.places.front(), Some(Place::Settled(_))),
        }
    }

    /// Takes the next one away: the first, or the one that ended first.
    pub(super) fn take_next(&mut self) -> Option<Item> {
        let index = match &mut self.order {
            Some(order) => order.pop_front()?,
            None => self.base,
        };
        let place = self.places.get_mut(index.checked_sub(self.base)?)?;
        if !matches!(place, Place::Settled(_)) {
            return None;
        }
        let taken = std::mem::replace(place, Place::Taken);
        while matches!(self.places.front(), Some(Place::Taken)) {
            self.places.pop_front();
            self.base += 1;
        }
        match taken {
            Place::Settled(item) => Some(item),
            Place::Waiting | Place::Taken => None,
        }
    }

    /// All that are settled and not taken away.
    pub(super) fn items(&self) -> impl Iterator<Item = &Item> {
        self.places.iter().filter_map(|place| match place {
            Place::Settled(item) => Some(item),
            Place::Waiting | Place::Taken => None,
        })
    }

    fn settle(&mut self, index: usize, item: Item) {
        let place = index.checked_sub(self.base).and_then(|place| self.places.get_mut(place));
        if let Some(place @ Place::Waiting) = place {
            *place = Place::Settled(item);
            self.settled += 1;
            if let Some(order) = &mut self.order {
                order.push_back(index);
            }
        }
    }
}

/// A batch as the ledger has it.
pub(super) struct BatchSink(pub(super) Arc<Batch>);

impl Sink for BatchSink {
    fn ran(&self, first: usize, count: usize, bytes: Vec<u8>, handles: Vec<Handle>, worker: u32) {
        let records = Arc::new(Records { bytes, worker });
        let mut rest = &*records.bytes;
        // Handles end an answer: they are those of its last item.
        let mut handles = Some(handles.into_boxed_slice());
        let items = (0..count).map(|nth| {
            let start = records.bytes.len() - rest.len();
            let _ = record::take(&mut rest);
            let handles =
                if nth + 1 == count { handles.take().unwrap_or_default() } else { Box::default() };
            (first + nth, Item::Ran { records: Arc::clone(&records), start, handles })
        });
        self.0.settle(items);
    }

    fn failed(&self, first: usize, count: usize, error: TaskError) {
        self.0.settle(
            (first..first + count).map(|index| (index, Item::Failed(Box::new(error.clone())))),
        );
    }
}

/// All outcomes of a batch.
pub(super) struct All<'a>(pub(super) &'a Batch);

impl Awaited for All<'_> {
    fn has_come(&self) -> bool {
        self.0.state().is_over()
    }

    fn unpark(&self, thread: Thread) {
        self.0.state().threads.push(thread);
    }

    fn pieces(&self) -> u32 {
        u32::MAX / 4
    }
}

/// The next outcome of a batch.
pub(super) struct Next<'a>(pub(super) &'a Batch);

impl Awaited for Next<'_> {
    fn has_come(&self) -> bool {
        self.0.state().has_next()
    }

    fn unpark(&self, thread: Thread) {
        self.0.state().threads.push(thread);
    }
}
