//! All pass or none does, and nobody waits for one that is dead.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::{Barrier, BarrierError, entry_of, generation};
use crate::atomic::{AtomicU32, Ordering};
use crate::model::{check, each_death, expect_failure, in_process, shared_by, spawn, victim};

fn barriers<const N: usize>(parties: u32) -> [Barrier; N] {
    shared_by(
        || Barrier::new(parties).expect("barrier"),
        |barrier| Barrier::open(barrier.handle().clone()).expect("barrier"),
    )
}

/// As many as there are parties come, each with something done that the others then see.
fn all_come<const N: usize>() {
    let barriers = barriers::<N>(N as u32);
    let done: Arc<[AtomicU32; N]> = Arc::new(std::array::from_fn(|_| AtomicU32::new(0)));
    let indices = Rc::new(Cell::new(0));
    let come = |index: usize| {
        let (barrier, done) = (barriers[index].clone(), Arc::clone(&done));
        let indices = Rc::clone(&indices);
        move || {
            done[index].store(1, Ordering::Relaxed);
            let index = barrier.wait(None).expect("all come");
            indices.set(indices.get() | 1 << index);
            for done in done.iter() {
                assert_eq!(done.load(Ordering::Relaxed), 1, "what another did is seen");
            }
        }
    };
    let others: Vec<_> = (1..N).map(|index| spawn(index as u32 + 1, come(index))).collect();
    come(0)();
    others.into_iter().for_each(|other| other.join().expect("it passes"));
    assert_eq!(indices.get(), (1 << N) - 1, "each has a number of its own");
}

/// Two pass twice.
fn two_rounds() {
    let barriers = barriers::<2>(2);
    let other = {
        let barrier = barriers[1].clone();
        spawn(2, move || {
            barrier.wait(None).expect("the first round");
            barrier.wait(None).expect("the second round");
        })
    };
    barriers[0].wait(None).expect("the first round");
    barriers[0].wait(None).expect("the second round");
    other.join().expect("it passes");
}

/// The victim is process 2: the other passes with it, or is told.
fn one_dies() {
    let barriers = barriers::<2>(2);
    let passed = Rc::new(Cell::new(false));
    let other = {
        let (barrier, passed) = (barriers[1].clone(), Rc::clone(&passed));
        spawn(2, move || {
            victim(|| {
                passed.set(barrier.wait(None).is_ok());
            });
        })
    };
    // Out of time at once if the victim never came; a moment that the model may choose.
    let late = Some(Instant::now());
    match barriers[0].wait(late) {
        Ok(_) => {}
        Err(BarrierError::Broken { dead }) => {
            assert!(!passed.get(), "both pass, or neither does");
            assert!(dead.is_none_or(|pid| pid == 2));
        }
        Err(BarrierError::Segment(error)) => panic!("{error}"),
    }
    other.join().expect("it ends");
}

/// The victim is process 2, and dies before it comes, while it is there, or as it goes.
fn one_dies_there() {
    let barriers = barriers::<3>(2);
    let number = in_process(2, || barriers[1].0.core.me()).expect("it takes part");
    let dying = {
        let barrier = barriers[1].clone();
        spawn(2, move || {
            victim(|| {
                let _ = barrier.wait(None);
            });
        })
    };
    let living = {
        let barrier = barriers[2].clone();
        spawn(3, move || {
            let _ = barrier.wait(None);
        })
    };
    dying.join().expect("it ends");
    let state = barriers[0].0.body().state.load(Ordering::Acquire);
    let entry = entry_of(generation(state), number);
    if !barriers[0].entries().iter().any(|word| word.load(Ordering::Acquire) == entry) {
        // It never came, or has passed: somebody else has to end this.
        barriers[0].abort();
    }
    living.join().expect("it is told");
}

/// One is out of time while the last one comes.
fn one_is_late() {
    let barriers = barriers::<2>(2);
    let passed = Rc::new(Cell::new(0));
    let other = {
        let (barrier, passed) = (barriers[1].clone(), Rc::clone(&passed));
        spawn(2, move || {
            if barrier.wait(None).is_ok() {
                passed.set(passed.get() + 1);
            }
        })
    };
    if barriers[0].wait(Some(Instant::now())).is_ok() {
        passed.set(passed.get() + 1);
    }
    other.join().expect("it ends");
    assert_ne!(passed.get(), 1, "both pass, or neither does");
}

#[test]
fn two_pass() {
    check(3, all_come::<2>);
}

#[test]
fn three_pass() {
    check(1, all_come::<3>);
}

#[test]
fn two_pass_twice() {
    check(2, two_rounds);
}

#[test]
fn a_death_or_a_deadline_breaks_it_for_all() {
    each_death(2, one_dies);
}

#[test]
fn nobody_waits_for_a_dead_one() {
    each_death(2, one_dies_there);
}

#[test]
fn nobody_passes_alone() {
    check(3, one_is_late);
}

#[test]
fn orderings_are_needed() {
    expect_failure("barrier.end", Ordering::Relaxed, || check(3, all_come::<2>));
    expect_failure("barrier.enter", Ordering::Relaxed, || check(3, all_come::<2>));
    expect_failure("barrier.state", Ordering::Relaxed, || check(3, all_come::<2>));
}
