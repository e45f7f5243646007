//! Watches the children of this process: reaps, records, and lets nobody be forgotten.
//!
//! Every child has a [`Record`]. All records of living children are in one registry, and their
//! death handles in one set, on which one thread sleeps; the thread exists only while there are
//! children, of which a fork server is one. Who waits for a child takes its handle out of the set meanwhile and reaps it itself,
//! so that a death wakes one thread and not two.
//!
//! Invariants:
//!
//! 1. A child is reaped under its record's lock, by the process that started it, once.
//! 2. A record leaves the registry only when its child is reaped, or its status is known lost.
//! 3. The thread runs while the registry has a record or a start is under way.
//!
//! A forked copy of the process starts with a supervisor of its own: children of the original are
//! not its children.

use std::any::Any;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use procession_sys::process::{Process, Reaped, current_pid};
use procession_sys::ready::{NUDGED, Set};
use procession_sys::tether::Tether;
use procession_sys::{BorrowedHandle, ExitStatus, runtime};

use crate::tell::tell;

/// A child of this process.
#[derive(Debug)]
pub(crate) struct Record {
    token: u64,
    pub(crate) name: String,
    pub(crate) daemon: bool,
    /// Not one of the user's children: the fork server.
    internal: bool,
    /// The process whose child it is; a forked copy of that process is not its parent.
    owner: u32,
    pub(crate) process: Process,
    /// The pipes of this process have heard of its death.
    is_told: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    end: Option<End>,
    /// How many threads have taken the handle out of the set to wait themselves.
    waiters: usize,
    /// Who is told of the end.
    hooks: Vec<Hook>,
}

/// What is called when a child has ended: quick, and never back into the supervisor.
pub(crate) struct Hook(Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Hook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hook")
    }
}

/// What is known of a child that is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Status(ExitStatus),
    /// Something else in this program took its status.
    Lost,
}

/// Why waiting for a child failed.
#[derive(Debug)]
pub(crate) enum WaitFailed {
    NotOurChild,
    Io(io::Error),
}

/// Everything this process knows of its children.
#[derive(Debug)]
pub(crate) struct Supervisor {
    registry: Mutex<Registry>,
    set: Set,
    tether: Tether,
    /// What a layer above keeps for as long as this process is itself: its fork server.
    companion: OnceLock<Box<dyn Any + Send + Sync>>,
    next_token: AtomicU64,
}

#[derive(Debug, Default)]
struct Registry {
    records: HashMap<u64, Arc<Record>>,
    /// Starts under way, whose records come.
    starting: usize,
    thread_runs: bool,
    /// The program is exiting: no more starts, or the exit might never be through with them.
    closed: bool,
}

/// Why no start can begin.
#[derive(Debug)]
pub(crate) enum NotStarting {
    /// The program is exiting.
    Exiting,
    /// There is no room for a thread.
    Io(io::Error),
}

/// The supervisor of this process; null until its first start, and again in a forked copy.
static SUPERVISOR: AtomicPtr<Supervisor> = AtomicPtr::new(std::ptr::null_mut());

