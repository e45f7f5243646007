//! Whose turn it is at something that only one may do at a time: a lock inside another structure.

use std::time::{Duration, Instant};

use crate::lock::{Acquired, LockWords};
use crate::roster::Number;
use crate::segment::{Core, SegmentError};

/// How long a call that does not wait for messages or room waits for its turn: long enough for the
/// longest message of another.
pub(crate) fn patience() -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(5))
}

/// How long one attempt waits for its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It does not; nor does it take over from the dead.
    AtOnce,
    Until(Option<Instant>),
}

/// The longest message that is taken at once.
pub(crate) const AT_ONCE: usize = 16 * 1024;

/// One of a structure's inner locks, held until it is dropped.
pub(crate) struct Guard<'a> {
    lock: &'a LockWords,
    me: Number,
    /// Whether the last one who had it died with it.
    pub(crate) from_dead: bool,
}

impl<'a> Guard<'a> {
    #[inline]
    pub(crate) fn acquire(
        core: &std::sync::Arc<Core>,
        lock: &'a LockWords,
        turn: Turn,
    ) -> Result<Option<Self>, SegmentError> {
        let me = core.me()?;
        if lock.acquire_at_once(me) {
            return Ok(Some(Self { lock, me, from_dead: false }));
        }
        let Turn::Until(deadline) = turn else { return Ok(None) };
        let acquired = lock.acquire_in_time(core, me, deadline)?;
        Ok(acquired.map(|acquired| Self {
            lock,
            me,
            from_dead: matches!(acquired, Acquired::FromDead { .. }),
        }))
    }

    pub(crate) fn try_acquire(core: &std::sync::Arc<Core>, lock: &'a LockWords) -> Option<Self> {
        let acquired = lock.try_acquire(core).ok()??;
        let from_dead = matches!(acquired, Acquired::FromDead { .. });
        Some(Self { lock, me: core.me().ok()?, from_dead })
    }
}

impl Drop for Guard<'_> {
    #[inline]
    fn drop(&mut self) {
        let _ = self.lock.release_own(self.me);
    }
}
