//! Hosts: programs that have done something to themselves before they start processes.

use std::process::ExitCode;
use std::time::Duration;

use procession::{Child, Connection, JoinError, Process, Receiver, Sender, StartMethod};
use procession::{active_children, pipe, simplex};
use procession_tests::{join, proc, raw, sleep_long, start};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    let method = crate::method(rest);
    match scenario {
        "closed" => closed(method, &rest[1], &rest[2], value),
        "closed_with_pipes" => closed(method, &rest[1], &rest[2], value_through_a_pipe),
        "ignored" => {
            raw::ignore(libc::SIGCHLD);
            lost_statuses(method);
        }
        "no_wait" => {
            raw::reap_by_itself();
            lost_statuses(method);
        }
        "thief" => thief(method),
        "untouched" => untouched(method),
        "interrupted" => interrupted(method),
        "attributes" => attributes(method),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// Returns 7 when the other end of its pipe is gone.
fn when_released(until: Receiver<()>) -> u8 {
    assert!(until.recv().is_err());
    7
}

fn held(method: StartMethod) -> (Child<u8>, Sender<()>) {
    let (until, release) = simplex().expect("pipe");
    (start(Process::new(when_released, (until,)), method), release)
}

fn plus_one(end: Connection<u64>) -> Vec<u8> {
    while let Ok(number) = end.recv() {
        end.send(&(number + 1)).expect("the program reads");
    }
    vec![5; 300_000]
}

fn value(method: StartMethod) -> Result<(), procession::Error> {
    let child =
        Process::new(|| vec![5u8; 300_000], ()).daemon(true).start_method(method).start()?;
    assert_eq!(child.join()?.len(), 300_000);
    Ok(())
}

fn value_through_a_pipe(method: StartMethod) -> Result<(), procession::Error> {
    let (ours, theirs) = pipe::<u64>()?;
    let process = Process::new(plus_one, (theirs,)).daemon(true).start_method(method);
    let child = process.start()?;
    ours.send(&1)?;
    assert_eq!(ours.recv()?, 2);
    // The child ends when it sees the end of file.
    drop(ours);
    assert_eq!(child.join()?.len(), 300_000);
    Ok(())
}

type Round = fn(StartMethod) -> Result<(), procession::Error>;

/// Starts processes without the standard streams in `mask`. There may be nowhere to panic to, so
/// what goes wrong is written to the file `report`.
fn closed(method: StartMethod, mask: &str, report: &str, round: Round) {
    let mask: u32 = mask.parse().expect("a number");
    let file = report.to_owned();
    std::panic::set_hook(Box::new(move |info| {
        // Without a file there is still the exit code.
        let _ = std::fs::write(&file, info.to_string());
    }));
    // A child that waits for ever would hold the test's pipes: it is a daemon, and this ends both.
    raw::end_after(20);
    for number in (0..3).filter(|number| mask & 1 << number != 0) {
        raw::close(number);
    }
    // The first ones take the free numbers.
    for number in 0..3 {
        std::fs::write(report, format!("hangs in round {number}")).expect("written");
        round(method).unwrap_or_else(|error| panic!("round {number}: {error:?}"));
    }
}

/// The system throws the statuses of this program's children away.
fn lost_statuses(method: StartMethod) {
    for _ in 0..3 {
        let (child, release) = held(method);
        drop(release);
        assert_eq!(child.join().expect("the value says enough"), 7);
        let (child, _release) = held(method);
        let pid = child.pid();
        child.kill().expect("kill");
        for _ in 0..2 {
            let error = child.wait().expect_err("its status is lost");
            assert!(matches!(error, JoinError::StatusLost { pid: p } if p == pid), "{error:?}");
        }
        assert_eq!(child.exit_status(), None);
        assert!(!child.is_alive());
        let error = child.join().expect_err("its status is lost");
        assert!(matches!(error, JoinError::StatusLost { pid: p } if p == pid), "{error:?}");
        assert!(error.to_string().contains("SIGCHLD"), "{error}");
        let (child, _release) = held(method);
        drop((child, _release));
    }
    proc::wait_until(|| active_children().is_empty());
}

/// Another part of this program takes every status that it can get.
fn thief(method: StartMethod) {
    let (child, _release) = held(method);
    let pid = child.pid();
    // The supervisor must not be faster: while somebody waits, nobody else reaps.
    child.kill().expect("kill");
    while proc::entry(pid).is_some() {
        let _taken = raw::reap_any(false);
    }
    match child.wait() {
        Err(JoinError::StatusLost { pid: lost }) => assert_eq!(lost, pid),
        Ok(status) => assert_eq!(status.signal(), Some(9), "procession was faster"),
        Err(error) => panic!("{error:?}"),
    }
    assert!(child.join().is_err());
    let (child, release) = held(method);
    let thief = std::thread::spawn(|| while raw::reap_any(true) {});
    drop(release);
    assert_eq!(child.join().expect("the value says enough"), 7);
    // The fork server is the last child; the thief waits for it as well.
    if let Some(server) = proc::fork_server_of(std::process::id()) {
        raw::signal(server, libc::SIGKILL).expect("it is there");
    }
    thief.join().expect("thread");
    assert_eq!(join(Process::new(|| 3u8, ()), method), 3, "starts go on");
}

/// Everything of this program that others may rely on.
#[derive(Debug, PartialEq)]
struct Host {
    dispositions: Vec<usize>,
    mask: Option<String>,
    environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    directory: std::path::PathBuf,
    group: u32,
    inheritable: Vec<i32>,
}

fn host() -> Host {
    let status = std::fs::read_to_string("/proc/self/status").expect("readable");
    Host {
        dispositions: (1..=64).map(raw::disposition).collect(),
        mask: status.lines().find(|line| line.starts_with("SigBlk:")).map(str::to_owned),
        environment: std::env::vars_os().collect(),
        directory: std::env::current_dir().expect("known"),
        group: raw::group(),
        inheritable: raw::inheritable_descriptors(),
    }
}

fn untouched(method: StartMethod) {
    let before = host();
    let (child, release) = held(method);
    assert_eq!(host(), before, "while a child runs");
    // A copy of this program's by other means sees nothing of a start either.
    let shown = std::process::Command::new("/usr/bin/env").output().expect("env is there");
    assert!(!String::from_utf8_lossy(&shown.stdout).contains("PROCESSION_ENTRY"));
    drop(release);
    assert_eq!(child.join().expect("join"), 7);
    let below = Process::new(|| 1u8, ()).daemon(true).env("A", "b").current_dir("/");
    assert_eq!(join(below.group(procession::Group::New), method), 1);
    assert_eq!(host(), before, "afterwards");
}

extern "C" fn nothing(_: libc::c_int) {}

/// Signals come in all the time while this thread waits.
fn interrupted(method: StartMethod) {
    raw::handle_interrupting(libc::SIGUSR1, nothing);
    let target = raw::this_thread();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let sender = std::thread::spawn(move || {
        let pause = Duration::from_micros(200);
        while stopped.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            target.signal(libc::SIGUSR1);
        }
    });
    for round in 0..20u64 {
        let (ours, theirs) = pipe::<u64>().expect("pipe");
        let child = start(Process::new(plus_one, (theirs,)), method);
        ours.send(&round).expect("send");
        assert_eq!(ours.recv().expect("receive"), round + 1);
        let none = child.wait_timeout(Duration::from_millis(2)).expect("wait");
        assert_eq!(none, None, "not woken by what is not its end");
        assert!(!ours.poll(Duration::from_millis(2)).expect("poll"));
        drop(ours);
        assert_eq!(child.join().expect("join").len(), 300_000);
        let child = start(Process::new(sleep_long, ()), method);
        child.kill().expect("kill");
        assert_eq!(child.wait().expect("wait").signal(), Some(9));
    }
    drop(stop);
    sender.join().expect("thread");
}

/// What every child inherits from its parent, however it is started.
fn attributes(method: StartMethod) {
    let file = |path: std::path::PathBuf| std::fs::write(path, "").expect("written");
    let folder = procession_tests::Folder::new();
    raw::set_mode_mask(0o027);
    let path = folder.path().join("file");
    join(Process::new(file, (path.clone(),)), method);
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640, "the mask of file modes is the program's");
}