/// Whether a thread is making it.
static MAKING: AtomicBool = AtomicBool::new(false);
/// Whether the hooks at exit and at fork are installed.
static HOOKED: AtomicBool = AtomicBool::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code of a user runs under these locks, and what they guard is never left half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A promise that a record will come, or not: keeps the thread alive between the two.
#[derive(Debug)]
pub(crate) struct Starting(&'static Supervisor);

impl Supervisor {
    /// Returns the supervisor of this process, if it has started a child yet.
    pub(crate) fn existing() -> Option<&'static Self> {
        // ORDERING: Acquire pairs with the Release of the store in `make`: the fields are there.
        let supervisor = SUPERVISOR.load(Ordering::Acquire);
        // SAFETY: null, or leaked by `get` and never freed.
        unsafe { supervisor.as_ref() }
    }

    /// Returns the supervisor of this process.
    pub(crate) fn get() -> io::Result<&'static Self> {
        if let Some(supervisor) = Self::existing() {
            return Ok(supervisor);
        }
        // Not a mutex: one that another thread holds at a fork stays locked in the copy. The hook
        // there releases this. The wait is for a few system calls, once in a program.
        // ORDERING: Acquire pairs with the Release below: what the last maker made is seen.
        while MAKING.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        let made = Self::existing().map_or_else(Self::make, Ok);
        // ORDERING: Release pairs with the Acquire above.
        MAKING.store(false, Ordering::Release);
        made
    }

    fn make() -> io::Result<&'static Self> {
        // The C library keeps hooks for good, also in a copy.
        // ORDERING: `MAKING` orders one maker after another.
        if !HOOKED.load(Ordering::Relaxed) {
            runtime::in_fork_copy(forget_in_fork_copy)?;
            runtime::at_exit(end_children_at_exit)?;
            HOOKED.store(true, Ordering::Relaxed);
        }
        let supervisor = Box::leak(Box::new(Self {
            registry: Mutex::default(),
            set: Set::new()?,
            tether: Tether::new()?,
            companion: OnceLock::new(),
            next_token: AtomicU64::new(0),
        }));
        // ORDERING: Release publishes the fields to the Acquire in `existing`.
        SUPERVISOR.store(supervisor, Ordering::Release);
        Ok(supervisor)
    }

    /// Returns the one `T` that is kept beside the children, and is new in a forked copy.
    pub(crate) fn companion<T: Default + Send + Sync + 'static>(&self) -> Option<&T> {
        self.companion.get_or_init(|| Box::new(T::default())).downcast_ref()
    }

    pub(crate) fn tether(&self) -> &Tether {
        &self.tether
    }

    /// Announces a start, before the process exists: afterwards nothing may fail any more.
    pub(crate) fn starting(&'static self) -> Result<Starting, NotStarting> {
        let mut registry = lock(&self.registry);
        if registry.closed {
            return Err(NotStarting::Exiting);
        }
        if !registry.thread_runs {
            let builder =
                std::thread::Builder::new().name("procession".to_owned()).stack_size(128 * 1024);
            let thread = runtime::with_signals_blocked(|| builder.spawn(|| self.watch()));
            thread.map_err(NotStarting::Io)?;
            registry.thread_runs = true;
        }
        registry.starting += 1;
        Ok(Starting(self))
    }

    /// The thread: sleeps until a child dies that nobody waits for.
    fn watch(&self) {
        let mut tokens = Vec::new();
        loop {
            tokens.clear();
            if let Err(error) = self.set.wait(&mut tokens) {
                // Only a descriptor closed under us can do this; without the set nobody would be
                // reaped, and saying so is all that is left.
                tell(format_args!("procession: children can no longer be watched: {error}"));
                lock(&self.registry).thread_runs = false;
                return;
            }
            for token in tokens.iter().filter(|t| **t != NUDGED) {
                let record = lock(&self.registry).records.get(token).cloned();
                let reaped = record.map(|record| self.reap(&record));
                if !matches!(reaped, Some(Ok(Some(_)))) {
                    // It is dead, but not to be reaped: its debugger has to let go of it first, or
                    // it was reaped just now. It stays in the set, and so for the next round.
                    std::thread::sleep(RETRY);
                }
            }
            let mut registry = lock(&self.registry);
            if registry.records.is_empty() && registry.starting == 0 {
                registry.thread_runs = false;
                return;
            }
        }
    }

    /// Takes the status of a child that is dead, and forgets it.
    fn reap(&self, record: &Arc<Record>) -> io::Result<Option<End>> {
        let (end, hooks) = {
            let mut state = lock(&record.state);
            if state.end.is_none() {
                state.end = match record.process.try_reap()? {
                    Reaped::Running => None,
                    Reaped::Dead(status) => Some(End::Status(status)),
                    Reaped::Lost => Some(End::Lost),
                };
                if state.end.is_some() {
                    record.has_died();
                    if state.waiters == 0 {
                        self.set.remove(record.handle());
                    }
                }
            }
            let is_dead = state.end.is_some();
            (state.end, if is_dead { std::mem::take(&mut state.hooks) } else { Vec::new() })
        };
        hooks.into_iter().for_each(|hook| hook.0());
        if end.is_some() {
            let mut registry = lock(&self.registry);
            let known = registry.records.remove(&record.token).is_some();
            if known && registry.records.is_empty() && registry.starting == 0 {
                self.set.nudge();
            }
        }
        Ok(end)
    }

    /// Waits for a child to be dead, at most until `deadline`.
    pub(crate) fn wait(
        record: &Arc<Record>,
        deadline: Option<Instant>,
    ) -> Result<Option<End>, WaitFailed> {
        // First of all: in a forked copy the lock may be held for ever, by a thread of the original.
        let supervisor = match Self::existing() {
            Some(supervisor) if record.owner == current_pid() => supervisor,
            _ => return Err(WaitFailed::NotOurChild),
        };
        {
            let mut state = lock(&record.state);
            if state.end.is_some() {
                return Ok(state.end);
            }
            state.waiters += 1;
            if state.waiters == 1 {
                supervisor.set.remove(record.handle());
            }
        }
        let end = supervisor.wait_and_reap(record, deadline);
        let mut state = lock(&record.state);
        state.waiters -= 1;
        if state.waiters == 0 && state.end.is_none() {
            // If the kernel has no room for the watch, who holds the child still reaps it.
            let _ = supervisor.set.add(record.handle(), record.token);
        }
        end.map_err(WaitFailed::Io)
    }

    fn wait_and_reap(
        &self,
        record: &Arc<Record>,
        deadline: Option<Instant>,
    ) -> io::Result<Option<End>> {
        while record.process.wait(deadline)? {
            let end = self.reap(record)?;
            if end.is_some() {
                return Ok(end);
            }
            // A debugger that is attached to it has to let go of it first, and tells nobody.
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                break;
            }
            std::thread::sleep(RETRY);
        }
        Ok(None)
    }

    /// Tells whether `pid` is a child that has a record.
    pub(crate) fn knows(&self, pid: u32) -> bool {
        lock(&self.registry).records.values().any(|record| record.process.pid() == pid)
    }

    /// Returns the user's children that live.
    pub(crate) fn children(&self) -> Vec<Arc<Record>> {
        let mut records: Vec<_> = lock(&self.registry).records.values().cloned().collect();
        records.retain(|record| !record.internal && !record.is_dead());
        records.sort_by_key(|record| record.token);
        records
    }

    fn all(&self) -> Vec<Arc<Record>> {
        lock(&self.registry).records.values().cloned().collect()
    }
}

