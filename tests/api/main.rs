//! The public API, under every start method.

use std::time::Duration;

use procession::{Child, Group, JoinError, Process, StartMethod, current_process, spawn};

const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

fn square(number: u64) -> u64 {
    number * number
}

fn panics() {
    panic!("on purpose")
}

fn aborts() {
    std::process::abort()
}

fn exits(code: i32) {
    std::process::exit(code)
}

fn sleeps() {
    std::thread::sleep(Duration::from_secs(600));
}

fn name() -> String {
    current_process().name().to_owned()
}

fn names_below() -> Vec<String> {
    (0..2).map(|_| spawn(name, ()).expect("start").join().expect("join")).collect()
}

fn start<R>(process: Process<R>, method: StartMethod) -> Child<R>
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    process.start_method(method).start().expect("start")
}

#[test]
fn values_come_back_whatever_their_size() {
    for method in METHODS {
        assert_eq!(start(Process::new(square, (7,)), method).join().expect("join"), 49);
        for size in [0, 1, 64 << 10, 8 << 20] {
            let child = start(Process::new(|size: usize| vec![1u8; size], (size,)), method);
            assert!(
                child.wait().expect("wait").success(),
                "wait comes before join and does not hang"
            );
            assert_eq!(child.join().expect("join").len(), size);
        }
    }
}

#[test]
fn each_end_has_its_own_error() {
    for method in METHODS {
        let panicked = start(Process::new(panics, ()), method).join();
        let Err(JoinError::Panicked { message, location, .. }) = panicked else {
            panic!("{panicked:?}")
        };
        assert_eq!(message, "on purpose");
        assert!(location.contains("api/main.rs"), "{location}");
        let aborted = start(Process::new(aborts, ()), method).join();
        assert!(matches!(aborted, Err(JoinError::Signaled { signal: 6, .. })), "{aborted:?}");
        let exited = start(Process::new(exits, (3,)), method).join();
        assert!(matches!(exited, Err(JoinError::Exited(s)) if s.code() == Some(3)), "{exited:?}");
        let child = start(Process::new(sleeps, ()), method);
        assert!(child.is_alive() && child.exit_status().is_none());
        child.kill().expect("kill");
        let killed = child.join();
        assert!(matches!(killed, Err(JoinError::Signaled { signal: 9, .. })), "{killed:?}");
    }
}

#[test]
fn settings_arrive() {
    for method in METHODS {
        let directory = || std::env::current_dir().expect("directory").display().to_string();
        let there = start(Process::new(directory, ()).current_dir("/usr"), method);
        assert_eq!(there.join().expect("join"), "/usr");
        let variable = || std::env::var("PROCESSION_TEST").unwrap_or_default();
        let set = start(Process::new(variable, ()).env("PROCESSION_TEST", "set"), method);
        assert_eq!(set.join().expect("join"), "set");
        let named = start(Process::new(name, ()).name("resizer"), method);
        assert_eq!(
            (named.name().to_owned(), named.join().expect("join")),
            ("resizer".into(), "resizer".into())
        );
        let grouped = start(Process::new(sleeps, ()).group(Group::New).daemon(true), method);
        assert!(grouped.is_daemon());
        grouped.terminate_tree().expect("terminate");
        let ended = grouped.join();
        assert!(matches!(ended, Err(JoinError::Signaled { signal: 15, .. })), "{ended:?}");
        let no_such = Process::new(name, ()).current_dir("/no/such/place").start_method(method);
        let error = no_such.start().expect_err("no such directory").to_string();
        assert!(error.contains("/no/such/place"), "{error}");
        let names = start(Process::new(names_below, ()), method).join().expect("join");
        assert!(names[0].ends_with(":1") && names[1].ends_with(":2"), "{names:?}");
    }
}

fn echo(connection: procession::Connection<Vec<u8>>) {
    while let Ok(message) = connection.recv() {
        connection.send(&message).expect("the parent reads");
    }
}

#[test]
fn pipes_carry_every_size_and_end_with_their_process() {
    for method in METHODS {
        let (ours, theirs) = procession::pipe::<Vec<u8>>().expect("pipe");
        let child = start(Process::new(echo, (theirs,)), method);
        for size in [0, 1, 70_000, 3 << 20] {
            let message: Vec<u8> = (0..size).map(|i| i as u8).collect();
            ours.send(&message).expect("send");
            assert_eq!(ours.recv().expect("receive"), message);
        }
        child.kill().expect("kill");
        assert!(matches!(ours.recv(), Err(procession::RecvError::Closed)));
        assert!(child.join().is_err());
    }
}

#[test]
fn dropped_children_leave_no_zombie_and_strangers_are_left_alone() {
    let mut stranger =
        std::process::Command::new("/bin/sh").args(["-c", "exit 5"]).spawn().expect("sh");
    let pids: Vec<u32> = (0..20).map(|i| spawn(square, (i,)).expect("start").pid()).collect();
    let gone = |pid: &u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    while !pids.iter().all(gone) {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stranger.wait().expect("its status is its owner's").code(), Some(5));
}
