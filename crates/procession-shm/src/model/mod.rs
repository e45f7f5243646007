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
mod check;
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

pub(crate) use check::{check, each_death, expect_failure, ordering, victim};
pub(crate) use process::{in_process, spawn};

/// Deaths come at every step, so at every crash point.
macro_rules! no_crash_point {
    ($name:literal) => {};
}
pub(crate) use no_crash_point;
