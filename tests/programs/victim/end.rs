//! Ends in every way a program can, with children that still run.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use procession::{Connection, Pool, Process, StartMethod, pipe};
use procession_tests::{method_from, method_name, raw, sleep_long};

use crate::argument;

/// Starts children, and ends as the first argument says, while they run.
pub(crate) fn run() -> ExitCode {
    let (how, method, children) = (argument(1), method_from(&argument(2)), argument(3));
    println!("begins");
    let end = match children.as_str() {
        "daemons" => daemons(method),
        "stubborn" => stubborn(method),
        "pool" => pool(method),
        _ => others(method),
    };
    std::io::stdout().flush().expect("somebody reads");
    // Nothing is let go before the end itself.
    std::mem::forget(end);
    match how.as_str() {
        "return" => ExitCode::SUCCESS,
        "error" => ExitCode::FAILURE,
        "exit" => std::process::exit(3),
        "panic" => panic!("on purpose"),
        "abort" => std::process::abort(),
        "term" => {
            raw::signal_self(libc::SIGTERM);
            ExitCode::FAILURE
        }
        _ => {
            // SAFETY: ends the process at once, with no hook.
            unsafe { libc::_exit(0) }
        }
    }
}

/// What the program has in its hands at its end.
type Ends = Box<dyn std::any::Any>;

/// Daemons, of which one has children that are none.
fn daemons(method: StartMethod) -> Ends {
    fn branch(method: String, connection: Connection<u8>) {
        let leaf = Process::new(sleep_long, ()).start_method(method_from(&method));
        drop(leaf.start().expect("a child of a child starts"));
        connection.send(&1).expect("the parent waits");
        sleep_long();
    }
    for _ in 0..2 {
        let daemon = Process::new(sleep_long, ()).daemon(true).start_method(method);
        drop(daemon.start().expect("a daemon starts"));
    }
    let (ours, theirs) = pipe().expect("a pipe");
    let branch = Process::new(branch, (method_name(method).to_owned(), theirs));
    drop(branch.daemon(true).start_method(method).start().expect("a daemon starts"));
    ours.recv().expect("the daemon has a child");
    Box::new(ours)
}

/// Daemons that ignore `SIGTERM`.
fn stubborn(method: StartMethod) -> Ends {
    fn ignore(connection: Connection<u8>) {
        // SAFETY: ignoring a signal runs no code.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        connection.send(&1).expect("the parent waits");
        sleep_long();
    }
    let start = |_| {
        let (ours, theirs) = pipe().expect("a pipe");
        let daemon = Process::new(ignore, (theirs,)).daemon(true).start_method(method);
        drop(daemon.start().expect("a daemon starts"));
        ours.recv().expect("it ignores the signal");
        ours
    };
    Box::new((0..2).map(start).collect::<Vec<_>>())
}

/// Children that are no daemons, and end a while later.
fn others(method: StartMethod) -> Ends {
    fn end_later() {
        std::thread::sleep(Duration::from_millis(30));
        println!("a child has ended");
    }
    for _ in 0..3 {
        let child = Process::new(end_later, ()).start_method(method).start();
        drop(child.expect("a child starts"));
    }
    Box::new(())
}

/// A pool, with more tasks than its workers will ever do. Each begins with a child that is no daemon,
/// and one worker has a pool of its own.
fn pool(method: StartMethod) -> Ends {
    fn task(number: u32, method: String, connection: Connection<u32>) {
        let method = method_from(&method);
        let child = Process::new(sleep_long, ()).start_method(method).start();
        drop(child.expect("a worker's child starts"));
        let pool = Pool::builder().workers(1).start_method(method).build().expect("a pool inside");
        pool.apply_async(sleep_long, ()).expect("it is open");
        connection.send(&number).expect("the program waits");
        sleep_long();
    }
    let pool = Pool::builder().workers(2).start_method(method).build().expect("a pool");
    let (ours, theirs) = pipe().expect("a pipe");
    let items = (0..20).map(|n| (n, method_name(method).to_owned(), theirs.clone()));
    let result = pool.starmap_async(task, items).expect("it is open");
    for _ in 0..2 {
        ours.recv().expect("both workers are at a task");
    }
    // Somebody waits for it, and is no reason to stay.
    let waits = pool.apply_async(sleep_long, ()).expect("it is open");
    std::thread::spawn(move || waits.get());
    Box::new((pool, result, ours))
}
