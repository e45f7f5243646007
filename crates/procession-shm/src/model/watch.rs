//! In the place of `watch`: the kernel tells, and no thread has to sleep for it.

use std::io;
use std::sync::{Arc, Weak};

use crate::model::process::{self, current_pid};
use crate::roster::{Number, Participant, Roster};

/// Something in which processes take part.
pub(crate) trait Watched: Send + Sync {
    /// Who takes part.
    fn roster(&self) -> &Roster;

    /// Takes a dead participant out of everything.
    fn sweep(&self, dead: Participant);

    /// Wakes everybody.
    fn wake(&self);
}

/// The watcher of a process.
pub(crate) struct Watcher;

impl Watcher {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self)
    }

    /// Watches every participant of a segment but this process; sweeps up after the dead at once.
    pub(crate) fn watch<S: Watched + 'static>(
        &self,
        segment: &Arc<S>,
        me: Number,
    ) -> io::Result<()> {
        let dynamic: Arc<dyn Watched> = Arc::clone(segment) as _;
        for participant in segment.roster().participants() {
            if participant.number == me || participant.pid == current_pid() {
                continue;
            }
            let weak: Weak<dyn Watched> = Arc::downgrade(&dynamic);
            if !process::watch(participant.pid, weak, participant.number) {
                segment.sweep(participant);
            }
        }
        Ok(())
    }

    /// Tells whether a participant is dead.
    pub(crate) fn is_dead(&self, participant: Participant) -> io::Result<bool> {
        Ok(process::find(participant.pid, |start| participant.was_started(start))?.is_none())
    }

    pub(crate) fn forget<S: Watched>(&self, _: &S) {}
}
