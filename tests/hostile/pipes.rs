//! Messages that are none, in the memory and on the line of a pipe. Each is told, and the next good
//! message arrives as if nothing had been.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use procession::{Connection, RecvError, RecvTimeoutError, SendError, TryRecvError, TrySendError};
use procession_tests::{Random, proc, raw, tests};

use crate::support::{
    HAS_HANDLES, HEAD, IN_LONG_AREA, IN_SHORT_AREA, IN_SLOT, ON_ITS_OWN, TAIL, Tapped, WORDS, what,
};

tests! {
    what_is_no_message_is_told_from_one,
    what_is_no_value_is_told_from_one,
    every_way_of_receiving_tells_it,
    words_that_do_not_fit_together_are_told,
    random_words_are_told,
    what_else_is_on_the_line_is_thrown_away,
    handles_that_do_not_fit_are_refused_and_closed,
    a_handle_that_is_no_connection_is_refused,
    a_peer_that_only_stops_sending_is_at_its_end,
}

fn open() -> usize {
    proc::descriptors_of(std::process::id()).len()
}

/// The receiver says that what came is no message, and gets the next one.
fn assert_told(tapped: &Tapped<String>, which: &dyn std::fmt::Debug) {
    let result = tapped.receiver.recv();
    let Err(RecvError::Decode(error)) = result else { panic!("{which:?}: {result:?}") };
    assert!(error.to_string().contains("the message"), "{which:?}: {error}");
    tapped.sender.send(&"good".to_owned()).expect("there is room");
    assert_eq!(tapped.receiver.recv().expect("a good one"), "good", "after {which:?}");
}

fn what_is_no_message_is_told_from_one() {
    const MOST: u64 = (1 << 40) - 1;
    let tapped = Tapped::<String>::new();
    let slots = [
        // Lengths that lie.
        (what(97, IN_SLOT), 0),
        (what(1 << 20, IN_SLOT), 0),
        (what(MOST, IN_SLOT), 0),
        (what((256 << 10) + 1, IN_SHORT_AREA), 0),
        (what(MOST, IN_SHORT_AREA), 0),
        (what((16 << 20) + 1, IN_LONG_AREA), 0),
        (what(MOST, IN_LONG_AREA), u64::MAX),
        // Places that lie.
        (what(100, IN_SHORT_AREA), (256 << 10) - 99),
        (what(100, IN_SHORT_AREA), u64::MAX - 50),
        (what(15 << 20, IN_LONG_AREA), (3 << 20) - 1),
        // Memory of its own that did not come.
        (what(3, ON_ITS_OWN), 0),
        (what(MOST, ON_ITS_OWN), 0),
        // Bits that mean nothing, with a length that lies.
        (!HAS_HANDLES, u64::MAX),
    ];
    for slot in slots {
        tapped.send_slot(slot.0, slot.1, None, b"\x02ab");
        assert_told(&tapped, &slot);
    }
    for (ticket, lies) in [(0, IN_SLOT), (u64::MAX, IN_SLOT), (7, ON_ITS_OWN)] {
        tapped.send_slot(what(3, lies), 0, Some(ticket), b"\x02ab");
        assert_told(&tapped, &("no packet", ticket));
    }
    drop(tapped.sender);
    assert!(matches!(tapped.receiver.recv(), Err(RecvError::Closed)));
}

fn what_is_no_value_is_told_from_one() {
    let tapped = Tapped::<String>::new();
    let bad: [&[u8]; 9] = [
        // Nothing, too little, too much, no UTF-8, lengths that lie.
        b"",
        b"\x02a",
        b"\x02abc",
        b"\x02\xff\xfe",
        b"\x7fab",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffa",
        &[0xff; 4000],
        &[0; 100_000],
    ];
    for bad in bad {
        tapped.send(bad, &[]);
        assert_told(&tapped, &bad.len());
    }
    let mut random = Random::new();
    for _ in 0..500 {
        let longest = if random.below(4) == 0 { 60_000 } else { 64 };
        // The first byte says that nothing, or a lot, follows.
        let mut bytes: Vec<u8> =
            (0..2 + random.below(longest)).map(|_| random.below(256) as u8).collect();
        bytes[0] = if random.below(2) == 0 { 0 } else { 0xff };
        bytes[1] |= 0x80;
        tapped.send(&bytes, &[]);
        assert_told(&tapped, &bytes);
    }
}

