//! A program with children that are none of procession's, or that meddles with those that are.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use procession::{JoinError, Pool, Process, StartMethod, TaskError, pipe};
use procession_tests::{proc, raw, sleep_long, warm_up};

use crate::untouched::{install, method, set_disposition, use_the_library};

/// The program's own children, of std and of `fork`, have their status for the program alone.
pub(crate) fn strangers() {
    let command = || {
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", "exit 5"]).spawn().expect("there is a shell")
    };
    let mut commands: Vec<_> = (0..5).map(|_| command()).collect();
    // SAFETY: this is the only thread so far.
    let forked = unsafe { libc::fork() };
    if forked == 0 {
        // SAFETY: ends the copy at once.
        unsafe { libc::_exit(9) };
    }
    let forked = forked.cast_unsigned();
    use_the_library(method());
    commands.extend((0..5).map(|_| command()));
    let pids: Vec<u32> = commands.iter().map(std::process::Child::id).chain([forked]).collect();
    let is_zombie = |pid: u32| proc::entry(pid).is_some_and(|entry| entry.state == 'Z');
    proc::wait_until(|| pids.iter().all(|pid| is_zombie(*pid)));
    use_the_library(method());
    assert!(pids.iter().all(|pid| is_zombie(*pid)), "they wait for who started them");
    let known = procession::active_children();
    assert!(!known.iter().any(|child| pids.contains(&child.pid())), "{known:?}");
    for command in &mut commands {
        assert_eq!(command.wait().expect("its status").code(), Some(5));
    }
    let mut status = 0;
    // SAFETY: the status is ours to write.
    let pid = unsafe { libc::waitpid(forked.cast_signed(), &raw mut status, 0) };
    assert_eq!((pid.cast_unsigned(), libc::WEXITSTATUS(status)), (forked, 9));
}

/// A program that waits for any child takes statuses that are not its own to take.
pub(crate) fn reaper() {
    std::thread::spawn(|| {
        loop {
            // SAFETY: plain numbers; no status is wanted.
            if unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) } < 0 {
                std::thread::sleep(Duration::from_micros(100));
            }
        }
    });
    value_or_lost(method());
    pool_works(method());
}

/// With `SIGCHLD` ignored the kernel keeps no statuses.
pub(crate) fn ignored() {
    set_disposition(libc::SIGCHLD, libc::SIG_IGN);
    value_or_lost(method());
    pool_works(method());
    assert_eq!(raw::disposition(libc::SIGCHLD), libc::SIG_IGN);
}

fn value_or_lost(method: StartMethod) {
    for number in 0..20u32 {
        // It is still there when its start has come to an end.
        let (ours, theirs) = pipe::<u32>().expect("a pipe");
        let echo = |end: procession::Connection<u32>| end.recv().expect("the parent sends");
        let child = Process::new(echo, (theirs,)).start_method(method).start().expect("it starts");
        ours.send(&number).expect("the child reads");
        if number % 3 == 0 {
            // Its value says enough, with or without a status.
            assert_eq!(child.join().expect("it returns"), number);
        } else if number % 3 == 1 {
            let waited = child.wait();
            let fine = matches!(&waited, Ok(status) if status.success())
                || matches!(waited, Err(JoinError::StatusLost { .. }));
            assert!(fine, "{waited:?}");
            assert!(!child.is_alive());
        }
        let child = Process::new(sleep_long, ()).start_method(method).start().expect("it starts");
        child.kill().expect("it is ours");
        let joined = child.join();
        let fine = matches!(
            joined,
            Err(JoinError::StatusLost { .. } | JoinError::Signaled { signal: 9, .. })
        );
        assert!(fine, "{joined:?}");
        proc::wait_until(|| procession::active_children().is_empty());
    }
}

/// A pool sees the deaths of its workers, whoever takes their statuses.
fn pool_works(method: StartMethod) {
    let pool = Pool::builder().workers(2).start_method(method).max_tasks_per_child(10);
    let pool = pool.build().expect("a pool");
    for number in 0..10u32 {
        let values = pool.options().chunk_size(1).map(|n: u32| n + 1, number..number + 10);
        assert_eq!(values.expect("values"), (number + 1..number + 11).collect::<Vec<_>>());
        let crashed = pool.apply(|| -> u32 { std::process::abort() }, ());
        assert!(matches!(crashed, Err(TaskError::WorkerDied { .. })), "{crashed:?}");
    }
    pool.close();
    pool.join().expect("it is closed");
}

/// What is open in a program that this one starts, as it says itself.
fn open_in_a_program() -> Vec<String> {
    let listing = std::process::Command::new("ls").args(["-l", "/proc/self/fd"]).output();
    let listing = String::from_utf8(listing.expect("ls is there").stdout).expect("text");
    listing.lines().filter(|line| line.contains(" -> ")).map(str::to_owned).collect()
}

/// Programs that are started by the means of std, while other threads start and join processes,
/// have nothing of what is open for these.
pub(crate) fn inherited() {
    let method = method();
    let before = open_in_a_program().len();
    let (ours, theirs) = pipe::<u8>().expect("a pipe");
    let wait = |end: procession::Connection<u8>| drop(end.recv());
    let child = Process::new(wait, (theirs,)).start_method(method).start().expect("it starts");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let process = Process::new(|| vec![1u8; 100_000], ()).start_method(method);
                    process.start().expect("it starts").join().expect("it returns");
                }
            });
        }
        let end = || over.store(true, Ordering::Relaxed);
        for _ in 0..100 {
            let open = open_in_a_program();
            if open.len() != before {
                end();
                panic!("{before} before, and now {open:#?}");
            }
        }
        end();
    });
    drop(ours);
    child.join().expect("it returns");
}

/// An interrupt for the whole group: the program handles it, a child dies of it, and the fork
/// server, of which nobody at the terminal knows, goes on.
pub(crate) fn group_interrupted() {
    // First: where it was ignored, as in the background of a shell, another server is needed then.
    install(libc::SIGINT);
    warm_up();
    let server = proc::fork_server_of(std::process::id());
    let (ours, theirs) = pipe::<u8>().expect("a pipe");
    let say_and_sleep = |end: procession::Connection<u8>| {
        end.send(&1).expect("the parent waits");
        sleep_long();
    };
    let child = Process::new(say_and_sleep, (theirs,)).start_method(method()).start();
    let child = child.expect("it starts");
    ours.recv().expect("it runs");
    assert_eq!(raw::group(), std::process::id(), "this is a group of its own");
    // SAFETY: plain numbers.
    unsafe { libc::kill(0, libc::SIGINT) };
    let joined = child.join();
    assert!(matches!(joined, Err(JoinError::Signaled { signal: 2, .. })), "{joined:?}");
    use_the_library(StartMethod::ForkServer);
    assert_eq!(proc::fork_server_of(std::process::id()), server, "it is the same");
}
