//! A turn at something that only one may do at a time: a lock inside another structure, held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::lock::{Acquired, LockWords};
use crate::roster::Number;
use crate::segment::{Core, SegmentError};

/// One of a structure's inner locks, held until it is dropped.
pub(crate) struct Turn<'a> {
    lock: &'a LockWords,
    me: Number,
    /// Whether the last one who had it died with it.
    pub(crate) from_dead: bool,
}

/// How long a call that does not wait for messages or room waits for its turn: long enough for the
/// longest message of another.
pub(crate) fn patience() -> Option<Instant> {
    Instant::now().checked_add(Duration::from_secs(5))
}

impl<'a> Turn<'a> {
    /// Waits for the lock, at most until `deadline`; `None` when that has passed.
    pub(crate) fn acquire(
        core: &Arc<Core>,
        lock: &'a LockWords,
        deadline: Option<Instant>,
    ) -> Result<Option<Self>, SegmentError> {
        let Some(acquired) = lock.acquire(core, deadline)? else { return Ok(None) };
        let from_dead = matches!(acquired, Acquired::FromDead { .. });
        Ok(Some(Self { lock, me: core.me()?, from_dead }))
    }

    /// Takes the lock if that is possible now.
    pub(crate) fn try_acquire(core: &Arc<Core>, lock: &'a LockWords) -> Option<Self> {
        let acquired = lock.try_acquire(core).ok()??;
        let from_dead = matches!(acquired, Acquired::FromDead { .. });
        Some(Self { lock, me: core.me().ok()?, from_dead })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let _ = self.lock.release_own(self.me);
    }
}