fn every_way_of_receiving_tells_it() {
    let tapped = Tapped::<u64>::new();
    let bad = || tapped.send_slot(what(97, IN_SLOT), 0, None, &[]);
    bad();
    let result = tapped.receiver.try_recv();
    assert!(matches!(result, Err(TryRecvError::Decode(_))), "{result:?}");
    assert!(matches!(tapped.receiver.try_recv(), Err(TryRecvError::Empty)), "it is gone");
    bad();
    assert!(tapped.receiver.poll(Duration::from_secs(3600)).expect("something is there"));
    let waited = procession::wait(&[&tapped.receiver], None).expect("something is there");
    assert_eq!(waited, [0]);
    let result = tapped.receiver.recv_timeout(Duration::from_secs(3600));
    assert!(matches!(result, Err(RecvTimeoutError::Decode(_))), "{result:?}");
    assert!(!tapped.receiver.poll(Duration::ZERO).expect("a look"), "it is gone");
}

fn words_that_do_not_fit_together_are_told() {
    for (place, value) in [(HEAD, 300), (HEAD, u64::MAX - 1), (HEAD, 1 << 63), (WORDS + 192, 5)] {
        let tapped = Tapped::<u64>::new();
        tapped.set_word(place, value);
        for _ in 0..2 {
            let result = tapped.receiver.recv();
            assert!(matches!(result, Err(RecvError::Io(_))), "{place} {value}: {result:?}");
            assert!(tapped.receiver.poll(Duration::MAX).expect("that can be received"));
        }
        assert!(result_text(tapped.receiver.recv()).contains("make another pipe"));
    }
    for (place, value) in [(TAIL, 1 << 63), (TAIL, u64::MAX - 1), (TAIL, 300)] {
        let tapped = Tapped::<u64>::new();
        tapped.set_word(place, value);
        let result = tapped.sender.send(&1);
        assert!(matches!(result, Err(SendError::Io(_))), "{value}: {result:?}");
        let result = tapped.sender.try_send(&1);
        assert!(matches!(result, Err(TrySendError::Io(_))), "{value}: {result:?}");
    }
}

fn result_text<T: std::fmt::Debug>(result: Result<T, RecvError>) -> String {
    result.expect_err("an error").to_string()
}

fn random_words_are_told() {
    let mut random = Random::new();
    let before = proc::memory();
    for _ in 0..300 {
        let tapped = Tapped::<Vec<u8>>::new();
        for _ in 0..4 {
            for _ in 0..=random.below(6) {
                let places = 24 + random.below(2) * 8;
                let value = match random.below(4) {
                    0 => random.below(300),
                    1 => u64::MAX - random.below(300),
                    2 => 1 << random.below(64),
                    _ => random.below(u64::MAX),
                };
                // Beside the locks: a word that says somebody living holds one is waited for.
                let place = 2 + random.below(places);
                tapped.set_word(
                    WORDS + if place < 18 { 8 + place * 8 } else { 128 + place * 8 },
                    value,
                );
            }
            let short = Duration::from_millis(1);
            let _ = tapped.sender.send_timeout(&vec![1; 40], short);
            let _ = tapped.sender.send_timeout(&vec![1; 70_000], short);
            let _ = tapped.receiver.try_recv();
            let _ = tapped.receiver.recv_timeout(short);
            let _ = tapped.receiver.poll(Duration::ZERO);
        }
    }
    let grown = proc::memory().saturating_sub(before);
    assert!(grown < 64 << 10, "{grown} KiB more after the lies");
}

fn what_else_is_on_the_line_is_thrown_away() {
    let tapped = Tapped::<(String, Connection<u8>)>::new();
    let null = File::open("/dev/null").expect("it is there");
    let mut random = Random::new();
    for round in 0..100 {
        let (one, other) = procession::pipe::<u8>().expect("a pipe");
        let before = open();
        for packet in 0..random.below(4) {
            // Three long ones would leave no room, and who then sends waits for a reader.
            let lengths = [0, 1, 8, 9, 1000, if packet < 2 { 70_000 } else { 2000 }];
            let length = lengths[random.below(6) as usize];
            let handles = vec![null.as_raw_fd(); random.below(3) as usize * 20];
            // A ticket that is long gone, if it looks like one.
            raw::send(tapped.socket, &vec![0; length], &handles).expect("there is room");
        }
        assert!(matches!(tapped.receiver.try_recv(), Err(TryRecvError::Empty)), "it is no message");
        if round == 0 {
            // The ticket 0 is nobody's any more from here on.
            tapped.send(b"\x00\x00\x00", &[null.as_raw_fd()]);
            let _ = tapped.receiver.recv();
        }
        tapped.sender.send(&("good".to_owned(), one)).expect("there is room");
        let (word, came) = tapped.receiver.recv().expect("a good one");
        assert_eq!(word, "good");
        came.send(&7).expect("we listen");
        assert_eq!(other.recv().expect("it came"), 7);
        drop(came);
        assert!(matches!(other.recv(), Err(RecvError::Closed)), "no copy was left on the way");
        assert!(open() < before, "what was thrown away is closed");
    }
}

