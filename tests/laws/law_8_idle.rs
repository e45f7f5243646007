//! Law 8: idle is idle. While nothing happens, nobody wakes up.

use std::collections::BTreeMap;
use std::time::Duration;

use procession_tests::{is_long, proc, tests};

use crate::mark::Mark;

tests! {
    blocked_processes_sleep,
    who_waits_for_an_object_sleeps,
    a_program_without_children_sleeps,
    pools_without_work_sleep,
}

/// How often each thread of each marked process has stopped running, and the time it has used.
fn look(mark: &Mark) -> BTreeMap<String, (u64, String)> {
    let mut seen = BTreeMap::new();
    for process in mark.running() {
        for (thread, switches) in proc::switches(process.pid) {
            let number = thread.rsplit(' ').next().unwrap_or_default();
            let stat = format!("/proc/{}/task/{number}/stat", process.pid);
            let stat = std::fs::read_to_string(stat).unwrap_or_default();
            let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
            // Its ticks, in the program and in the kernel.
            let ticks = fields.split(' ').skip(11).take(2).collect::<Vec<_>>().join("+");
            seen.insert(format!("{} {thread}", process.pid), (switches, ticks));
        }
    }
    seen
}

/// Looks at a victim that says it is idle, and again after a while of doing nothing.
fn assert_idle(scenario: &str, processes: usize) {
    let mark = Mark::new();
    let mut victim = mark.victim("idle").arg(scenario).start();
    assert_eq!(victim.line(), "idle");
    // What has just been said and done comes to its end.
    let mut before = look(&mark);
    proc::wait_until(|| {
        std::thread::sleep(Duration::from_millis(100));
        let now = look(&mark);
        std::mem::replace(&mut before, now) == before
    });
    assert_eq!(mark.running().len(), processes, "{before:?}");
    std::thread::sleep(Duration::from_secs(if is_long() { 20 } else { 3 }));
    let after = look(&mark);
    assert_eq!(before, after, "thread: how often it has stopped, its ticks");
    victim.say("enough");
    let (status, rest) = victim.finish();
    assert!(status.success(), "{rest}");
    mark.wait_for_end();
}

/// A parent that waits in every way it can, children of both start methods that do, below them
/// others, and the fork servers between them.
fn blocked_processes_sleep() {
    // The program and its server; two children, each with a server, and a child of their own.
    assert_idle("blocked", 2 + 2 * 3);
}

/// A program, its server, and one process for each way to wait for an object in shared memory.
fn who_waits_for_an_object_sleeps() {
    assert_idle("objects", 2 + 12);
}

fn a_program_without_children_sleeps() {
    assert_idle("alone", 2);
}

/// A program, its server, eight workers without a task, and one at a task with a time limit.
fn pools_without_work_sleep() {
    assert_idle("pool", 2 + 8 + 1);
}
