//! Events for `tracing`: what pools tell a program that wants to know.

use procession::StartMethod;
use procession_tests::{for_each_method, method_name, program};

for_each_method! {
    a_subscriber_is_told_of_workers_and_tasks,
    a_subscriber_that_panics_harms_nothing,
}

fn a_subscriber_is_told_of_workers_and_tasks(method: StartMethod) {
    program!("events").arg("collected").arg(method_name(method)).succeed();
}

fn a_subscriber_that_panics_harms_nothing(method: StartMethod) {
    program!("events").arg("panics").arg(method_name(method)).succeed();
}
