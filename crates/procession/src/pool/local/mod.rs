//! Tasks on processes of this machine.
//!
//! # One piece of work
//!
//! ```text
//!            submit            place                 a worker takes it, runs its items, answers
//!   engine ─────────► pending ───────► slot: offered ───────► taken ───────► answered
//!                        ▲                                      │                │ collect
//!                        │  what is left of it,                 │ its worker     ▼
//!                        │  without the item that was hurt      │ died       outcomes ─► ledger
//!                        └──────────────────────────────────────┴────────────────┘
//! ```
//!
//! Pieces wait in this process's own memory, and a limited number of them lies in slots (see
//! `procession_shm::slots`), where shared memory itself says which worker is at which piece, and how
//! many of its items are done. So when a worker dies, the items that it has done are collected, the
//! one that it was at is hurt, and the others go back to be placed again.
//!
//! Everything here that is not the worker's belongs to the parent, behind one lock, under which
//! nothing sleeps and no user's code runs.

mod crew;
mod desk;
mod hire;
mod seat;
mod worker;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use procession_shm::slots::{Giver, TAKERS, Waited};
use procession_shm::store::Store;

use super::backend::{Backend, End, Outcome, Patience, Stash, Work};
use super::news::News;
use super::sleeper::Interrupted;
use super::trace::Telling;
use super::{PoolError, PoolStats, TaskError, WorkerStats};
use crew::Crew;
use desk::{Desk, Stored};

pub use crew::CrewSettings;
pub(crate) use crew::TASK_HANDLES;
pub use hire::{Ended, Hire, Hired};
pub(crate) use seat::Passed;
pub use seat::{Plan, Seat};
pub use worker::{Reply, Runner, Task, Worker};

/// The most lanes: each may be at a piece, and there shall be slots for more.
pub(crate) const MOST_LANES: usize = 768;
/// The most workers.
pub(crate) const MOST_WORKERS: usize = TAKERS;

/// What parent and workers of one pool share, as the parent has it.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) giver: Giver,
    /// Inputs that are too long for a slot.
    pub(crate) inputs: Store,
}

/// Processes of this machine that run tasks.
pub(crate) struct Local {
    board: Arc<Board>,
    state: Mutex<State>,
    /// Somebody else than a worker has something to tell who polls.
    nudged: Arc<AtomicBool>,
    news: Arc<News>,
}

struct State {
    desk: Desk,
    crew: Crew,
    /// What was decided without a worker: the next poll brings it.
    decided: Vec<Outcome>,
}

impl Local {
    /// Starts the workers. `wake` wakes the engine's keeper.
    pub(crate) fn new(
        settings: CrewSettings,
        hire: Arc<dyn Hire>,
        wake: Box<dyn Fn() + Send + Sync>,
    ) -> Result<Self, PoolError> {
        let create = |error| PoolError::Create(crate::CreateError::System(error));
        let giver = Giver::new().map_err(create)?;
        let board = Arc::new(Board { giver, inputs: Store::new().map_err(PoolError::system)? });
        let nudged = Arc::new(AtomicBool::new(false));
        let on_death = {
            let (board, nudged) = (Arc::clone(&board), Arc::clone(&nudged));
            move || {
                nudged.store(true, Ordering::Release);
                board.giver.nudge();
                wake();
            }
        };
        let news = Arc::<News>::default();
        let crew =
            Crew::start(settings, hire, Arc::clone(&board), Arc::new(on_death), Arc::clone(&news));
        news.announce();
        let crew = crew?;
        let desk = Desk::new(Arc::clone(&board));
        let state = Mutex::new(State { desk, crew, decided: Vec::new() });
        Ok(Self { board, state, nudged, news })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Places what waits. What cannot be, is told to who polls.
    fn place(&self, state: &mut State) {
        let State { desk, crew, decided } = state;
        let before = decided.len();
        desk.place(crew.lanes(), decided);
        if decided.len() > before {
            self.nudge();
        }
    }
}

impl State {
    /// Brings everything up to date: deaths, answers, time limits, free slots.
    fn update(&mut self, outcomes: &mut Vec<Outcome>) {
        let Self { desk, crew, decided } = self;
        outcomes.append(decided);
        for dead in crew.take_dead() {
            desk.bury(&dead, crew, outcomes);
        }
        desk.collect(crew, outcomes);
        desk.enforce_limits(crew);
        if let Some(message) = crew.failure() {
            desk.fail_all(&TaskError::NoWorkers { message }, crew, outcomes);
        }
        desk.place(crew.lanes(), outcomes);
    }
}

impl Backend for Local {
    fn submit(&self, work: Vec<Work>) {
        let mut state = self.state();
        let State { desk, crew, decided } = &mut *state;
        let refusal = if crew.is_over() {
            Some(TaskError::Terminated)
        } else {
            crew.failure().map(|message| TaskError::NoWorkers { message })
        };
        if let Some(error) = refusal {
            work.into_iter().for_each(|work| desk.refuse(work, &error, decided));
            // Who sleeps in `poll` may sleep for these.
            self.nudge();
            return;
        }
        desk.submit(work);
        self.place(&mut state);
    }

