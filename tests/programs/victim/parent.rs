//! Starts processes from several threads, without an end, until it is killed.

use std::io::Write;

use procession::{Connection, Pool, Process, StartMethod, pipe};
use procession_tests::{METHODS, method_from, method_name, sleep_long};

use crate::argument;

/// How many processes one thread starts: more than it comes to in its time on a machine at rest.
const MOST: usize = 64;

/// Starts what the first argument says, by the method of the second, or by both.
pub(crate) fn run() {
    let (work, method) = (argument(1), argument(2));
    let methods = if method == "both" { METHODS.to_vec() } else { vec![method_from(&method)] };
    println!("begin");
    std::io::stdout().flush().expect("somebody reads");
    let works: &[fn(StartMethod)] = match work.as_str() {
        "daemons" => &[daemons],
        "trees" => &[trees],
        "forks" => &[forks],
        "pipes" => &[pipes],
        "pools" => &[pools],
        _ => &[daemons, trees, pipes, forks, pools],
    };
    let threads: usize = if works.len() == 1 { 3 } else { 1 };
    let mut running = Vec::new();
    for method in methods {
        for work in works {
            running.extend((0..threads).map(|_| std::thread::spawn(move || work(method))));
        }
    }
    sleep_long();
}

/// Daemons that would run for ever, and some that end of themselves.
fn daemons(method: StartMethod) {
    for round in 0..MOST {
        let sleeper = Process::new(sleep_long, ()).daemon(true).start_method(method).start();
        drop(sleeper.expect("a daemon starts"));
        let quick =
            Process::new(|round: usize| round, (round,)).daemon(true).start_method(method).start();
        assert_eq!(quick.expect("a daemon starts").join().expect("it returns"), round);
    }
}

/// Daemons whose children, and theirs, are no daemons themselves.
fn trees(method: StartMethod) {
    for _ in 0..MOST {
        let branch = Process::new(branch, (2, method_name(method).to_owned()));
        drop(branch.daemon(true).start_method(method).start().expect("a daemon starts"));
    }
}

/// Starts two processes of the next depth, and waits for ever.
fn branch(depth: u32, method: String) {
    let depth_below = depth - 1;
    for daemon in [false, true] {
        let process = if depth_below == 0 {
            Process::new(sleep_long, ())
        } else {
            Process::new(branch, (depth_below, method.clone()))
        };
        let started = process.daemon(daemon).start_method(method_from(&method)).start();
        drop(started.expect("a child of a child starts"));
    }
    sleep_long();
}

/// Daemons that fork themselves: the copies end with them, and with what they are copies of.
fn forks(method: StartMethod) {
    fn fork_and_sleep() {
        for _ in 0..2 {
            // SAFETY: the copy sleeps, and needs no lock of another thread's.
            let copy = unsafe { procession::fork(sleep_long) };
            drop(copy.expect("a copy of a daemon"));
        }
        sleep_long();
    }
    for _ in 0..MOST {
        let daemon = Process::new(fork_and_sleep, ()).daemon(true).start_method(method);
        drop(daemon.start().expect("a daemon starts"));
    }
}

/// Processes that are no daemons: nobody ends them, they end when their pipe does. Each has a
/// daemon of its own, which ends with it.
fn pipes(method: StartMethod) {
    let mut ends = Vec::new();
    for _ in 0..MOST {
        let (ours, theirs) = pipe::<u32>().expect("a pipe");
        let process = Process::new(read_to_the_end, (theirs, method_name(method).to_owned()));
        drop(process.start_method(method).start().expect("a child starts"));
        ours.send(&1).expect("the child is there");
        ends.push(ours);
    }
    sleep_long();
}

fn read_to_the_end(connection: Connection<u32>, method: String) {
    let daemon = Process::new(sleep_long, ()).daemon(true).start_method(method_from(&method));
    drop(daemon.start().expect("a daemon of a child starts"));
    while connection.recv().is_ok() {}
}

/// Pools whose workers are at tasks, also ones that never end, and have pools of their own.
fn pools(method: StartMethod) {
    let inner = |number: u64| {
        let pool = Pool::new(1).expect("a pool inside");
        pool.apply(|number: u64| number + 1, (number,)).expect("a value")
    };
    for _ in 0..MOST / 8 {
        let pool = Pool::builder().workers(2).start_method(method).build().expect("a pool");
        assert_eq!(pool.map(|number: u64| number * 2, 0..100).expect("values").len(), 100);
        assert_eq!(pool.apply(inner, (1,)), Ok(2));
        pool.apply_async(sleep_long, ()).expect("it is open");
        pool.map_async(|_: u64| sleep_long(), 0..10).expect("it is open");
        // It stays for as long as this program does.
        std::mem::forget(pool);
    }
}
