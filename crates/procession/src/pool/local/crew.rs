//! The workers: started, watched, ended, replaced.
//!
//! A worker has a *place*, which is free again when the worker was buried, and one *lane* for each
//! of its threads. A worker that dies is replaced by the engine's keeper. One that dies before it was
//! ready, or does not start, is replaced later each time. After a few times in a row the pool has
//! failed, with what was in the way, unless it has a worker that can do the work.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use procession_shm::slots::{Look, SLOTS};
use procession_shm::store::{Reader, Store};
use procession_sys::wire::{MAX_HANDLES, Wire};
use procession_sys::{BorrowedHandle, ExitStatus, Handle, borrow};

use super::desk::Handles;
use super::hire::{Ended, Hire, Hired};
use super::seat::{Plan, Seat, lend};
use super::worker::{BEGIN, FAILED, MESSAGE, READY};
use super::{Board, MOST_LANES, MOST_WORKERS};
use crate::pool::backend::End;
use crate::pool::news::News;
use crate::pool::trace::{Telling, Track};
use crate::pool::{PoolError, TaskError};
use crate::start::StartError;

/// What workers are like.
#[derive(Clone, Debug)]
pub struct CrewSettings {
    /// How many there are.
    pub workers: usize,
    /// How many threads of each run tasks.
    pub threads: usize,
    /// What they are called, before their number.
    pub name: String,
    /// After how many tasks each is replaced.
    pub max_tasks: Option<u64>,
}

/// How many workers in a row may fail before they are ready, by a panic of the initializer, say.
const FAILURES: u32 = 3;
/// How many may be killed before they are ready, which may be somebody's hand and no fault of theirs.
const FAILED_BY_DEATH: u32 = 8;
/// How many starts in a row may fail while there is no worker left.
const FAILED_STARTS: u32 = 8;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);

/// Why a worker was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    TimedOut(Duration),
    Cancelled,
    /// It has written what no worker writes.
    Garbage,
}

/// What a worker is killed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) slot: usize,
    pub(super) turn: u64,
    /// How many items of the piece were done.
    pub(super) done: u32,
}

/// A worker that lives, or was not buried yet.
pub(super) struct Member {
    place: usize,
    threads: usize,
    hired: Arc<dyn Hired>,
    /// It has ended, and how was looked at.
    is_examined: bool,
    wire: Wire,
    outputs: Reader,
    pub(super) tasks_done: u64,
    /// It has begun to take tasks.
    is_ready: bool,
    /// What it has said of why it cannot.
    failed: Option<String>,
    /// Why it was killed, and because of what; each of its lanes may have been the reason.
    killed: Vec<(Why, Option<At>)>,
    leaving: bool,
    /// Handles that came with outcomes, by the piece's turn.
    received: HashMap<u64, Vec<Handle>>,
}

/// A worker that is dead, and what is to be said to those whose tasks it was at.
#[derive(Debug)]
pub(super) struct Dead {
    pid: u32,
    place: usize,
    threads: usize,
    /// Why it was killed, and because of what.
    killed: Vec<(Why, Option<At>)>,
    pub(super) error: TaskError,
    exit: ExitStatus,
    /// It was told to go, or has gone by itself as it was to.
    is_expected: bool,
    /// It failed before it could take tasks: how, and whether it has said so itself.
    failed: Option<(String, bool)>,
}

/// All workers of a pool.
pub(super) struct Crew {
    settings: CrewSettings,
    hire: Arc<dyn Hire>,
    board: Arc<Board>,
    members: Vec<Option<Member>>,
    /// Places whose workers are being started.
    starting: Vec<usize>,
    /// How many workers there shall be.
    target: usize,
    deaths: Arc<Mutex<Vec<usize>>>,
    on_death: Arc<dyn Fn() + Send + Sync>,
    /// How many workers were ever named.
    named: u64,
    pub(super) restarts: u64,
    failures: u32,
    not_before: Option<Instant>,
    failure: Option<String>,
    over: Option<End>,
    telling: Option<Telling>,
    news: Arc<News>,
}

