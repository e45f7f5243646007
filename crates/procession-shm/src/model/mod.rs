//! The world in which the structures of this crate are model-checked, with `--cfg loom`.
//!
//! The structures themselves are the real ones, down to `segment` and `roster`. What lies below is
//! replaced by the modules here: atomics (`atomic`), memory (`memory`), processes and their deaths
//! (`process`, `watch`), sleeping on a word (`futex`). Loom runs a model once for each order in which
//! its threads can take their steps, and for each value that a load may still see.
//!
//! # Processes and threads
//!
//! A process is a number. Each has its own `Core` on the one memory, as it would have in life; a
//! thread of the model is in one process, and two may be in the same.
//!
//! # Deaths
//!
//! A *victim* stops for good before its `n`th step on shared memory, and [`each_death`] tries them all:
//! that covers every crash point, and what lies between them. The kernel then tells those who watch,
//! in the order in which they began to: each sweeps, as its watching thread would.
//!
//! # Orderings
//!
//! A named ordering can be weakened for one check, which is then expected to fail: a lost wake-up is
//! a deadlock, a missing synchronisation a stale value or a race. Loom takes a sequentially
//! consistent load or store for an acquiring or releasing one, which is why this crate uses
//! sequentially consistent fences, of which loom knows all.

pub(crate) mod atomic;
pub(crate) mod bytes;
mod check;
pub(crate) mod clock;
pub(crate) mod futex;
pub(crate) mod memory;
pub(crate) mod process;

/// Nobody of a model waits for several things.
pub(crate) mod ready {
    #[derive(Debug)]
    pub(crate) struct Bell;

    impl Bell {
        pub(crate) fn ring(&self) {}
    }
}

pub(crate) use check::{check, die, each_death, expect_failure, ordering, step, victim};
pub(crate) use process::{in_process, spawn};

/// Deaths come at every step, so at every crash point.
macro_rules! no_crash_point {
    ($name:literal) => {};
}
pub(crate) use no_crash_point;

/// One object as each of the processes 1 to `N` has it.
pub(crate) fn shared_by<T, const N: usize>(
    new: impl FnOnce() -> T,
    open: impl Fn(&T) -> T,
) -> [T; N] {
    let mut first = Some(in_process(1, new));
    let others: Vec<T> = (2..=N as u32)
        .map(|pid| in_process(pid, || open(first.as_ref().expect("the first one"))))
        .collect();
    let mut all = first.take().into_iter().chain(others);
    std::array::from_fn(|_| all.next().expect("as many as there are processes"))
}

/// What only one thread may use at a time: loom tells if two do, or if one has not yet seen what
/// another did.
#[derive(Debug, Default)]
pub(crate) struct Guarded(loom::cell::UnsafeCell<u32>);

// SAFETY: loom ends the model where two threads use it.
unsafe impl Sync for Guarded {}

impl Guarded {
    /// Adds one, and returns how many there are.
    pub(crate) fn add(&self) -> u32 {
        self.0.with_mut(|value| {
            // SAFETY: loom has seen that nobody else uses it.
            let value = unsafe { &mut *value };
            *value += 1;
            *value
        })
    }

    pub(crate) fn get(&self) -> u32 {
        // SAFETY: as above.
        self.0.with(|value| unsafe { *value })
    }
}
