//! A forked copy of a program: it cannot take what belongs to the original, and has its own.

use procession::StartMethod;
use procession_tests::{for_each_method, method_name, program};

for_each_method!(
    it_cannot_join_a_child_that_runs,
    it_cannot_join_a_child_that_has_ended,
    it_cannot_join_a_child_that_ends_meanwhile,
    nor_can_a_fork_of_our_own,
    it_has_children_of_its_own,
);

fn it_cannot_join_a_child_that_runs(method: StartMethod) {
    program!("copy").arg("join_running").arg(method_name(method)).succeed();
}

fn it_cannot_join_a_child_that_has_ended(method: StartMethod) {
    program!("copy").arg("join_dead").arg(method_name(method)).succeed();
}

fn it_cannot_join_a_child_that_ends_meanwhile(method: StartMethod) {
    program!("copy").arg("join_dying").arg(method_name(method)).succeed();
}

fn nor_can_a_fork_of_our_own(method: StartMethod) {
    program!("copy").arg("fork").arg(method_name(method)).succeed();
}

fn it_has_children_of_its_own(method: StartMethod) {
    program!("copy").arg("own").arg(method_name(method)).succeed();
}
