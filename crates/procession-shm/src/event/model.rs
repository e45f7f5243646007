//! Whoever waits passes, and sees what was done before the event was set.

use std::sync::Arc;

use super::Event;
use crate::atomic::{AtomicU32, Ordering};
use crate::model::{check, each_death, expect_failure, shared_by, spawn, victim};

fn events<const N: usize>() -> [Event; N] {
    shared_by(
        || Event::new().expect("event"),
        |event| Event::open(event.handle().clone()).expect("event"),
    )
}

fn wait(event: &Event) {
    assert!(event.wait(None).expect("wait"));
}

/// Two wait until a third sets.
fn set_and_wait() {
    let events = events::<3>();
    let done = Arc::new(AtomicU32::new(0));
    let waiters = [2, 3].map(|pid: u32| {
        let (event, done) = (events[pid as usize - 1].clone(), Arc::clone(&done));
        spawn(pid, move || {
            wait(&event);
            assert_eq!(done.load(Ordering::Relaxed), 1, "what was done before is seen");
        })
    });
    done.store(1, Ordering::Relaxed);
    events[0].set();
    waiters.into_iter().for_each(|waiter| waiter.join().expect("it passes"));
}

/// Two do something and set; the third clears before it looks, and misses neither.
fn set_twice_and_clear() {
    let events = events::<3>();
    let done = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
    let setters = [2, 3].map(|pid: u32| {
        let (event, done) = (events[pid as usize - 1].clone(), Arc::clone(&done));
        spawn(pid, move || {
            done[pid as usize - 2].store(1, Ordering::Relaxed);
            event.set();
        })
    });
    while done.iter().any(|done| done.load(Ordering::Relaxed) == 0) {
        wait(&events[0]);
        events[0].clear();
    }
    setters.into_iter().for_each(|setter| setter.join().expect("it ends"));
}

/// A waiter that was there passes, also if the event is cleared at once. It may have come too late
/// for the first time, but not for the last.
fn set_clear_and_set() {
    let events = events::<2>();
    let waiter = {
        let event = events[1].clone();
        spawn(2, move || wait(&event))
    };
    events[0].set();
    events[0].clear();
    events[0].set();
    waiter.join().expect("it passes");
}

/// The victim, process 2, sets, and so does another: somebody waits who passes.
fn setter_dies() {
    let events = events::<3>();
    let setter = {
        let event = events[1].clone();
        spawn(2, move || victim(|| event.set()))
    };
    let other = {
        let event = events[2].clone();
        spawn(3, move || event.set())
    };
    wait(&events[0]);
    setter.join().expect("it ends");
    other.join().expect("it ends");
    assert!(events[0].is_set());
}

#[test]
fn all_who_wait_pass() {
    check(2, set_and_wait);
}

#[test]
fn no_set_is_cleared_unseen() {
    check(2, set_twice_and_clear);
}

#[test]
fn a_waiter_passes_a_cleared_event() {
    check(3, set_clear_and_set);
}

#[test]
fn a_setter_may_die() {
    each_death(2, setter_dies);
}

#[test]
fn orderings_are_needed() {
    expect_failure("event.set", Ordering::Relaxed, || check(2, set_and_wait));
    expect_failure("event.wait", Ordering::Relaxed, || check(2, set_and_wait));
    expect_failure("event.clear", Ordering::Relaxed, || check(2, set_twice_and_clear));
}
