//! A program and children that wait, each in its own way.

use std::process::ExitCode;
use std::time::Duration;

use procession::{Connection, Process, StartMethod, pipe, simplex, spawn, wait};
use procession_tests::{join, start};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    match scenario {
        "blocked" => blocked(crate::method(rest)),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn receives(end: Connection<u32>) {
    end.send(&std::process::id()).expect("the program reads");
    assert!(end.recv().is_err());
}

fn receives_for_long(end: Connection<u32>) {
    end.send(&std::process::id()).expect("the program reads");
    assert!(end.recv_timeout(Duration::from_secs(100_000)).is_err());
}

fn waits_for_several(end: Connection<u32>) {
    let (rx, _tx) = simplex::<u8>().expect("pipe");
    end.send(&std::process::id()).expect("the program reads");
    assert_eq!(wait(&[&rx, &end], None).expect("wait"), [1]);
}

fn joins(end: Connection<u32>) {
    end.send(&std::process::id()).expect("the program reads");
    spawn(receives, (end,)).expect("start").join().expect("join");
}

fn blocked(method: StartMethod) {
    // Both kinds of watching are in use: some wait for a child themselves, some do not.
    join(Process::new(|| (), ()), method);
    let mut ends = Vec::new();
    let mut children = Vec::new();
    let mut pids = Vec::new();
    let mut begin = |describe: fn(Connection<u32>) -> Process<()>, processes: usize| {
        let (ours, theirs) = pipe::<u32>().expect("pipe");
        children.push(start(describe(theirs), method));
        (0..processes).for_each(|_| pids.push(ours.recv().expect("it is about to wait")));
        ends.push(ours);
    };
    begin(|end| Process::new(receives, (end,)), 1);
    begin(|end| Process::new(receives_for_long, (end,)), 1);
    begin(|end| Process::new(waits_for_several, (end,)), 1);
    begin(|end| Process::new(joins, (end,)), 2);
    let first = children.remove(0);
    let waiter = std::thread::spawn(move || first.join().expect("join"));
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    println!("{}", pids.join(" "));
    std::io::stdin().read_line(&mut String::new()).expect("somebody says so");
    drop(ends);
    waiter.join().expect("thread");
    children.into_iter().for_each(|child| child.join().expect("join"));
    println!("done");
}
