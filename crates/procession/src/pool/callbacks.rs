//! The thread that runs a pool's callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};

use crate::tell::tell;

/// A callback with everything that it needs.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// One thread, started with the first callback; it ends with the pool and all that is held of its
/// tasks.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    queue: Mutex<Option<Sender<Callback>>>,
}

impl Callbacks {
    /// Has a callback run, after those that came before.
    pub(crate) fn run(&self, callback: Callback) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel::<Callback>();
            let thread = std::thread::Builder::new().name("procession-callbacks".to_owned());
            let started = procession_sys::runtime::with_signals_blocked(|| {
                thread.spawn(move || receiver.into_iter().for_each(run_one))
            });
            if let Err(error) = started {
                tell(format_args!("procession: callbacks cannot run, there is no thread: {error}"));
            }
            sender
        });
        // It is closed if there is no thread, of which has been told.
        let _ = queue.send(callback);
    }
}

fn run_one(callback: Callback) {
    // Rust's own hook has told of the panic. It harms nothing else.
    let _ = catch_unwind(AssertUnwindSafe(callback));
}
