//! Processes: numbers that live until they are killed, and the kernel that tells of it.

use std::any::Any;
use std::cell::RefCell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Weak};

use loom::sync::atomic::{AtomicBool, Ordering};

use super::check::{Killed, unharmed};
use super::{bytes, clock, futex};
use crate::roster::Number;
use crate::watch::Watched;

/// Processes have the numbers from 1 to this.
const MOST: usize = 4;

#[derive(Default)]
struct World {
    processes: Vec<Process>,
}

struct Process {
    dead: Arc<AtomicBool>,
    /// What a process keeps to itself, whichever thread asks.
    local: Option<Arc<dyn Any + Send + Sync>>,
    /// Who is to be told of its death: that process, and what it shares with this one.
    watches: Vec<Watch>,
}

struct Watch {
    watcher: u32,
    segment: Weak<dyn Watched>,
    number: Number,
}

thread_local! {
    /// Every thread of a model runs in one thread of the system's.
    static WORLD: RefCell<World> = RefCell::default();
}

loom::thread_local! {
    static PID: RefCell<u32> = RefCell::new(1);
}

fn with_process<R>(pid: u32, work: impl FnOnce(&mut Process) -> R) -> R {
    WORLD.with_borrow_mut(|world| work(&mut world.processes[pid as usize - 1]))
}

/// Begins a run with processes that all live.
pub(super) fn begin() {
    futex::begin();
    clock::begin();
    bytes::begin();
    let new = || Process { dead: Arc::default(), local: None, watches: Vec::new() };
    let processes = (0..MOST).map(|_| new()).collect();
    // Dropped outside: what is left of an earlier run may look at the world.
    let old = WORLD.with_borrow_mut(|world| std::mem::replace(&mut world.processes, processes));
    drop(old);
}

/// Does something as the process `pid`.
pub(crate) fn in_process<R>(pid: u32, work: impl FnOnce() -> R) -> R {
    let before = PID.with(|current| current.replace(pid));
    let outcome = work();
    PID.with(|current| current.replace(before));
    outcome
}

/// Starts a thread of the process `pid`. A victim's death ends it, and is told to who watches.
pub(crate) fn spawn(pid: u32, work: impl FnOnce() + 'static) -> loom::thread::JoinHandle<()> {
    loom::thread::spawn(move || {
        PID.with(|current| *current.borrow_mut() = pid);
        if let Err(cause) = catch_unwind(AssertUnwindSafe(work)) {
            if !cause.is::<Killed>() {
                resume_unwind(cause);
            }
            bury(pid);
        }
    })
}

/// The kernel's part in a death: each who watches is told, and sweeps.
fn bury(pid: u32) {
    let dead = with_process(pid, |process| Arc::clone(&process.dead));
    // The kernel tells of a death after all that the dead one did.
    dead.swap(true, Ordering::AcqRel);
    let watches = with_process(pid, |process| std::mem::take(&mut process.watches));
    for watch in watches {
        let Some(segment) = watch.segment.upgrade() else { continue };
        unharmed(|| {
            in_process(watch.watcher, || match segment.roster().find(watch.number) {
                Some(participant) => segment.sweep(participant),
                None => segment.wake(),
            });
        });
    }
}

/// Has a process told of another's death; false if that is dead already.
pub(crate) fn watch(pid: u32, segment: Weak<dyn Watched>, number: Number) -> bool {
    if is_dead(pid) {
        return false;
    }
    let watcher = current_pid();
    with_process(pid, |process| {
        let known = |watch: &Watch| {
            (watch.watcher, watch.number) == (watcher, number) && watch.segment.ptr_eq(&segment)
        };
        if !process.watches.iter().any(known) {
            process.watches.push(Watch { watcher, segment, number });
        }
    });
    true
}

fn is_dead(pid: u32) -> bool {
    let dead = with_process(pid, |process| Arc::clone(&process.dead));
    // A change, although of nothing: loom tries every order of it with the death.
    dead.fetch_or(false, Ordering::AcqRel)
}

pub(crate) fn current_pid() -> u32 {
    PID.with(|pid| *pid.borrow())
}

pub(crate) fn online_processors() -> usize {
    1
}

pub(crate) fn namespace() -> io::Result<u64> {
    Ok(1)
}

pub(crate) fn start_time(pid: u32) -> Option<u64> {
    Some(pid.into())
}

/// A living process, if it is one.
pub(crate) fn find(pid: u32, is_it: impl Fn(u64) -> bool) -> io::Result<Option<()>> {
    Ok((is_it(pid.into()) && !is_dead(pid)).then_some(()))
}

/// What a process knows of itself.
pub(crate) mod runtime {
    use super::*;

    /// No process of a model is a forked copy.
    pub(crate) fn copies() -> io::Result<u32> {
        Ok(known_copies())
    }

    pub(crate) fn known_copies() -> u32 {
        1
    }

    /// What this process keeps to itself.
    pub(crate) fn local<T: Send + Sync + 'static, E>(
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let pid = current_pid();
        if let Some(local) = with_process(pid, |process| process.local.clone())
            && let Ok(local) = local.downcast()
        {
            return Ok(local);
        }
        let local = Arc::new(make()?);
        with_process(pid, |process| process.local = Some(local.clone()));
        Ok(local)
    }
}