/// A worker that is about to be started.
pub(super) struct Recruit {
    name: String,
    plan: Plan,
    hire: Arc<dyn Hire>,
    board: Arc<Board>,
}

/// Workers that were told to go.
pub(super) struct Farewell(Vec<Arc<dyn Hired>>);

impl Dead {
    pub(super) fn has_lane(&self, lane: usize) -> bool {
        lane / self.threads == self.place
    }

    /// Where a timeline shows what one of its lanes was at.
    pub(super) fn track(&self, lane: usize) -> Track {
        Track { pid: self.pid, lane: lane % self.threads }
    }

    /// Why it was killed because of the piece that it took at `turn`, or of none.
    pub(super) fn why(&self, turn: u64) -> Option<(Why, Option<At>)> {
        let is_for = |(_, at): &&(Why, Option<At>)| at.is_none_or(|at| at.turn == turn);
        self.killed.iter().find(is_for).copied()
    }
}

impl Member {
    pub(super) fn pid(&self) -> u32 {
        self.hired.pid()
    }

    pub(super) fn name(&self) -> &str {
        self.hired.name()
    }

    pub(super) fn has_lane(&self, lane: usize) -> bool {
        lane / self.threads == self.place
    }

    /// Where a timeline shows what one of its lanes is at.
    pub(super) fn track(&self, lane: usize) -> Track {
        Track { pid: self.pid(), lane: lane % self.threads }
    }

    pub(super) fn outputs(&self) -> &Reader {
        &self.outputs
    }

    /// Sends the handles that go with a piece; false if the worker does not take them.
    pub(super) fn give_handles(&self, turn: u64, handles: &Handles) -> bool {
        let handles: Vec<BorrowedHandle<'_>> = handles.iter().map(borrow).collect();
        self.wire.try_send(&[&turn.to_ne_bytes()], &handles).is_ok()
    }

    /// Takes the handles that came with a piece's outcomes.
    pub(super) fn received_handles(&mut self, turn: u64) -> Vec<Handle> {
        self.read_wire();
        self.received.remove(&turn).unwrap_or_default()
    }

    fn read_wire(&mut self) {
        // As many messages as a wire holds, and no more: a hostile worker may go on for ever.
        for _ in 0..10_000 {
            let (mut buffer, mut handles) = ([0; MESSAGE], Vec::new());
            match self.wire.receive(&mut buffer, &mut handles, false) {
                Ok(1) if buffer[0] == READY => self.is_ready = true,
                Ok(length) if buffer[0] == FAILED && !self.is_ready && length != 8 => {
                    let message = String::from_utf8_lossy(&buffer[1..length]);
                    self.failed = Some(message.into_owned());
                }
                Ok(8) => {
                    let turn = buffer.first_chunk().map_or(0, |turn| u64::from_ne_bytes(*turn));
                    // More pieces than there can be are nobody's.
                    if self.received.len() < SLOTS {
                        self.received.insert(turn, handles);
                    }
                }
                Ok(_) => {}
                Err(_) => return,
            }
        }
    }

    fn kill(&mut self, why: Why, at: Option<At>) {
        if self.killed.is_empty() {
            self.hired.kill();
        }
        self.killed.push((why, at));
    }

    /// What its death means.
    fn examine(&mut self) -> Dead {
        self.read_wire();
        self.is_examined = true;
        let pid = self.pid();
        let Ended { exit, error, failed } = self.hired.ended();
        let died = TaskError::WorkerDied { pid, exit };
        let failed = failed.or(self.failed.take()).map(|message| (message, true)).or_else(|| {
            let unready = !self.is_ready && self.killed.is_empty() && !self.leaving;
            let said = error.as_ref().unwrap_or(&died);
            unready.then(|| (format!("{said}, before it was ready"), false))
        });
        let error = error.unwrap_or(died);
        let killed = std::mem::take(&mut self.killed);
        let is_expected = self.leaving || failed.is_none() && exit.code() == Some(0);
        Dead {
            pid,
            place: self.place,
            threads: self.threads,
            killed,
            error,
            exit,
            is_expected,
            failed,
        }
    }
}

