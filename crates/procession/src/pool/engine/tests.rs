//! Who waits for what, on a backend that does as it is told.

use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use super::{Engine, lock};
use crate::pool::backend::{Backend, End, Outcome, Patience, Settled, Work};
use crate::pool::batch::{All, Batch, BatchSink, Next, Order, Room};
use crate::pool::ledger::Sink;
use crate::pool::sleeper::Interrupted;
use crate::pool::trace::Telling;
use crate::pool::{PoolError, PoolStats, TaskError};

/// Has the outcomes that a test gives it.
#[derive(Debug, Default)]
struct Told {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcomes: Vec<Outcome>,
    nudged: bool,
}

impl Told {
    fn tell(&self, number: u64) {
        let settled = Settled::Failed(TaskError::Cancelled);
        lock(&self.state).outcomes.push(Outcome { number, settled });
        self.changed.notify_all();
    }
}

impl Backend for Arc<Told> {
    fn trace(&self, _: Option<Telling>) {}

    fn submit(&self, _: Vec<Work>) {}

    fn cancel(&self, _: &[u64]) {}

    fn poll(&self, _: Patience, outcomes: &mut Vec<Outcome>) -> Result<(), Interrupted> {
        let mut state = lock(&self.state);
        while state.outcomes.is_empty() && !state.nudged {
            state = self.changed.wait(state).expect("nobody panics with it");
        }
        state.nudged = false;
        outcomes.append(&mut state.outcomes);
        Ok(())
    }

    fn nudge(&self) {
        lock(&self.state).nudged = true;
        self.changed.notify_all();
    }

    fn needs_polling(&self) -> bool {
        false
    }

    fn wants_tending(&self) -> bool {
        false
    }

    fn tend(&self) -> Option<std::time::Instant> {
        None
    }

    fn width(&self) -> usize {
        1
    }

    fn resize(&self, _: usize) -> Result<(), PoolError> {
        Ok(())
    }

    fn end(&self, _: End) {}

    fn stats(&self) -> PoolStats {
        PoolStats::default()
    }
}

/// A batch of so many tasks, and their numbers.
fn batch(engine: &Arc<Engine>, order: Order, count: usize) -> (Arc<Batch>, Vec<u64>) {
    let batch = Batch::new(engine, order, None);
    let sink: Arc<dyn Sink> = Arc::new(BatchSink(Arc::clone(&batch)));
    let open = |index| engine.ledger.open(&sink, index, 1).expect("it is not sealed");
    batch.grow(count);
    let numbers = (0..count).map(open).collect();
    batch.complete();
    (batch, numbers)
}

#[test]
fn who_is_woken_for_another_is_woken_again() {
    let told = Arc::new(Told::default());
    let engine = Engine::new(|_| Ok(Box::new(Arc::clone(&told)))).expect("an engine");
    let (stream, numbers) = batch(&engine, Order::OfTasks, 3);
    let (other, last) = batch(&engine, Order::All, 1);
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        // It collects, and its own comes last.
        let collects = scope.spawn(|| engine.wait(&All(&other), None));
        while !lock(&engine.helm).taken {
            thread::yield_now();
        }
        let sender = &sender;
        scope.spawn(|| sender.send(engine.wait(&Next(&stream), None)));
        let has_room = scope.spawn(|| engine.wait(&Room { batch: &stream, most: 2 }, None));
        while lock(&engine.helm).waiting.len() < 2 {
            thread::yield_now();
        }
        // Room for another, but not what is to come next.
        told.tell(numbers[1]);
        assert!(has_room.join().expect("no panic"));
        thread::sleep(Duration::from_millis(20));
        told.tell(numbers[0]);
        let came = receiver.recv_timeout(Duration::from_secs(20));
        told.tell(last[0]);
        assert!(collects.join().expect("no panic"));
        assert_eq!(came, Ok(true), "it was woken in time");
    });
    told.tell(numbers[2]);
    engine.terminate();
    engine.wait_for_threads();
}
