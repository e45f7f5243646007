//! The exit of a program: daemons are ended, all others are joined, whichever way it exits.

use procession::StartMethod;
use procession_tests::{Output, for_each_method, method_name, proc, program};

for_each_method!(
    main_returns,
    main_returns_an_error,
    main_calls_exit,
    main_panics,
    a_thread_calls_exit,
    a_child_exits_as_a_program_does,
    a_fork_exits_as_a_program_does,
    daemons_are_asked_first,
    daemons_that_do_not_listen_are_killed,
    exit_while_threads_start_children,
    a_program_that_has_joined_all,
);

/// Runs a scenario and waits until nothing of it is left.
fn run(scenario: &str, method: StartMethod) -> Output {
    let value = format!("{}-{scenario}-{}", std::process::id(), method_name(method));
    let program = program!("exit").arg(scenario).arg(method_name(method));
    let output = program.env("PROCESSION_TEST_EXIT", &value).run();
    proc::wait_until(|| proc::with_variable(&format!("PROCESSION_TEST_EXIT={value}")).is_empty());
    output
}

/// Both kinds of children were there at the exit, and the exit was as it is without children.
fn assert_exit(scenario: &str, method: StartMethod, code: i32) -> Output {
    let output = run(scenario, method);
    assert_eq!(output.status.code(), Some(code), "{output:#?}");
    let mut lines: Vec<&str> = output.stdout.lines().collect();
    lines.sort_unstable();
    let said = "the daemon was ended and the program waits";
    assert_eq!(lines, ["from main", said, said], "{output:#?}");
    output
}

fn main_returns(method: StartMethod) {
    assert_exit("return", method, 0);
}

fn main_returns_an_error(method: StartMethod) {
    let output = assert_exit("error", method, 1);
    assert!(output.stderr.contains("its own error"), "{output:#?}");
}

fn main_calls_exit(method: StartMethod) {
    assert_exit("exit", method, 7);
}

fn main_panics(method: StartMethod) {
    let output = assert_exit("panic", method, 101);
    assert!(output.stderr.contains("main panics"), "{output:#?}");
}

fn a_thread_calls_exit(method: StartMethod) {
    assert_exit("thread", method, 8);
}

fn a_child_exits_as_a_program_does(method: StartMethod) {
    assert_exit("child", method, 0);
}

fn a_fork_exits_as_a_program_does(method: StartMethod) {
    assert_exit("fork", method, 0);
}

fn daemons_are_asked_first(method: StartMethod) {
    let output = run("asked", method);
    assert!(output.status.success(), "{output:#?}");
    assert_eq!(output.stdout, "asked\n");
}

fn daemons_that_do_not_listen_are_killed(method: StartMethod) {
    let output = run("deaf", method);
    assert!(output.status.success(), "{output:#?}");
}

fn exit_while_threads_start_children(method: StartMethod) {
    for _ in 0..2 {
        let output = run("busy", method);
        assert!(output.status.success(), "{output:#?}");
    }
}

fn a_program_that_has_joined_all(method: StartMethod) {
    let output = run("joined", method);
    assert!(output.status.success(), "{output:#?}");
}
