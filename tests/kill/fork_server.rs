//! The fork server is killed at random moments while threads start and join.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use procession::{JoinError, Process, StartError, StartMethod};
use procession_tests::{Folder, Random, proc, raw, rounds, tests};

use crate::support::fork_servers_of;

tests! {
    no_start_is_lost_and_none_runs_twice,
    an_idle_server_that_is_killed_is_replaced,
    a_server_killed_while_it_is_asked_is_replaced,
    a_server_killed_together_with_its_copies_leaves_nothing,
}

const THREADS: usize = 4;

/// The child's work: leaves its number, so that running twice shows, and returns it.
fn leave_number(number: usize, tally: PathBuf) -> usize {
    use std::io::Write;
    let file = std::fs::File::options().create(true).append(true).open(tally);
    let line = format!("{number}\n");
    file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the folder is there");
    number
}

fn start_and_join(number: usize, tally: &std::path::Path) {
    let process = Process::new(leave_number, (number, tally.to_owned()));
    let child = process.start_method(StartMethod::ForkServer).start();
    let joined = child.unwrap_or_else(|error| panic!("start {number} is lost: {error}")).join();
    assert_eq!(joined.expect("nobody kills a child"), number);
}

fn no_start_is_lost_and_none_runs_twice() {
    let folder = Folder::new();
    let tally = folder.path().join("tally");
    let kills = rounds();
    let (done, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let mut starts = 0;
    thread::scope(|scope| {
        let starters: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (done, over, tally) = (&done, &over, &tally);
                scope.spawn(move || {
                    let mut rounds = 0;
                    while !over.load(Ordering::Relaxed) {
                        start_and_join(rounds * THREADS + thread, tally);
                        done.fetch_add(1, Ordering::Relaxed);
                        rounds += 1;
                    }
                    rounds
                })
            })
            .collect();
        // Also when a starter has failed, the others end.
        let _end = Finally(|| over.store(true, Ordering::Relaxed));
        kill_servers(kills, &done, || starters.iter().any(thread::ScopedJoinHandle::is_finished));
        over.store(true, Ordering::Relaxed);
        for starter in starters {
            starts += starter.join().expect("every start of it succeeded");
        }
    });
    let mut ran: BTreeMap<usize, usize> = BTreeMap::new();
    for line in std::fs::read_to_string(&tally).expect("children have run").lines() {
        *ran.entry(line.parse().expect("a number")).or_default() += 1;
    }
    let twice: Vec<_> = ran.iter().filter(|(_, times)| **times != 1).collect();
    assert!(twice.is_empty(), "number and how often it ran: {twice:?}");
    assert_eq!(ran.len(), starts, "every start ran");
}

/// Kills `kills` fork servers of this process, each after a random while of its life.
///
/// Between two kills some start has succeeded: a start may well be given up when its server dies
/// again and again.
fn kill_servers(kills: usize, done: &AtomicUsize, mut stop: impl FnMut() -> bool) {
    let mut random = Random::new();
    for _ in 0..kills {
        let before = done.load(Ordering::Relaxed);
        proc::wait_until(|| done.load(Ordering::Relaxed) > before || stop());
        let mut server = None;
        proc::wait_until(|| {
            server = fork_servers_of(std::process::id()).pop();
            server.is_some() || stop()
        });
        thread::sleep(Duration::from_micros(random.below(3_000)));
        if let Some(server) = server {
            // It may be dead already, of the kill before.
            let _ = raw::signal(server, libc::SIGKILL);
        }
    }
}

