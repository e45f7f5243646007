//! A thread that sleeps until it is woken, or a signal's handler has it give up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use procession_shm::gives_up;
use procession_sys::futex::{self, Woken};

/// The wait was given up, because the hook for signals said so (see `procession_shm::on_interrupt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interrupted;

/// Where one thread sleeps: as `std::thread::park`, which goes on sleeping after a signal.
#[derive(Debug, Default)]
pub(crate) struct Sleeper {
    /// 1 once it was woken, and 0 again when it has noticed.
    woken: AtomicU32,
}

impl Sleeper {
    /// Adds this one to those who are to be woken, unless it is there already.
    pub(crate) fn wait_in(self: Arc<Self>, sleepers: &mut Vec<Arc<Self>>) {
        if !sleepers.iter().any(|other| Arc::ptr_eq(other, &self)) {
            sleepers.push(self);
        }
    }

    /// Wakes the thread, or has its next sleep end at once.
    pub(crate) fn wake(&self) {
        // ORDERING: Release pairs with the Acquire in `sleep`: what came before is seen there.
        if self.woken.swap(1, Ordering::AcqRel) == 0 {
            futex::wake(&self.woken, 1);
        }
    }

    /// Sleeps until it is woken, or until `deadline`; it may return earlier.
    pub(crate) fn sleep(&self, deadline: Option<Instant>) -> Result<(), Interrupted> {
        if self.woken.swap(0, Ordering::AcqRel) == 1 {
            return Ok(());
        }
        match futex::wait(&self.woken, 0, deadline) {
            Ok(Woken::Interrupted) if gives_up() => Err(Interrupted),
            Ok(Woken::TimedOut | Woken::Interrupted) => Ok(()),
            Ok(Woken::Woken | Woken::Changed) => {
                self.woken.swap(0, Ordering::AcqRel);
                Ok(())
            }
            // A word of our own memory is not refused; if it is, not to burn a processor.
            Err(_) => {
                std::thread::sleep(std::time::Duration::from_millis(10));
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_wake_before_the_sleep_ends_it_and_counts_once() {
        let sleeper = Sleeper::default();
        sleeper.wake();
        sleeper.wake();
        assert_eq!(sleeper.sleep(None), Ok(()), "it was woken before");
        assert_eq!(sleeper.sleep(Some(Instant::now())), Ok(()), "it was not woken again");
        assert_eq!(sleeper.woken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_wake_is_not_lost() {
        const ROUNDS: usize = if cfg!(miri) { 20 } else { 2_000 };
        let (sleeper, answer) = (Sleeper::default(), Sleeper::default());
        let (asked, answered) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    while asked.load(Ordering::Relaxed) < round {
                        assert_eq!(sleeper.sleep(None), Ok(()));
                    }
                    answered.store(round, Ordering::Relaxed);
                    answer.wake();
                }
            });
            for round in 1..=ROUNDS {
                asked.store(round, Ordering::Relaxed);
                sleeper.wake();
                while answered.load(Ordering::Relaxed) < round {
                    assert_eq!(answer.sleep(None), Ok(()));
                }
            }
        });
    }
}
