//! Law 4: nothing left behind, however a program ends.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::time::Duration;

use procession::{Process, StartMethod};
use procession_tests::{
    Folder, Random, for_each_method, is_long, method_name, proc, raw, sleep_long, tests,
};

use crate::mark::Mark;

for_each_method! {
    nobody_joins_and_no_zombie_stays,
    a_kill_of_everything_at_once_leaves_nothing,
    a_detached_tree_ends_with_its_daemon,
}

tests! {
    however_a_program_ends_its_daemons_end,
    however_a_program_ends_its_pools_end,
    an_exit_joins_the_others,
    an_exit_kills_daemons_that_do_not_want_to_end,
}

/// The ways in which the victim's `end` scenario can end: the code or the signal that goes with it.
const EXITS: [(&str, i32); 4] = [("return", 0), ("exit", 3), ("panic", 101), ("error", 1)];
const DEATHS: [(&str, i32); 3] =
    [("abort", libc::SIGABRT), ("term", libc::SIGTERM), ("quick-exit", 0)];

fn nobody_joins_and_no_zombie_stays(method: StartMethod) {
    let mut pids = Vec::new();
    for round in 0..if is_long() { 1_000 } else { 20 } {
        let process = Process::new(|| (), ()).start_method(method);
        let child = process.start().expect("it starts");
        pids.push(child.pid());
        // Dropped after its end and before it; never joined.
        if round % 2 == 0 {
            child.wait().expect("its status");
        }
        drop(child);
    }
    proc::wait_until(|| pids.iter().all(|pid| proc::entry(*pid).is_none()));
    assert!(procession::active_children().iter().all(|child| !pids.contains(&child.pid())));
}

fn however_a_program_ends_its_daemons_end() {
    for method in procession_tests::METHODS {
        for (how, code) in EXITS {
            let output = run_to_its_end(how, method, "daemons");
            assert_eq!(output.status.code(), Some(code), "{how}, {method:?}: {output:?}");
        }
        for (how, signal) in DEATHS {
            let output = run_to_its_end(how, method, "daemons");
            let ended = output.status.signal().unwrap_or(0);
            assert_eq!(ended, signal, "{how}, {method:?}: {output:?}");
        }
    }
}

/// With tasks in flight, workers that have children and pools of their own, and a thread that waits.
fn however_a_program_ends_its_pools_end() {
    for method in procession_tests::METHODS {
        for (how, code) in EXITS {
            let output = run_to_its_end(how, method, "pool");
            assert_eq!(output.status.code(), Some(code), "{how}, {method:?}: {output:?}");
        }
        for (how, signal) in DEATHS {
            let output = run_to_its_end(how, method, "pool");
            let ended = output.status.signal().unwrap_or(0);
            assert_eq!(ended, signal, "{how}, {method:?}: {output:?}");
        }
    }
}

/// Runs the victim until it and everything below it are gone.
fn run_to_its_end(how: &str, method: StartMethod, children: &str) -> procession_tests::Output {
    let mark = Mark::new();
    let victim = mark.victim("end").arg(how).arg(method_name(method)).arg(children);
    let output = victim.run();
    mark.wait_for_end();
    output
}

fn an_exit_joins_the_others() {
    for method in procession_tests::METHODS {
        for (how, code) in EXITS {
            let output = run_to_its_end(how, method, "others");
            assert_eq!(output.status.code(), Some(code), "{how}, {method:?}: {output:?}");
            // They have had the time to say it, after the program had come to its end.
            let said = output.stdout.matches("a child has ended\n").count();
            assert_eq!(said, 3, "{how}, {method:?}: {output:?}");
        }
    }
}

fn an_exit_kills_daemons_that_do_not_want_to_end() {
    for method in procession_tests::METHODS {
        for how in ["return", "exit"] {
            let mark = Mark::new();
            let victim = mark.victim("end").arg(how).arg(method_name(method)).arg("stubborn");
            let output = victim.run();
            // It has waited for their end: nothing is there a moment later.
            assert!(mark.running().is_empty(), "{how}, {method:?}: {:?}", mark.running());
            assert!(output.stdout.contains("begins"), "{output:?}");
        }
    }
}

/// The program, its fork server, its children and theirs: all get their `SIGKILL` in one moment.
fn a_kill_of_everything_at_once_leaves_nothing(method: StartMethod) {
    let mut random = Random::new();
    for _ in 0..if is_long() { 300 } else { 10 } {
        let mark = Mark::new();
        let mut victim = mark.victim("parent").arg("all").arg(method_name(method));
        victim.command().process_group(0);
        let mut victim = victim.start();
        assert_eq!(victim.line(), "begin");
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        // SAFETY: plain numbers.
        unsafe { libc::kill(-victim.pid().cast_signed(), libc::SIGKILL) };
        victim.kill();
        mark.wait_for_end();
    }
}

fn a_detached_tree_ends_with_its_daemon(method: StartMethod) {
    fn branch(method: String, folder: std::path::PathBuf) {
        let method = procession_tests::method_from(&method);
        for _ in 0..2 {
            let leaf = Process::new(sleep_long, ()).start_method(method).start();
            drop(leaf.expect("a child of a child starts"));
        }
        let pids: Vec<String> =
            procession::active_children().iter().map(|child| child.pid().to_string()).collect();
        std::fs::write(folder.join("new"), pids.join("\n")).expect("the folder is there");
        std::fs::rename(folder.join("new"), folder.join("pids")).expect("the folder is there");
        sleep_long();
    }
    let folder = Folder::new();
    let arguments = (method_name(method).to_owned(), folder.path().to_owned());
    let daemon = Process::new(branch, arguments).daemon(true).start_method(method).start();
    let daemon = daemon.expect("it starts");
    let pids = folder.path().join("pids");
    proc::wait_until(|| pids.exists());
    let pids: Vec<u32> = std::fs::read_to_string(pids)
        .expect("it is there")
        .lines()
        .map(|pid| pid.parse().expect("a number"))
        .collect();
    assert_eq!(pids.len(), 2);
    assert!(pids.iter().all(|pid| proc::is_running(*pid)));
    raw::signal(daemon.pid(), libc::SIGKILL).expect("it is ours");
    drop(daemon);
    proc::wait_until(|| pids.iter().all(|pid| !proc::is_running(*pid)));
}