/// Every child of this process is killed again and again, of whatever kind and age: also a copy
/// that nobody has heard of yet, at the same time as the server that made it.
fn a_server_killed_together_with_its_copies_leaves_nothing() {
    let folder = Folder::new();
    let tally = folder.path().join("tally");
    let over = AtomicBool::new(false);
    let results: Vec<(usize, bool)> = thread::scope(|scope| {
        let starters: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (over, tally) = (&over, &tally);
                scope.spawn(move || {
                    let mut results = Vec::new();
                    while !over.load(Ordering::Relaxed) {
                        let number = results.len() * THREADS + thread;
                        results.push((number, start_and_perhaps_join(number, tally)));
                    }
                    results
                })
            })
            .collect();
        let _end = Finally(|| over.store(true, Ordering::Relaxed));
        let mut random = Random::new();
        for _ in 0..rounds() {
            thread::sleep(Duration::from_micros(random.below(6_000)));
            for child in proc::children_of(std::process::id()) {
                // It may be dead already, of the kill before.
                let _ = raw::signal(child.pid, libc::SIGKILL);
            }
        }
        over.store(true, Ordering::Relaxed);
        starters.into_iter().flat_map(|starter| starter.join().expect("no other error")).collect()
    });
    let tally_text = std::fs::read_to_string(&tally).unwrap_or_default();
    for (number, returned) in results {
        let ran = tally_text.lines().filter(|line| *line == number.to_string()).count();
        assert!(ran <= 1, "{number} ran {ran} times");
        assert!(!returned || ran == 1, "{number} has returned and not run");
    }
    start_and_join(usize::MAX, &tally);
}

/// Returns whether the child has returned. It may have been killed, and its start may have been
/// given up, but nothing else.
fn start_and_perhaps_join(number: usize, tally: &std::path::Path) -> bool {
    let process = Process::new(leave_number, (number, tally.to_owned()));
    let child = match process.start_method(StartMethod::ForkServer).start() {
        Ok(child) => child,
        Err(StartError::ForkServer { .. }) => return false,
        Err(error) => panic!("{number}: {error}"),
    };
    match child.join() {
        Ok(value) => {
            assert_eq!(value, number);
            true
        }
        Err(JoinError::Signaled { signal: 9, .. }) => false,
        Err(error) => panic!("{number}: {error}"),
    }
}

/// Does something at the end of a scope, also after a panic.
struct Finally<F: FnMut()>(F);

impl<F: FnMut()> Drop for Finally<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

fn the_server() -> u32 {
    let servers = fork_servers_of(std::process::id());
    let [server] = servers[..] else { panic!("one fork server: {servers:?}") };
    server
}

fn an_idle_server_that_is_killed_is_replaced() {
    let folder = Folder::new();
    let tally = folder.path().join("tally");
    for number in 0..rounds() {
        start_and_join(number, &tally);
        let server = the_server();
        raw::signal(server, libc::SIGKILL).expect("it is ours");
        // In every second round nobody asks before it is gone, and reaped.
        if number % 2 == 0 {
            proc::wait_until(|| proc::entry(server).is_none());
        }
    }
    let ran = std::fs::read_to_string(&tally).expect("children have run").lines().count();
    assert_eq!(ran, rounds());
    start_and_join(rounds(), &tally);
}

/// A stopped server has been asked, and has not answered, when it is killed.
fn a_server_killed_while_it_is_asked_is_replaced() {
    let folder = Folder::new();
    let tally = folder.path().join("tally");
    let mut random = Random::new();
    for number in 0..rounds() {
        // The one before may have answered before it was killed, and not been replaced.
        start_and_join(2 * number, &tally);
        let server = the_server();
        raw::signal(server, libc::SIGSTOP).expect("it is ours");
        thread::scope(|scope| {
            scope.spawn(|| start_and_join(2 * number + 1, &tally));
            thread::sleep(Duration::from_micros(random.below(2_000)));
            // Some of them come back to life for a moment first.
            if random.below(2) == 0 {
                raw::signal(server, libc::SIGCONT).expect("it is ours");
                thread::sleep(Duration::from_micros(random.below(500)));
            }
            raw::signal(server, libc::SIGKILL).expect("it is ours");
        });
    }
    let ran = std::fs::read_to_string(&tally).expect("children have run").lines().count();
    assert_eq!(ran, 2 * rounds());
    start_and_join(2 * rounds(), &tally);
}