impl Starting {
    /// Records the process that came of the start.
    pub(crate) fn started(
        self,
        process: Process,
        name: String,
        daemon: bool,
    ) -> io::Result<Arc<Record>> {
        self.record(process, name, daemon, false)
    }

    /// Records a process of the library's own.
    pub(crate) fn started_internal(self, process: Process, name: &str) -> io::Result<Arc<Record>> {
        self.record(process, name.to_owned(), true, true)
    }

    fn record(
        self,
        process: Process,
        name: String,
        daemon: bool,
        internal: bool,
    ) -> io::Result<Arc<Record>> {
        let supervisor = self.0;
        let token = supervisor.next_token.fetch_add(1, Ordering::Relaxed);
        let state = Mutex::new(State { end: None, waiters: 0, hooks: Vec::new() });
        let record = Arc::new(Record {
            token,
            name,
            daemon,
            internal,
            owner: current_pid(),
            process,
            is_told: AtomicBool::new(false),
            state,
        });
        lock(&supervisor.registry).records.insert(token, Arc::clone(&record));
        if let Err(error) = supervisor.set.add(record.handle(), token) {
            // The kernel has no room to watch it: a child that nobody would reap must not run.
            let _ = record.process.kill();
            let _ = record.process.wait(None);
            let _ = supervisor.reap(&record);
            return Err(error);
        }
        Ok(record)
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut registry = lock(&self.0.registry);
        registry.starting -= 1;
        if registry.records.is_empty() && registry.starting == 0 {
            self.0.set.nudge();
        }
    }
}

