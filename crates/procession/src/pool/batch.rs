//! Where the outcomes of many tasks come that belong together.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use procession_sys::Handle;
use serde::de::DeserializeOwned;

use super::TaskError;
use super::engine::{Awaited, Engine};
use super::ledger::Sink;
use super::progress::Progress;
use super::record::{self, Record};
use super::result::decode_copy;
use super::sleeper::Sleeper;
use crate::codec::DecodeError;

/// The outcomes of many tasks. Those that came together are kept together, as they came.
pub(crate) struct Batch {
    state: Mutex<State>,
    engine: Weak<Engine>,
    /// Says how far it is, if that was asked for.
    progress: Option<Arc<Progress>>,
}

pub(super) type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(super) struct State {
    /// What was settled and not taken away.
    kept: Kept,
    /// How many there are, and how many of them were settled and taken away.
    count: usize,
    settled_count: usize,
    taken_count: usize,
    /// One who sleeps wants to know when no more than so many are not settled.
    most: Option<usize>,
    /// Whether there will be no more.
    is_complete: bool,
    /// The ledger's numbers of all pieces, if their outcomes are taken all at once.
    pub(super) numbers: Vec<u64>,
    sleepers: Vec<Arc<Sleeper>>,
    pub(super) wakers: Vec<Waker>,
    pub(super) hooks: Vec<Hook>,
}

/// How outcomes are kept depends on how they are taken.
enum Kept {
    /// All at once, when all are there: as they were settled, and for each the index of its first
    /// task and its own place. Those pairs are sorted then, which takes less than sorting runs.
    All(Vec<Run>, Vec<(usize, usize)>),
    /// One after the other, by the index of the first task.
    InOrder(BTreeMap<usize, Run>),
    /// One after the other, as they were settled.
    AsTheyCome(VecDeque<Run>),
}

impl Default for Kept {
    fn default() -> Self {
        Self::All(Vec::new(), Vec::new())
    }
}

/// In which order outcomes are taken from a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// All at once.
    All,
    /// One after the other, in the order of the tasks.
    OfTasks,
    /// One after the other, in the order in which they end.
    OfEnds,
}

/// The outcomes of some tasks that follow each other.
#[derive(Debug)]
pub(super) enum Run {
    Ran {
        records: Vec<u8>,
        /// Where the first record that was not taken away begins.
        start: usize,
        count: usize,
        /// Handles end an answer: they are those of the last record.
        handles: Vec<Handle>,
        worker: u32,
    },
    Failed {
        error: TaskError,
        count: usize,
    },
}

impl Run {
    fn count(&self) -> usize {
        match self {
            Self::Ran { count, .. } | Self::Failed { count, .. } => *count,
        }
    }

    /// Decodes what was not taken away, one after the other, until `each` returns an error.
    fn decode_each<R: DeserializeOwned, E>(
        &self,
        mut each: impl FnMut(Result<R, TaskError>) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Failed { error, count } => (0..*count).try_for_each(|_| each(Err(error.clone()))),
            Self::Ran { records, start, count, handles, worker } => {
                let mut rest = &records[*start..];
                (0..*count).try_for_each(|nth| {
                    let handles = if nth + 1 == *count { &handles[..] } else { &[] };
                    each(decode(record::take(&mut rest), handles, *worker))
                })
            }
        }
    }

    /// Decodes the first and takes it away.
    fn decode_next<R: DeserializeOwned>(&mut self) -> Result<R, TaskError> {
        match self {
            Self::Failed { error, count } => {
                *count -= 1;
                Err(error.clone())
            }
            Self::Ran { records, start, count, handles, worker } => {
                let mut rest = &records[*start..];
                let record = record::take(&mut rest);
                *start = records.len() - rest.len();
                *count -= 1;
                decode(record, if *count == 0 { handles } else { &[] }, *worker)
            }
        }
    }

    fn has_failed(&self) -> bool {
        let Self::Ran { records, start, count, worker, .. } = self else { return true };
        let mut rest = &records[*start..];
        (0..*count)
            .any(|_| record::take(&mut rest).is_none_or(|record| record.value(*worker).is_err()))
    }
}

fn decode<R: DeserializeOwned>(
    record: Option<Record<'_>>,
    handles: &[Handle],
    worker: u32,
) -> Result<R, TaskError> {
    let record = record
        .ok_or_else(|| TaskError::Decode(DecodeError::new::<R>("the outcome", "there is none")))?;
    decode_copy(record.value(worker)?, handles)
}

