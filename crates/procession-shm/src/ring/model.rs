//! A message is there whole, and its room is not used again too early.

use std::cell::UnsafeCell;
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use super::{LENGTH, Memory, Ring, Words, WriteError};
use crate::atomic::Ordering;
use crate::model::{check_all, each_death_all, expect_failure, spawn, victim};

/// Memory of which all is there.
struct Bytes(Box<[UnsafeCell<u64>]>);

// SAFETY: loom is told of who reads and writes, and ends the model where two do at once.
unsafe impl Sync for Bytes {}

impl Memory for Bytes {
    fn start(&self) -> NonNull<u8> {
        NonNull::from(&self.0[0]).cast()
    }

    fn back(&self, _: usize, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn give_back(&self, _: usize, _: usize) {}

    fn backed(&self) -> io::Result<u64> {
        Ok(LENGTH as u64)
    }
}

type Shared = Arc<(Words, Bytes)>;

fn new() -> Shared {
    let bytes = (0..LENGTH / 8).map(|_| UnsafeCell::new(0)).collect();
    Arc::new((Words::default(), Bytes(bytes)))
}

fn ring(shared: &Shared) -> Ring<'_, Bytes> {
    Ring { words: &shared.0, memory: &shared.1 }
}

fn message(number: u8, length: usize) -> Vec<u8> {
    vec![number; length]
}

/// Takes the message `number`, if one is there.
fn take(ring: &Ring<'_, Bytes>, number: u8, length: usize) -> bool {
    let Some(first) = ring.first().expect("no garbage") else { return false };
    let mut bytes = Vec::new();
    ring.read(first, &mut bytes).expect("no garbage");
    assert_eq!((first.sequence, bytes), (number.into(), message(number, length)));
    ring.remove(first);
    true
}

/// `COUNT` messages of `LENGTH` bytes from one to another, through the smallest region and, when
/// that is full, the next.
fn pass<const COUNT: u8, const LENGTH: usize>() {
    let shared = new();
    let writer = {
        let shared = Arc::clone(&shared);
        spawn(2, move || {
            for number in 0..COUNT {
                let bytes = message(number, LENGTH);
                ring(&shared).write(&bytes, &[], number.into(), false).expect("room");
            }
        })
    };
    let mut next = 0;
    for _ in 0..2 {
        next += u8::from(take(&ring(&shared), next, LENGTH));
    }
    writer.join().expect("it ends");
    while next < COUNT {
        assert!(take(&ring(&shared), next, LENGTH), "all that was written is there");
        next += 1;
    }
    assert!(ring(&shared).is_empty());
}

/// The victim writes; what another writes after it is read, and so is what it had committed.
fn writer_dies() {
    let shared = new();
    let writer = {
        let shared = Arc::clone(&shared);
        spawn(2, move || {
            victim(|| {
                for number in 0..3 {
                    let bytes = message(number, 24);
                    match ring(&shared).write(&bytes, &[], number.into(), false) {
                        Ok(()) => {}
                        Err(WriteError::NoRoom | WriteError::Memory(_)) => panic!("there is room"),
                    }
                }
            });
        })
    };
    let mut next = 0;
    next += u8::from(take(&ring(&shared), next, 24));
    writer.join().expect("it ends");
    while take(&ring(&shared), next, 24) {
        next += 1;
    }
    assert!(next <= 3);
    let bytes = message(next, 24);
    ring(&shared).write(&bytes, &[], next.into(), false).expect("room");
    assert!(take(&ring(&shared), next, 24), "the next writer goes on where it has to");
}

#[test]
fn messages_pass_through_one_region() {
    check_all(3, pass::<3, 0>);
}

#[test]
fn messages_move_to_the_next_region() {
    check_all(3, pass::<3, 24>);
}

#[test]
fn a_writer_may_die() {
    each_death_all(2, writer_dies);
}

#[test]
fn orderings_are_needed() {
    let passes = || check_all(3, pass::<3, 24>);
    expect_failure("ring.write", Ordering::Relaxed, passes);
    expect_failure("ring.tail", Ordering::Relaxed, passes);
    expect_failure("ring.move", Ordering::Relaxed, passes);
}
