//! A gate: where processes sleep until something has changed.
//!
//! What they wait for lies elsewhere; the gate only makes sure that no change is slept through. It
//! is an event count.
//!
//! # Layout
//!
//! ```text
//!  31                                       1        0
//! | turn: how often it was opened            | sleepers |
//! ```
//!
//! # Protocol
//!
//! ```text
//! sleeper                                   opener
//! 1 ticket: set `sleepers`, keep the word   a change what is waited for
//! 2 look once more                          b `sleepers` not set: done, no system call
//! 3 sleep while the word is the ticket      c turn + 1
//!                                           d wake
//! ```
//!
//! # Memory ordering
//!
//! Either the look in 2 sees the change of a, or the look in b sees the bit of 1: both sides write,
//! then read what the other wrote, all of it sequentially consistent. And if the opener comes to c
//! before the sleeper to 3, the word is no longer the ticket.
//!
//! # What a crash leaves behind
//!
//! - Opener killed between a and d: sleepers do not know. The sweep of its death opens the gate.
//! - One woken by `open(1)` killed before it made use of it: the others sleep on. As above.
//! - Sleeper killed: `sleepers` stays set without any. The next opening makes one system call more
//!   than it needs to, and takes the bit back.

use std::io;
use std::time::Instant;

use crate::atomic::{AtomicU32, Ordering, fence};
use crate::os::futex::{self, Woken};

const SLEEPERS: u32 = 1;
const TURN: u32 = 2;

/// The word that processes sleep on. Zeros are a gate without sleepers.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(transparent)]
pub(crate) struct Gate(AtomicU32);

/// The right to sleep until the gate opens after now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket(u32);

impl Gate {
    /// Announces a sleeper. Whoever is given a ticket looks once more before it sleeps.
    pub(crate) fn ticket(&self) -> Ticket {
        // ORDERING: SeqCst pairs with the fence in `open`, as the module says.
        Ticket(self.0.fetch_or(SLEEPERS, Ordering::SeqCst) | SLEEPERS)
    }

    /// Sleeps until the gate is opened, unless it was since the ticket, at most until `deadline`.
    pub(crate) fn sleep(&self, ticket: Ticket, deadline: Option<Instant>) -> io::Result<Woken> {
        futex::wait(&self.0, ticket.0, deadline)
    }

    /// Wakes at most `count` sleepers, after a change to what they wait for.
    pub(crate) fn open(&self, count: u32) {
        // ORDERING: SeqCst: the caller's change is before the look, for everybody.
        fence(Ordering::SeqCst);
        self.open_fenced(count);
    }

    /// As [`open`](Self::open), for a caller that has made the fence itself since the change.
    pub(crate) fn open_fenced(&self, count: u32) {
        if self.0.load(Ordering::Relaxed) & SLEEPERS == 0 {
            return;
        }
        // ORDERING: the turn itself guards nothing: who wakes looks at what it waits for.
        let opened = self.0.fetch_add(TURN, Ordering::AcqRel).wrapping_add(TURN);
        let woken = futex::wake(&self.0, count);
        if woken >= usize::try_from(count).unwrap_or(usize::MAX) {
            return;
        }
        // Nobody sleeps. But somebody may just have taken a ticket on the new turn: when the bit
        // is gone its ticket is worth nothing, unless it has fallen asleep already.
        let without = opened & !SLEEPERS;
        // ORDERING: as `ticket`, with which it is in one order by being on the same word.
        if self.0.compare_exchange(opened, without, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            futex::wake(&self.0, u32::MAX);
        }
    }

    /// Wakes all sleepers.
    pub(crate) fn open_all(&self) {
        self.open(u32::MAX);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::atomic::AtomicU64;
    use std::time::Duration;

    #[test]
    fn a_ticket_before_an_opening_does_not_sleep() {
        let gate = Gate(AtomicU32::new(0));
        gate.open_all();
        assert_eq!(gate.0.load(Ordering::Relaxed), 0, "nobody slept: nothing was done");
        let ticket = gate.ticket();
        gate.open(1);
        assert_eq!(gate.sleep(ticket, None).expect("sleep"), Woken::Changed);
        assert_eq!(gate.0.load(Ordering::Relaxed) & SLEEPERS, 0, "the bit is taken back");
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert_eq!(gate.sleep(gate.ticket(), soon).expect("sleep"), Woken::TimedOut);
    }

    #[test]
    fn no_change_is_slept_through() {
        let (gate, changes) = (Gate(AtomicU32::new(0)), AtomicU64::new(0));
        const CHANGES: u64 = 20_000;
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while changes.load(Ordering::SeqCst) < CHANGES {
                        let seen = changes.load(Ordering::SeqCst);
                        let ticket = gate.ticket();
                        if changes.load(Ordering::SeqCst) == seen && seen < CHANGES {
                            gate.sleep(ticket, None).expect("sleep");
                        }
                    }
                });
            }
            for _ in 0..CHANGES {
                changes.fetch_add(1, Ordering::SeqCst);
                gate.open_all();
            }
        });
    }
}
