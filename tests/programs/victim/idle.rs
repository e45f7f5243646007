//! Does nothing, in every way there is.

mod objects;

use std::io::BufRead;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use procession::{Child, Connection, Process, StartMethod, pipe, wait};
use procession_tests::{METHODS, warm_up};

use crate::argument;

/// Blocks as the first argument says, until a line comes.
pub(crate) fn run() {
    if argument(1) == "alone" {
        warm_up();
        return say_and_wait();
    }
    if argument(1) == "pool" {
        return idle_pool();
    }
    if argument(1) == "objects" {
        return objects::run();
    }
    let mut children = Vec::new();
    let mut ends = Vec::new();
    for method in METHODS {
        let (ours, theirs) = pipe::<Vec<u8>>().expect("a pipe");
        let child = Process::new(idle_child, (theirs,)).start_method(method).start();
        children.push(Arc::new(child.expect("it starts")));
        ours.recv().expect("it is idle");
        ends.push(Arc::new(ours));
    }
    let mut threads = Vec::new();
    let mut block = |what: fn(&Child<()>, &Connection<Vec<u8>>)| {
        for (child, end) in children.iter().zip(&ends) {
            let (child, end) = (Arc::clone(child), Arc::clone(end));
            threads.push(thread::spawn(move || what(&child, &end)));
        }
    };
    block(|child, _| assert!(child.wait().expect("its status").signal() == Some(9)));
    block(|_, end| assert!(end.recv().is_err()));
    block(|_, end| assert!(end.poll(Duration::from_secs(3600)).expect("its end")));
    block(|child, end| drop(wait(&[child, end], None).expect("a wait")));
    block(|_, end| {
        // Nobody reads: it ends when the child does.
        while end.send(&vec![1; 10_000]).is_ok() {}
    });
    say_and_wait();
    for child in children {
        child.kill().expect("it is ours");
    }
    for thread in threads {
        thread.join().expect("each wait ends with its child");
    }
}

pub(super) fn say_and_wait() {
    println!("idle");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("text");
}

/// In a child: has a child that is idle, and waits for it.
fn idle_child(end: Connection<Vec<u8>>) {
    let (ours, theirs) = pipe::<u8>().expect("a pipe");
    let below = |theirs: Connection<u8>| drop(theirs.recv());
    let process = Process::new(below, (theirs,)).daemon(true);
    let child = process.start_method(StartMethod::ForkServer).start().expect("it starts");
    end.send(&Vec::new()).expect("the parent waits");
    child.wait().expect("its status");
    drop(ours);
}

/// A pool whose workers have worked, and one that is at a task with a time limit far away, for
/// which a thread waits.
fn idle_pool() {
    let pool = procession::Pool::new(8).expect("a pool");
    assert_eq!(pool.map(|number: u64| number, 0..1000).expect("values").len(), 1000);
    let limited = &procession::Pool::new(1).expect("a pool");
    thread::scope(|scope| {
        let limit = Duration::from_secs(3600);
        let task = scope.spawn(move || {
            limited.options().timeout(limit).apply(procession_tests::sleep_long, ())
        });
        say_and_wait();
        limited.terminate();
        assert_eq!(task.join().expect("no panic"), Err(procession::TaskError::Terminated));
    });
}
