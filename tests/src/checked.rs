//! One test at a time, watched, with a look for leaks afterwards.

use std::sync::{Mutex, Once, PoisonError};

use procession::Process;

use crate::proc::Snapshot;
use crate::watchdog::Watchdog;

/// Tests of one process count its descriptors and children, so they run one after another.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Runs a test alone, with a watchdog, and fails if it leaves anything behind.
pub fn checked(name: &str, test: impl FnOnce()) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let _watchdog = Watchdog::new(name);
    static WARM: Once = Once::new();
    WARM.call_once(warm_up);
    let before = Snapshot::take();
    test();
    before.assert_nothing_left();
}

/// Starts and joins a process by each method, and makes an object in shared memory: what then stays
/// (the fork server, the thread that watches it, two descriptors) is there for good reason.
///
/// # Panics
///
/// When a start fails.
pub fn warm_up() {
    for method in crate::METHODS {
        let child = Process::new(|| (), ()).start_method(method).start().expect("it starts");
        child.join().expect("it returns");
    }
    // A thread has its name, by which it is counted, when it comes to run.
    crate::proc::wait_until(|| crate::proc::supervisors() > 0);
    // What watches those who share memory comes with the first object.
    drop(procession::Lock::new().expect("there is memory"));
}
