//! Law 9: the parent is untouched. A program that uses the library, or is used by a library that
//! does, finds everything of its own as it was.

use std::os::unix::process::CommandExt;

use procession_tests::{METHODS, method_name, tests};

use crate::mark::Mark;

tests! {
    signals_environment_and_limits_stay_as_they_are,
    children_of_the_programs_own_are_left_to_it,
    a_program_that_reaps_everything_hangs_nobody,
    a_program_that_ignores_its_children_hangs_nobody,
    no_thread_stays_without_children,
    forked_copies_have_nothing_of_the_originals,
    handlers_do_not_end_a_wait,
    children_begin_with_no_signal_blocked,
    an_interrupt_is_for_the_program_and_its_children,
    programs_that_are_started_meanwhile_inherit_nothing,
}

/// Runs a scenario by each start method; each checks for itself.
fn run(scenario: &str) {
    for method in METHODS {
        let mark = Mark::new();
        mark.victim(scenario).arg(method_name(method)).succeed();
        mark.wait_for_end();
    }
}

fn signals_environment_and_limits_stay_as_they_are() {
    run("untouched");
}

fn children_of_the_programs_own_are_left_to_it() {
    run("strangers");
}

fn a_program_that_reaps_everything_hangs_nobody() {
    run("reaper");
}

fn a_program_that_ignores_its_children_hangs_nobody() {
    run("ignored");
}

fn no_thread_stays_without_children() {
    let mark = Mark::new();
    mark.victim("threads").succeed();
    mark.wait_for_end();
}

fn forked_copies_have_nothing_of_the_originals() {
    run("copies");
}

fn handlers_do_not_end_a_wait() {
    run("interrupted");
}

fn children_begin_with_no_signal_blocked() {
    run("masks");
}

/// As from the terminal: to the whole group, in which nobody has asked for a fork server.
fn an_interrupt_is_for_the_program_and_its_children() {
    for method in METHODS {
        let mark = Mark::new();
        let mut victim = mark.victim("group-interrupted").arg(method_name(method));
        victim.command().process_group(0);
        victim.succeed();
        mark.wait_for_end();
    }
}

fn programs_that_are_started_meanwhile_inherit_nothing() {
    run("inherited");
}
