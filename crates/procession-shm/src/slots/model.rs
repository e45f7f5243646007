//! No work is lost, taken twice, or slept through.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::{Giver, Input, Look, Offer, SLOTS, Taker};
use crate::atomic::Ordering;
use crate::model::{check, check_all, each_death, expect_failure, in_process, spawn, victim};

fn giver_and_takers<const N: usize>() -> (Arc<Giver>, [Taker; N]) {
    let giver = Giver::new().expect("giver");
    let takers = std::array::from_fn(|index| {
        let handle = giver.handle().clone();
        in_process(index as u32 + 2, || Taker::open(handle, index).expect("taker"))
    });
    (Arc::new(giver), takers)
}

fn offer(giver: &Giver, slot: usize) {
    offer_items(giver, slot, 1);
}

fn offer_items(giver: &Giver, slot: usize, items: u32) {
    let (input, timed) = (Input::Bytes(&[&[7; 8]]), items > 1);
    giver.offer(
        slot,
        1,
        Offer { input, items, large: false, timed, traced: false, handles: false },
    );
}

/// Takes and answers until there is nothing left and the giver has said stop.
fn work(taker: &Taker, lane: usize) {
    let mut buffer = Vec::new();
    while let Some(taken) = taker.take(lane, &mut buffer).expect("take") {
        assert_eq!(buffer, [7; 8], "the input is there");
        let mut answer = taker.answer(&taken, lane);
        answer.push(&[&[8; 8]]).expect("room");
        answer.finish();
    }
}

/// Waits until all of the first `count` slots are answered, and looks at the outputs.
fn collect(giver: &Giver, count: usize) {
    let mut left: Vec<usize> = (0..count).collect();
    while !left.is_empty() {
        let before = giver.count();
        let mut changed = Vec::new();
        giver.changed(|slot| changed.push(slot));
        for slot in changed {
            if let Look::Answered { .. } = giver.look(slot, 1) {
                let mut outputs = Vec::new();
                assert!(giver.outputs(slot, false, 8, &mut outputs).is_none());
                assert_eq!((giver.done(slot), &outputs[..]), (1, &[8; 8][..]));
                left.retain(|other| *other != slot);
                giver.release(slot);
            }
        }
        if !left.is_empty() {
            giver.wait(before, 1, None, || false).expect("wait");
        }
    }
}

/// One piece, one taker.
fn one_piece() {
    let (giver, [taker]) = giver_and_takers::<1>();
    let other = {
        let taker = taker.clone();
        spawn(2, move || work(&taker, 0))
    };
    offer(&giver, 0);
    giver.wake_takers(1);
    collect(&giver, 1);
    giver.stop();
    other.join().expect("it leaves");
}

/// A piece for each slot, two takers: each piece is taken by one.
fn two_takers() {
    let (giver, takers) = giver_and_takers::<2>();
    let slots = Rc::new(RefCell::new(Vec::new()));
    let others = [0, 1].map(|index: usize| {
        let (taker, slots) = (takers[index].clone(), Rc::clone(&slots));
        spawn(index as u32 + 2, move || {
            if let Some((slot, turn)) = taker.try_take(index) {
                assert_eq!(turn, 1);
                slots.borrow_mut().push(slot);
            }
        })
    });
    for slot in 0..SLOTS {
        offer(&giver, slot);
    }
    others.into_iter().for_each(|other| other.join().expect("it ends"));
    let taken = slots.take();
    for (slot, look) in (0..SLOTS).map(|slot| (slot, giver.look(slot, 1))) {
        let takers = taken.iter().filter(|taken| **taken == slot).count();
        assert_eq!(takers, usize::from(matches!(look, Look::Taken { .. })), "taken by one");
    }
    assert!(taken.len() < 2 || taken[0] != taken[1]);
}