fn handles_that_do_not_fit_are_refused_and_closed() {
    let tapped = Tapped::<String>::new();
    let null = File::open("/dev/null").expect("it is there");
    let before = open();
    for handles in [1, 2, 64] {
        // The text refers to none of them: they are closed unused.
        tapped.send(b"\x02ab", &vec![null.as_raw_fd(); handles]);
        assert_eq!(tapped.receiver.recv().expect("a text needs no handles"), "ab");
        assert_eq!(open(), before);
        // With a text that is none.
        tapped.send(b"\x02a", &vec![null.as_raw_fd(); handles]);
        assert_told(&tapped, &handles);
        assert_eq!(open(), before);
    }
}

fn a_handle_that_is_no_connection_is_refused() {
    let tapped = Tapped::<Connection<u8>>::new();
    let (other_pipe, _end) = procession::pipe::<u8>().expect("a pipe");
    let null = File::open("/dev/null").expect("it is there");
    let pair = raw::inheritable_pair(libc::SOCK_STREAM).expect("a pair");
    let packets = raw::inheritable_pair(libc::SOCK_SEQPACKET).expect("a pair");
    let memory = tapped.memory.as_raw_fd();
    for (message, handles) in [
        // A line, and behind it memory and bell.
        ([0, 1], vec![null.as_raw_fd(), memory, null.as_raw_fd()]),
        ([0, 1], vec![pair[0], memory, null.as_raw_fd()]),
        ([0, 1], vec![packets[0], memory, null.as_raw_fd()]),
        ([0, 1], vec![tapped.socket, null.as_raw_fd(), null.as_raw_fd()]),
        ([0, 1], vec![tapped.socket, tapped.socket, null.as_raw_fd()]),
        // They are there, but not at that place.
        ([0, 1], vec![tapped.socket, memory]),
        ([0, 1], vec![tapped.socket]),
        ([0, 2], vec![tapped.socket, memory, null.as_raw_fd()]),
        ([0, 0x7f], vec![tapped.socket, memory, null.as_raw_fd()]),
        ([1, 0], vec![tapped.socket, memory, null.as_raw_fd()]),
        ([0x7f, 0], vec![tapped.socket, memory, null.as_raw_fd()]),
    ] {
        tapped.send(&message, &handles);
        let result = tapped.receiver.recv();
        assert!(matches!(result, Err(RecvError::Decode(_))), "{message:?}: {result:?}");
    }
    // With everything it needs, it is one; what the bell is, is for who waits.
    tapped.send(&[0, 1], &[tapped.socket, memory, null.as_raw_fd()]);
    tapped.receiver.recv().expect("an end of this very pipe");
    pair.into_iter().chain(packets).for_each(raw::close);
    drop(other_pipe);
    // The same line twice.
    let two = Tapped::<Vec<Connection<u8>>>::new();
    let handles = [two.socket, two.memory.as_raw_fd(), null.as_raw_fd()];
    two.send(&[2, 0, 1, 0, 1], &handles);
    let result = two.receiver.recv();
    assert!(matches!(result, Err(RecvError::Decode(_))), "{result:?}");
}

fn a_peer_that_only_stops_sending_is_at_its_end() {
    let tapped = Tapped::<u64>::new();
    tapped.sender.send(&2).expect("there is room");
    // SAFETY: plain numbers.
    let result = unsafe { libc::shutdown(tapped.socket, libc::SHUT_WR) };
    assert_eq!(result, 0, "a socket can be shut down");
    assert_eq!(tapped.receiver.recv().expect("what was sent before"), 2);
    for _ in 0..3 {
        assert!(matches!(tapped.receiver.recv(), Err(RecvError::Closed)));
    }
}
