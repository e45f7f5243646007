//! Processes that can be found again, whoever their parent is by then.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use procession_tests::{Program, proc, raw};

/// A variable in the environment of a victim and of everything below it, by which they are found
/// whoever their parent is by then. What is left when it is dropped is killed.
#[derive(Debug)]
pub(crate) struct Mark(String);

/// The variable's name.
const VARIABLE: &str = "PROCESSION_TEST_MARK";

impl Mark {
    /// Makes a mark that no other process has.
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{}-{number}", std::process::id()))
    }

    /// The victim with one of its scenarios, marked.
    pub(crate) fn victim(&self, scenario: &str) -> Program {
        victim(scenario).env(VARIABLE, &self.0)
    }

    /// The marked processes that run.
    pub(crate) fn running(&self) -> Vec<proc::Entry> {
        proc::with_variable(&format!("{VARIABLE}={}", self.0))
    }

    /// Waits until no marked process runs; the test's watchdog is the only limit.
    ///
    /// One look can miss a process that is just being forked by one that was seen to run, so two
    /// looks in a row have to find nothing.
    pub(crate) fn wait_for_end(&self) {
        let mut empty = 0;
        let mut shown = Instant::now();
        while empty < 2 {
            let running = self.running();
            empty = if running.is_empty() { empty + 1 } else { 0 };
            // For whoever reads the output of a test that the watchdog has ended.
            if shown.elapsed() > Duration::from_secs(20) {
                shown = Instant::now();
                eprintln!("still there: {running:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        for process in self.running() {
            // One that has ended meanwhile is no error.
            let _ = raw::signal(process.pid, libc::SIGKILL);
        }
    }
}

/// The victim with one of its scenarios.
pub(crate) fn victim(scenario: &str) -> Program {
    Program::new(env!("CARGO_BIN_EXE_victim"), scenario)
}