impl Record {
    pub(crate) fn handle(&self) -> BorrowedHandle<'_> {
        self.process.handle()
    }

    /// Tells whether it is dead, whoever has noticed. Without a lock, so also in a forked copy.
    pub(crate) fn is_dead(&self) -> bool {
        let is_dead = matches!(self.process.wait(Some(Instant::now())), Ok(true));
        if is_dead {
            self.has_died();
        }
        is_dead
    }

    /// Tells the pipes, before anybody else is told: who knows of a death and then sends to the dead is
    /// refused.
    fn has_died(&self) {
        if !self.is_told.load(Ordering::Acquire) {
            procession_shm::pipe::somebody_died();
            self.is_told.store(true, Ordering::Release);
        }
    }

    /// Has `hook` called when it has ended and was reaped; at once if it was.
    pub(crate) fn on_end(&self, hook: Box<dyn FnOnce() + Send>) {
        let mut state = lock(&self.state);
        if state.end.is_none() {
            state.hooks.push(Hook(hook));
        } else {
            drop(state);
            hook();
        }
    }

    /// What is known of its end; nothing in a forked copy, where a thread of the original may hold
    /// the lock for ever.
    pub(crate) fn end(&self) -> Option<End> {
        if self.owner == current_pid() { lock(&self.state).end } else { None }
    }
}

/// The hook in a forked copy: it has no children yet. The original's supervisor stays as it was in
/// the copied memory, with locks that may be held for ever, and is never touched again.
extern "C" fn forget_in_fork_copy() {
    SUPERVISOR.store(std::ptr::null_mut(), Ordering::Release);
    MAKING.store(false, Ordering::Release);
}

/// How long to wait for a debugger, or for a start in another thread at exit.
const RETRY: Duration = Duration::from_millis(1);

/// How long a daemon has for its `SIGTERM` before it is killed.
const GRACE: Duration = Duration::from_millis(500);

/// The hook at exit: daemons are ended, others are joined.
extern "C" fn end_children_at_exit() {
    end_children();
}

/// Ends the daemons and joins the others, also those whose starts are under way in threads.
pub(crate) fn end_children() {
    let Some(supervisor) = Supervisor::existing() else { return };
    lock(&supervisor.registry).closed = true;
    let mut seen = HashSet::new();
    loop {
        let under_way = lock(&supervisor.registry).starting > 0;
        let mut children = supervisor.all();
        children.retain(|child| seen.insert(child.token));
        if !children.is_empty() {
            end(children);
        } else if under_way {
            std::thread::sleep(RETRY);
        } else {
            return;
        }
    }
}

fn end(children: Vec<Arc<Record>>) {
    let (daemons, others): (Vec<_>, Vec<_>) =
        children.into_iter().partition(|record| record.daemon);
    for daemon in &daemons {
        let _ = if daemon.internal { daemon.process.kill() } else { daemon.process.terminate() };
    }
    let deadline = Instant::now() + GRACE;
    for daemon in &daemons {
        if !matches!(Supervisor::wait(daemon, Some(deadline)), Ok(Some(_))) {
            let _ = daemon.process.kill();
            let _ = Supervisor::wait(daemon, None);
        }
    }
    for other in others {
        let _ = Supervisor::wait(&other, None);
    }
}
