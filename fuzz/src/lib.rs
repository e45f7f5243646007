//! What reads bytes that other processes have written, fed with bytes that nobody has.
//!
//! Each function takes any bytes and comes back: with errors or wrong values inside, but without a
//! panic, undefined behaviour, or an endless loop. `cargo fuzz run NAME` looks for bytes with which
//! one does not; `tests/corpus.rs` runs them on all that were kept.

mod input;
mod scribble;
mod wire;

pub use scribble::segment;
pub use wire::{codec, frame};
