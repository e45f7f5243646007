//! What a child finds, seen from a program that has changed something first.

use std::process::{Command, ExitCode};

use procession::{Process, StartMethod, current_process};
use procession_tests::{METHODS, join, proc, raw, start};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    match scenario {
        "hello" => println!("hello, {}", current_process().name()),
        "itself" => itself(crate::method(rest)),
        "prints" => prints(crate::method(rest)),
        "panics" => panics(crate::method(rest)),
        "blocked" => blocked(crate::method(rest)),
        "server" => server(crate::method(rest)),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn itself(method: StartMethod) {
    let hello = || {
        let executable = std::env::current_exe().expect("known");
        let output = Command::new(executable).args(["runtime", "hello"]).output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    assert_eq!(join(Process::new(hello, ()), method), "hello, MainProcess\n");
}

fn prints(method: StartMethod) {
    let twice = || {
        println!("a line");
        print!("no newline|");
    };
    join(Process::new(twice, ()), method);
    let panics = |message: String| {
        print!("before a panic|");
        panic!("{message}") as u8
    };
    assert!(start(Process::new(panics, (String::new(),)), method).join().is_err());
    fn exits() {
        print!("before exit|");
        std::process::exit(0)
    }
    assert!(start(Process::new(exits, ()), method).join().is_err());
}

fn panics(method: StartMethod) {
    let panics = |message: String| {
        let other = std::thread::spawn(|| panic!("in a thread"));
        assert!(other.join().is_err());
        panic!("{message}") as u8
    };
    let child = Process::new(panics, ("on purpose".to_owned(),)).name("the culprit");
    assert!(start(child, method).join().is_err());
}

fn blocked(method: StartMethod) {
    raw::block_all_signals();
    let own = || std::fs::read_to_string("/proc/self/status").expect("readable");
    let mask = |status: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix("SigBlk:"));
        u64::from_str_radix(line.expect("a mask").trim(), 16).expect("a number")
    };
    assert_ne!(mask(&own()), 0, "the program blocks signals");
    let there = join(Process::new(own, ()), method);
    assert_eq!(mask(&there), 0, "its child does not");
    assert_ne!(mask(&own()), 0, "and the program still does");
}

/// Whatever the program lets programs to come inherit, its fork server lets go of, and so its
/// children never have it.
fn server(method: StartMethod) {
    let pair = raw::inheritable_pair(libc::SOCK_STREAM).expect("a pair");
    let targets = |pid: u32| -> Vec<String> {
        proc::descriptors_of(pid).into_iter().map(|(_, target)| target).collect()
    };
    let own = proc::descriptors_of(std::process::id());
    let ours: Vec<&String> =
        own.iter().filter(|(number, _)| pair.contains(number)).map(|(_, t)| t).collect();
    assert_eq!(ours.len(), 2);
    // A child of each method first: the server is launched whatever the method.
    for method in METHODS.into_iter().chain([method]) {
        join(Process::new(|| (), ()), method);
    }
    let server = proc::fork_server_of(std::process::id()).expect("it runs");
    let held = targets(server);
    assert!(!held.iter().any(|target| ours.contains(&target)), "{held:?}");
    let standard: Vec<_> =
        proc::descriptors_of(server).into_iter().filter(|(number, _)| *number <= 2).collect();
    assert!(standard.iter().all(|(_, target)| target == "/dev/null"), "{standard:?}");
    let directory = std::fs::read_link(format!("/proc/{server}/cwd")).expect("known");
    assert_eq!(directory, std::path::Path::new("/"));
    let of_child = join(
        Process::new(|| proc::descriptors_of(std::process::id()), ()),
        StartMethod::ForkServer,
    );
    assert!(!of_child.iter().any(|(_, target)| ours.contains(&target)), "{of_child:?}");
    pair.into_iter().for_each(raw::close);
}
