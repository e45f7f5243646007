//! The parent is killed at random moments of starting; what shall not outlive it does not.
//!
//! The moments run from the first microseconds, when the fork server and the first children are
//! made, to some ten milliseconds, when there are trees of them: so also between a fork and the
//! tether of what was forked.

use std::time::Duration;

use procession::StartMethod;
use procession_tests::{Random, for_each_method, method_name, rounds, tests};

use crate::mark::Mark;

for_each_method! {
    daemons_end_with_their_killed_parent,
    what_a_daemon_has_started_ends_with_it,
    non_daemons_see_the_end_of_their_pipes,
    copies_that_a_daemon_forks_end_with_it,
    workers_end_with_the_pools_killed_parent,
}

tests! {
    everything_at_once_ends_with_its_killed_parent,
}

/// Kills a victim after a random while, again and again; each time all of it must be gone.
fn kill_at_random_moments(work: &str, method: &str) {
    let mut random = Random::new();
    for _ in 0..rounds() {
        let mark = Mark::new();
        let mut victim = mark.victim("parent").arg(work).arg(method).start();
        assert_eq!(victim.line(), "begin");
        // Half of the kills come while the first processes are being made.
        let longest = if random.below(2) == 0 { 4_000 } else { 50_000 };
        std::thread::sleep(Duration::from_micros(random.below(longest)));
        victim.kill();
        mark.wait_for_end();
    }
}

fn daemons_end_with_their_killed_parent(method: StartMethod) {
    kill_at_random_moments("daemons", method_name(method));
}

fn what_a_daemon_has_started_ends_with_it(method: StartMethod) {
    kill_at_random_moments("trees", method_name(method));
}

fn non_daemons_see_the_end_of_their_pipes(method: StartMethod) {
    kill_at_random_moments("pipes", method_name(method));
}

fn copies_that_a_daemon_forks_end_with_it(method: StartMethod) {
    kill_at_random_moments("forks", method_name(method));
}

fn workers_end_with_the_pools_killed_parent(method: StartMethod) {
    kill_at_random_moments("pools", method_name(method));
}

fn everything_at_once_ends_with_its_killed_parent() {
    kill_at_random_moments("all", "both");
}
