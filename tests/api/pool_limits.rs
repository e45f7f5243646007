//! Pools on a system without room: they go on with the workers that they have, replace the others when
//! they can, say so when there is no hope, and no task is lost.

use procession::StartMethod;
use procession_tests::{for_each_method, method_name, program};

use crate::limits::as_nobody;

for_each_method! {
    no_descriptors_for_new_workers,
    no_processes_for_new_workers,
    no_memory_for_new_workers,
    no_hope_for_new_workers,
    some_descriptors_for_a_new_worker,
    no_descriptors_for_a_result,
    no_room_for_long_values,
}

fn run(scenario: &str, method: StartMethod, shortage: &str) {
    program!("pool_limits").arg(scenario).arg(method_name(method)).arg(shortage).succeed();
}

fn no_descriptors_for_new_workers(method: StartMethod) {
    run("goes_on", method, "files");
}

fn no_processes_for_new_workers(method: StartMethod) {
    as_nobody("pool_limits", "goes_on", method, "processes");
}

fn no_memory_for_new_workers(method: StartMethod) {
    run("goes_on", method, "memory");
}

fn no_hope_for_new_workers(method: StartMethod) {
    run("gives_up", method, "files");
    as_nobody("pool_limits", "gives_up", method, "processes");
}

fn some_descriptors_for_a_new_worker(method: StartMethod) {
    run("some_files", method, "");
}

fn no_descriptors_for_a_result(method: StartMethod) {
    run("handles", method, "");
}

fn no_room_for_long_values(method: StartMethod) {
    run("large", method, "");
}
