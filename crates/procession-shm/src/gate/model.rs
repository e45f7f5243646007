//! No change is slept through.

use std::sync::Arc;

use super::*;
use crate::atomic::AtomicU64;
use crate::model::{check_all, expect_failure};

fn sleep_until(gate: &Gate, changes: &AtomicU64, expected: u64) {
    while changes.load(Ordering::Relaxed) < expected {
        let ticket = gate.ticket();
        if changes.load(Ordering::Relaxed) < expected {
            gate.sleep(ticket, None).expect("sleep");
        }
    }
}

/// One sleeper, one opener: the change is before the look, or the look sees the sleeper.
fn one_sleeper() {
    let shared = Arc::new((Gate::default(), AtomicU64::new(0)));
    let sleeper = {
        let shared = Arc::clone(&shared);
        crate::model::spawn(1, move || sleep_until(&shared.0, &shared.1, 1))
    };
    shared.1.store(1, Ordering::Relaxed);
    shared.0.open(1);
    sleeper.join().expect("it is woken");
}

/// Two sleepers, two openings of one: nobody's ticket is taken back.
fn two_sleepers() {
    let shared = Arc::new((Gate::default(), AtomicU64::new(0)));
    let sleepers = [1, 1].map(|expected| {
        let shared = Arc::clone(&shared);
        crate::model::spawn(1, move || sleep_until(&shared.0, &shared.1, expected))
    });
    shared.1.store(1, Ordering::Relaxed);
    shared.0.open(1);
    shared.0.open(1);
    sleepers.into_iter().for_each(|sleeper| sleeper.join().expect("it is woken"));
}

#[test]
fn a_sleeper_is_woken() {
    check_all(2, one_sleeper);
}

#[test]
fn all_sleepers_are_woken() {
    check_all(2, two_sleepers);
}

#[test]
fn fences_are_needed() {
    expect_failure("gate.ticket", Ordering::AcqRel, || check_all(2, one_sleeper));
    expect_failure("gate.open", Ordering::AcqRel, || check_all(2, one_sleeper));
}