impl Batch {
    /// An empty batch.
    pub(super) fn new(
        engine: &Arc<Engine>,
        order: Order,
        progress: Option<Arc<Progress>>,
    ) -> Arc<Self> {
        let kept = match order {
            Order::All => Kept::default(),
            Order::OfTasks => Kept::InOrder(BTreeMap::new()),
            Order::OfEnds => Kept::AsTheyCome(VecDeque::new()),
        };
        let state = State { kept, ..State::default() };
        Arc::new(Self { state: Mutex::new(state), engine: Arc::downgrade(engine), progress })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for so many more, and returns the index of the first.
    pub(super) fn grow(&self, count: usize) -> usize {
        let mut state = self.state();
        state.count += count;
        state.count - count
    }

    /// Says that there will be no more.
    pub(super) fn complete(&self) {
        let mut state = self.state();
        state.is_complete = true;
        self.tell(state);
    }

    /// Settles some, and tells whoever waits for one of them or for all.
    fn settle(&self, first: usize, run: Run) {
        self.advance(run.count());
        let mut state = self.state();
        state.settled_count += run.count();
        match &mut state.kept {
            Kept::All(runs, order) => {
                order.push((first, runs.len()));
                runs.push(run);
            }
            Kept::InOrder(runs) => {
                runs.insert(first, run);
            }
            Kept::AsTheyCome(runs) => runs.push_back(run),
        }
        self.tell(state);
    }

    /// Takes the next one away, in a batch from which they are taken one after the other, by one
    /// thread. Decoding runs a user's code: without the lock, and what is left is there also if it
    /// panics.
    pub(super) fn take_next<R: DeserializeOwned>(&self) -> Option<Result<R, TaskError>> {
        struct PutBack<'a>(&'a Batch, Option<Run>);
        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                if let Some(run) = self.1.take() {
                    self.0.state().put_back(run);
                }
            }
        }
        let run = self.state().take_run();
        PutBack(self, run).1.as_mut().map(Run::decode_next)
    }

    /// So many more are done, says the line for that.
    fn advance(&self, count: usize) {
        if let Some(progress) = &self.progress
            && progress.add(count)
            && let Some(engine) = self.engine.upgrade()
        {
            let progress = Arc::clone(progress);
            engine.callbacks.run(Box::new(move || progress.draw()));
        }
    }

    /// Has the line that says how far it is end with the last outcome, also if nobody waits.
    pub(super) fn end_progress_when_over(&self, engine: &Engine) {
        if let Some(progress) = &self.progress {
            let progress = Arc::clone(progress);
            self.hook(engine, Box::new(move || progress.end()));
        }
    }

    /// Ends the line that says how far it is.
    pub(super) fn end_progress(&self) {
        if let Some(progress) = &self.progress {
            progress.end();
        }
    }

    /// Has `hook` called on the callback thread when all are settled.
    pub(super) fn hook(&self, engine: &Engine, hook: Hook) {
        {
            let mut state = self.state();
            if !state.is_over() {
                state.hooks.push(hook);
                drop(state);
                engine.listen();
                return;
            }
        }
        engine.callbacks.run(hook);
    }

    fn tell(&self, mut state: MutexGuard<'_, State>) {
        // Who is woken too early has to come back to be woken again.
        let has_room = state.most.is_some_and(|most| state.outstanding() <= most);
        let sleepers = if state.is_over() || state.has_next() || has_room {
            state.most = None;
            std::mem::take(&mut state.sleepers)
        } else {
            Vec::new()
        };
        let (wakers, hooks) = if state.is_over() {
            if let Kept::All(_, order) = &mut state.kept {
                order.sort_unstable();
            }
            (std::mem::take(&mut state.wakers), std::mem::take(&mut state.hooks))
        } else {
            Default::default()
        };
        drop(state);
        sleepers.iter().for_each(|sleeper| sleeper.wake());
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
    /// Notes the numbers of pieces, for who cancels all. Tasks of which there may be no end are taken
    /// one after the other, and not noted.
    pub(super) fn note(&mut self, numbers: impl Iterator<Item = u64>) {
        if matches!(self.kept, Kept::All(..)) {
            self.numbers.extend(numbers);
        }
    }

    /// Tells whether all are settled.
    pub(super) fn is_over(&self) -> bool {
        self.is_complete && self.settled_count == self.count
    }

    /// How many are not settled.
    fn outstanding(&self) -> usize {
        self.count - self.settled_count
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Tells whether the next one can be taken away.
    pub(super) fn has_next(&self) -> bool {
        match &self.kept {
            Kept::All(..) => false,
            Kept::InOrder(runs) => {
                runs.first_key_value().is_some_and(|(first, _)| *first == self.taken_count)
            }
            Kept::AsTheyCome(runs) => !runs.is_empty(),
        }
    }

    /// Takes the run of the next one away, in a batch from which they are taken one after the other.
    fn take_run(&mut self) -> Option<Run> {
        if !self.has_next() {
            return None;
        }
        match &mut self.kept {
            Kept::All(..) => None,
            Kept::InOrder(runs) => runs.pop_first().map(|(_, run)| run),
            Kept::AsTheyCome(runs) => runs.pop_front(),
        }
    }

    /// Puts back what is left of a run whose first one was taken away.
    fn put_back(&mut self, run: Run) {
        self.taken_count += 1;
        if run.count() > 0 {
            match &mut self.kept {
                Kept::All(..) => {}
                Kept::InOrder(runs) => {
                    runs.insert(self.taken_count, run);
                }
                Kept::AsTheyCome(runs) => runs.push_front(run),
            }
        }
    }

    /// Takes away all of those that come next.
    pub(super) fn take_runs(&mut self) -> Vec<Run> {
        let runs: Vec<Run> = match &mut self.kept {
            Kept::All(runs, order) => {
                let mut runs: Vec<_> = std::mem::take(runs).into_iter().map(Some).collect();
                let order = std::mem::take(order);
                order.into_iter().filter_map(|(_, place)| runs[place].take()).collect()
            }
            Kept::InOrder(runs) => {
                let mut next = self.taken_count;
                let mut taken = Vec::new();
                while let Some(run) = runs.remove(&next) {
                    next += run.count();
                    taken.push(run);
                }
                taken
            }
            Kept::AsTheyCome(runs) => std::mem::take(runs).into(),
        };
        self.taken_count += runs.iter().map(Run::count).sum::<usize>();
        runs
    }

    /// Those of which all are taken at once.
    fn all(&self) -> impl Iterator<Item = &Run> {
        let (runs, order) = match &self.kept {
            Kept::All(runs, order) => (&runs[..], &order[..]),
            Kept::InOrder(_) | Kept::AsTheyCome(_) => (&[][..], &[][..]),
        };
        order.iter().map(|(_, place)| &runs[*place])
    }

    /// Decodes what became of each, in the order of the tasks.
    pub(super) fn decode_all<R: DeserializeOwned>(&self) -> Vec<Result<R, TaskError>> {
        let mut all = Vec::with_capacity(self.count);
        for run in self.all() {
            let Ok(()) = run.decode_each(|outcome| {
                all.push(outcome);
                Ok::<(), Infallible>(())
            });
        }
        all
    }

    /// Decodes the values, in the order of the tasks; the first error if there is one.
    pub(super) fn decode_values<R: DeserializeOwned>(&self) -> Result<Vec<R>, TaskError> {
        let mut values = Vec::with_capacity(self.count);
        for run in self.all() {
            run.decode_each(|outcome| outcome.map(|value| values.push(value)))?;
        }
        Ok(values)
    }

    /// Tells whether one has no value.
    pub(super) fn has_failed(&self) -> bool {
        self.all().any(Run::has_failed)
    }
}

/// A batch as the ledger has it.
pub(super) struct BatchSink(pub(super) Arc<Batch>);

impl Sink for BatchSink {
    fn ran(&self, first: usize, count: usize, records: Vec<u8>, handles: Vec<Handle>, worker: u32) {
        self.0.settle(first, Run::Ran { records, start: 0, count, handles, worker });
    }

    fn failed(&self, first: usize, count: usize, error: TaskError) {
        self.0.settle(first, Run::Failed { error, count });
    }
}

/// All outcomes of a batch.
pub(super) struct All<'a>(pub(super) &'a Batch);

