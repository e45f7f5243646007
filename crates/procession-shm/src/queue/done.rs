//! What was taken is marked as done, and who joins waits for that.

use std::time::Instant;

use procession_sys::crash_point;

use super::Queue;
use crate::atomic::Ordering;
use crate::roster::place_of;
use crate::segment::SegmentError;
use crate::wait::block;
use crate::watch::Watched;

/// Why a join ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// Not in time.
    TimedOut,
    /// Processes died that had taken so many messages and not marked them as done.
    Lost(u64),
}

impl Queue {
    /// Marks one message as done; false if there is none that was not.
    #[must_use]
    pub fn task_done(&self) -> bool {
        let words = self.segment.body();
        let me = self.segment.core.me();
        let puts = self.ever_put();
        let more = |done: u64| (done < puts).then_some(done.wrapping_add(1));
        let done = words.done.fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        let Ok(before) = done else { return false };
        let mut was_last = before.wrapping_add(1) >= puts;
        if let Ok(me) = me {
            let taken = &words.taken[place_of(me)];
            // One that another process has taken is done all the same.
            taken.less(me);
            was_last |= taken.get(me) == 0 && self.is_empty();
        }
        if was_last {
            words.joiners.open_all();
        }
        true
    }

    /// Waits until every message that was put has been marked as done, at most until `deadline`.
    ///
    /// # Errors
    ///
    /// [`SegmentError`] when this process cannot take part; inside, [`Unfinished`].
    pub fn join(&self, deadline: Option<Instant>) -> Result<Result<(), Unfinished>, SegmentError> {
        let (words, core) = (self.segment.body(), &self.segment.core);
        let joined = block(core, &words.joiners, deadline, |_| {
            // In this order: what is put or done meanwhile is not taken for lost.
            let puts = self.ever_put();
            let is_over = self.is_empty() && self.nobody_has_taken();
            let done = words.done.load(Ordering::Acquire);
            let Some(lost) = puts.checked_sub(done).filter(|lost| *lost > 0) else {
                return Ok(Some(Ok(())));
            };
            if !is_over {
                return Ok(None);
            }
            // Told once, to one.
            let told = words.done.compare_exchange(done, puts, Ordering::AcqRel, Ordering::Relaxed);
            Ok(told.is_ok().then_some(Err(Unfinished::Lost(lost))))
        })?;
        // CRASH (queue.join.told): others sleep; the sweep opens the gate.
        crash_point!("queue.join.told");
        if matches!(joined, Some(Err(_))) {
            words.joiners.open_all();
        }
        Ok(joined.unwrap_or(Err(Unfinished::TimedOut)))
    }

    /// Returns how many messages were put from the beginning.
    fn ever_put(&self) -> u64 {
        let words = self.segment.body();
        // A writer that has died has perhaps not counted its last one, which may be taken already.
        let gets = words.gets.load(Ordering::Acquire);
        words.puts.load(Ordering::Acquire).max(gets)
    }

    /// Tells whether no process that still takes part has taken a message and not marked it.
    fn nobody_has_taken(&self) -> bool {
        let taken = &self.segment.body().taken;
        let mut participants = self.segment.core.roster().participants();
        participants.all(|one| taken[place_of(one.number)].get(one.number) == 0)
    }
}
