//! The ledger: what is outstanding, and for whom. Each task's outcome is decided here, once.
//!
//! A piece of work has a number for as long as not all of its items are settled. Items are settled
//! in their order; an outcome for a number that is not in the ledger, or for more items than are
//! left, changes nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use procession_sys::Handle;

use super::TaskError;
use super::backend::{Outcome, Settled};
use super::sleeper::Sleeper;

/// Who is told of outcomes: what a user holds of a task, or of many.
pub(crate) trait Sink: Send + Sync {
    /// The items from `first` on have run: `count` records.
    fn ran(&self, first: usize, count: usize, records: Vec<u8>, handles: Vec<Handle>, worker: u32);

    /// The `count` items from `first` on have failed.
    fn failed(&self, first: usize, count: usize, error: TaskError);
}

#[derive(Default)]
pub(crate) struct Ledger {
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    slots: Vec<Entry>,
    free: Vec<u32>,
    outstanding: usize,
    /// Nothing is opened any more.
    sealed: bool,
    done: u64,
    failed: u64,
    /// Who waits for nothing to be outstanding.
    waiting: Vec<Arc<Sleeper>>,
}

struct Entry {
    generation: u32,
    /// `None` for a free one.
    sink: Option<Arc<dyn Sink>>,
    /// The sink's index of the next item.
    next: usize,
    left: u32,
}

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens an entry for `count` items, from the sink's index `first` on; not in a sealed ledger.
    pub(crate) fn open(&self, sink: &Arc<dyn Sink>, first: usize, count: u32) -> Option<u64> {
        let mut entries = self.entries();
        if entries.sealed {
            return None;
        }
        entries.outstanding += 1;
        let index = match entries.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(entries.slots.len()).expect("fewer tasks than memory");
                entries.slots.push(Entry { generation: 0, sink: None, next: 0, left: 0 });
                index
            }
        };
        let entry = &mut entries.slots[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        entry.sink = Some(Arc::clone(sink));
        entry.next = first;
        entry.left = count;
        Some((u64::from(entry.generation) << 32) | u64::from(index))
    }

    /// From now on nothing is opened.
    pub(crate) fn seal(&self) {
        self.entries().sealed = true;
    }

    /// How many pieces are outstanding.
    pub(crate) fn outstanding(&self) -> usize {
        self.entries().outstanding
    }

    /// How many items ran, and how many failed.
    pub(crate) fn totals(&self) -> (u64, u64) {
        let entries = self.entries();
        (entries.done, entries.failed)
    }

    /// Has `sleeper` woken when nothing is outstanding any more.
    pub(crate) fn wake_when_empty(&self, sleeper: Arc<Sleeper>) {
        sleeper.wait_in(&mut self.entries().waiting);
    }

    /// Decides the outcome of the next items of a piece, and tells who is concerned.
    pub(crate) fn settle(&self, outcome: Outcome) {
        let mut entries = self.entries();
        let index = (outcome.number & u64::from(u32::MAX)) as usize;
        let generation = (outcome.number >> 32) as u32;
        let Some(entry) = entries.slots.get_mut(index).filter(|e| e.generation == generation)
        else {
            return;
        };
        let count = match &outcome.settled {
            Settled::Ran { count, .. } => *count,
            Settled::Failed(_) => 1,
            Settled::AllFailed(_) => entry.left,
        };
        let Some(sink) = entry.sink.clone() else { return };
        if count == 0 || count > entry.left {
            return;
        }
        let first = entry.next;
        entry.next += count as usize;
        entry.left -= count;
        let is_over = entry.left == 0;
        if is_over {
            entry.sink = None;
            entries.free.push(index as u32);
            entries.outstanding -= 1;
        }
        match &outcome.settled {
            Settled::Ran { .. } => entries.done += u64::from(count),
            _ => entries.failed += u64::from(count),
        }
        let waiting = if entries.outstanding == 0 {
            std::mem::take(&mut entries.waiting)
        } else {
            Vec::new()
        };
        drop(entries);
        let count = count as usize;
        match outcome.settled {
            Settled::Ran { records, handles, worker, .. } => {
                sink.ran(first, count, records, handles, worker);
            }
            Settled::Failed(error) | Settled::AllFailed(error) => sink.failed(first, count, error),
        }
        waiting.iter().for_each(|sleeper| sleeper.wake());
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("outstanding", &self.outstanding()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<(usize, usize, bool)>>);

    impl Sink for Seen {
        fn ran(&self, first: usize, count: usize, _: Vec<u8>, _: Vec<Handle>, _: u32) {
            self.0.lock().expect("lock").push((first, count, true));
        }

        fn failed(&self, first: usize, count: usize, _: TaskError) {
            self.0.lock().expect("lock").push((first, count, false));
        }
    }

    fn ran(number: u64, count: u32) -> Outcome {
        let settled = Settled::Ran { records: Vec::new(), count, handles: Vec::new(), worker: 1 };
        Outcome { number, settled }
    }

    #[test]
    fn each_item_is_settled_once() {
        let (ledger, seen) = (Ledger::default(), Arc::new(Seen::default()));
        let sink: Arc<dyn Sink> = seen.clone();
        let number = ledger.open(&sink, 10, 5).expect("it is not sealed");
        ledger.settle(ran(number, 2));
        ledger.settle(Outcome { number, settled: Settled::Failed(TaskError::Cancelled) });
        ledger.settle(ran(number, 3)); // more than are left
        ledger.settle(ran(number ^ (1 << 32), 1)); // another's
        ledger.settle(ran(u64::MAX, 1));
        assert_eq!(ledger.outstanding(), 1);
        ledger.settle(Outcome { number, settled: Settled::AllFailed(TaskError::Terminated) });
        ledger.settle(ran(number, 1));
        assert_eq!(*seen.0.lock().expect("lock"), [(10, 2, true), (12, 1, false), (13, 2, false)]);
        assert_eq!((ledger.outstanding(), ledger.totals()), (0, (2, 3)));
        let again = ledger.open(&sink, 0, 1).expect("it is not sealed");
        assert_ne!(again, number, "the place is used again under another number");
        ledger.settle(ran(number, 1));
        assert_eq!(ledger.outstanding(), 1);
        ledger.seal();
        assert_eq!(ledger.open(&sink, 0, 1), None);
        ledger.settle(ran(again, 1));
        assert_eq!((ledger.outstanding(), ledger.totals()), (0, (3, 3)));
    }
}
