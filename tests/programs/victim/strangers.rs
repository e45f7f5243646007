//! A program with children that are none of procession's, or that meddles with those that are.

use std::time::Duration;

use procession::{JoinError, Process, StartMethod, pipe};
use procession_tests::{proc, raw, sleep_long};

use crate::untouched::{method, set_disposition, use_the_library};

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
}

/// With `SIGCHLD` ignored the kernel keeps no statuses.
pub(crate) fn ignored() {
    set_disposition(libc::SIGCHLD, libc::SIG_IGN);
    value_or_lost(method());
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
