//! What stands behind a pool: its ledger, its backend, and whoever collects outcomes.
//!
//! # Who collects
//!
//! At any time at most one thread collects outcomes from the backend. It is a thread that waits for
//! an outcome itself, if there is one: so a worker's answer wakes the very thread that waits for it,
//! and no other is in between.
//!
//! ```text
//!                    nobody collects                        its own is settled
//!   waits for a task ───────────────► collects for everybody ─────────────────► goes
//!        │                                    │ hands over to the first who waits
//!        └── somebody does ─► parked ◄────────┘ (unparked also when its own is settled)
//! ```
//!
//! The pool's own thread, the *keeper*, collects only when nobody waits and somebody has to: there
//! is work that found no slot, a time limit, a callback, a future. It also replaces workers. It gives
//! way to any thread that comes to wait.
//!
//! # Invariants
//!
//! 1. If nobody collects and some wait, the first of them is *called*. It stays the first until it
//!    collects itself, or goes and has the next one called: so a call is never lost, and the keeper,
//!    which is faster than a thread that has to wake up, does not take it back.
//! 2. If nobody collects, nobody waits, and somebody has to collect, the keeper was woken after that
//!    became so.
//! 3. After the ledger was sealed nothing is opened in it, and who has sealed it collects until it
//!    is empty. So no outcome comes after a pool's end, when nobody collects.

use std::collections::VecDeque;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use procession_shm::{gives_up, may_give_up};
use procession_sys::runtime;

use super::backend::{Backend, End, Outcome, Patience, Settled, Work};
use super::callbacks::Callbacks;
use super::ledger::{Ledger, Sink};
use super::news;
use super::sleeper::{Interrupted, Sleeper};
use super::trace::Timeline;
use super::{PoolError, PoolStats, TaskError};

/// Something that a thread waits for.
pub(crate) trait Awaited {
    /// Tells whether it has come.
    fn has_come(&self) -> bool;

    /// Has `sleeper` woken when it comes, or before, but then once.
    fn wake(&self, sleeper: Arc<Sleeper>);

    /// How many pieces of work may be answered before it is worth a look.
    fn pieces(&self) -> u32 {
        1
    }
}

pub(crate) struct Engine {
    pub(crate) ledger: Ledger,
    pub(crate) callbacks: Callbacks,
    backend: Box<dyn Backend>,
    helm: Mutex<Helm>,
    /// How many tasks somebody wants to be told of without waiting: by callback or future.
    listeners: AtomicUsize,
    closed: AtomicBool,
    ended: AtomicBool,
    /// Which copy of the process has the pool.
    copies: u32,
    /// The keeper's thread; shared with the backend, which wakes it.
    keeper: Arc<Mutex<Option<Thread>>>,
    keeping: Mutex<Option<JoinHandle<()>>>,
    timeline: Mutex<Option<Timeline>>,
}

#[derive(Debug, Default)]
struct Helm {
    /// Somebody collects.
    taken: bool,
    /// It is the keeper.
    by_keeper: bool,
    /// Somebody who has to be told of outcomes came while it was taken.
    asked: bool,
    waiting: VecDeque<Arc<Waiting>>,
}

/// Has the helm until it is dropped, also by a panic of somebody's waker.
struct AtHelm<'a>(&'a Engine);

impl Drop for AtHelm<'_> {
    fn drop(&mut self) {
        self.0.hand_over();
    }
}

/// The same, for one that comes back in a moment: the keeper is not called unless it has been asked for.
struct BrieflyAtHelm<'a>(&'a Engine);

