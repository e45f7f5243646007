//! Atomics: the one way to them in this crate, so that a model checker can take their place.
//!
//! `cargo xtask tidy` refuses any other.

pub(crate) use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering, fence};

/// For statics that one process keeps to itself; they are part of no protocol, and of no model.
pub(crate) mod unmodelled {
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU32};
}
