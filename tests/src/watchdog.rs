//! Ends a test that hangs.

use std::io::Write;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Aborts the process, with the test's name, if it is not dropped in time.
#[derive(Debug)]
pub(crate) struct Watchdog {
    alive: Option<mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watchdog {
    pub(crate) fn new(name: &str) -> Self {
        let name = name.to_owned();
        let limit = limit();
        let (alive, dropped) = mpsc::channel();
        let bark = move || {
            if dropped.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln`, which the harness keeps for an end that will not come.
                let _ = writeln!(
                    std::io::stderr(),
                    "watchdog: {name} has not ended after {} s",
                    limit.as_secs()
                );
                std::process::abort();
            }
        };
        let thread = std::thread::Builder::new().name("watchdog".to_owned()).spawn(bark);
        Self { alive: Some(alive), thread: thread.ok() }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.alive = None;
        if let Some(thread) = self.thread.take() {
            // It can only have ended.
            let _ = thread.join();
        }
    }
}

/// How long a test may take before it counts as hung.
pub(crate) fn limit() -> Duration {
    Duration::from_secs(if crate::is_long() { 3000 } else { 120 })
}
