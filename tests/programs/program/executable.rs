//! What the file of a running program has to do with its children.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use procession::{Process, StartMethod, spawn};
use procession_tests::{join, raw};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    let method = crate::method(rest);
    match scenario {
        "changed" => changed(method, &rest[1]),
        "plugin" => plugin(method, Path::new(&rest[1])),
        "plugin_in_child" => plugin_in_child(method, Path::new(&rest[1])),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

fn square(number: u64) -> u64 {
    number * number
}

fn square_below(number: u64) -> u64 {
    spawn(square, (number,)).expect("start").join().expect("join")
}

/// Starts children before and after somebody has done something to the program's file.
fn changed(method: StartMethod, starts_before: &str) {
    for _ in 0..starts_before.parse().expect("a number") {
        assert_eq!(join(Process::new(square, (3,)), method), 9);
    }
    println!("running");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("somebody says so");
    for _ in 0..3 {
        assert_eq!(join(Process::new(square, (4,)), method), 16);
        assert_eq!(join(Process::new(square_below, (5,)), method), 25, "in generations");
    }
    println!("done");
}

/// Starts a function that lies in a library, which refuses; 0 if it did as it should.
fn start_in_library(path: &Path) -> i32 {
    raw::call_in_library(path, c"start_from_library").expect("the library is loaded")
}

fn plugin(method: StartMethod, path: &Path) {
    assert_eq!(start_in_library(path), 0);
    assert_eq!(join(Process::new(square, (4,)), method), 16, "with the library loaded");
}

/// The library brings a constructor of its own; in a child it must not think it is meant.
fn plugin_in_child(method: StartMethod, path: &Path) {
    let load = |path: PathBuf| (start_in_library(&path), square_below(3));
    assert_eq!(join(Process::new(load, (path.to_owned(),)), method), (0, 9));
}
