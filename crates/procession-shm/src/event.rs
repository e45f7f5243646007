//! An event: a flag that processes wait for.
//!
//! # Layout
//!
//! ```text
//! word:  31                              1     0
//!       | how often it was set            | set |       gate: see `gate`
//! ```
//!
//! The count lets a waiter pass that was there when the event was set, also if it is cleared before
//! the waiter has looked.
//!
//! # What a crash leaves behind
//!
//! A setter that dies between the word and the gate: the event is set, sleepers do not know; the
//! sweep of its death opens the gate.

use std::time::Instant;

use crate::atomic::{AtomicU32, Ordering, ordering};
use crate::gate::Gate;
use crate::os::crash_point;
use crate::roster::Participant;
use crate::segment::{Body, Core, Segment, SegmentError, on_segment};
use crate::wait::block;

const SET: u32 = 1;
const COUNT: u32 = 2;

#[cfg_attr(loom, derive(Default))]
#[repr(C)]
struct Words {
    word: AtomicU32,
    gate: Gate,
}

// SAFETY: atomics, in C's layout.
unsafe impl Body for Words {
    const KIND: u32 = 3;

    fn sweep(_: &Core, _: Participant) {} // no word names anybody

    fn wake(&self) {
        self.gate.open_all();
    }
}

/// An event on a segment of its own.
#[derive(Clone, Debug)]
pub struct Event(Segment<Words>);

on_segment!(Event);

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, SegmentError> {
        Segment::create(0).map(Self)
    }

    /// Sets it and wakes everybody who waits.
    pub fn set(&self) {
        let Words { word, gate } = self.0.body();
        self.0.core.attend();
        let set =
            |word: u32| Some(if word & SET == 0 { word.wrapping_add(COUNT) | SET } else { word });
        // ORDERING: Release pairs with the Acquire of who waits: what was done before is seen, also
        // if it was set already, so the word is written then as well. It always changes.
        let _ = word.fetch_update(ordering!("event.set", Release), Ordering::Relaxed, set);
        // CRASH (event.set.flagged): set, and others sleep; the sweep opens the gate.
        crash_point!("event.set.flagged");
        // Also if it was set already: who has set it may have been stopped just here.
        gate.open_all();
    }

    /// Clears it.
    pub fn clear(&self) {
        // ORDERING: Acquire pairs with the Release of who has set it: what that did is seen by who
        // looks after it has cleared.
        self.0.body().word.fetch_and(!SET, ordering!("event.clear", Acquire));
    }

    /// Tells whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.body().word.load(Ordering::Acquire) & SET != 0
    }

    /// Waits until it is set, at most until `deadline`: `false` then.
    ///
    /// # Errors
    ///
    /// A [`SegmentError`] when the other participants cannot be watched.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<bool, SegmentError> {
        let Words { word, gate } = self.0.body();
        let first = word.load(Ordering::Acquire);
        let passed = block(&self.0.core, gate, deadline, |_| {
            let now = word.load(ordering!("event.wait", Acquire));
            Ok((now & SET != 0 || now & !SET != first & !SET).then_some(()))
        })?;
        Ok(passed.is_some())
    }
}

#[cfg(all(test, loom))]
mod model;
