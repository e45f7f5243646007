//! Running models, with deaths and with weakened orderings.

use std::cell::Cell;
use std::panic::{catch_unwind, resume_unwind};
use std::sync::atomic::Ordering;

use super::process;

/// What a victim's thread unwinds with.
pub(super) struct Killed;

thread_local! {
    // Every thread of a model runs in one thread of the system's.
    /// Before which of its steps the victim dies.
    static DEATH: Cell<Option<u32>> = const { Cell::new(None) };
    /// Whether it came to that, in any run.
    static DIED: Cell<bool> = const { Cell::new(false) };
    static WEAKENED: Cell<Option<(&'static str, Ordering)>> = const { Cell::new(None) };
    static MET: Cell<bool> = const { Cell::new(false) };
    static RUNS: Cell<u64> = const { Cell::new(0) };
}

loom::thread_local! {
    /// How many more steps this thread makes, if it is a victim.
    static STEPS: Cell<Option<u32>> = Cell::new(None);
}

/// A step on shared memory, before which a victim may die.
pub(crate) fn step() {
    STEPS.with(|steps| match steps.get() {
        None => {}
        Some(0) => {
            DIED.set(true);
            steps.set(None);
            die();
        }
        Some(left) => steps.set(Some(left - 1)),
    });
}

/// Dies, here and now.
pub(crate) fn die() -> ! {
    resume_unwind(Box::new(Killed))
}

/// Does what a victim does: it dies before the step that [`each_death`] says.
pub(crate) fn victim<R>(work: impl FnOnce() -> R) -> R {
    STEPS.with(|steps| steps.set(DEATH.get()));
    let outcome = work();
    // Also after the last one.
    step();
    STEPS.with(|steps| steps.set(None));
    outcome
}

/// Does something in which nobody dies.
pub(super) fn unharmed<R>(work: impl FnOnce() -> R) -> R {
    let before = STEPS.with(|steps| steps.replace(None));
    let outcome = work();
    STEPS.with(|steps| steps.set(before));
    outcome
}

/// Checks a model in every order with at most `preemptions` switches that nothing enforces: most
/// mistakes need two or three.
pub(crate) fn check(preemptions: usize, model: fn()) {
    RUNS.set(0);
    let begun = std::time::Instant::now();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(move || {
        RUNS.set(RUNS.get() + 1);
        process::begin();
        model();
    });
    if DEATH.get().is_none() {
        println!("{} runs, {:?}", RUNS.get(), begun.elapsed());
    }
}

/// Checks a model with a victim that dies before each of its steps in turn, and once not at all.
pub(crate) fn each_death(preemptions: usize, model: fn()) {
    let begun = std::time::Instant::now();
    let mut runs = 0;
    for step in 0.. {
        DEATH.set(Some(step));
        DIED.set(false);
        check(preemptions, model);
        runs += RUNS.get();
        DEATH.set(None);
        if !DIED.get() {
            assert!(step > 3, "the model has a victim, which dies");
            println!("{step} deaths, {runs} runs, {:?}", begun.elapsed());
            return;
        }
    }
}

/// Expects that a check fails with the ordering `name` replaced by `weaker`.
pub(crate) fn expect_failure(
    name: &'static str,
    weaker: Ordering,
    check: impl FnOnce() + std::panic::UnwindSafe,
) {
    WEAKENED.set(Some((name, weaker)));
    MET.set(false);
    let outcome = catch_unwind(check);
    WEAKENED.set(None);
    DEATH.set(None);
    assert!(MET.get(), "no step with the ordering `{name}` was made");
    assert!(outcome.is_err(), "`{name}` as {weaker:?} goes unnoticed");
}

/// A named ordering, or what a check has weakened it to.
pub(crate) fn ordering(name: &str, ordering: Ordering) -> Ordering {
    match WEAKENED.get() {
        Some((weakened, weaker)) if weakened == name => {
            MET.set(true);
            weaker
        }
        _ => ordering,
    }
}
