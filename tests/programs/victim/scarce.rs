//! What happens when this process has no free descriptor in the middle of something.

use std::fs::File;
use std::time::Duration;

use procession::{Connection, Process, SendError, StartError, StartMethod, pipe};
use procession_tests::{Snapshot, method_from, proc, raw, warm_up};

use crate::argument;

/// Leaves `free` descriptors until it is dropped.
struct Scarce {
    fillers: Vec<File>,
}

const ROOM: u64 = 256;

impl Scarce {
    fn new(free: usize) -> Self {
        let fewer = proc::descriptors_of(std::process::id()).last().map_or(0, |(n, _)| n + 1);
        let limit = u64::try_from(fewer).expect("a number") + 64;
        raw::set_limit(libc::RLIMIT_NOFILE, limit).expect("a lower limit is allowed");
        let mut fillers = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            fillers.push(file);
        }
        fillers.truncate(fillers.len() - free);
        Self { fillers }
    }
}

impl Drop for Scarce {
    fn drop(&mut self) {
        self.fillers.clear();
        raw::set_limit(libc::RLIMIT_NOFILE, ROOM).expect("the old limit is allowed");
    }
}

/// Starts a child with the numbers of free descriptors that the arguments give; each start works,
/// or has not happened.
pub(crate) fn starts() {
    raw::set_limit(libc::RLIMIT_NOFILE, ROOM).expect("a lower limit is allowed");
    let (method, warm) = (method_from(&argument(1)), argument(2) == "warm");
    if warm {
        warm_up();
    }
    for free in std::env::args().skip(4) {
        let before = warm.then(Snapshot::take);
        let scarce = Scarce::new(free.parse().expect("a number"));
        let (ours, theirs) = match pipe::<u64>() {
            Ok((ours, theirs)) => (Some(ours), Some(theirs)),
            Err(_) => (None, None),
        };
        let work = |connection: Option<Connection<u64>>, number: u64| {
            connection.inspect(|connection| connection.send(&number).expect("somebody reads"));
            vec![number; 20_000]
        };
        let started = Process::new(work, (theirs, 7)).start_method(method).start();
        drop(scarce);
        match started {
            Ok(child) => {
                let joined = child.join();
                assert_eq!(joined.unwrap_or_else(|e| panic!("{free} free: {e}")), [7; 20_000]);
                if let Some(ours) = ours {
                    assert_eq!(ours.recv().expect("it was sent"), 7);
                }
                println!("started with {free}");
            }
            Err(error) => {
                if let Some(ours) = ours {
                    // It has not run, and never will: its end is closed.
                    assert!(matches!(ours.recv(), Err(procession::RecvError::Closed)));
                }
                let clear = matches!(error, StartError::Resources { .. } | StartError::Encode(_))
                    || matches!(error, StartError::CurrentDir { .. });
                assert!(clear, "{free} free: {error:?}");
                println!("refused with {free}: {error}");
            }
        }
        // The next one is not hurt.
        let next = Process::new(|| 8, ()).start_method(method).start();
        let next = next.unwrap_or_else(|e| panic!("after {free} free: {e}"));
        assert_eq!(next.join().unwrap_or_else(|e| panic!("after {free} free: {e}")), 8);
        if let Some(before) = before {
            before.assert_nothing_left();
        }
    }
}

/// The fork server makes the child, and its answer cannot be received: no descriptor is free for
/// the child's handle. The start works, or it has not happened.
pub(crate) fn replies() {
    raw::set_limit(libc::RLIMIT_NOFILE, ROOM).expect("a lower limit is allowed");
    warm_up();
    let tally = std::path::PathBuf::from(argument(1));
    let before = Snapshot::take();
    for _ in 0..5 {
        let _ = std::fs::remove_file(&tally);
        let server = proc::fork_server_of(std::process::id()).expect("it waits for more");
        raw::signal(server, libc::SIGSTOP).expect("it is ours");
        proc::wait_until(|| proc::entry(server).is_some_and(|entry| entry.state == 'T'));
        let start = || {
            let run = |tally: std::path::PathBuf| std::fs::write(tally, "ran").expect("room");
            Process::new(run, (tally.clone(),)).start_method(StartMethod::ForkServer).start()
        };
        let started = std::thread::scope(|scope| {
            let starting = scope.spawn(start);
            // If this is too short, the start fails earlier, which is as good.
            std::thread::sleep(Duration::from_millis(20));
            let scarce = Scarce::new(0);
            raw::signal(server, libc::SIGCONT).expect("it is ours");
            let started = starting.join().expect("no panic");
            drop(scarce);
            started
        });
        let refused = started.is_err();
        match started {
            Ok(child) => child.join().expect("it returns"),
            Err(error) => println!("refused: {error}"),
        }
        let next = Process::new(|| 8, ()).start_method(StartMethod::ForkServer).start();
        assert_eq!(next.expect("the next one starts").join().expect("it returns"), 8);
        before.assert_nothing_left();
        assert_eq!(tally.exists(), !refused, "refused: {refused}; whether it ran is the contrary");
    }
}

/// Sends and receives what needs descriptors, without any.
pub(crate) fn messages() {
    raw::set_limit(libc::RLIMIT_NOFILE, ROOM).expect("a lower limit is allowed");
    let (a, b) = pipe::<(Vec<u8>, Option<Connection<u8>>)>().expect("a pipe");
    let (one, other) = pipe::<u8>().expect("a pipe");
    let large = (vec![1; 17 << 20], None);
    let with_handle = (vec![2], Some(one));
    let before = Snapshot::take();
    let scarce = Scarce::new(0);
    for message in [&large, &with_handle] {
        let sent = a.send(message);
        assert!(matches!(sent, Err(SendError::Io(_) | SendError::Encode(_))), "{sent:?}");
        assert!(!b.poll(Duration::ZERO).expect("a look"), "nothing was sent");
    }
    drop(scarce);
    before.assert_nothing_left();
    for message in [&large, &with_handle] {
        a.send(message).expect("now there is room");
    }
    let scarce = Scarce::new(0);
    let small = (vec![3], None);
    a.send(&small).expect("it needs no descriptor");
    // Who receives without room is told; the messages wait until there is.
    for _ in 0..2 {
        let received = b.recv();
        assert!(matches!(received, Err(procession::RecvError::Io(_))), "{received:?}");
    }
    drop(scarce);
    for message in [&large, &with_handle, &small] {
        let received = b.recv().expect("now there is room");
        assert_eq!((received.0, received.1.is_some()), (message.0.clone(), message.1.is_some()));
    }
    drop((with_handle, other));
    a.send(&large).expect("there is room");
    assert_eq!(b.recv().expect("there is room").0, large.0);
}
