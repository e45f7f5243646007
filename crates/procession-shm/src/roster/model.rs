//! Places are taken by one each, and whoever sleeps has newcomers watched.

use std::sync::Arc;

use super::{Roster, place_of};
use crate::atomic::Ordering;
use crate::lock::{Acquired, Lock};
use crate::model::{Guarded, check, die, expect_failure, in_process, spawn};

/// Three join at once, while a fourth leaves.
fn join_and_leave() {
    let roster = Arc::new(Roster::default());
    let gone = roster.join(1, 1, 1).expect("a place");
    let joiners = [2, 3].map(|pid: u32| {
        let roster = Arc::clone(&roster);
        spawn(pid, move || {
            let number = roster.join(pid, pid.into(), 1).expect("a place");
            let found = roster.find(number).expect("it takes part");
            assert_eq!((found.pid, found.number), (pid, number));
            // Late, and again: it is not the newcomer's place that becomes free.
            roster.free(gone);
            assert!(roster.find(number).is_some(), "nobody else's place is freed");
        })
    });
    roster.free(gone);
    joiners.into_iter().for_each(|joiner| joiner.join().expect("it has a place"));
    let numbers: Vec<_> = roster.participants().map(|found| found.number).collect();
    assert_eq!(numbers.len(), 2);
    assert_ne!(place_of(numbers[0]), place_of(numbers[1]));
}

/// Process 2 waits for a lock that process 1 gives up; a newcomer takes it, and dies with it.
fn newcomer_dies() {
    let first = Lock::new().expect("lock");
    let handle = first.handle().clone();
    let second = in_process(2, || Lock::open(handle.clone()).expect("lock"));
    let _ = first.acquire(None).expect("acquire").expect("nobody else does");
    let sleeper = {
        let second = second.clone();
        spawn(2, move || {
            let _ = second.acquire(None).expect("acquire").expect("no deadline");
            second.release().expect("held");
        })
    };
    let newcomer = spawn(3, move || {
        let lock = Lock::open(handle).expect("lock");
        if lock.try_acquire().expect("try").is_some() {
            die();
        }
    });
    first.release().expect("held");
    newcomer.join().expect("it ends");
    sleeper.join().expect("it has the lock");
}

/// A thread of a newcomer's, not the one that joined, holds the lock; who finds its number there does
/// not take it for nobody's.
fn newcomer_holds<const HELD_BEFORE: bool>() {
    let first = Lock::new().expect("lock");
    let handle = first.handle().clone();
    let guarded = Arc::new(Guarded::default());
    if HELD_BEFORE {
        let _ = first.acquire(None).expect("acquire").expect("nobody else does");
    }
    let newcomer = {
        let guarded = Arc::clone(&guarded);
        spawn(2, move || {
            let lock = Lock::open(handle).expect("lock");
            let holder = spawn(2, move || {
                let acquired = if HELD_BEFORE { lock.try_acquire() } else { lock.acquire(None) };
                if let Some(acquired) = acquired.expect("acquire") {
                    assert_eq!(acquired, Acquired::Free);
                    guarded.add();
                    lock.release().expect("held");
                }
                std::mem::forget(lock); // it has not left when the others go on
            });
            holder.join().expect("it ends");
        })
    };
    if HELD_BEFORE {
        first.release().expect("held");
    }
    if let Some(acquired) = first.try_acquire().expect("try") {
        assert_eq!(acquired, Acquired::Free);
        guarded.add();
        first.release().expect("held");
    }
    newcomer.join().expect("it ends");
}

#[test]
fn a_newcomer_is_somebody() {
    check(3, newcomer_holds::<false>);
    check(3, newcomer_holds::<true>);
}

#[test]
fn each_has_a_place_of_its_own() {
    check(2, join_and_leave);
}

#[test]
fn a_newcomer_is_watched() {
    check(2, newcomer_dies);
}

#[test]
fn orderings_are_needed() {
    expect_failure("roster.version", Ordering::Relaxed, || check(2, newcomer_dies));
    expect_failure("roster.look", Ordering::Relaxed, || check(2, newcomer_dies));
    expect_failure("lock.fast", Ordering::Acquire, || check(3, newcomer_holds::<false>));
    expect_failure("lock.take", Ordering::Acquire, || check(3, newcomer_holds::<true>));
}
