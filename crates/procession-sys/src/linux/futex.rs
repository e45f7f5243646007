//! Sleeping on a word of memory that processes share, and waking who sleeps there.

use std::io;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex::{self, Flags, Timespec};

/// Why [`wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Somebody called [`wake`], or nobody did: the caller looks at the word again either way.
    Woken,
    /// The word was not what the caller expected.
    Changed,
    /// The deadline passed.
    TimedOut,
    /// A handler of a signal has run in this thread.
    Interrupted,
}

/// Sleeps until [`wake`] is called on `word`, if its value is `expected`, at most until `deadline`.
///
/// The look at the value and the falling asleep are one step: a wake in between cannot be lost.
///
/// # Errors
///
/// When the system refuses, which it does for no memory that can be shared.
pub fn wait(word: &AtomicU32, expected: u32, deadline: Option<Instant>) -> io::Result<Woken> {
    let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    if left == Some(Duration::ZERO) {
        return Ok(Woken::TimedOut);
    }
    let timeout = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    // No private flag: the other side is in another process.
    match futex::wait(word, Flags::empty(), expected, timeout.as_ref()) {
        Ok(()) => Ok(Woken::Woken),
        Err(Errno::AGAIN) => Ok(Woken::Changed),
        Err(Errno::TIMEDOUT) => Ok(Woken::TimedOut),
        Err(Errno::INTR) => Ok(Woken::Interrupted),
        Err(error) => Err(error.into()),
    }
}

/// Wakes at most `count` sleepers, in whichever process, and returns how many there were.
pub fn wake(word: &AtomicU32, count: u32) -> usize {
    // Its only failures are those of an address that is no futex; a reference is one.
    futex::wake(word, Flags::empty(), count.min(i32::MAX.cast_unsigned())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_looked_at_and_a_deadline_passes() {
        let word = AtomicU32::new(7);
        assert_eq!(wait(&word, 8, None).expect("wait"), Woken::Changed);
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert_eq!(wait(&word, 7, soon).expect("wait"), Woken::TimedOut);
        assert_eq!(wait(&word, 7, Some(Instant::now())).expect("wait"), Woken::TimedOut);
        assert_eq!(wake(&word, u32::MAX), 0);
    }

    #[test]
    fn a_sleeper_is_woken() {
        let word = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| wait(&word, 0, None).expect("wait"));
            while wake(&word, 1) == 0 {
                std::thread::yield_now();
            }
            assert_eq!(sleeper.join().expect("sleeper"), Woken::Woken);
        });
    }
}
