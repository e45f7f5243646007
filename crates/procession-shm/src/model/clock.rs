//! Time: it passes when somebody sleeps until a deadline.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

thread_local! {
    /// Every thread of a model runs in one thread of the system's.
    static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

fn beginning() -> Instant {
    static BEGINNING: OnceLock<Instant> = OnceLock::new();
    *BEGINNING.get_or_init(Instant::now)
}

pub(super) fn begin() {
    PASSED.set(Duration::ZERO);
}

pub(super) fn pass_until(deadline: Instant) {
    PASSED.set(PASSED.get().max(deadline.saturating_duration_since(beginning())));
}

pub(crate) fn now() -> Instant {
    beginning() + PASSED.get()
}

/// The clock that every process reads alike.
pub(crate) mod machine {
    pub(crate) fn now() -> u64 {
        1
    }
}
