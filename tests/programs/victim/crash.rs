//! Deaths at crash points, chosen by this program's own environment.

use std::io::Write;
use std::time::{Duration, Instant};

use procession::{Group, JoinError, Process, StartMethod};
use procession_tests::{Random, proc, raw, rounds};

use crate::argument;

/// Chooses the point at which whatever is started from here on dies; `None` for nowhere.
fn choose(point: Option<&str>) {
    const POINT: &str = "PROCESSION_CRASH_POINT";
    match point {
        // SAFETY: the threads of this program read the environment only by way of std, which locks
        // it.
        Some(point) => unsafe { std::env::set_var(POINT, point) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(POINT) },
    }
}

/// Starts a child while the point is chosen, and another when it no longer is; for each it prints
/// what became of it, and how often anything has run by then.
pub(crate) fn at_point() {
    let (point, tally) = (argument(1), argument(2));
    choose(Some(&point));
    println!("{}", start_and_join(&tally));
    println!("{}", runs(&tally));
    choose(None);
    // Where it has come past the point it waits for more, and its copies would still die there.
    if let Some(server) = proc::fork_server_of(std::process::id()) {
        raw::signal(server, libc::SIGKILL).expect("it is ours");
    }
    println!("{}", start_and_join(&tally));
    println!("{}", runs(&tally));
    assert_no_zombies();
}

fn start_and_join(tally: &str) -> String {
    let process = Process::new(leave_a_line, (tally.to_owned(),));
    let child = match process.start_method(StartMethod::ForkServer).start() {
        Ok(child) => child,
        Err(error) => return format!("refused: {error}"),
    };
    match child.join() {
        Ok(value) => format!("value {value}"),
        Err(JoinError::Signaled { signal, .. }) => format!("signal {signal}"),
        Err(error) => format!("error: {error}"),
    }
}

fn leave_a_line(tally: String) -> u32 {
    let file = std::fs::File::options().create(true).append(true).open(tally);
    file.and_then(|mut file| file.write_all(b"ran\n")).expect("the folder is there");
    7
}

fn runs(tally: &str) -> usize {
    std::fs::read_to_string(tally).unwrap_or_default().lines().count()
}

/// The server dies when it has forked and not yet told; its copy ends by itself, because it cannot
/// be in the group that it shall be in. The start fails, and leaves nothing.
pub(crate) fn both_die() {
    choose(Some("server.forked"));
    let no_such_group = i32::MAX.cast_unsigned() - 1;
    let process = Process::new(|| (), ()).group(Group::Join(no_such_group));
    let started = process.start_method(StartMethod::ForkServer).start();
    assert!(started.is_err(), "there is no such group: {started:?}");
    choose(None);
    let next = Process::new(|| 7, ()).start_method(StartMethod::ForkServer).start();
    assert_eq!(next.expect("the next one starts").join().expect("it returns"), 7);
    assert_no_zombies();
}

/// Every server dies when it has forked and not yet told, and its copies take their time until they
/// say hello: what they are handed over is large. Each is found, and none is started again.
pub(crate) fn slow_copies() {
    let tally = argument(1);
    choose(Some("server.forked"));
    let mut random = Random::new();
    for number in 1..=rounds() {
        let bytes = vec![1u8; random.below(48 << 20) as usize];
        let run = |_: Vec<u8>, tally: String| leave_a_line(tally);
        let process = Process::new(run, (bytes, tally.clone()));
        let child = process.start_method(StartMethod::ForkServer).start();
        assert_eq!(child.expect("a copy is there").join().expect("it returns"), 7);
        assert_eq!(runs(&tally), number, "how often the first {number} have run");
    }
    assert_no_zombies();
}

/// Fails if a dead child stays there.
fn assert_no_zombies() {
    let zombies = || {
        let children = proc::children_of(std::process::id()).into_iter();
        children.filter(|child| child.state == 'Z').collect::<Vec<_>>()
    };
    let begin = Instant::now();
    while !zombies().is_empty() {
        if begin.elapsed() > Duration::from_secs(10) {
            eprintln!("nobody reaps {:?}", zombies());
            std::process::exit(1);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