impl Awaited for All<'_> {
    fn has_come(&self) -> bool {
        self.0.state().is_over()
    }

    fn wake(&self, sleeper: Arc<Sleeper>) {
        sleeper.wait_in(&mut self.0.state().sleepers);
    }

    fn pieces(&self) -> u32 {
        // A line that says how far it is wants to know of each.
        if self.0.progress.is_some() { 1 } else { u32::MAX / 4 }
    }
}

/// The next outcome of a batch.
pub(super) struct Next<'a>(pub(super) &'a Batch);

impl Awaited for Next<'_> {
    fn has_come(&self) -> bool {
        self.0.state().has_next()
    }

    fn wake(&self, sleeper: Arc<Sleeper>) {
        sleeper.wait_in(&mut self.0.state().sleepers);
    }
}

/// That no more than some of a batch are not settled.
pub(super) struct Room<'a> {
    pub(super) batch: &'a Batch,
    pub(super) most: usize,
}

impl Awaited for Room<'_> {
    fn has_come(&self) -> bool {
        self.batch.state().outstanding() <= self.most
    }

    fn wake(&self, sleeper: Arc<Sleeper>) {
        let mut state = self.batch.state();
        state.most = state.most.max(Some(self.most));
        sleeper.wait_in(&mut state.sleepers);
    }
}
