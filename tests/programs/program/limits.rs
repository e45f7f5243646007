//! Starts without descriptors or processes.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::Duration;

use procession::{
    Child, Process, Receiver, RecvError, Sender, StartError, StartMethod, active_children, pipe,
    simplex,
};
use procession_tests::{Snapshot, join, proc, raw, start};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    let method = crate::method(rest);
    let number = || rest[1].parse().expect("a number");
    match scenario {
        "nothing" => {}
        "files" => files(method),
        "files_at_first" => files_at_first(method, number()),
        "files_of_pipes" => files_of_pipes(method),
        "files_of_two_who_wait" => files_of_two_who_wait(method),
        "processes_at_first" => processes_at_first(method, number()),
        "processes" => processes(method, number()),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn square(number: u64) -> u64 {
    number * number
}

/// Returns 7 when the other end of its pipe is gone.
fn when_released(until: Receiver<()>) -> u8 {
    assert!(until.recv().is_err());
    7
}

/// Opens files until no number below `FILLED` is free.
pub(crate) fn fill() -> Vec<File> {
    let mut files = Vec::new();
    while files.last().is_none_or(|file: &File| file.as_raw_fd() < FILLED - 1) {
        files.push(File::open("/dev/null").expect("/dev/null is there"));
    }
    files
}

/// The first number that is not filled.
pub(crate) const FILLED: i32 = 64;

/// Runs `f` with so many descriptors free.
pub(crate) fn with_free<R>(free: u64, f: impl FnOnce() -> R) -> R {
    raw::set_limit(libc::RLIMIT_NOFILE, FILLED as u64 + free).expect("limited");
    let result = f();
    raw::set_limit(libc::RLIMIT_NOFILE, u64::MAX).expect("back to the hard limit");
    result
}

/// Whether a start has worked; if the system refused it, what is not clear about the error.
fn outcome(result: Result<Child<u64>, StartError>, words: &str) -> (bool, Option<String>) {
    match result {
        Ok(child) => {
            assert_eq!(child.join().expect("what has started returns"), 81);
            (true, None)
        }
        Err(error) => {
            let text = error.to_string();
            let clear = matches!(error, StartError::Resources { .. }) && text.contains(words);
            (false, (!clear).then(|| format!("{error:?}, shown as: {text}")))
        }
    }
}

const NO_FILES: &str = "no more open files are allowed";
const NO_PROCESSES: &str = "no more processes are allowed";

fn held(count: usize, method: StartMethod) -> (Vec<Child<u8>>, Sender<()>) {
    let (until, release) = simplex().expect("pipe");
    let child = |_| {
        let until = until.clone();
        start(Process::new(when_released, (until,)), method)
    };
    ((0..count).map(child).collect(), release)
}

fn assert_healthy(children: Vec<Child<u8>>, release: Sender<()>) {
    assert_eq!(active_children().len(), children.len(), "no other child was left");
    assert!(children.iter().all(Child::is_alive));
    drop(release);
    for child in children {
        assert_eq!(child.join().expect("join"), 7);
    }
}

/// A start with each number of free descriptors, from none to enough.
fn files(method: StartMethod) {
    assert_eq!(join(Process::new(square, (9,)), method), 81);
    let (earlier, release) = held(3, method);
    let before = Snapshot::take();
    let filling = fill();
    let filled = Snapshot::take();
    let (mut works, mut unclear) = (Vec::new(), Vec::new());
    for free in 0..24 {
        let process = Process::new(square, (9,)).start_method(method);
        let (worked, problem) = with_free(free, || outcome(process.start(), NO_FILES));
        works.push(worked);
        unclear.extend(problem.map(|problem| format!("{free} free: {problem}")));
        filled.assert_nothing_left();
        assert_eq!(join(Process::new(square, (9,)), method), 81, "with {free} free, afterwards");
    }
    drop(filling);
    before.assert_nothing_left();
    assert_healthy(earlier, release);
    assert!(!works[0] && works[23], "{works:?}");
    assert!(unclear.is_empty(), "{unclear:#?}");
}

/// The first start of all, which makes more than a child.
fn files_at_first(method: StartMethod, free: u64) {
    let _filling = fill();
    let process = Process::new(square, (9,)).start_method(method);
    let (works, unclear) = with_free(free, || outcome(process.start(), NO_FILES));
    assert!(works != (free == 0) || (1..23).contains(&free), "with {free} free: {works}");
    assert!(active_children().is_empty());
    assert_eq!(join(Process::new(square, (9,)), method), 81, "afterwards");
    let zombies = proc::children_of(std::process::id());
    assert!(zombies.iter().all(|child| child.state != 'Z'), "{zombies:?}");
    assert_eq!(unclear, None);
}

/// Pipes and messages with handles without descriptors.
fn files_of_pipes(method: StartMethod) {
    let sends = |tx: Sender<Vec<Sender<u8>>>| {
        let (_rx, end) = simplex::<u8>().expect("pipe");
        for _ in 0..2 {
            let ends = vec![end.clone(), end.clone()];
            tx.send(&ends).expect("the parent reads");
        }
    };
    let (rx, tx) = simplex().expect("pipe");
    join(Process::new(sends, (tx,)), method);
    let (a, b) = pipe::<Vec<u8>>().expect("pipe");
    let (_ends, end) = simplex::<procession::Connection<Vec<u8>>>().expect("pipe");
    let _filled = fill();
    let before = Snapshot::take();
    for free in 0..4 {
        let error = with_free(free, || pipe::<u8>().expect_err("four are needed"));
        assert!(error.to_string().contains("a pipe cannot be made"), "{error}");
        before.assert_nothing_left();
    }
    let clone = with_free(0, || a.clone());
    clone.send(&vec![3]).expect("a clone needs none");
    assert_eq!(b.recv().expect("receive"), [3]);
    let refused = with_free(0, || end.send(&clone).expect_err("a handle in a message needs one"));
    assert!(refused.to_string().contains("handle"), "{refused}");
    let large = with_free(0, || a.send(&vec![1; 20 << 20]).expect_err("one is needed"));
    assert!(matches!(large, procession::SendError::Io(_)), "{large:?}");
    assert!(matches!(b.try_recv(), Err(procession::TryRecvError::Empty)), "nothing was sent");
    a.send(&vec![2; 10]).expect("a short one needs none");
    assert_eq!(b.recv().expect("receive").len(), 10);

    // The first message finds no room for its handles, and waits until there is.
    let refused = with_free(1, || rx.recv().expect_err("two are needed"));
    assert!(matches!(refused, RecvError::Io(_)), "{refused:?}");
    assert!(refused.to_string().contains("limit of open files"), "{refused}");
    before.assert_nothing_left();
    for _ in 0..2 {
        assert_eq!(rx.recv().expect("there is room").len(), 2);
    }
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
}

/// Of two that wait for a message one is woken. It cannot take it, so the other is woken as well.
fn files_of_two_who_wait(method: StartMethod) {
    let sends = |tx: Sender<Sender<u8>>, until: Receiver<()>| {
        let (_rx, end) = simplex::<u8>().expect("pipe");
        until.recv().expect("the parent says when");
        tx.send(&end).expect("the parent reads");
        assert!(until.recv().is_err());
    };
    let (rx, tx) = simplex().expect("pipe");
    let (until, says) = simplex().expect("pipe");
    let child = start(Process::new(sends, (tx, until)), method);
    let (sender, receiver) = std::sync::mpsc::channel();
    let _filled = fill();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            let (sender, rx) = (sender.clone(), &rx);
            scope.spawn(move || sender.send(rx.recv().err()));
        }
        // Long enough for both to sleep, most of the time.
        std::thread::sleep(Duration::from_millis(50));
        let told = with_free(0, || {
            says.send(&()).expect("it waits");
            [(); 2].map(|()| receiver.recv_timeout(Duration::from_secs(20)))
        });
        // Ends the wait of who was not told.
        drop(says);
        let is_told = |told: &Result<_, _>| matches!(told, Ok(Some(RecvError::Io(_))));
        assert!(told.iter().all(is_told), "{told:?}");
    });
    child.join().expect("it ends");
    assert!(rx.recv().is_ok(), "it is still there");
}