    fn stash(&self, parts: &[&[u8]]) -> Option<Stash> {
        Some(Box::new(Stored::put(&self.board, parts)?))
    }

    fn cancel(&self, numbers: &[u64]) {
        let mut state = self.state();
        let State { desk, crew, decided } = &mut *state;
        desk.cancel(numbers, crew, decided);
    }

    fn poll(&self, patience: Patience, outcomes: &mut Vec<Outcome>) -> Result<(), Interrupted> {
        let (count, pieces, limit) = {
            let mut state = self.state();
            // Who was nudged before it came here was nudged all the same.
            let nudged = self.nudged.swap(false, Ordering::AcqRel);
            // Before the look: what is answered from here on counts.
            let count = self.board.giver.count();
            state.update(outcomes);
            if !outcomes.is_empty() || nudged {
                drop(state);
                self.news.announce();
                return Ok(());
            }
            let pieces = patience.pieces.min(state.desk.placed() / 2).max(1);
            (count, pieces, state.desk.next_limit())
        };
        let deadline = [patience.deadline, limit].into_iter().flatten().min();
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(());
        }
        let nudged = || self.nudged.load(Ordering::Acquire);
        let waited = self.board.giver.wait(count, pieces, deadline, nudged);
        match waited {
            Ok(Waited::Interrupted) if procession_shm::gives_up() => return Err(Interrupted),
            Ok(Waited::Changed | Waited::TimedOut | Waited::Interrupted) => {}
            // Sleeping on a word of our own memory is not refused; if it is, not to burn a processor.
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
        self.state().update(outcomes);
        self.news.announce();
        Ok(())
    }

    fn nudge(&self) {
        self.nudged.store(true, Ordering::Release);
        self.board.giver.nudge();
    }

    fn needs_polling(&self) -> bool {
        let state = self.state();
        state.desk.needs_polling() || state.crew.has_dead() || !state.decided.is_empty()
    }

    fn wants_tending(&self) -> bool {
        self.state().crew.wants_tending()
    }

    fn tend(&self) -> Option<Instant> {
        // What died idle has hurt nobody, and nobody may be polling.
        let mut outcomes = Vec::new();
        loop {
            let mut state = self.state();
            let State { desk, crew, decided } = &mut *state;
            for dead in crew.take_dead() {
                desk.bury(&dead, crew, &mut outcomes);
            }
            decided.append(&mut outcomes);
            let recruit = match crew.recruit() {
                Ok(recruit) => recruit,
                Err(next) => {
                    drop(state);
                    self.news.announce();
                    return next;
                }
            };
            // A start takes long: not under the lock.
            drop(state);
            self.news.announce();
            let started = recruit.start();
            let mut state = self.state();
            state.crew.enlist(started);
            self.place(&mut state);
        }
    }

    fn width(&self) -> usize {
        self.state().crew.lanes()
    }

    fn resize(&self, workers: usize) -> Result<(), PoolError> {
        self.state().crew.resize(workers)
    }

    fn trace(&self, telling: Option<Telling>) {
        let mut state = self.state();
        state.crew.trace(telling.clone());
        state.desk.trace(telling);
    }

    fn end(&self, how: End) {
        let crew = {
            let mut state = self.state();
            let State { desk, crew, decided } = &mut *state;
            if how == End::Terminate {
                desk.fail_all(&TaskError::Terminated, crew, decided);
            }
            crew.dismiss_all(how)
        };
        crew.wait();
        let mut state = self.state();
        let State { desk, crew, decided } = &mut *state;
        // They have ended, also if that was not told yet.
        for dead in crew.take_all() {
            desk.bury(&dead, crew, decided);
        }
        // Who has submitted while another ended the pool may have come too late for the last worker.
        desk.fail_all(&TaskError::Terminated, crew, decided);
        drop(state);
        self.news.announce();
    }

    fn stats(&self) -> PoolStats {
        let mut state = self.state();
        let mut outcomes = Vec::new();
        // A look at what was answered would take it from who polls; who is dead is known anyway.
        let State { desk, crew, decided } = &mut *state;
        for dead in crew.take_dead() {
            desk.bury(&dead, crew, &mut outcomes);
        }
        decided.append(&mut outcomes);
        let busy = desk.busy_lanes();
        let workers = crew.members().map(|member| WorkerStats {
            pid: member.pid(),
            name: member.name().to_owned(),
            tasks_done: member.tasks_done,
            busy: busy.iter().any(|lane| member.has_lane(*lane)),
        });
        let workers = workers.collect();
        let (queued, running) = desk.counts();
        let restarts = crew.restarts;
        drop(state);
        self.news.announce();
        PoolStats { workers, queued, running, restarts, ..PoolStats::default() }
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
