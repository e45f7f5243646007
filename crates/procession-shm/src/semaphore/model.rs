//! Permits are conserved, whoever dies in the middle of what.

use std::sync::Arc;

use super::{Held, Semaphore};
use crate::atomic::Ordering;
use crate::model::{
    Guarded, check, each_death, expect_failure, in_process, shared_by, spawn, victim,
};

fn semaphores<const N: usize>(permits: u32) -> [Semaphore; N] {
    shared_by(
        || Semaphore::new(permits, u32::MAX).expect("semaphore"),
        |semaphore| Semaphore::open(semaphore.handle().clone()).expect("semaphore"),
    )
}

/// Nobody has a permit, and no count says otherwise.
fn assert_all_is_back(semaphore: &Semaphore) {
    let words = semaphore.0.body();
    assert_eq!(words.settled().1.value, 1);
    for held in &words.held {
        assert_eq!(Held::from_word(held.load(Ordering::Acquire)).count, 0);
    }
}

fn take_and_give(semaphore: &Semaphore, guarded: &Guarded) {
    let _ = semaphore.acquire(None).expect("acquire").expect("no deadline");
    guarded.add();
    semaphore.release().expect("there is room");
}

/// Each of `N` processes takes the one permit once.
fn one_at_a_time<const N: usize>() {
    let (semaphores, guarded) = (semaphores::<N>(1), Arc::new(Guarded::default()));
    let others: Vec<_> = (1..N)
        .map(|index| {
            let (semaphore, guarded) = (semaphores[index].clone(), Arc::clone(&guarded));
            spawn(index as u32 + 1, move || take_and_give(&semaphore, &guarded))
        })
        .collect();
    take_and_give(&semaphores[0], &guarded);
    others.into_iter().for_each(|other| other.join().expect("it comes to its turn"));
    assert_eq!(guarded.get(), N as u32);
    assert_all_is_back(&semaphores[0]);
}

/// The victim is process 2. Whatever it was doing, also for others, its permit comes back.
fn one_dies() {
    let (semaphores, guarded) = (semaphores::<2>(1), Arc::new(Guarded::default()));
    let other = {
        let (semaphore, guarded) = (semaphores[1].clone(), Arc::clone(&guarded));
        spawn(2, move || victim(|| take_and_give(&semaphore, &guarded)))
    };
    take_and_give(&semaphores[0], &guarded);
    other.join().expect("it ends");
    // If nobody waited at the time, whoever comes next finds the dead one.
    take_and_give(&semaphores[0], &guarded);
    assert_all_is_back(&semaphores[0]);
}

/// The victim, process 2, has the permit for which two others wait.
fn holder_dies() {
    let (semaphores, guarded) = (semaphores::<3>(1), Arc::new(Guarded::default()));
    let taken = in_process(2, || semaphores[1].acquire(None)).expect("acquire");
    assert!(taken.is_some());
    guarded.add();
    let holder = {
        let semaphore = semaphores[1].clone();
        spawn(2, move || victim(|| semaphore.release().expect("there is room")))
    };
    let other = {
        let (semaphore, guarded) = (semaphores[2].clone(), Arc::clone(&guarded));
        spawn(3, move || take_and_give(&semaphore, &guarded))
    };
    take_and_give(&semaphores[0], &guarded);
    holder.join().expect("it ends");
    other.join().expect("it comes to its turn");
    assert_eq!(guarded.get(), 3);
    assert_all_is_back(&semaphores[0]);
}

/// Two permits, of which the victim gives one that another has taken.
fn one_gives_for_another() {
    let semaphores = semaphores::<2>(1);
    let _ = semaphores[0].acquire(None).expect("acquire").expect("one is there");
    let giver = {
        let semaphore = semaphores[1].clone();
        spawn(2, move || victim(|| semaphore.release().expect("there is room")))
    };
    giver.join().expect("it ends");
    // It has given or not; with it dead nothing of it is missing or too much.
    let value = semaphores[0].value();
    let taken = semaphores[0].try_acquire().expect("try");
    assert_eq!(taken.is_some(), value == 1);
}

#[test]
fn two_processes_take_turns() {
    check(3, one_at_a_time::<2>);
}

#[test]
fn three_processes_take_turns() {
    check(1, one_at_a_time::<3>);
}

#[test]
fn a_dead_ones_permit_comes_back() {
    each_death(2, one_dies);
}

#[test]
fn a_death_wakes_everybody() {
    each_death(1, holder_dies);
}

#[test]
fn what_was_given_for_another_stays() {
    each_death(2, one_gives_for_another);
}

#[test]
fn orderings_are_needed() {
    let turns = || check(3, one_at_a_time::<2>);
    expect_failure("semaphore.step", Ordering::Relaxed, turns);
    expect_failure("semaphore.state", Ordering::Relaxed, turns);
    expect_failure("semaphore.held", Ordering::Relaxed, || check(1, one_at_a_time::<3>));
    expect_failure("semaphore.settle", Ordering::Relaxed, || check(1, one_at_a_time::<3>));
}
