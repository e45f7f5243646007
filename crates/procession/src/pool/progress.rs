//! A line on the terminal that says how far a map is; there only with the feature `progress`.
//!
//! A terminal can be stopped, so who collects outcomes for everybody does not write to it: a batch's
//! line is drawn by the thread of the callbacks, and at the end by whoever has waited for it. Nothing is made, and nothing counted, if standard error is no terminal.

#[cfg(feature = "progress")]
pub(super) use with::Progress;
#[cfg(not(feature = "progress"))]
pub(super) use without::Progress;

#[cfg(feature = "progress")]
mod with {
    use std::fmt;
    use std::io::IsTerminal;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::sync::{Arc, Mutex, PoisonError};

    use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

    /// How far a map is, and the line that says so.
    pub(in crate::pool) struct Progress {
        bar: ProgressBar,
        /// Nobody draws after the end.
        drawing: Mutex<()>,
        done: AtomicU64,
        /// Somebody is about to draw.
        is_asked_for: AtomicBool,
    }

    impl Progress {
        /// Begins a line, for so many tasks if that is known; none if there is no terminal.
        pub(in crate::pool) fn begin(total: Option<usize>) -> Option<Arc<Self>> {
            if !std::io::stderr().is_terminal() {
                return None;
            }
            let total = total.map(|total| total as u64);
            // It leaves out what would be drawn too soon after the last time.
            let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
            let template = if total.is_some() {
                "{bar:40} {pos} of {len}, {per_sec}, {eta} left"
            } else {
                "{pos}, {per_sec}, {elapsed} so far"
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            Some(Arc::new(Self {
                bar,
                drawing: Mutex::new(()),
                done: AtomicU64::new(0),
                is_asked_for: AtomicBool::new(false),
            }))
        }

        /// So many more are done. Tells whether somebody has to draw it.
        pub(in crate::pool) fn add(&self, count: usize) -> bool {
            self.done.fetch_add(count as u64, Ordering::Relaxed);
            !self.is_asked_for.swap(true, Ordering::AcqRel)
        }

        /// Draws it, if it has not ended.
        pub(in crate::pool) fn draw(&self) {
            self.draw_and(|_| ());
        }

        /// Draws it for the last time; what is written next begins a line.
        pub(in crate::pool) fn end(&self) {
            self.draw_and(ProgressBar::abandon);
        }

        fn draw_and(&self, then: impl FnOnce(&ProgressBar)) {
            // ORDERING: with the exchange in `add`: who is told that somebody will draw has counted
            // before that reads the count.
            self.is_asked_for.swap(false, Ordering::AcqRel);
            let _drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
            if !self.bar.is_finished() {
                self.bar.set_position(self.done.load(Ordering::Relaxed));
                then(&self.bar);
            }
        }
    }

    impl Drop for Progress {
        fn drop(&mut self) {
            self.end();
        }
    }

    impl fmt::Debug for Progress {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Progress").field("done", &self.done).finish_non_exhaustive()
        }
    }
}

#[cfg(not(feature = "progress"))]
mod without {
    /// There is none.
    #[derive(Debug)]
    pub(in crate::pool) enum Progress {}

    impl Progress {
        pub(in crate::pool) fn add(&self, _: usize) -> bool {
            match *self {}
        }

        pub(in crate::pool) fn draw(&self) {
            match *self {}
        }

        pub(in crate::pool) fn end(&self) {
            match *self {}
        }
    }
}