/// The victim, process 2, takes, works and answers; whatever it does not answer another can.
fn taker_dies() {
    let (giver, takers) = giver_and_takers::<2>();
    offer(&giver, 0);
    let dying = {
        let taker = takers[0].clone();
        spawn(2, move || {
            victim(|| {
                if let Some((slot, turn)) = taker.try_take(0) {
                    let mut buffer = Vec::new();
                    let taken = taker.copy_input(slot, turn, &mut buffer);
                    let mut answer = taker.answer(&taken, 0);
                    answer.push(&[&[8; 8]]).expect("room");
                    answer.finish();
                }
            });
        })
    };
    let other = {
        let taker = takers[1].clone();
        spawn(3, move || work(&taker, 1))
    };
    dying.join().expect("it ends");
    // Who tells of the death looks at what its lane had, and offers it once more.
    match giver.look(0, 1) {
        Look::Taken { lane: 0 } => {
            giver.release(0);
            offer(&giver, 0);
        }
        Look::Answered { lane: 0 } => {
            giver.release(0);
            giver.stop();
            return other.join().expect("it leaves");
        }
        Look::Offered | Look::Taken { .. } | Look::Answered { .. } => {}
        Look::Garbage => panic!("garbage"),
    }
    giver.wake_takers(1);
    collect(&giver, 1);
    giver.stop();
    other.join().expect("it leaves");
}

/// What was offered before the giver has said stop is taken all the same.
fn stopped() {
    let (giver, [taker]) = giver_and_takers::<1>();
    let other = spawn(2, move || work(&taker, 0));
    offer(&giver, 0);
    giver.stop();
    other.join().expect("it leaves");
    assert_eq!(giver.look(0, 1), Look::Answered { lane: 0 }, "it has left too early");
}

/// Two pieces, one taker, which is held: at the piece at which it is found, it stays. If it is not,
/// it goes on.
fn held_at_a_piece() {
    let (giver, [taker]) = giver_and_takers::<1>();
    offer(&giver, 0);
    offer(&giver, 1);
    let other = spawn(2, move || work(&taker, 0));
    giver.hold(0);
    let is_there = giver.look(0, 1) == Look::Taken { lane: 0 };
    if is_there {
        giver.dismiss(0);
    } else {
        giver.let_go_on(0);
        giver.stop();
    }
    other.join().expect("it leaves");
    let expected = if is_there { Look::Offered } else { Look::Answered { lane: 0 } };
    assert_eq!(giver.look(1, 1), expected);
}

/// A piece of two items, one taker, which is held: the item that is not done is the last to begin.
fn held_at_an_item() {
    let (giver, [taker]) = giver_and_takers::<1>();
    offer_items(&giver, 0, 2);
    let other = spawn(2, move || {
        let Some(taken) = taker.take(0, &mut Vec::new()).expect("take") else { return };
        let mut answer = taker.answer(&taken, 0);
        for _ in 0..taken.items {
            answer.push(&[&[8; 8]]).expect("room");
            if !taker.goes_on(&answer) {
                break;
            }
        }
        answer.finish();
    });
    giver.hold(0);
    let before = giver.done(0);
    giver.dismiss(0);
    other.join().expect("it ends");
    assert!(giver.done(0) <= before + 1, "another item has begun");
}

#[test]
fn a_piece_is_worked_on() {
    check_all(2, one_piece);
}

#[test]
fn a_piece_is_taken_once() {
    check(2, two_takers);
}

#[test]
fn what_a_dead_one_had_is_known() {
    each_death(1, taker_dies);
}

#[test]
fn nothing_is_left_behind_at_the_end() {
    check_all(2, stopped);
}

#[test]
fn who_is_held_begins_with_nothing_more() {
    check_all(2, held_at_a_piece);
    check_all(2, held_at_an_item);
}

#[test]
fn orderings_are_needed() {
    let piece = || check_all(2, one_piece);
    expect_failure("slots.finish", Ordering::AcqRel, piece);
    expect_failure("slots.hold", Ordering::AcqRel, || check_all(2, held_at_a_piece));
    expect_failure("slots.go-on", Ordering::AcqRel, || check_all(2, held_at_an_item));
}
