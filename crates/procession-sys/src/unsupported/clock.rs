//! The clock that every process of the machine reads alike.

/// Returns the nanoseconds since a moment in the past that is the same for all processes.
#[must_use]
pub fn now() -> u64 {
    0
}
