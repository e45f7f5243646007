//! One at a time, nobody sleeps for ever, and a holder's death is told once.

use std::cell::Cell;
use std::sync::Arc;

use super::{Acquired, Lock};
use crate::atomic::Ordering;
use crate::model::{Guarded, check, each_death, expect_failure, shared_by, spawn, step, victim};

fn locks<const N: usize>() -> [Lock; N] {
    shared_by(
        || Lock::new().expect("lock"),
        |lock| Lock::open(lock.handle().clone()).expect("lock"),
    )
}

fn acquire(lock: &Lock) -> Acquired {
    lock.acquire(None).expect("acquire").expect("no deadline")
}

fn add_under(lock: &Lock, guarded: &Guarded) {
    let acquired = acquire(lock);
    assert_eq!(acquired, Acquired::Free, "nobody has died");
    guarded.add();
    lock.release().expect("held");
}

/// Each of `N` processes takes the lock once.
fn one_at_a_time<const N: usize>() {
    let (locks, guarded) = (locks::<N>(), Arc::new(Guarded::default()));
    let others: Vec<_> = (1..N)
        .map(|index| {
            let (lock, guarded) = (locks[index].clone(), Arc::clone(&guarded));
            spawn(index as u32 + 1, move || add_under(&lock, &guarded))
        })
        .collect();
    add_under(&locks[0], &guarded);
    others.into_iter().for_each(|other| other.join().expect("it comes to its turn"));
    assert_eq!(guarded.get(), N as u32);
    assert!(!locks[0].is_held());
}

/// Two threads of one process, and one of another.
fn two_threads() {
    let (locks, guarded) = (locks::<2>(), Arc::new(Guarded::default()));
    let others = [(1, 0), (2, 1)].map(|(pid, index): (u32, usize)| {
        let (lock, guarded) = (locks[index].clone(), Arc::clone(&guarded));
        spawn(pid, move || add_under(&lock, &guarded))
    });
    add_under(&locks[0], &guarded);
    others.into_iter().for_each(|other| other.join().expect("it comes to its turn"));
    assert_eq!(guarded.get(), 3);
}

#[derive(Default)]
struct Seen {
    /// The victim held the lock when it died.
    holds: Cell<bool>,
    told: Cell<u32>,
}

fn add_and_see(lock: &Lock, guarded: &Guarded, seen: &Seen) {
    if acquire(lock) != Acquired::Free {
        assert_eq!(seen.told.replace(seen.told.get() + 1), 0, "told once");
    }
    guarded.add();
    lock.release().expect("held");
}

/// The victim is process 2; `N - 1` others want the lock.
fn holder_dies<const N: usize>() {
    let (locks, guarded) = (locks::<N>(), Arc::new(Guarded::default()));
    // The threads of a model are one thread of the system's: cells will do for what it says of itself.
    let seen = std::rc::Rc::new(Seen::default());
    let others: Vec<_> = (1..N)
        .map(|index| {
            let (lock, guarded) = (locks[index].clone(), Arc::clone(&guarded));
            let seen = std::rc::Rc::clone(&seen);
            spawn(index as u32 + 1, move || {
                if index > 1 {
                    return add_and_see(&lock, &guarded, &seen);
                }
                victim(|| {
                    assert_eq!(acquire(&lock), Acquired::Free);
                    seen.holds.set(true);
                    guarded.add();
                    step();
                    seen.holds.set(false);
                    lock.release().expect("held");
                });
            })
        })
        .collect();
    add_and_see(&locks[0], &guarded, &seen);
    others.into_iter().for_each(|other| other.join().expect("it comes to its turn"));
    // If nobody waited at the time, whoever comes next finds the dead one.
    add_and_see(&locks[0], &guarded, &seen);
    assert!(!seen.holds.get() || seen.told.get() == 1, "told of a death with the lock");
}

#[test]
fn two_processes_take_turns() {
    check(3, one_at_a_time::<2>);
}

#[test]
fn three_processes_take_turns() {
    check(2, one_at_a_time::<3>);
}

#[test]
fn threads_of_one_process_take_turns() {
    check(2, two_threads);
}

#[test]
fn a_death_hands_on() {
    each_death(3, holder_dies::<2>);
}

#[test]
fn a_death_wakes_everybody() {
    each_death(2, holder_dies::<3>);
}

#[test]
fn orderings_are_needed() {
    let turns = || check(3, one_at_a_time::<2>);
    expect_failure("lock.take", Ordering::Release, || check(2, one_at_a_time::<3>));
    expect_failure("lock.fast", Ordering::Release, turns);
    expect_failure("lock.release", Ordering::Relaxed, turns);
    expect_failure("lock.sweep", Ordering::Relaxed, || each_death(3, holder_dies::<2>));
}
