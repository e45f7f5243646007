//! How a call blocks: a short spin, then sleep at a gate, with everybody else watched.

use std::sync::Arc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::atomic::{Ordering, unmodelled};
use crate::gate::Gate;
use crate::os::futex::Woken;
use crate::os::{now, process};
use crate::segment::{Core, SegmentError};

/// What a failed attempt leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// Another one at once.
    Spinning,
    /// Sleep: whoever makes the attempt possible has to know of a sleeper.
    Sleeping,
}

/// Chooses what a sleeping call asks after a handler of a signal has run in its thread: whether to
/// give up, with [`SegmentError::Interrupted`]. Without a hook, calls sleep on. The first one stays.
pub fn on_interrupt(hook: fn() -> bool) {
    // The hook of a second front end in one process has nobody to tell.
    let _ = ON_INTERRUPT.set(hook);
}

static ON_INTERRUPT: OnceLock<fn() -> bool> = OnceLock::new();

/// Tells whether a call that a signal has interrupted in its sleep gives up: asks the hook of
/// [`on_interrupt`], which may run the program's handlers.
pub fn gives_up() -> bool {
    ON_INTERRUPT.get().is_some_and(|give_up| give_up())
}

/// Tells whether anybody has set a hook for [`gives_up`] to ask.
pub fn may_give_up() -> bool {
    ON_INTERRUPT.get().is_some()
}

/// Makes attempts until one succeeds or `deadline` passes: `None` then.
pub(crate) fn block<T>(
    core: &Arc<Core>,
    gate: &Gate,
    deadline: Option<Instant>,
    attempt: impl FnMut(Attempt) -> Result<Option<T>, SegmentError>,
) -> Result<Option<T>, SegmentError> {
    block_watching(gate, deadline, || core.watch_others(), attempt)
}

/// As [`block`], with `watch` to see to it that whatever ends the hope of this wait opens the gate.
pub(crate) fn block_watching<T>(
    gate: &Gate,
    deadline: Option<Instant>,
    watch: impl Fn() -> Result<(), SegmentError>,
    mut attempt: impl FnMut(Attempt) -> Result<Option<T>, SegmentError>,
) -> Result<Option<T>, SegmentError> {
    if let Some(value) = spin(|| attempt(Attempt::Spinning))? {
        return Ok(Some(value));
    }
    loop {
        let ticket = gate.ticket();
        // After the ticket: who joins from here on opens the gate.
        let watched = watch();
        if let Some(value) = attempt(Attempt::Sleeping)? {
            return Ok(Some(value));
        }
        let mut until = deadline;
        if watched.is_err() {
            // No descriptor is left for a death handle. A wait that fails for that would be worse
            // than one that wakes now and then.
            let nap = now() + NAP;
            until = Some(deadline.map_or(nap, |deadline| deadline.min(nap)));
        }
        match gate.sleep(ticket, until)? {
            Woken::TimedOut if until == deadline => return attempt(Attempt::Spinning),
            Woken::Interrupted if gives_up() => {
                return Err(SegmentError::Interrupted);
            }
            _ => {}
        }
    }
}

/// How long to sleep at a time while deaths go unnoticed.
const NAP: Duration = Duration::from_millis(50);

/// How many turns of the spin are worth it in this process, by what they have brought.
static TURNS: unmodelled::AtomicU32 = unmodelled::AtomicU32::new(MOST / 4);
/// How many spins in a row, more or less, have brought nothing, and after how many of them one is as
/// long as it may be: a shorter one could not find out that what it waits for takes a little longer.
/// That costs, so it becomes rarer as long as it brings nothing, either.
static FAILED: unmodelled::AtomicU32 = unmodelled::AtomicU32::new(0);
static TRIAL: unmodelled::AtomicU32 = unmodelled::AtomicU32::new(SOONEST);
/// About as long as a wake-up across processors takes.
const MOST: u32 = 400;
const LEAST: u32 = 8;
const SOONEST: u32 = 16;
const LATEST: u32 = 1024;

/// Makes attempts for a short while. Another processor may make them possible meanwhile, which is
/// much faster than to sleep and be woken; when it did not, the next spin is shorter.
pub(crate) fn spin<T>(
    mut attempt: impl FnMut() -> Result<Option<T>, SegmentError>,
) -> Result<Option<T>, SegmentError> {
    // ORDERING: guesses that guard nothing, here and below.
    let usual = TURNS.load(Ordering::Relaxed).clamp(LEAST, MOST);
    let failed = FAILED.load(Ordering::Relaxed);
    let trial = TRIAL.load(Ordering::Relaxed);
    let is_trial = failed >= trial;
    let turns = if is_alone() {
        1
    } else if is_trial {
        MOST
    } else {
        usual
    };
    for turn in 0..turns {
        if let Some(value) = attempt()? {
            if turn > 0 {
                // Twice what it took is enough the next time.
                TURNS.store((2 * turn + LEAST).max(usual - usual / 8).min(MOST), Ordering::Relaxed);
                FAILED.store(0, Ordering::Relaxed);
                TRIAL.store(SOONEST, Ordering::Relaxed);
            }
            return Ok(Some(value));
        }
        for _ in 0..4 {
            std::hint::spin_loop();
        }
    }
    if is_trial {
        FAILED.store(0, Ordering::Relaxed);
        TRIAL.store((trial * 2).min(LATEST), Ordering::Relaxed);
    } else if turns > 1 {
        FAILED.store(failed + 1, Ordering::Relaxed);
        TURNS.store((usual - usual / 4).max(LEAST), Ordering::Relaxed);
    }
    Ok(None)
}

/// Tells whether the machine has but one processor, where nothing changes during a spin.
///
/// Which of them this thread may use says nothing: the others' threads are what is waited for.
fn is_alone() -> bool {
    // Not a `OnceLock`: a copy forked while another thread fills one waits for that thread for ever.
    static PROCESSORS: unmodelled::AtomicU32 = unmodelled::AtomicU32::new(0);
    // ORDERING: a number that guards nothing, and that every thread finds alike.
    let mut known = PROCESSORS.load(Ordering::Relaxed);
    if known == 0 {
        known = u32::try_from(process::online_processors()).unwrap_or(u32::MAX);
        PROCESSORS.store(known, Ordering::Relaxed);
    }
    known < 2
}
