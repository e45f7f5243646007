//! The clock that every process of the machine reads alike.

use rustix::time::{ClockId, clock_gettime};

/// Returns the nanoseconds since a moment in the past that is the same for all processes. It never
/// goes back.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}
