//! Many children: at once, from many threads, one after another without growth.

use std::collections::HashSet;
use std::process::Command;

use procession::{Connection, Process, StartMethod, active_children, spawn};
use procession_tests::{METHODS, Snapshot, for_each_method, is_long, join, proc, start, tests};

for_each_method!(
    from_many_threads,
    at_once,
    nothing_grows,
    threads_that_start_and_end,
    large_values_both_ways_at_once,
);
tests!(both_methods_from_many_threads, beside_strangers, killed_as_they_start);

fn identity(number: u64) -> (u64, u32) {
    (number, std::process::id())
}

fn start_some(first: u64, count: u64, methods: &[StartMethod]) -> Vec<u32> {
    let run = |number: u64| {
        let method = methods[number as usize % methods.len()];
        let child = start(Process::new(identity, (number,)), method);
        let pid = child.pid();
        assert_eq!(child.join().expect("join"), (number, pid));
        pid
    };
    (first..first + count).map(run).collect()
}

const EACH: u64 = 25;

fn from_many_threads(method: StartMethod) {
    from_threads(&[method]);
}

fn both_methods_from_many_threads() {
    from_threads(&METHODS);
}

/// Eight threads, two hundred starts.
fn from_threads(methods: &[StartMethod]) {
    let pids: HashSet<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..8).map(|i| scope.spawn(move || start_some(i * EACH, EACH, methods))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("thread")).collect()
    });
    // Numbers come round again only after very many.
    assert_eq!(pids.len() as u64, 8 * EACH);
    assert!(active_children().is_empty());
}

fn at_once(method: StartMethod) {
    let (ours, theirs) = procession::pipe::<u32>().expect("pipe");
    let waits = |end: Connection<u32>| {
        end.send(&std::process::id()).expect("the parent reads");
        end.recv().expect("a number")
    };
    let child = |_| {
        let end = theirs.clone();
        start(Process::new(waits, (end,)), method)
    };
    let children: Vec<_> = (0..50).map(child).collect();
    let mut ready: Vec<u32> = (0..50).map(|_| ours.recv().expect("it runs")).collect();
    let mut pids: Vec<u32> = children.iter().map(procession::Child::pid).collect();
    assert_eq!(active_children().iter().map(|c| c.pid()).collect::<Vec<_>>(), pids, "in order");
    ready.sort_unstable();
    pids.sort_unstable();
    assert_eq!(ready, pids);
    (0..50).for_each(|number| ours.send(&number).expect("send"));
    let mut numbers: Vec<u32> =
        children.into_iter().map(|child| child.join().expect("join")).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..50).collect::<Vec<_>>());
}

fn nothing_grows(method: StartMethod) {
    let rounds = if is_long() { 10_000 } else { 200 };
    let cycle = |number: u64| {
        assert_eq!(join(Process::new(identity, (number,)), method).0, number);
        if number.is_multiple_of(10) {
            drop(start(Process::new(identity, (number,)), method));
            let killed = start(Process::new(procession_tests::sleep_long, ()), method);
            killed.kill().expect("kill");
            assert!(killed.join().is_err());
        }
    };
    // What is kept for good is there after some rounds.
    (0..100).for_each(cycle);
    proc::wait_until(|| active_children().is_empty());
    let (before, memory) = (Snapshot::take(), proc::memory());
    let server = proc::fork_server_of(std::process::id());
    let of_server = || server.map(|pid| (proc::descriptors_of(pid).len(), memory_of(pid)));
    let server_before = of_server();
    (0..rounds).for_each(cycle);
    proc::wait_until(|| active_children().is_empty());
    before.assert_nothing_left();
    let grown = proc::memory().saturating_sub(memory);
    // A leak of a record of 100 bytes each would be 1 MB after 10,000.
    assert!(grown < 800, "{grown} KiB more after {rounds} starts");
    if let (Some((descriptors, memory)), Some((descriptors_now, memory_now))) =
        (server_before, of_server())
    {
        assert_eq!(descriptors, descriptors_now, "of the fork server");
        assert!(memory_now <= memory + 800, "the fork server: {memory} KiB, now {memory_now}");
    }
}

fn memory_of(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    proc::field("RssAnon", &status).unwrap_or(0)
}

fn threads_that_start_and_end(method: StartMethod) {
    // The thread that a child came from is long gone when others wait for it.
    let children: Vec<_> = (0..50u64)
        .map(|number| {
            let started = move || start(Process::new(identity, (number,)), method);
            std::thread::spawn(started).join().expect("thread")
        })
        .collect();
    for (number, child) in (0..).zip(children) {
        assert_eq!(child.join().expect("join").0, number);
    }
}

fn large_values_both_ways_at_once(method: StartMethod) {
    let size = if is_long() { 128 << 20 } else { 16 << 20 };
    let threads = (0..4u8).map(|byte| {
        std::thread::spawn(move || {
            let back = |mut large: Vec<u8>| {
                large.push(0);
                large
            };
            let large = join(Process::new(back, (vec![byte; size],)), method);
            let mut expected = vec![byte; size];
            expected.push(0);
            assert!(large == expected);
        })
    });
    threads.collect::<Vec<_>>().into_iter().for_each(|thread| thread.join().expect("thread"));
}

fn beside_strangers() {
    for method in METHODS {
        let strangers: Vec<_> = (0..20)
            .map(|code| {
                let ours = start(Process::new(identity, (code,)), method);
                let script = format!("exit {code}");
                let theirs = Command::new("/bin/sh").args(["-c", &script]).spawn().expect("sh");
                (ours, theirs)
            })
            .collect();
        assert!(active_children().len() <= 20, "strangers are not among them");
        for (code, (ours, mut theirs)) in (0..).zip(strangers) {
            assert_eq!(ours.join().expect("join").0, code);
            let status = theirs.wait().expect("its status is its owner's");
            assert_eq!(status.code(), i32::try_from(code).ok());
        }
        // Dead long before anybody asks, and while the supervisor's thread runs.
        let mut theirs = Command::new("/bin/sh").args(["-c", "exit 5"]).spawn().expect("sh");
        proc::wait_until(|| !proc::is_running(theirs.id()));
        assert_eq!(join(Process::new(identity, (1,)), method).0, 1);
        assert_eq!(theirs.wait().expect("its status is its owner's").code(), Some(5));
    }
}

fn killed_as_they_start() {
    for round in 0..100 {
        let child = start(Process::new(identity, (round,)), METHODS[round as usize % 2]);
        child.kill().expect("kill");
        match child.join() {
            Ok((number, _)) => assert_eq!(number, round, "it was faster"),
            Err(error) => {
                let killed = matches!(error, procession::JoinError::Signaled { signal: 9, .. });
                assert!(killed, "{error:?}");
            }
        }
    }
    assert_eq!(spawn(identity, (5,)).expect("start").join().expect("join").0, 5);
}
