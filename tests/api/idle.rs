//! Idle is idle: who waits is not woken.

use std::collections::BTreeMap;
use std::time::Duration;

use procession::StartMethod;
use procession_tests::{for_each_method, method_name, proc, program};

for_each_method!(nobody_wakes_while_nothing_happens);

type Switches = BTreeMap<u32, BTreeMap<String, u64>>;

fn switches(pids: &[u32]) -> Switches {
    pids.iter().map(|pid| (*pid, proc::switches(*pid))).collect()
}

fn nobody_wakes_while_nothing_happens(method: StartMethod) {
    let mut running = program!("idle").arg("blocked").arg(method_name(method)).start();
    let line = running.line();
    let mut pids: Vec<u32> = line.split(' ').map(|pid| pid.parse().expect("a number")).collect();
    assert_eq!(pids.len(), 5, "four children and one below: {line}");
    pids.push(running.pid());
    pids.extend(proc::fork_server_of(running.pid()));
    // All have said that they are about to wait; give them the time to do so.
    let mut before = switches(&pids);
    for _ in 0..20 {
        std::thread::sleep(Duration::from_millis(50));
        let now = switches(&pids);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before.values().all(|threads| !threads.is_empty()), "all are there: {before:#?}");
    let supervised =
        |threads: &BTreeMap<String, u64>| threads.keys().any(|name| name.contains("procession"));
    assert!(supervised(&before[&running.pid()]), "the program's own thread among them");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(before, switches(&pids), "nothing has happened for a second");
    running.say("end");
    let (status, rest) = running.finish();
    assert!(status.success() && rest == "done\n", "{status}: {rest}");
}
