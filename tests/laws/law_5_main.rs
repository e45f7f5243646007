//! Law 5: nothing to remember. A started child never runs the program's `main`.
//!
//! Of these tests themselves the same is true: their children are copies of a test program, whose
//! `main` would run the tests again.

use procession::{Process, StartMethod};
use procession_tests::{for_each_method, method_name, proc};

use crate::mark::{Mark, victim};

for_each_method! {
    main_is_entered_once,
    main_is_entered_once_whatever_the_environment,
    main_is_entered_by_programs_that_a_child_starts,
    tests_are_no_exception,
}

fn mains(output: &str) -> usize {
    output.lines().filter(|line| *line == "main").count()
}

/// A `main` that starts processes at once, which start processes, and has no line to guard it.
fn main_is_entered_once(method: StartMethod) {
    let mark = Mark::new();
    let output = mark.victim("mains").arg(method_name(method)).arg("plain").succeed();
    assert_eq!(mains(&output.stdout), 1, "{output:?}");
    // Two, and two below each.
    assert_eq!(output.stdout.matches("child\n").count(), 6, "{output:?}");
    mark.wait_for_end();
}

fn main_is_entered_once_whatever_the_environment(method: StartMethod) {
    for how in ["cleared", "threads", "streams"] {
        let output = victim("mains").arg(method_name(method)).arg(how).succeed();
        assert_eq!(mains(&output.stdout), 1, "{how}: {output:?}");
    }
}

/// The marker is for one process: what a child starts by other means runs its own `main`.
fn main_is_entered_by_programs_that_a_child_starts(method: StartMethod) {
    let output = victim("mains").arg(method_name(method)).arg("commands").succeed();
    // The program's own, and that of the program that its one child runs.
    assert_eq!(mains(&output.stdout), 2, "{output:?}");
}

fn tests_are_no_exception(method: StartMethod) {
    let command_line = || (std::env::args().collect::<Vec<_>>(), std::process::id());
    let child = Process::new(command_line, ()).start_method(method).start().expect("it starts");
    let (arguments, pid) = child.join().expect("it returns");
    // The child has the same arguments, and none of the threads that would run tests.
    assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
    assert_ne!(pid, std::process::id());
    let threads = || proc::switches(std::process::id()).len();
    let child = Process::new(threads, ()).start_method(method).start().expect("it starts");
    assert_eq!(child.join().expect("it returns"), 1);
}
