//! A program with signals, children and threads of its own, which nobody may touch.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use procession::{JoinError, Pool, Process, RecvError, SendError, StartMethod, TaskError, pipe};
use procession_tests::{METHODS, method_from, proc, raw, sleep_long};

use crate::argument;

pub(crate) fn method() -> StartMethod {
    method_from(&argument(1))
}

/// How many signals the program's own handler has seen.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn handle(_: i32) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Installs the program's own handler, without `SA_RESTART`.
pub(crate) fn install(signal: i32) {
    // SAFETY: all zeros are an action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handle as extern "C" fn(i32) as usize;
    // SAFETY: the handler counts, and does no more.
    let result = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

pub(crate) fn set_disposition(signal: i32, disposition: usize) {
    // SAFETY: the disposition is none that runs code: the default, or nothing.
    unsafe { libc::signal(signal, disposition) };
}

fn block(signal: i32) {
    // SAFETY: all zeros are an empty set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is ours.
    unsafe { libc::sigaddset(&raw mut set, signal) };
    // SAFETY: the set is ours; the old one is not wanted.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// Everything of this process that a library could change.
fn state() -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
    let kept = [
        "Name",
        "Umask",
        "TracerPid",
        "Groups",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "ShdPnd",
        "CapEff",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed",
    ];
    for line in status.lines() {
        if let Some((key, value)) = line.split_once(':').filter(|(key, _)| kept.contains(key)) {
            // The C library's own two signals are handled as soon as there is a second thread.
            let value = match u64::from_str_radix(value.trim(), 16) {
                Ok(mask) if key.starts_with("Sig") => format!("{:#x}", mask & !(0b11 << 31)),
                _ => value.to_owned(),
            };
            state.insert(key.to_owned(), value);
        }
    }
    for signal in (1..=64).filter(|signal| !(32..34).contains(signal)) {
        let handler = raw::disposition(signal);
        state.insert(format!("handler of {signal}"), format!("{handler:#x}"));
    }
    for (key, value) in std::env::vars_os() {
        state.insert(format!("variable {}", key.display()), value.display().to_string());
    }
    let limits = std::fs::read_to_string("/proc/self/limits").expect("it is there");
    state.insert("limits".to_owned(), limits);
    let directory = std::env::current_dir().expect("it is there");
    state.insert("directory".to_owned(), directory.display().to_string());
    state.insert("group".to_owned(), raw::group().to_string());
    let mut subreaper = 0i32;
    // SAFETY: the number is ours to write.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut subreaper) };
    state.insert("subreaper".to_owned(), subreaper.to_string());
    state
}

fn assert_same(before: &BTreeMap<String, String>) {
    let now = state();
    let differs = |key: &&String| before.get(*key) != now.get(*key);
    let changed: Vec<_> = before.keys().chain(now.keys()).filter(differs).collect();
    let shown: Vec<_> = changed.iter().map(|key| (key, before.get(*key), now.get(*key))).collect();
    assert!(changed.is_empty(), "what, before, now: {shown:?}");
}

/// A pool at its work, with a worker that has died, one that was killed, and a callback that runs.
fn use_a_pool(method: StartMethod) -> Pool {
    let pool = Pool::builder()
        .workers(2)
        .start_method(method)
        .task_timeout(Duration::from_secs(3600))
        .max_tasks_per_child(20)
        .memory_limit(1 << 30)
        .build()
        .expect("a pool");
    assert_eq!(pool.map(|number: u32| number + 1, 0..50).expect("values").len(), 50);
    let crashed = pool.apply(|| -> u32 { std::process::abort() }, ());
    assert!(matches!(crashed, Err(TaskError::WorkerDied { .. })), "{crashed:?}");
    let limit = Duration::from_millis(5);
    let late = pool.options().timeout(limit).apply(sleep_long, ());
    assert!(matches!(late, Err(TaskError::TimedOut { .. })), "{late:?}");
    let (sender, called) = std::sync::mpsc::channel();
    let result = pool.apply_async(|| 5, ()).expect("it is open");
    let _result = result.callback(move |value| sender.send(*value).expect("it listens"));
    assert_eq!(called.recv(), Ok(5));
    // Still at it, while the program looks at itself.
    pool.apply_async(sleep_long, ()).expect("it is open");
    pool
}

/// Uses everything there is: children that return, panic, are killed, dropped, not even started.
pub(crate) fn use_the_library(method: StartMethod) {
    let start = |process: Process<u32>| process.start_method(method).start().expect("it starts");
    assert_eq!(start(Process::new(|| 1, ())).join().expect("it returns"), 1);
    let crashed = start(Process::new(|| -> u32 { std::process::abort() }, ())).join();
    assert!(matches!(crashed, Err(JoinError::Signaled { signal: 6, .. })), "{crashed:?}");
    let set = Process::new(|| 2, ()).env("ADDED", "1").env_remove("HOME").current_dir("/usr");
    assert_eq!(start(set).join().expect("it returns"), 2);
    let limited = Process::new(|| 3, ()).memory_limit(1 << 30).group(procession::Group::New);
    assert_eq!(start(limited).join().expect("it returns"), 3);
    drop(start(Process::new(|| 4, ())));
    let nowhere = Process::new(|| 5, ()).current_dir("/no/such/place").start_method(method);
    assert!(nowhere.start().is_err());
    let daemon = Process::new(sleep_long, ()).daemon(true).start_method(method).start();
    daemon.expect("it starts").terminate().expect("it is ours");
    // To nobody, with `SIGPIPE` as it is by default: an error, and no signal.
    let (ours, theirs) = pipe::<Vec<u8>>().expect("a pipe");
    drop(theirs);
    for size in [1, 200_000] {
        assert!(matches!(ours.send(&vec![1; size]), Err(SendError::Closed)));
    }
    drop(use_a_pool(method));
}

pub(crate) fn untouched() {
    install(libc::SIGCHLD);
    install(libc::SIGUSR1);
    set_disposition(libc::SIGPIPE, libc::SIG_DFL);
    set_disposition(libc::SIGTERM, libc::SIG_IGN);
    block(libc::SIGUSR2);
    let before = state();
    use_the_library(method());
    assert_same(&before);
    let pool = use_a_pool(method());
    assert_same(&before);
    proc::wait_until(|| HANDLED.load(Ordering::Relaxed) > 0);
    // The library's own threads take no signal: handlers run on threads of the program's own.
    let (ours, theirs) = pipe::<u8>().expect("a pipe");
    let child = Process::new(|end: procession::Connection<u8>| drop(end.recv()), (theirs,));
    let child = child.start_method(method()).start().expect("it starts");
    let watching = || {
        let tasks = std::fs::read_dir("/proc/self/task").expect("it is there").flatten();
        let statuses =
            tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
        statuses.filter(|s| s.starts_with("Name:\tprocession")).collect::<Vec<_>>()
    };
    // A thread names itself, when it comes to run. One watches children, one keeps the pool, and one
    // runs its callbacks.
    proc::wait_until(|| watching().len() >= 3);
    for watching in watching() {
        let blocked = watching.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
        let blocked = u64::from_str_radix(blocked.expect("a mask"), 16).expect("a mask");
        for signal in [libc::SIGCHLD, libc::SIGUSR1, libc::SIGINT, libc::SIGALRM, libc::SIGWINCH] {
            assert_ne!(blocked & 1 << (signal - 1), 0, "{signal} is blocked there: {watching}");
        }
    }
    drop(ours);
    child.join().expect("it returns");
    drop(pool);
    assert_same(&before);
}

fn threads() -> usize {
    proc::switches(std::process::id()).len()
}

/// The thread that watches children comes with the first and goes with the last.
pub(crate) fn thread_goes() {
    assert_eq!(threads(), 1);
    for round in 0..20 {
        let (ours, theirs) = pipe::<u8>().expect("a pipe");
        let process = Process::new(|end: procession::Connection<u8>| drop(end.recv()), (theirs,));
        let child = process.start_method(StartMethod::Spawn).start().expect("it starts");
        assert_eq!(threads(), 2);
        drop(ours);
        match round % 3 {
            0 => child.join().expect("it returns"),
            1 => drop(child),
            _ => drop(child.wait().map(|status| assert!(status.success()))),
        }
        proc::wait_until(|| threads() == 1);
    }
    // A pool has its own, one for callbacks, and one that watches those who share memory.
    for _ in 0..5 {
        drop(use_a_pool(StartMethod::Spawn));
        proc::wait_until(|| threads() == 1);
    }
    // A start that fails leaves none either.
    let nowhere = Process::new(|| (), ()).current_dir("/no/such/place");
    assert!(nowhere.start_method(StartMethod::Spawn).start().is_err());
    proc::wait_until(|| threads() == 1);
}

/// A copy that the program forks by itself has no children, and hurts none.
pub(crate) fn copies() {
    let method = method();
    let (ours, theirs) = pipe::<u8>().expect("a pipe");
    let echo = |end: procession::Connection<u8>| {
        while let Ok(b) = end.recv() {
            end.send(&b).expect("the parent reads");
        }
    };
    let child = Process::new(echo, (theirs,)).daemon(true).start_method(method).start();
    let child = child.expect("it starts");
    let code = raw::in_forked_copy(|| {
        let joined = child.wait();
        let not_ours = matches!(joined, Err(JoinError::NotOurChild { .. }));
        let none = procession::active_children().is_empty();
        // It can have children itself.
        let own = METHODS.map(|method| {
            let own = Process::new(|| 6, ()).start_method(method).start();
            own.is_ok_and(|own| own.join().is_ok_and(|value| value == 6))
        });
        i32::from(not_ours) | i32::from(none) << 1 | i32::from(own == [true; 2]) << 2
    });
    assert_eq!(code.expect("a copy"), 0b111);
    // One that runs its hooks at exit does not end daemons of the original.
    let code = raw::in_forked_copy(|| std::process::exit(4));
    assert_eq!(code.expect("a copy"), 4);
    ours.send(&3).expect("the child is there");
    assert_eq!(ours.recv().expect("the child is there"), 3);
    drop(ours);
    child.join().expect("it returns");
}

/// Signals that the program handles come all the time while it waits.
pub(crate) fn interrupted() {
    install(libc::SIGUSR1);
    let method = method();
    let (ours, theirs) = pipe::<u32>().expect("a pipe");
    let pester = |end: procession::Connection<u32>, parent: u32| {
        for _ in 0..200 {
            raw::signal(parent, libc::SIGUSR1).expect("the parent is there");
            std::thread::sleep(Duration::from_micros(100));
        }
        end.send(&1).expect("the parent reads");
        end.recv().expect("the parent sends");
        for _ in 0..200 {
            raw::signal(parent, libc::SIGUSR1).expect("the parent is there");
            std::thread::sleep(Duration::from_micros(100));
        }
    };
    let child = Process::new(pester, (theirs, std::process::id())).start_method(method).start();
    let child = child.expect("it starts");
    assert_eq!(ours.recv().expect("a number"), 1);
    ours.send(&2).expect("the child reads");
    child.wait().expect("its status");
    assert!(HANDLED.load(Ordering::Relaxed) > 0, "the waits were disturbed");
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
    child.join().expect("it returns");
}

/// What the program blocks and handles is its own affair.
pub(crate) fn masks() {
    install(libc::SIGUSR1);
    block(libc::SIGUSR2);
    let look = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
        let mask = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(line.expect("a mask").trim(), 16).expect("a mask")
        };
        let pipe = raw::disposition(libc::SIGPIPE);
        (mask("SigBlk:"), mask("SigCgt:") & 1 << (libc::SIGUSR1 - 1), pipe == libc::SIG_IGN)
    };
    let child = Process::new(look, ()).start_method(method()).start().expect("it starts");
    // As in every program of Rust's, `SIGPIPE` does nothing.
    assert_eq!(child.join().expect("it returns"), (0, 0, true));
}
