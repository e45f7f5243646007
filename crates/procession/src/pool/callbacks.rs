//! The thread that runs a pool's callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::tell::tell;

/// A callback with everything that it needs.
pub(crate) type Callback = Box<dyn FnOnce() + Send>;

/// One thread, started with the first callback; it ends with the pool and all that is held of its
/// tasks.
#[derive(Debug, Default)]
pub(crate) struct Callbacks {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
enum Queue {
    /// There was no callback yet.
    #[default]
    Idle,
    /// There is a thread; or there could not be one.
    Running(Sender<Callback>, Option<JoinHandle<()>>),
    /// There shall be no thread any more: callbacks that come late run where they come from.
    Over,
}

impl Callbacks {
    /// Has a callback run, after those that came before.
    pub(crate) fn run(&self, callback: Callback) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*queue, Queue::Idle) {
            *queue = start();
        }
        match &*queue {
            // It is closed if there is no thread, of which has been told.
            Queue::Running(sender, _) => drop(sender.send(callback)),
            Queue::Idle | Queue::Over => {
                drop(queue);
                run_one(callback);
            }
        }
    }

    /// Waits until all callbacks were run, unless this is one.
    pub(crate) fn finish(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *queue, Queue::Over);
        drop(queue);
        if let Queue::Running(sender, Some(thread)) = before
            && thread.thread().id() != std::thread::current().id()
        {
            drop(sender);
            // What panics in it is caught.
            let _ = thread.join();
        }
    }
}

fn start() -> Queue {
    let (sender, receiver) = mpsc::channel::<Callback>();
    let thread = std::thread::Builder::new().name("procession-callbacks".to_owned());
    let started = procession_sys::runtime::with_signals_blocked(|| {
        thread.spawn(move || receiver.into_iter().for_each(run_one))
    });
    let started = started.map_err(|error| {
        tell(format_args!("procession: callbacks cannot run, there is no thread: {error}"));
    });
    Queue::Running(sender, started.ok())
}

fn run_one(callback: Callback) {
    // Rust's own hook has told of the panic. It harms nothing else.
    let _ = catch_unwind(AssertUnwindSafe(callback));
}
