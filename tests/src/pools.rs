//! What tests of pools share.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use procession::Pool;

use crate::{Random, raw};

/// Kills so many workers of `pool` at random, or until `done`, and returns how many those were.
///
/// # Panics
///
/// Never: a pool has few workers.
pub fn kill_workers(pool: &Pool, kills: usize, done: &AtomicBool) -> usize {
    let mut random = Random::new();
    let mut killed = 0;
    while killed < kills && !done.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_micros(random.below(3000)));
        let mut workers = pool.stats().workers;
        // Most of the time one that works: killed as they start, all of them would mean that the
        // pool cannot have any.
        if random.below(20) > 0 {
            workers.retain(|worker| worker.busy || worker.tasks_done > 0);
        }
        if workers.is_empty() {
            continue;
        }
        let index = usize::try_from(random.below(workers.len() as u64)).expect("small");
        // One that is dead already and not yet replaced counts all the same: it is an upper bound.
        if raw::signal(workers[index].pid, libc::SIGKILL).is_ok() {
            killed += 1;
        }
    }
    killed
}

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future, with nothing but this thread.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}