impl Crew {
    /// Starts all workers.
    pub(super) fn start(
        settings: CrewSettings,
        hire: Arc<dyn Hire>,
        board: Arc<Board>,
        on_death: Arc<dyn Fn() + Send + Sync>,
        news: Arc<News>,
    ) -> Result<Self, PoolError> {
        check(settings.workers, settings.threads)?;
        let mut crew = Self {
            target: settings.workers,
            settings,
            hire,
            board,
            members: Vec::new(),
            starting: Vec::new(),
            deaths: Arc::default(),
            on_death,
            named: 0,
            restarts: 0,
            failures: 0,
            not_before: None,
            failure: None,
            over: None,
            telling: None,
            news,
        };
        for _ in 0..crew.target {
            let Ok(recruit) = crew.recruit() else { break };
            match recruit.start() {
                (place, Ok(member)) => crew.enlist((place, Ok(member))),
                (_, Err(error)) => {
                    crew.dismiss_all(End::Terminate).wait();
                    return Err(error);
                }
            }
        }
        crew.restarts = 0;
        Ok(crew)
    }

    /// How many tasks can run at a time.
    pub(super) fn lanes(&self) -> usize {
        self.target * self.settings.threads
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.is_some()
    }

    /// What is in the way, if the pool cannot have workers any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.failure.clone()
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().flatten().filter(|member| !member.is_examined)
    }

    pub(super) fn member_of(&mut self, lane: usize) -> Option<&mut Member> {
        self.members.get_mut(lane / self.settings.threads)?.as_mut()
    }

    pub(super) fn kill_lane(&mut self, lane: usize, why: Why) {
        if let Some(member) = self.member_of(lane) {
            member.kill(why, None);
        }
    }

    /// Kills the worker of a lane because of what it is at, unless it is done with that.
    pub(super) fn kill_lane_at(&mut self, lane: usize, why: Why, at: At) {
        let board = Arc::clone(&self.board);
        let Some(member) = self.member_of(lane) else { return };
        if member.killed.iter().any(|(_, other)| other.is_some_and(|other| other.turn == at.turn)) {
            return;
        }
        // What its lane would be at next has nothing to do with this.
        board.giver.hold(member.place);
        let is_there = board.giver.look(at.slot, at.turn) == Look::Taken { lane };
        let is_same = matches!(why, Why::Cancelled) || board.giver.done(at.slot) == at.done;
        if is_there && is_same {
            member.kill(why, Some(at));
        } else if member.killed.is_empty() {
            board.giver.let_go_on(member.place);
        }
    }

    pub(super) fn has_dead(&self) -> bool {
        !self.deaths.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes those who have died since the last time. Each is to be buried.
    pub(super) fn take_dead(&mut self) -> Vec<Dead> {
        let places =
            std::mem::take(&mut *self.deaths.lock().unwrap_or_else(PoisonError::into_inner));
        places
            .into_iter()
            .filter_map(|place| Some(self.members.get_mut(place)?.as_mut()?.examine()))
            .collect()
    }

    /// The same for all workers, which have ended.
    pub(super) fn take_all(&mut self) -> Vec<Dead> {
        self.members.iter_mut().flatten().map(Member::examine).collect()
    }

    /// Forgets a dead worker, after its tasks were seen to.
    pub(super) fn bury(&mut self, dead: &Dead) {
        if let Some(member) = self.members[dead.place].take() {
            self.news.ended(dead.pid, member.name(), dead.exit, dead.is_expected);
        }
        if let Some(telling) = &self.telling {
            telling.gone(dead.pid, dead.exit.to_string());
        }
        match &dead.failed {
            _ if self.over.is_some() => {}
            None => (self.failures, self.not_before) = (0, None),
            Some((message, by_itself)) => {
                self.pause();
                let most = if *by_itself { FAILURES } else { FAILED_BY_DEATH };
                if self.failures >= most && !self.has_able() {
                    self.fail(message.clone());
                }
            }
        }
    }

    /// Tells whether a worker is there that takes tasks.
    fn has_able(&mut self) -> bool {
        self.members.iter_mut().flatten().any(|member| {
            member.read_wire();
            member.is_ready && !member.is_examined && !member.leaving && member.killed.is_empty()
        })
    }

    /// A worker has done a task: those that failed before it were no sign of what comes.
    pub(super) fn has_worked(&mut self) {
        self.failures = 0;
    }

    fn pause(&mut self) {
        self.not_before = Some(Instant::now() + SHORTEST_PAUSE * 2u32.pow(self.failures.min(7)));
        self.failures += 1;
    }

    /// There will be no workers any more.
    fn fail(&mut self, message: String) {
        self.news.failed(&message);
        self.failure = Some(message);
        for member in self.members.iter_mut().flatten() {
            member.leaving = true;
            member.hired.kill();
        }
        (self.on_death)();
    }

    /// Tells whether a worker is to be started now.
    pub(super) fn wants_tending(&self) -> bool {
        self.is_short() && self.not_before.is_none_or(|time| time <= Instant::now())
    }

    fn is_short(&self) -> bool {
        let there = self.members.iter().flatten().count() + self.starting.len();
        there < self.target && self.over.is_none() && self.failure.is_none()
    }

    /// The next worker to be started; else when there may be one.
    pub(super) fn recruit(&mut self) -> Result<Recruit, Option<Instant>> {
        if !self.is_short() {
            return Err(None);
        }
        if !self.wants_tending() {
            return Err(self.not_before);
        }
        let is_free = |place: &usize| {
            self.members.get(*place).is_none_or(Option::is_none) && !self.starting.contains(place)
        };
        let place = (0..).find(is_free).unwrap_or(0);
        self.starting.push(place);
        self.board.giver.welcome(place);
        self.named += 1;
        self.restarts += 1;
        let CrewSettings { threads, max_tasks, .. } = self.settings;
        Ok(Recruit {
            name: format!("{}-{}", self.settings.name, self.named),
            plan: Plan { place, threads, max_tasks },
            hire: Arc::clone(&self.hire),
            board: Arc::clone(&self.board),
        })
    }

    /// Takes in a worker that was started, or not.
    pub(super) fn enlist(&mut self, (place, started): (usize, Result<Member, PoolError>)) {
        self.starting.retain(|other| *other != place);
        let member = match started {
            Ok(member) => member,
            Err(error) => {
                self.restarts -= 1;
                self.news.not_started(&error);
                self.pause();
                let alone = self.members.iter().flatten().count() == 0;
                if alone && self.failures >= FAILED_STARTS {
                    self.fail(error.to_string());
                }
                return;
            }
        };
        if self.over.is_some() || self.failure.is_some() {
            member.hired.kill();
            return;
        }
        let (deaths, on_death) = (Arc::clone(&self.deaths), Arc::clone(&self.on_death));
        let hired = Arc::clone(&member.hired);
        self.news.started(member.pid(), member.name());
        if let Some(telling) = &self.telling {
            telling.hired(member.pid(), member.name(), member.threads);
        }
        // If it is dead already, that is told in a moment.
        let _ = member.wire.try_send(&[&BEGIN], &[]);
        if self.members.len() <= place {
            self.members.resize_with(place + 1, || None);
        }
        self.members[place] = Some(member);
        if self.staying() > self.target {
            // There are to be fewer since it was begun.
            self.dismiss(place);
        }
        hired.on_end(Box::new(move || {
            deaths.lock().unwrap_or_else(PoisonError::into_inner).push(place);
            on_death();
        }));
    }

    /// From now on tells a timeline who comes and goes, and whom there is.
    pub(super) fn trace(&mut self, telling: Option<Telling>) {
        if let Some(telling) = &telling {
            self.members().for_each(|member| {
                telling.hired(member.pid(), member.name(), member.threads);
            });
        }
        self.telling = telling;
    }

    /// Changes how many workers there shall be. Those that are too many go after their tasks.
    pub(super) fn resize(&mut self, workers: usize) -> Result<(), PoolError> {
        check(workers, self.settings.threads)?;
        self.target = workers;
        for place in (0..self.members.len()).rev() {
            if self.staying() > workers {
                self.dismiss(place);
            }
        }
        (self.on_death)(); // wakes the keeper, which starts those that are too few
        Ok(())
    }

    /// How many workers are there and shall stay.
    pub(super) fn staying(&self) -> usize {
        self.members.iter().flatten().filter(|member| !member.leaving).count()
    }

    /// Has a worker go after its tasks.
    fn dismiss(&mut self, place: usize) {
        if let Some(member) = self.members.get_mut(place).and_then(Option::as_mut) {
            member.leaving = true;
            self.board.giver.dismiss(place);
        }
    }

    /// Tells all workers to go: after their tasks, or at once.
    pub(super) fn dismiss_all(&mut self, how: End) -> Farewell {
        if self.over != Some(End::Terminate) {
            self.over = Some(how);
        }
        self.board.giver.stop();
        let members = self.members.iter_mut().flatten();
        Farewell(
            members
                .map(|member| {
                    member.leaving = true;
                    if how == End::Terminate {
                        member.hired.kill();
                    }
                    Arc::clone(&member.hired)
                })
                .collect(),
        )
    }
}