impl Drop for BrieflyAtHelm<'_> {
    fn drop(&mut self) {
        let mut helm = lock(&self.0.helm);
        helm.taken = false;
        if helm.asked || !helm.waiting.is_empty() {
            self.0.call_next(helm);
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    sleeper: Arc<Sleeper>,
    /// It is its turn to collect.
    called: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No user's code runs under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Engine {
    /// Makes an engine whose backend is made of a function that wakes the engine's keeper.
    pub(crate) fn new(
        backend: impl FnOnce(Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Backend>, PoolError>,
    ) -> Result<Arc<Self>, PoolError> {
        let copies = runtime::copies().map_err(PoolError::system)?;
        let keeper = Arc::new(Mutex::new(None::<Thread>));
        let wake = {
            let keeper = Arc::clone(&keeper);
            move || {
                if let Some(thread) = &*lock(&keeper) {
                    thread.unpark();
                }
            }
        };
        let backend = backend(Box::new(wake))?;
        let engine = Arc::new(Self {
            ledger: Ledger::default(),
            callbacks: Callbacks::default(),
            backend,
            helm: Mutex::default(),
            listeners: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            copies,
            keeper: Arc::clone(&keeper),
            keeping: Mutex::default(),
            timeline: Mutex::default(),
        });
        let weak = Arc::downgrade(&engine);
        let thread = thread::Builder::new().name("procession-pool".to_owned());
        // A worker that is forked by it has its stack; this is what most processes have.
        let thread = thread.stack_size(8 << 20);
        let thread = runtime::with_signals_blocked(|| thread.spawn(move || keep(&weak)));
        let thread = thread.map_err(|error| {
            engine.backend.end(End::Terminate);
            PoolError::system(error)
        })?;
        *lock(&keeper) = Some(thread.thread().clone());
        thread.thread().unpark();
        *lock(&engine.keeping) = Some(thread);
        Ok(engine)
    }

    /// Tells whether this process is the one that has the pool, and not a forked copy of it.
    pub(crate) fn is_ours(&self) -> bool {
        runtime::known_copies() == self.copies
    }

    /// Tells whether tasks are taken on.
    pub(crate) fn is_open(&self) -> bool {
        self.is_ours() && !self.closed.load(Ordering::Acquire)
    }

    /// Takes no more tasks.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// How the pool is.
    pub(crate) fn stats(&self) -> PoolStats {
        if !self.is_ours() {
            return PoolStats::default();
        }
        self.look();
        let (done, failed) = self.ledger.totals();
        PoolStats { done, failed, ..self.backend.stats() }
    }

    /// Submits pieces of work, whose numbers come from the ledger.
    pub(crate) fn submit(&self, work: Vec<Work>) {
        self.backend.submit(work);
        self.see_to_polling();
    }

    /// As [`submit`](Self::submit), for who submits more in a moment: collects meanwhile itself, so
    /// that the keeper is not woken for it.
    pub(crate) fn submit_some(&self, work: Vec<Work>) {
        self.backend.submit(work);
        if self.backend.needs_polling() && self.take_helm(false) {
            let _at_helm = BrieflyAtHelm(self);
            // It does not sleep, so nothing interrupts it.
            let _ = self.collect(Patience { deadline: Some(Instant::now()), pieces: 1 });
        }
    }

    /// Settles an item that never gets to the backend.
    pub(crate) fn refuse(&self, sink: &Arc<dyn Sink>, index: usize, error: TaskError) {
        match self.ledger.open(sink, index, 1) {
            Some(number) => self.give_up(number, error),
            None => sink.failed(index, 1, error),
        }
    }

    /// Settles a piece that was opened and not submitted.
    pub(crate) fn give_up(&self, number: u64, error: TaskError) {
        self.ledger.settle(Outcome { number, settled: Settled::AllFailed(error) });
    }

    pub(crate) fn cancel(&self, numbers: &[u64]) {
        if self.is_ours() {
            self.backend.cancel(numbers);
            self.backend.nudge();
            self.see_to_polling();
        }
    }

    /// From now on somebody is to be told of a task without waiting for it.
    pub(crate) fn listen(&self) {
        self.listeners.fetch_add(1, Ordering::AcqRel);
        self.see_to_polling();
    }

    /// What [`listen`](Self::listen) announced has been told.
    pub(crate) fn stop_listening(&self, count: usize) {
        self.listeners.fetch_sub(count, Ordering::AcqRel);
    }

    fn needs_polling(&self) -> bool {
        self.backend.needs_polling()
            || self.listeners.load(Ordering::Acquire) > 0 && self.ledger.outstanding() > 0
    }

    /// Has the keeper collect if nobody else does and somebody has to.
    fn see_to_polling(&self) {
        if self.needs_polling() {
            let mut helm = lock(&self.helm);
            if helm.taken {
                helm.asked = true;
            } else if helm.waiting.is_empty() {
                self.wake_keeper();
            }
        }
    }

    fn wake_keeper(&self) {
        if let Some(keeper) = &*lock(&self.keeper) {
            keeper.unpark();
        }
    }

    /// Collects what is there, without waiting, if nobody else collects.
    pub(crate) fn look(&self) {
        if !self.is_ours() || !self.take_helm(false) {
            return;
        }
        let _at_helm = AtHelm(self);
        let _ = self.collect(Patience { deadline: Some(Instant::now()), pieces: 1 });
    }

    fn take_helm(&self, by_keeper: bool) -> bool {
        let mut helm = lock(&self.helm);
        if helm.taken || by_keeper && !helm.waiting.is_empty() {
            return false;
        }
        helm.taken = true;
        helm.by_keeper = by_keeper;
        true
    }

    /// Collects what has come, or waits for it; tells whether there was something.
    fn collect(&self, patience: Patience) -> Result<bool, Interrupted> {
        let mut outcomes = Vec::new();
        let polled = self.backend.poll(patience, &mut outcomes);
        let has_settled = !outcomes.is_empty();
        for outcome in outcomes {
            news::settled(&outcome);
            self.ledger.settle(outcome);
        }
        polled.map(|()| has_settled)
    }

    /// Stops collecting; the next one begins.
    fn hand_over(&self) {
        let mut helm = lock(&self.helm);
        helm.taken = false;
        self.call_next(helm);
    }

    fn call_next(&self, mut helm: MutexGuard<'_, Helm>) {
        if helm.taken {
            return;
        }
        if let Some(next) = helm.waiting.front() {
            next.called.store(true, Ordering::Release);
            next.sleeper.wake();
            return;
        }
        helm.asked = false;
        drop(helm);
        if self.needs_polling() {
            self.wake_keeper();
        }
    }

    /// Waits until what is awaited has come, or `deadline` passes: false then.
    ///
    /// In a forked copy nothing comes, and this returns at once.
    pub(crate) fn wait(&self, awaited: &dyn Awaited, deadline: Option<Instant>) -> bool {
        loop {
            if let Ok(has_come) = self.wait_interruptibly(awaited, deadline) {
                return has_come;
            }
        }
    }

    /// As [`wait`](Self::wait), but ends also when a signal's handler says so.
    pub(crate) fn wait_interruptibly(
        &self,
        awaited: &dyn Awaited,
        deadline: Option<Instant>,
    ) -> Result<bool, Interrupted> {
        loop {
            if awaited.has_come() {
                return Ok(true);
            }
            if is_late(deadline) || !self.is_ours() {
                return Ok(false);
            }
            if self.take_helm(false) || self.follow(awaited, deadline)? {
                let _at_helm = AtHelm(self);
                let mut ear = Ear::new();
                while !awaited.has_come() && !is_late(deadline) {
                    let deadline = [deadline, ear.0].into_iter().flatten().min();
                    let settled = self.collect(Patience { deadline, pieces: awaited.pieces() })?;
                    ear.listen(settled)?;
                }
                return Ok(awaited.has_come());
            }
        }
    }

    /// Waits while another thread collects; true if this thread has the helm afterwards.
    fn follow(
        &self,
        awaited: &dyn Awaited,
        deadline: Option<Instant>,
    ) -> Result<bool, Interrupted> {
        let me = Arc::new(Waiting::default());
        awaited.wake(Arc::clone(&me.sleeper));
        {
            let mut helm = lock(&self.helm);
            if !helm.taken && helm.waiting.is_empty() {
                return Ok(false); // invariant 1: nobody would call
            }
            helm.waiting.push_back(Arc::clone(&me));
            self.ask_for(&helm);
        }
        loop {
            let mut slept = Ok(());
            while slept.is_ok()
                && !me.called.load(Ordering::Acquire)
                && !awaited.has_come()
                && !is_late(deadline)
            {
                slept = me.sleeper.sleep(deadline);
                if !awaited.has_come() {
                    // Whoever has woken it, for another's sake perhaps, does not know it any more.
                    awaited.wake(Arc::clone(&me.sleeper));
                }
            }
            let mut helm = lock(&self.helm);
            if slept.is_err() || awaited.has_come() || is_late(deadline) {
                helm.waiting.retain(|other| !Arc::ptr_eq(other, &me));
                self.call_next(helm); // invariant 1: this may have been the one that was called
                return slept.map(|()| false);
            }
            if !helm.taken {
                helm.waiting.retain(|other| !Arc::ptr_eq(other, &me));
                (helm.taken, helm.by_keeper) = (true, false);
                return Ok(true);
            }
            // Another was faster: whoever that is calls again.
            me.called.store(false, Ordering::Release);
            self.ask_for(&helm);
        }
    }

    /// Has the keeper give way, if it is the one that collects.
    fn ask_for(&self, helm: &Helm) {
        if helm.taken && helm.by_keeper {
            self.backend.nudge();
        }
    }

    /// Waits until nothing is outstanding and all workers are gone.
    pub(crate) fn join(&self) -> Result<(), PoolError> {
        loop {
            if let Ok(joined) = self.join_interruptibly() {
                return joined;
            }
        }
    }

    /// As [`join`](Self::join), but ends also when a signal's handler says so.
    pub(crate) fn join_interruptibly(&self) -> Result<Result<(), PoolError>, Interrupted> {
        if !self.is_ours() {
            return Ok(Err(PoolError::NotOurs));
        }
        if !self.closed.load(Ordering::Acquire) {
            return Ok(Err(PoolError::StillOpen));
        }
        self.wait_interruptibly(&Empty(&self.ledger), None)?;
        self.end(End::Finish);
        Ok(Ok(()))
    }

    /// Ends it at once: what is not done is `Terminated`.
    pub(crate) fn terminate(&self) {
        self.close();
        if self.is_ours() {
            self.end(End::Terminate);
        }
    }

    /// After the end: waits until the pool's own threads have come to theirs, of which this may be
    /// one.
    pub(crate) fn wait_for_threads(&self) {
        let keeper = lock(&self.keeping).take();
        if let Some(keeper) = keeper.filter(|keeper| keeper.thread().id() != thread::current().id())
        {
            // It has told of a panic itself.
            let _ = keeper.join();
        }
        self.callbacks.finish();
    }

    fn end(&self, how: End) {
        self.ledger.seal();
        self.ended.store(true, Ordering::Release);
        self.backend.end(how);
        // The outcomes that the end has decided, whoever collects them.
        self.backend.nudge();
        self.wait(&Empty(&self.ledger), None);
        self.wake_keeper();
        let timeline = lock(&self.timeline).take();
        if let Some(timeline) = timeline {
            self.backend.trace(None);
            timeline.finish();
        }
    }

    /// From now on writes a timeline to a file, instead of an earlier one.
    pub(crate) fn trace(&self, path: &Path) -> Result<(), PoolError> {
        let is_over = || {
            let is_over = self.ended.load(Ordering::Acquire);
            is_over.then(|| PoolError::invalid("the pool has ended: there is nothing to trace"))
        };
        if !self.is_ours() {
            return Err(PoolError::NotOurs);
        }
        is_over().map_or(Ok(()), Err)?;
        let begun = Timeline::begin(path).map_err(|error| {
            let path = path.display();
            PoolError::invalid(format!("a timeline cannot be written to {path}: {error}"))
        });
        let (new, telling) = begun?;
        let mut timeline = lock(&self.timeline);
        // Who ends the pool takes the timeline afterwards.
        let (old, result) = match is_over() {
            Some(error) => {
                drop(telling);
                (Some(new), Err(error))
            }
            None => {
                self.backend.trace(Some(telling));
                (timeline.replace(new), Ok(()))
            }
        };
        drop(timeline);
        old.into_iter().for_each(Timeline::finish);
        result
    }
}

fn is_late(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// When a thread that collects is to look for signals that came while it did not sleep: those do not
/// interrupt anything. It need not before it has been awake again.
struct Ear(Option<Instant>);

impl Ear {
    const DEAF: Duration = Duration::from_millis(50);

    fn new() -> Self {
        Self(may_give_up().then(|| Instant::now() + Self::DEAF))
    }

    fn listen(&mut self, was_awake: bool) -> Result<(), Interrupted> {
        let is_time = self.0.is_some() && is_late(self.0);
        if is_time && gives_up() {
            return Err(Interrupted);
        }
        if is_time || self.0.is_none() {
            self.0 = if was_awake { Self::new().0 } else { None };
        }
        Ok(())
    }
}

/// Nothing is outstanding.
struct Empty<'a>(&'a Ledger);

impl Awaited for Empty<'_> {
    fn has_come(&self) -> bool {
        self.0.outstanding() == 0
    }

    fn wake(&self, sleeper: Arc<Sleeper>) {
        self.0.wake_when_empty(sleeper);
    }

    fn pieces(&self) -> u32 {
        u32::MAX / 4
    }
}

/// The keeper: sleeps until there is something to do that nobody else does.
fn keep(engine: &Weak<Engine>) {
    loop {
        let again = {
            let Some(engine) = engine.upgrade() else { return };
            if !engine.is_ours() || engine.ended.load(Ordering::Acquire) {
                return;
            }
            let again = engine.backend.tend();
            if engine.needs_polling() && engine.take_helm(true) {
                let at_helm = AtHelm(&engine);
                let patience = Patience { deadline: again, pieces: 1 };
                while engine.needs_polling()
                    && lock(&engine.helm).waiting.is_empty()
                    && again.is_none_or(|again| Instant::now() < again)
                    && !engine.backend.wants_tending()
                    && !engine.ended.load(Ordering::Acquire)
                {
                    // No handler of a program's runs in this thread.
                    let _ = engine.collect(patience);
                }
                drop(at_helm);
                continue;
            }
            again
        };
        match again.map(|again| again.saturating_duration_since(Instant::now())) {
            None => thread::park(),
            Some(left) => thread::park_timeout(left),
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("ledger", &self.ledger)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
