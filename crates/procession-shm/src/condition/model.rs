//! What is notified reaches somebody.

use std::sync::Arc;

use super::{Condition, Queue};
use crate::atomic::{AtomicU32, Ordering};
use crate::lock::Acquired;
use crate::model::{check, each_death, expect_failure, shared_by, spawn, victim};

fn conditions<const N: usize>() -> [Condition; N] {
    shared_by(
        || Condition::new().expect("condition"),
        |condition| Condition::open(condition.handle().clone()).expect("condition"),
    )
}

fn acquire(condition: &Condition) -> Acquired {
    condition.acquire(None).expect("acquire").expect("no deadline")
}

/// Waits for a token and takes it; told of a death, it passes on what the dead one may have been told.
fn take_token(condition: &Condition, tokens: &AtomicU32) {
    let mut acquired = acquire(condition);
    while tokens.load(Ordering::Relaxed) == 0 {
        acquired = condition.wait(None).expect("wait").1;
    }
    tokens.fetch_sub(1, Ordering::Relaxed);
    if acquired != Acquired::Free {
        condition.notify(1);
    }
    condition.release().expect("held");
}

fn add_token(condition: &Condition, tokens: &AtomicU32) {
    let _ = acquire(condition);
    tokens.fetch_add(1, Ordering::Relaxed);
    condition.notify(1);
    condition.release().expect("held");
}

/// `N - 1` wait for a token each, and are given one each.
fn one_token_each<const N: usize>() {
    let (conditions, tokens) = (conditions::<N>(), Arc::new(AtomicU32::new(0)));
    let waiters: Vec<_> = (1..N)
        .map(|index| {
            let (condition, tokens) = (conditions[index].clone(), Arc::clone(&tokens));
            spawn(index as u32 + 1, move || take_token(&condition, &tokens))
        })
        .collect();
    for _ in 1..N {
        add_token(&conditions[0], &tokens);
    }
    waiters.into_iter().for_each(|waiter| waiter.join().expect("it has its token"));
    assert_eq!(tokens.load(Ordering::Relaxed), 0);
}

/// The victim, process 2, waits as another does, and the one token is for whoever comes.
fn waiter_dies() {
    let (conditions, flag) = (conditions::<3>(), Arc::new(AtomicU32::new(0)));
    let wait = |index: usize| {
        let (condition, flag) = (conditions[index].clone(), Arc::clone(&flag));
        move || {
            let _ = acquire(&condition);
            while flag.load(Ordering::Relaxed) == 0 {
                let _ = condition.wait(None).expect("wait");
            }
            // Each passes it on to the next.
            condition.notify(1);
            condition.release().expect("held");
        }
    };
    let (dying, living) = (wait(1), wait(2));
    let dying = spawn(2, move || victim(dying));
    let living = spawn(3, living);
    let _ = acquire(&conditions[0]);
    flag.store(1, Ordering::Relaxed);
    conditions[0].notify(1);
    conditions[0].release().expect("held");
    dying.join().expect("it ends");
    // One that died with the lock, when it had been told: who takes the lock next knows.
    if acquire(&conditions[0]) != Acquired::Free {
        conditions[0].notify(1);
    }
    conditions[0].release().expect("held");
    living.join().expect("it was told");
}

/// Spins until `count` wait.
fn await_waiters(condition: &Condition, count: u16) {
    // The last value, not one of before.
    let queue = || condition.0.body().waiters.queue.fetch_or(0, Ordering::Relaxed);
    while Queue::from_word(queue()).waiting < count {
        loom::thread::yield_now();
    }
}

/// Who notifies need not hold the lock: what it did before is seen by who passes.
fn notify_without_lock() {
    let (conditions, done) = (conditions::<2>(), Arc::new(AtomicU32::new(0)));
    let waiter = {
        let (condition, done) = (conditions[1].clone(), Arc::clone(&done));
        spawn(2, move || {
            let _ = acquire(&condition);
            assert!(condition.wait(None).expect("wait").0);
            assert_eq!(done.load(Ordering::Relaxed), 1, "what was done before is seen");
            condition.release().expect("held");
        })
    };
    await_waiters(&conditions[0], 1);
    done.store(1, Ordering::Relaxed);
    conditions[0].notify(1);
    waiter.join().expect("it is told");
}

/// One waits, another comes late, and may be woken in its place.
fn early_and_late() {
    let (conditions, passed) = (conditions::<3>(), Arc::new(AtomicU32::new(0)));
    let wait = |index: usize| {
        let (condition, passed) = (conditions[index].clone(), Arc::clone(&passed));
        move || {
            let _ = acquire(&condition);
            assert!(condition.wait(None).expect("wait").0);
            condition.release().expect("held");
            passed.fetch_add(1, Ordering::Relaxed);
        }
    };
    let waiters = [spawn(2, wait(1)), spawn(3, wait(2))];
    await_waiters(&conditions[0], 1);
    conditions[0].notify(1);
    while passed.load(Ordering::Relaxed) == 0 {
        loom::thread::yield_now();
    }
    await_waiters(&conditions[0], 1);
    conditions[0].notify(1);
    waiters.into_iter().for_each(|waiter| waiter.join().expect("it is told"));
}

#[test]
fn what_was_done_before_is_seen() {
    check(3, notify_without_lock);
}

#[test]
fn a_late_one_takes_nothing() {
    check(1, early_and_late);
}

#[test]
fn orderings_are_needed() {
    expect_failure("condition.queue", Ordering::Relaxed, || check(3, notify_without_lock));
}

#[test]
fn a_waiter_is_told() {
    check(3, one_token_each::<2>);
}

#[test]
fn each_waiter_is_told() {
    check(1, one_token_each::<3>);
}

#[test]
fn what_a_dead_one_was_told_another_is() {
    each_death(1, waiter_dies);
}
