//! Who has waited long is let through: newcomers stand back while somebody hungers.
//!
//! Taking what is free at once, before who was woken for it has come, is what makes a lock fast. It
//! also lets a process that gives up and takes again in a loop keep all others out. So one that has
//! waited for [`LONG`] says that it hungers, and newcomers go to sleep like everybody else; those who
//! sleep are woken in the order in which they came.
//!
//! # Layout
//!
//! ```text
//! word: 1 while somebody hungers, else 0
//! ```
//!
//! It is a request, not a right: whatever stands there, what is protected is protected by the lock's
//! own word.
//!
//! # What a crash leaves behind
//!
//! One that dies or is stopped while it hungers leaves the word set. A newcomer that finds
//! what it wants free stands back for [`COURTESY`] at most; if nobody has come for it by then, it takes
//! it and clears the word.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::atomic::{AtomicU32, Ordering};
use crate::gate::Gate;
use crate::os::now;
use crate::segment::{Core, SegmentError};
use crate::wait::{Attempt, block};

/// How long one waits before it hungers. Handing over to one that sleeps costs far more than
/// taking at once, so it is for those whom it saves from waiting much longer.
const LONG: Duration = Duration::from_millis(5);
/// How long a newcomer leaves what is free to one that was woken.
const COURTESY: Duration = Duration::from_millis(5);

/// Whether somebody hungers. Zeros are nobody.
#[derive(Debug)]
#[cfg_attr(loom, derive(Default))]
#[repr(transparent)]
pub(crate) struct Hunger(AtomicU32);

impl Hunger {
    /// Tells whether newcomers should stand back.
    #[inline]
    pub(crate) fn is_felt(&self) -> bool {
        // ORDERING: a request that guards nothing.
        self.0.load(Ordering::Relaxed) != 0
    }

    fn set(&self, felt: bool) {
        self.0.store(u32::from(felt), Ordering::Relaxed);
    }

    /// As [`block`], but in an order that lets nobody wait for ever while others come and go.
    /// `is_free` guesses whether an attempt would succeed.
    pub(crate) fn block<T>(
        &self,
        core: &Arc<Core>,
        gate: &Gate,
        deadline: Option<Instant>,
        is_free: impl Fn() -> bool,
        mut attempt: impl FnMut(Attempt) -> Result<Option<T>, SegmentError>,
    ) -> Result<Option<T>, SegmentError> {
        let (mut since, mut hungers) = (None, false);
        let taken = block(core, gate, deadline, |kind| {
            match since {
                None if kind == Attempt::Spinning && self.is_felt() => return Ok(None),
                None if kind == Attempt::Sleeping => {
                    since = Some(now());
                    self.stand_back(gate, deadline, &is_free)?;
                }
                _ => {}
            }
            let taken = attempt(kind)?;
            if taken.is_none()
                && since.is_some_and(|since: Instant| now().duration_since(since) >= LONG)
            {
                hungers = true;
                self.set(true);
            }
            Ok(taken)
        });
        if hungers {
            // Others who hunger say so again when they are woken in vain.
            self.set(false);
        }
        taken
    }

    /// Leaves what is free to one that hungers and was woken, for a while.
    fn stand_back(
        &self,
        gate: &Gate,
        deadline: Option<Instant>,
        is_free: impl Fn() -> bool,
    ) -> Result<(), SegmentError> {
        let until = now() + COURTESY;
        while self.is_felt() {
            let ticket = gate.ticket();
            if !is_free() || deadline.is_some_and(|deadline| now() >= deadline) {
                return Ok(());
            }
            if now() >= until {
                self.set(false);
                return Ok(());
            }
            gate.sleep(ticket, Some(deadline.map_or(until, |deadline| deadline.min(until))))?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::lock::{Acquired, Lock};

    #[test]
    fn what_one_that_is_gone_has_left_keeps_nobody_out() {
        let lock = Lock::new().expect("lock");
        lock.hunger().set(true);
        assert_eq!(lock.acquire(None).expect("alone"), Some(Acquired::Free));
        assert!(!lock.hunger().is_felt(), "nobody has come for it");
        lock.release().expect("it is held");
        // Who cannot stay so long takes it at the end of its time.
        lock.hunger().set(true);
        let soon = Instant::now() + COURTESY / 10;
        assert_eq!(lock.acquire(Some(soon)).expect("alone"), Some(Acquired::Free));
        lock.release().expect("it is held");
        // Who does not wait does not stand back.
        assert_eq!(lock.try_acquire().expect("alone"), Some(Acquired::Free));
    }

    #[test]
    fn one_that_waits_long_says_so_and_takes_it_back() {
        let lock = Lock::new().expect("lock");
        let _ = lock.acquire(None).expect("alone");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| lock.acquire(None).expect("nobody dies"));
            // A wake for nothing: it looks again, and has waited long at last.
            while !lock.hunger().is_felt() {
                std::thread::sleep(LONG / 10);
                lock.wake();
            }
            lock.release().expect("it is held");
            assert_eq!(waits.join().expect("no panic"), Some(Acquired::Free));
        });
        assert!(!lock.hunger().is_felt(), "nobody waits any more");
    }
}
