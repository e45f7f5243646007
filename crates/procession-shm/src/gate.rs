//! A gate: where processes sleep until something has changed.
//!
//! What they wait for lies elsewhere; the gate only makes sure that no change is slept through. It
//! is an event count.
//!
//! # Layout
//!
//! ```text
//!  31                            2       1         0
//! | turn: how often it was opened | fresh | sleepers |
//! ```
//!
//! `sleepers`: somebody may sleep. `fresh`: a ticket was taken since the turn began.
//!
//! # Protocol
//!
//! ```text
//! sleeper                                   opener
//! 1 ticket: set both bits, keep the word    a change what is waited for
//! 2 look once more                          b `sleepers` not set: done, no system call
//! 3 sleep while the word is the ticket      c turn + 1, not fresh
//!                                           d wake
//!                                           e nobody was left to wake: clear `sleepers`,
//!                                             if the word is still that of c
//! ```
//!
//! After d found nobody, only who has a ticket of the new turn can sleep, and then the word is
//! fresh: e does nothing. So `sleepers` is set whenever somebody sleeps, at every instant, and no
//! sleeper depends on an opener that has come to c but not further: another one, or the sweep,
//! still sees it.
//!
//! # Memory ordering
//!
//! Either the look in 2 sees the change of a, or the look in b sees the bit of 1: both sides write,
//! then read what the other wrote, with a sequentially consistent fence in between. (That the
//! ticket is taken by a sequentially consistent step is not enough: a later load may come before
//! the store half of it.) And if the opener comes to c before the sleeper to 3, the word is no
//! longer the ticket.
//!
//! # What a crash leaves behind
//!
//! - Opener killed between a and d: sleepers do not know. The sweep of its death opens the gate.
//! - One woken by `open(1)` killed before it made use of it: the others sleep on. As above.
//! - Sleeper killed: `sleepers` stays set without any. The next opening makes one system call more
//!   than it needs to, and takes the bit back.

use std::io;
use std::time::Instant;

use crate::atomic::{AtomicU32, Ordering, fence, ordering};
use crate::os::futex::{self, Woken};

const SLEEPERS: u32 = 1;
const FRESH: u32 = 2;
const TURN: u32 = 4;

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
        const BITS: u32 = SLEEPERS | FRESH;
        let ticket = self.0.fetch_or(BITS, Ordering::Relaxed) | BITS;
        // ORDERING: SeqCst pairs with the fence in `open`, as the module says.
        fence(ordering!("gate.ticket", SeqCst));
        Ticket(ticket)
    }

    /// Sleeps until the gate is opened, unless it was since the ticket, at most until `deadline`.
    pub(crate) fn sleep(&self, ticket: Ticket, deadline: Option<Instant>) -> io::Result<Woken> {
        futex::wait(&self.0, ticket.0, deadline)
    }

    /// Wakes at most `count` sleepers, after a change to what they wait for.
    #[inline]
    pub(crate) fn open(&self, count: u32) {
        // ORDERING: SeqCst: the caller's change is before the look, for everybody.
        fence(ordering!("gate.open", SeqCst));
        self.open_fenced(count);
    }

    /// As [`open`](Self::open), for a caller that has made the fence itself since the change.
    #[inline]
    pub(crate) fn open_fenced(&self, count: u32) {
        let word = self.0.load(Ordering::Relaxed);
        if word & SLEEPERS != 0 {
            self.wake(word, count);
        }
    }

    #[cold]
    fn wake(&self, word: u32, count: u32) {
        let Some(opened) = self.begin_turn(word) else { return };
        let woken = futex::wake(&self.0, count);
        if woken < usize::try_from(count).unwrap_or(usize::MAX) {
            self.nobody_sleeps(opened);
        }
    }

    /// Begins the next turn after `word`, which was loaded just now, unless there is nobody for whom.
    fn begin_turn(&self, mut word: u32) -> Option<u32> {
        while word & SLEEPERS != 0 {
            let opened = word.wrapping_add(TURN) & !FRESH;
            // ORDERING: the turn itself guards nothing: who wakes looks at what it waits for.
            let begun =
                self.0.compare_exchange_weak(word, opened, Ordering::Relaxed, Ordering::Relaxed);
            match begun {
                Ok(_) => return Some(opened),
                Err(other) => word = other,
            }
        }
        None
    }

    /// Takes the bit back, after an opening that found nobody left to wake.
    fn nobody_sleeps(&self, opened: u32) {
        let without = opened & !SLEEPERS;
        // If it fails, there was a ticket since, or another opening.
        let _ = self.0.compare_exchange(opened, without, Ordering::Relaxed, Ordering::Relaxed);
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
    fn a_sleeper_is_known_as_long_as_it_sleeps() {
        let gate = Gate(AtomicU32::new(0));
        gate.ticket();
        // An opener that has woken everybody, and is slow or killed before it is done.
        let opened = gate.begin_turn(gate.0.load(Ordering::Relaxed)).expect("there was a ticket");
        futex::wake(&gate.0, u32::MAX);
        let late = gate.ticket();
        gate.nobody_sleeps(opened);
        assert_ne!(gate.0.load(Ordering::Relaxed) & SLEEPERS, 0, "it may sleep by now");
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert_eq!(gate.sleep(late, soon).expect("sleep"), Woken::TimedOut);
        gate.open_all();
        assert_eq!(gate.sleep(late, None).expect("sleep"), Woken::Changed);
        assert_eq!(gate.0.load(Ordering::Relaxed) & (SLEEPERS | FRESH), 0, "nobody is left");
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

#[cfg(all(test, loom))]
mod model;