impl Farewell {
    /// Waits until they are gone.
    pub(super) fn wait(self) {
        self.0.iter().for_each(|hired| hired.wait());
    }
}

impl Recruit {
    /// Starts it.
    pub(super) fn start(self) -> (usize, Result<Member, PoolError>) {
        (self.plan.place, self.try_start())
    }

    fn try_start(self) -> Result<Member, PoolError> {
        let Self { name, plan, hire, board } = self;
        let resources =
            |what: &'static str| move |error| PoolError::Start(StartError::resources(what, error));
        let (wire, theirs) = Wire::pair().map_err(resources("make a worker's wire"))?;
        let store = Store::new().map_err(resources("make a worker's memory"))?;
        let lend = |handle: BorrowedHandle<'_>| lend(handle).map_err(resources("pass on a handle"));
        let seat = Seat {
            slots: lend(board.giver.handle())?,
            inputs: lend(board.inputs.handle())?,
            outputs: lend(store.handle())?,
            wire: lend(theirs.handle())?,
            plan,
        };
        drop(theirs);
        let outputs =
            Reader::new(lend(store.handle())?.0).map_err(resources("read a worker's memory"))?;
        let hired = hire.hire(name, seat)?;
        Ok(Member {
            place: plan.place,
            threads: plan.threads,
            hired,
            is_examined: false,
            wire,
            outputs,
            tasks_done: 0,
            is_ready: false,
            failed: None,
            killed: Vec::new(),
            leaving: false,
            received: HashMap::new(),
        })
    }
}

fn check(workers: usize, threads: usize) -> Result<(), PoolError> {
    if workers == 0 || threads == 0 {
        return Err(PoolError::invalid(
            "a pool without workers would never run a task: it needs at least one worker with one thread",
        ));
    }
    let lanes = workers.checked_mul(threads);
    if workers > MOST_WORKERS || lanes.is_none_or(|lanes| lanes > MOST_LANES) {
        return Err(PoolError::invalid(format!(
            "a pool of {workers} workers with {threads} threads each cannot be had: the most is \
             {MOST_WORKERS} workers, and {MOST_LANES} threads in all"
        )));
    }
    Ok(())
}

/// How many handles one task can carry.
pub(crate) const TASK_HANDLES: usize = MAX_HANDLES;

impl fmt::Debug for Crew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Crew").field("target", &self.target).finish_non_exhaustive()
    }
}
