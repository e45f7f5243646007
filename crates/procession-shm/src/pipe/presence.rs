//! Whether somebody has the other end: asked of the kernel, when there is a reason to.
//!
//! Each question is a system call, and a message costs little more than one. So whoever lets go of an
//! end leaves a hint in shared memory, a process that hears of a death remembers that it has, the
//! thread that watches tells of lines that hang up, and without any of that nothing is asked, but by
//! who has sent little yet.

use std::io;
use std::sync::Arc;

use procession_sys::runtime;

use super::{End, Inner};
use crate::atomic::{Ordering, unmodelled};
use crate::segment::{Core, SegmentError};
use crate::watch::Line;

/// How often in its beginning a sender asks whether the other end is still there, before it has its
/// line watched instead.
const ASKED: u32 = 64;

/// How many deaths this process has heard of.
static DEATHS: unmodelled::AtomicU32 = unmodelled::AtomicU32::new(0);

/// Says that a process has died: the next to send asks whether that was the last with the other end.
pub fn somebody_died() {
    // ORDERING: Release pairs with the Acquire in `is_gone_to_send`: who knows of the death, and then
    // sends, asks.
    DEATHS.fetch_add(1, Ordering::Release);
}

/// How many deaths this process has heard of.
pub(super) fn deaths() -> u32 {
    // ORDERING: Acquire pairs with the Release in `somebody_died`.
    DEATHS.load(Ordering::Acquire)
}

impl End {
    /// Sees to it that the gates open when somebody dies or the line hangs up.
    pub(super) fn watch(&self) -> Result<(), SegmentError> {
        self.core().watch_others()?;
        if self.is_watched() {
            return Ok(());
        }
        let line: Arc<dyn Line> = Arc::clone(&self.0) as _;
        match Core::watch_line(self.0.line.handle(), Arc::downgrade(&line)) {
            Ok((copies, number)) => {
                let watched = u64::from(copies) << 32 | (number & u64::from(u32::MAX));
                self.0.watched.store(watched, Ordering::Release);
                Ok(())
            }
            // By another thread, just now.
            Err(SegmentError::Io(error)) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn is_watched(&self) -> bool {
        let watched = self.0.watched.load(Ordering::Acquire);
        watched as u32 != 0 && (watched >> 32) as u32 == runtime::known_copies()
    }

    /// Asks the kernel whether nobody has the other end any more.
    pub(super) fn is_gone(&self) -> bool {
        if self.0.gone.load(Ordering::Acquire) {
            return true;
        }
        let is_gone = self.0.line.is_hung_up();
        if is_gone {
            self.0.gone.store(true, Ordering::Release);
        }
        is_gone
    }

    /// The same, for one who is about to sleep: the watching thread tells of what comes later.
    pub(super) fn is_gone_to_sleep(&self) -> bool {
        self.0.gone.load(Ordering::Acquire)
            || ((self.is_hinted() || !self.is_watched()) && self.is_gone())
    }

    /// The same, for one who is about to send: without a question, if there is no reason for one.
    pub(super) fn is_gone_to_send(&self) -> bool {
        let deaths = deaths();
        let sends = self.0.sends.load(Ordering::Relaxed);
        if self.0.gone.load(Ordering::Acquire) {
            return true;
        }
        // A forked copy of this process is not told of what this one watches.
        let is_told = sends >= ASKED && self.is_watched();
        if is_told && self.0.deaths.load(Ordering::Relaxed) == deaths && !self.is_hinted() {
            return false;
        }
        self.0.deaths.store(deaths, Ordering::Relaxed);
        // From then on, this process is told. If it cannot be, it goes on asking.
        if sends + 1 < ASKED {
            self.0.sends.store(sends + 1, Ordering::Relaxed);
        } else if self.watch().is_ok() {
            self.0.sends.store(ASKED, Ordering::Relaxed);
        }
        self.is_gone()
    }

    /// Takes a hint.
    fn is_hinted(&self) -> bool {
        let hint = &self.words().hints[self.0.hint.side];
        // ORDERING: Acquire: the line was closed before the hint was given. It is taken before the
        // question, so that one that comes later is not lost.
        if hint.load(Ordering::Acquire) == 0 {
            return false;
        }
        hint.store(0, Ordering::SeqCst);
        if self.is_gone() {
            // For the other processes with this end.
            hint.store(1, Ordering::SeqCst);
        }
        true
    }
}

impl Line for Inner {
    fn hung_up(&self) {
        self.gone.store(true, Ordering::Release);
        let (words, side) = (self.hint.segment.body(), self.hint.side);
        words.directions[side].room_gate().open_all();
        words.directions[1 - side].message_gate().open_all();
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let watched = *self.watched.get_mut();
        if watched as u32 != 0 {
            let watch = ((watched >> 32) as u32, watched & u64::from(u32::MAX));
            Core::forget_line(self.line.handle(), watch);
        }
    }
}
