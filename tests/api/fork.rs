//! `fork`, for closures that capture anything; each scenario in a program of its own, because a
//! test program has threads whose locks a copy could need.

use procession_tests::{Output, program, tests};

tests!(
    captured_values,
    results,
    panics,
    while_a_panic_unwinds,
    ends,
    names,
    children_of_a_fork,
    forks_of_a_fork,
    pipes,
    pipes_of_the_dead,
    shared_memory,
    waiting_and_ending,
    from_a_child,
    what_was_printed_before_is_printed_once,
    what_is_printed_is_flushed,
    a_dropped_fork_is_joined_at_exit,
);

fn scenario(name: &str) -> Output {
    program!("fork").arg(name).arg("spawn").succeed()
}

fn captured_values() {
    scenario("captured");
}

fn results() {
    scenario("results");
}

fn panics() {
    let output = scenario("panics");
    assert!(output.stderr.contains("on purpose"), "{output:#?}");
}

fn while_a_panic_unwinds() {
    scenario("unwinding");
}

fn ends() {
    scenario("ends");
}

fn names() {
    scenario("names");
}

fn children_of_a_fork() {
    scenario("children");
}

fn forks_of_a_fork() {
    scenario("forks");
}

fn shared_memory() {
    scenario("shared");
}

fn pipes() {
    scenario("pipes");
}

fn pipes_of_the_dead() {
    scenario("pipes_of_the_dead");
}

fn waiting_and_ending() {
    scenario("waiting");
}

fn from_a_child() {
    for method in ["spawn", "forkserver"] {
        program!("fork").arg("from_child").arg(method).succeed();
    }
}

fn what_was_printed_before_is_printed_once() {
    assert_eq!(scenario("printed_before").stdout, "before, in the fork, after\n");
}

fn what_is_printed_is_flushed() {
    assert_eq!(scenario("printed").stdout, "first line\nno newline");
}

fn a_dropped_fork_is_joined_at_exit() {
    assert_eq!(scenario("dropped").stdout, "from main\nfrom the fork\n");
}
