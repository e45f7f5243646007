//! Events for `tracing`: workers that come and go, and what becomes of tasks; there only with the
//! feature `tracing`.
//!
//! A subscriber is a user's code. So what happens under the backend's lock is kept until that is
//! free, and a subscriber that panics harms nothing.

#[cfg(feature = "tracing")]
pub(super) use with::{News, settled};
#[cfg(not(feature = "tracing"))]
pub(super) use without::{News, settled};

#[cfg(feature = "tracing")]
mod with {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Mutex, PoisonError};

    use procession_sys::ExitStatus;
    use tracing::{Level, enabled, error, info, trace, warn};

    use crate::pool::backend::{Outcome, Settled};
    use crate::pool::record;

    const POOL: &str = "procession::pool";

    /// What has happened and was not announced yet.
    #[derive(Debug, Default)]
    pub(in crate::pool) struct News(Mutex<Vec<Item>>);

    #[derive(Debug)]
    enum Item {
        Started { pid: u32, name: String },
        Ended { pid: u32, name: String, exit: ExitStatus, is_expected: bool },
        NotStarted { error: String },
        Failed { message: String },
    }

    impl News {
        fn push(&self, item: Item) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(item);
        }

        /// A worker is there.
        pub(in crate::pool) fn started(&self, pid: u32, name: &str) {
            self.push(Item::Started { pid, name: name.to_owned() });
        }

        /// A worker has ended, as it was to or not.
        pub(in crate::pool) fn ended(
            &self,
            pid: u32,
            name: &str,
            exit: ExitStatus,
            is_expected: bool,
        ) {
            self.push(Item::Ended { pid, name: name.to_owned(), exit, is_expected });
        }

        /// A worker could not be started.
        pub(in crate::pool) fn not_started(&self, error: &impl ToString) {
            self.push(Item::NotStarted { error: error.to_string() });
        }

        /// The pool can have no workers.
        pub(in crate::pool) fn failed(&self, message: &str) {
            self.push(Item::Failed { message: message.to_owned() });
        }

        /// Tells it all to the subscriber. Not under a lock of the pool's.
        pub(in crate::pool) fn announce(&self) {
            let items = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
            items.iter().for_each(|item| calmly(|| item.announce()));
        }
    }

    impl Item {
        fn announce(&self) {
            match self {
                Self::Started { pid, name } => info!(target: POOL, pid, name, "worker started"),
                Self::Ended { pid, name, exit, is_expected: true } => {
                    info!(target: POOL, pid, name, %exit, "worker ended");
                }
                Self::Ended { pid, name, exit, is_expected: false } => {
                    warn!(target: POOL, pid, name, %exit, "worker died, and is replaced");
                }
                Self::NotStarted { error } => {
                    warn!(target: POOL, error, "worker could not be started, and will be later");
                }
                Self::Failed { message } => {
                    error!(target: POOL, error = message, "pool has failed: it gets no workers");
                }
            }
        }
    }

    /// Tells what has become of tasks.
    pub(in crate::pool) fn settled(outcome: &Outcome) {
        if !enabled!(target: POOL, Level::TRACE) {
            return;
        }
        let number = outcome.number;
        calmly(|| match &outcome.settled {
            Settled::Ran { records, worker, .. } => {
                let mut rest = &records[..];
                while let Some(record) = record::take(&mut rest) {
                    let outcome = record::outcome(record.kind());
                    trace!(target: POOL, number, worker, outcome, "task ran");
                }
            }
            Settled::Failed(error) => {
                trace!(target: POOL, number, outcome = error.word(), %error, "task failed");
            }
            Settled::AllFailed(error) => {
                let outcome = error.word();
                trace!(target: POOL, number, outcome, %error, "what is left of a piece failed");
            }
        });
    }

    /// Goes on after a panic, which has been reported.
    fn calmly(tell: impl FnOnce()) {
        let _ = catch_unwind(AssertUnwindSafe(tell));
    }
}

#[cfg(not(feature = "tracing"))]
mod without {
    use procession_sys::ExitStatus;

    use crate::pool::backend::Outcome;

    /// Nobody is told anything.
    #[derive(Debug, Default)]
    pub(in crate::pool) struct News;

    impl News {
        pub(in crate::pool) fn started(&self, _: u32, _: &str) {}

        pub(in crate::pool) fn ended(&self, _: u32, _: &str, _: ExitStatus, _: bool) {}

        pub(in crate::pool) fn not_started(&self, _: &impl ToString) {}

        pub(in crate::pool) fn failed(&self, _: &str) {}

        pub(in crate::pool) fn announce(&self) {}
    }

    pub(in crate::pool) fn settled(_: &Outcome) {}
}
