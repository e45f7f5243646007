//! A backend whose workers are none: its end, and how many there are.

use std::sync::Arc;
use std::time::Instant;

use procession_shm::slots::Giver;
use procession_shm::store::Store;
use procession_sys::ExitStatus;

use super::{Board, Crew, CrewSettings, Ended, Hire, Hired, Local, Seat};
use crate::pool::backend::{Backend, End, Outcome, Patience, Settled, Work};
use crate::pool::{PoolError, TaskError};

/// Hires nobody: what is there never takes a task, and has ended when it is asked.
#[derive(Debug)]
struct Nobody;

impl Hire for Nobody {
    fn hire(&self, _: String, _: Seat) -> Result<Arc<dyn Hired>, PoolError> {
        Ok(Arc::new(Self))
    }
}

impl Hired for Nobody {
    fn pid(&self) -> u32 {
        0
    }

    fn name(&self) -> &str {
        "nobody"
    }

    fn kill(&self) {}

    fn on_end(&self, _: Box<dyn FnOnce() + Send>) {}

    fn ended(&self) -> Ended {
        Ended { exit: ExitStatus::from_code(0), error: None, failed: None }
    }

    fn wait(&self) {}
}

fn work(number: u64) -> Work {
    Work {
        number,
        function: Arc::new([0; 4]),
        items: vec![0; 8],
        count: 2,
        stash: None,
        handles: Vec::new(),
        timeout: None,
        retries: 0,
    }
}

fn settings(workers: usize) -> CrewSettings {
    CrewSettings { workers, threads: 1, name: "w".to_owned(), max_tasks: None }
}

#[test]
fn who_comes_after_there_are_to_be_fewer_goes() {
    let (giver, inputs) = (Giver::new().expect("slots"), Store::new().expect("a store"));
    let board = Arc::new(Board { giver, inputs });
    let crew = Crew::start(settings(1), Arc::new(Nobody), board, Arc::new(|| {}), Arc::default());
    let mut crew = crew.expect("a crew");
    crew.resize(2).expect("not too many");
    let late = crew.recruit().expect("there is one too few").start();
    crew.resize(1).expect("not too few");
    crew.enlist(late);
    assert_eq!(crew.staying(), 1);
    assert!(crew.recruit().is_err(), "there are enough");
}

#[test]
fn what_no_worker_is_left_for_has_an_outcome() {
    let local = Local::new(settings(2), Arc::new(Nobody), Box::new(|| {})).expect("a backend");
    local.submit(vec![work(3), work(4)]);
    // As when somebody submits while another waits for the end, and the last workers die or leave.
    local.end(End::Finish);
    let mut outcomes: Vec<Outcome> = Vec::new();
    let patience = Patience { deadline: Some(Instant::now()), pieces: 1 };
    local.poll(patience, &mut outcomes).expect("no signal");
    let terminated = |outcome: &Outcome| {
        matches!(outcome.settled, Settled::AllFailed(TaskError::Terminated))
            .then_some(outcome.number)
    };
    let numbers: Vec<Option<u64>> = outcomes.iter().map(terminated).collect();
    assert_eq!(numbers, [Some(3), Some(4)]);
    assert!(!local.needs_polling());
    assert!(
        local.stats().workers.is_empty(),
        "all have ended, whether their ends were told or not"
    );
}
