//! Sleeping on a word, as the kernel has it.
//!
//! The look at the word and the falling asleep are one step. Sleepers are woken in the order in
//! which they came, which may be any. One with a deadline is out of time at once: the model tries
//! every moment at which that is.

use std::cell::RefCell;
use std::io;
use std::time::Instant;

use loom::thread::{Thread, current, park};

pub(crate) use procession_sys::futex::Woken;

use super::atomic::AtomicU32;
use super::check::step;
use super::clock;

thread_local! {
    /// Every thread of a model runs in one thread of the system's.
    static SLEEPERS: RefCell<Vec<(usize, Thread)>> = const { RefCell::new(Vec::new()) };
}

/// Forgets the sleepers of an earlier run.
pub(super) fn begin() {
    SLEEPERS.with_borrow_mut(Vec::clear);
}

pub(crate) fn wait(
    word: &AtomicU32,
    expected: u32,
    deadline: Option<Instant>,
) -> io::Result<Woken> {
    step();
    if word.last() != expected {
        return Ok(Woken::Changed);
    }
    if let Some(deadline) = deadline {
        clock::pass_until(deadline);
        return Ok(Woken::TimedOut);
    }
    SLEEPERS.with_borrow_mut(|sleepers| sleepers.push((address(word), current())));
    park();
    Ok(Woken::Woken)
}

pub(crate) fn wake(word: &AtomicU32, count: u32) -> usize {
    step();
    word.last();
    let mut woken = 0;
    while woken < usize::try_from(count).unwrap_or(usize::MAX) {
        let first = SLEEPERS.with_borrow_mut(|sleepers| {
            let first = sleepers.iter().position(|(slept_on, _)| *slept_on == address(word))?;
            Some(sleepers.remove(first).1)
        });
        let Some(first) = first else { break };
        first.unpark();
        woken += 1;
    }
    woken
}

fn address(word: &AtomicU32) -> usize {
    (&raw const *word).addr()
}
