use super::*;
use crate::store::{Reader, Store};

fn pair() -> (Giver, Taker) {
    let giver = Giver::new().expect("slots");
    let handle = giver.handle().try_clone_to_owned().expect("a handle");
    let taker = Taker::open(handle, 0).expect("open");
    (giver, taker)
}

fn offer<'a>(bytes: &'a [&'a [u8]]) -> Offer<'a> {
    Offer {
        input: Input::Bytes(bytes),
        items: 1,
        large: false,
        timed: false,
        traced: false,
        handles: false,
    }
}

fn take(taker: &Taker, lane: usize, buffer: &mut Vec<u8>) -> Taken {
    taker.take(lane, buffer).expect("take").expect("work")
}

#[test]
fn work_is_taken_in_order_and_answered() {
    let (giver, taker) = pair();
    for i in 0..3u8 {
        giver.offer(usize::from(i), 10 + u64::from(i), offer(&[b"in", &[i]]));
    }
    let mut buffer = Vec::new();
    for i in 0..3u8 {
        let taken = take(&taker, 5, &mut buffer);
        assert_eq!((taken.slot, taken.turn), (usize::from(i), 10 + u64::from(i)));
        assert_eq!(buffer, [b'i', b'n', i]);
        assert_eq!(giver.look(taken.slot, taken.turn), Look::Taken { lane: 5 });
        assert!(!giver.withdraw(taken.slot, taken.turn));
        let mut answer = taker.answer(&taken, 5);
        answer.push(&[b"out", &[i]]).expect("room");
        assert_eq!(giver.done(taken.slot), 1);
        answer.finish();
        assert_eq!(giver.look(taken.slot, taken.turn), Look::Answered { lane: 5 });
    }
    let mut changed = Vec::new();
    giver.changed(|slot| changed.push(slot));
    assert_eq!(changed, [0, 1, 2]);
    for slot in changed {
        let mut out = Vec::new();
        assert_eq!(giver.outputs(slot, false, 3, &mut out), None);
        assert_eq!(out, [b'o', b'u', b't', slot as u8]);
        giver.release(slot);
        assert_eq!(giver.look(slot, 10 + slot as u64), Look::Garbage);
    }
    giver.changed(|slot| panic!("nothing more has changed: {slot}"));
}

#[test]
fn what_is_withdrawn_or_there_twice_is_taken_once_at_the_most() {
    let (giver, taker) = pair();
    giver.offer(7, 1, offer(&[b"a"]));
    assert!(giver.withdraw(7, 1) && !giver.withdraw(7, 1));
    giver.offer(7, 2, offer(&[b"b"]));
    giver.enter(7, 2);
    giver.enter(7, 2);
    let mut buffer = Vec::new();
    let taken = take(&taker, 0, &mut buffer);
    assert_eq!((taken.turn, buffer.as_slice()), (2, b"b".as_slice()));
    assert_eq!(taker.try_take(0), None);
    giver.stop();
    assert!(taker.take(0, &mut buffer).expect("take").is_none());
}

#[test]
fn entries_that_are_full_of_old_ones_are_made_anew() {
    let (giver, taker) = pair();
    for turn in 0..ENTRIES as u64 * 2 {
        giver.offer(3, turn, offer(&[b"x"]));
        assert!(giver.withdraw(3, turn));
    }
    giver.offer(4, 1, offer(&[b"y"]));
    giver.offer(5, 1, offer(&[b"z"]));
    // Somebody scribbles.
    giver.words().head.0.store(u64::MAX / 2, Ordering::Relaxed);
    assert_eq!(taker.try_take(0), None);
    giver.enter(5, 1);
    let mut slots =
        [taker.try_take(0), taker.try_take(0), taker.try_take(0)].map(|t| t.map(|t| t.0));
    slots.sort_unstable();
    assert_eq!(slots, [None, Some(4), Some(5)]);
}

#[test]
fn many_takers_take_each_piece_once() {
    const WORK: u64 = 20_000;
    let giver = Giver::new().expect("slots");
    std::thread::scope(|scope| {
        for place in 0..3 {
            let handle = giver.handle().try_clone_to_owned().expect("a handle");
            let taker = Taker::open(handle, place).expect("open");
            scope.spawn(move || {
                let mut buffer = Vec::new();
                while let Some(taken) = taker.take(place, &mut buffer).expect("take") {
                    let mut answer = taker.answer(&taken, place);
                    answer.push(&[&buffer]).expect("room");
                    answer.finish();
                }
            });
        }
        let (mut offered, mut seen) = (0, vec![false; WORK as usize]);
        let (mut free, mut turns): (Vec<usize>, Vec<u64>) = ((0..64).collect(), vec![0; 64]);
        let mut answered = 0;
        while answered < WORK {
            let count = giver.count();
            let mut new = 0;
            while offered < WORK
                && let Some(slot) = free.pop()
            {
                turns[slot] = offered;
                giver.offer(slot, offered, offer(&[&offered.to_ne_bytes()]));
                (offered, new) = (offered + 1, new + 1);
            }
            giver.wake_takers(new);
            giver.wait(count, 16, None, || false).expect("wait");
            giver.changed(|slot| {
                assert!(matches!(giver.look(slot, turns[slot]), Look::Answered { .. }));
                let mut out = Vec::new();
                giver.outputs(slot, false, 8, &mut out);
                let number = u64::from_ne_bytes(out.try_into().expect("eight bytes"));
                assert!(!std::mem::replace(&mut seen[number as usize], true), "{number} twice");
                giver.release(slot);
                free.push(slot);
                answered += 1;
            });
        }
        giver.stop();
    });
}

#[test]
fn a_piece_of_many_items_can_be_answered_in_part() {
    let (giver, taker) = pair();
    let (store, input) = (Store::new().expect("store"), vec![9; 100_000]);
    giver.back(1).expect("memory");
    let block = store.put(&[&input]).expect("put");
    let offer = Offer {
        input: Input::Stored(block),
        items: 100,
        large: true,
        timed: true,
        traced: false,
        handles: true,
    };
    giver.offer(1, 77, offer);
    let mut buffer = Vec::new();
    let taken = take(&taker, 0, &mut buffer);
    assert!(taken.handles && taken.items == 100 && buffer.is_empty());
    let memory = store.handle().try_clone_to_owned().expect("a handle");
    Reader::new(memory)
        .expect("a store")
        .read(taken.stored.expect("stored"), &mut buffer)
        .expect("read");
    assert_eq!(buffer, input);
    taker.call_giver(&taken);
    let mut changed = 0;
    giver.changed(|_| changed += 1);
    assert_eq!(changed, 1);
    let mut answer = taker.answer(&taken, 0);
    let long = vec![1; LARGE / 2];
    answer.begin();
    assert!(giver.began(1) > 0);
    answer.push(&[&long]).expect("room");
    assert_eq!(answer.push(&[&long, b"x"]), Err(NoRoom));
    answer.push(&[&long]).expect("exactly");
    let result = store.put(&[b"more"]).expect("put");
    answer.push_stored(result);
    answer.finish();
    assert!(taker.is_answered(1, 77, 0));
    let mut out = Vec::new();
    assert_eq!(giver.outputs(1, true, 0, &mut out), Some(result));
    assert_eq!((giver.done(1), out.len()), (3, LARGE));
    giver.release(1);
    assert!(!taker.is_answered(1, 77, 0));
}

#[test]
fn garbage_in_a_slot_stays_inside() {
    let (giver, taker) = pair();
    let mut buffer = Vec::new();
    for garbage in [u64::MAX, 1 << 63, 0x0123_4567_89ab_cdef] {
        giver.offer(0, 1, offer(&[b"a"]));
        let taken = taker.try_take(0).map(|(slot, turn)| {
            let words = &giver.words().slots[0];
            words.input_length.store(garbage, Ordering::Relaxed);
            words.input_offset.store(garbage, Ordering::Relaxed);
            words.written.store(garbage as u32, Ordering::Relaxed);
            words.flags.store(garbage as u32 & IS_TIMED, Ordering::Relaxed);
            taker.copy_input(slot, turn, &mut buffer)
        });
        let taken = taken.expect("offered");
        assert!(buffer.len() <= LARGE);
        let mut answer = taker.answer(&taken, 0);
        let _ = answer.push(&[&[0; 900]]);
        answer.finish();
        let mut out = Vec::new();
        giver.outputs(0, false, 1, &mut out);
        assert!(out.len() <= LARGE);
        giver.words().slots[0].state.store(garbage, Ordering::Relaxed);
        assert_eq!(giver.look(0, 1), Look::Garbage);
        giver.words().entries.iter().for_each(|entry| entry.store(garbage, Ordering::Relaxed));
        giver.words().tail.0.store(garbage, Ordering::Relaxed);
        assert_eq!(taker.try_take(0), None);
        giver.words().head.0.store(0, Ordering::Relaxed);
        giver.words().tail.0.store(5, Ordering::Relaxed);
        assert_eq!(taker.try_take(0), None);
        giver.words().head.0.store(giver.tail.load(Ordering::Relaxed), Ordering::Relaxed);
        giver.changed(drop);
    }
}
