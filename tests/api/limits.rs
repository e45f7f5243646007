//! A system without room: a clear error, what was there before is healthy, nothing is left.

use std::os::unix::process::CommandExt;

use procession::StartMethod;
use procession_tests::{for_each_method, method_name, program, raw};

for_each_method!(
    no_descriptor_at_any_step_of_a_start,
    no_descriptor_at_any_step_of_the_first_start,
    no_descriptor_for_a_pipe_or_a_message,
    no_descriptor_for_one_of_two_who_wait,
    no_process_at_any_step_of_the_first_start,
    no_process_after_some,
);

fn no_descriptor_at_any_step_of_a_start(method: StartMethod) {
    program!("limits").arg("files").arg(method_name(method)).succeed();
}

fn no_descriptor_at_any_step_of_the_first_start(method: StartMethod) {
    for free in 0..24 {
        let program = program!("limits").arg("files_at_first").arg(method_name(method));
        program.arg(free.to_string()).succeed();
    }
}

fn no_descriptor_for_a_pipe_or_a_message(method: StartMethod) {
    program!("limits").arg("files_of_pipes").arg(method_name(method)).succeed();
}

fn no_descriptor_for_one_of_two_who_wait(method: StartMethod) {
    program!("limits").arg("files_of_two_who_wait").arg(method_name(method)).succeed();
}

/// Runs a scenario as a user who has no other process; root itself is not limited.
pub(crate) fn as_nobody(family: &str, scenario: &str, method: StartMethod, argument: &str) {
    let mut program = program!(family).arg(scenario).arg(method_name(method)).arg(argument);
    if raw::user() == 0 {
        program.command().uid(54_321).gid(54_321);
        let probe = std::process::Command::new(env!("CARGO_BIN_EXE_program"))
            .arg("limits")
            .args(["nothing", method_name(method)])
            .uid(54_321)
            .gid(54_321)
            .status();
        if !probe.as_ref().is_ok_and(std::process::ExitStatus::success) {
            println!("skipped: root is not limited, and nobody may not run the program: {probe:?}");
            return;
        }
    }
    program.succeed();
}

fn no_process_at_any_step_of_the_first_start(method: StartMethod) {
    for free in 0..=5 {
        as_nobody("limits", "processes_at_first", method, &free.to_string());
    }
}

fn no_process_after_some(method: StartMethod) {
    as_nobody("limits", "processes", method, "12");
}