/// How many processes and threads this user has.
fn tasks() -> u64 {
    let user = raw::user().to_string();
    let count = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let mine = status.lines().any(|line| {
            line.strip_prefix("Uid:").and_then(|ids| ids.split_whitespace().next()) == Some(&user)
        });
        if mine { proc::field("Threads", &status).unwrap_or(1) } else { 0 }
    };
    proc::all().iter().map(|entry| count(entry.pid)).sum()
}

/// The first start of all, with so many processes (and threads) still allowed.
fn processes_at_first(method: StartMethod, free: u64) {
    const MOST: u64 = 5;
    raw::set_limit(libc::RLIMIT_NPROC, tasks() + MOST).expect("limited");
    let (alive, ended) = std::sync::mpsc::channel::<()>();
    let ended = std::sync::Arc::new(std::sync::Mutex::new(ended));
    let wait = |_| {
        let ended = std::sync::Arc::clone(&ended);
        std::thread::spawn(move || drop(ended.lock().map(|ended| ended.recv())))
    };
    let threads: Vec<_> = (free..MOST).map(wait).collect();
    let process = Process::new(square, (9,)).start_method(method);
    let (works, unclear) = outcome(process.start(), NO_PROCESSES);
    assert!(!(works && free == 0), "not with none");
    assert!(works || free < MOST, "there is enough");
    assert!(active_children().is_empty());
    drop(alive);
    threads.into_iter().for_each(|thread| thread.join().expect("thread"));
    assert_eq!(join(Process::new(square, (9,)), method), 81, "afterwards");
    let zombies = proc::children_of(std::process::id());
    assert!(zombies.iter().all(|child| child.state != 'Z'), "{zombies:?}");
    assert_eq!(unclear, None);
}

/// Starts until no more are allowed.
fn processes(method: StartMethod, free: u64) {
    raw::set_limit(libc::RLIMIT_NPROC, tasks() + free).expect("limited");
    let (until, release) = simplex::<()>().expect("pipe");
    let mut children = Vec::new();
    let error = loop {
        let until = until.clone();
        match Process::new(when_released, (until,)).start_method(method).start() {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
        assert!(children.len() < 1000, "the limit is far below");
    };
    assert!(matches!(error, StartError::Resources { .. }), "{error:?}");
    assert!(error.to_string().contains(NO_PROCESSES), "{error}");
    assert!(!children.is_empty(), "some were allowed");
    for _ in 0..20 {
        let refused = Process::new(square, (9,)).start_method(method).start();
        assert_eq!(outcome(refused, NO_PROCESSES), (false, None), "not one more");
    }
    assert_healthy(children, release);
    assert_eq!(join(Process::new(square, (9,)), method), 81, "there is room again");
}
