//! Messages that are none, on the wire of a connection. Each is told, and the next good message
//! arrives as if nothing had been.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::time::Duration;

use procession::{Connection, RecvError, RecvTimeoutError, TryRecvError};
use procession_tests::{Random, raw, tests};

use crate::support::{IN_MEMORY, INLINE, Tapped, header};

tests! {
    what_is_no_message_is_told_from_one,
    every_way_of_receiving_tells_it,
    an_empty_message_is_not_the_end,
    a_message_longer_than_any_is_told,
    random_bytes_are_no_message,
    handles_that_do_not_fit_are_refused_and_closed,
    a_handle_that_is_no_connection_is_refused,
    a_peer_that_only_stops_sending_is_at_its_end,
}

/// Messages that no sender of this library sends.
fn bad_messages() -> Vec<Vec<u8>> {
    let with = |header: Vec<u8>, bytes: &[u8]| [&header, bytes].concat();
    let good = with(header(INLINE, 0, 3), b"\x02ab");
    let mut bad = vec![
        vec![0],
        vec![1; 15],
        vec![0xff; 16],
        vec![0; 4096],
        b"PRC2\0\0\0\0\x03\0\0\0\0\0\0\0\x02ab".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // Lengths that lie.
        with(header(INLINE, 0, u64::MAX), b"\x02ab"),
        with(header(INLINE, 0, u64::MAX - 15), b"\x02ab"),
        with(header(INLINE, 0, 1 << 40), b"\x02ab"),
        with(header(INLINE, 0, 4), b"\x02ab"),
        with(header(INLINE, 0, 2), b"\x02ab"),
        with(header(INLINE, 0, 1), b""),
        // Kinds that are none, and large messages without memory.
        with(header(2, 0, 3), b"\x02ab"),
        with(header(u16::MAX, 0, 3), b"\x02ab"),
        header(IN_MEMORY, 0, 3),
        header(IN_MEMORY, 0, u64::MAX),
        with(header(IN_MEMORY, 0, 3), b"\x02ab"),
        // Handles that did not come.
        with(header(INLINE, 1, 3), b"\x02ab"),
        with(header(INLINE, u16::MAX, 3), b"\x02ab"),
        // Well-formed, but no such value: nothing, too much, no UTF-8, a length that lies.
        header(INLINE, 0, 0),
        with(header(INLINE, 0, 4), b"\x02abc"),
        with(header(INLINE, 0, 3), b"\x02\xff\xfe"),
        with(header(INLINE, 0, 3), b"\x7fab"),
        with(header(INLINE, 0, 11), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a"),
        with(header(INLINE, 0, 11), b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xffa"),
    ];
    bad.extend((1..good.len()).map(|length| good[..length].to_vec()));
    bad
}

fn what_is_no_message_is_told_from_one() {
    let tapped = Tapped::new(&"any".to_owned());
    for bad in bad_messages() {
        tapped.send(&bad, &[]);
        let result = tapped.receiver.recv();
        let Err(RecvError::Decode(error)) = result else { panic!("{bad:?}: {result:?}") };
        assert!(error.to_string().contains("the message"), "{bad:?}: {error}");
        // What comes next is not hurt.
        tapped.sender.send(&"good".to_owned()).expect("there is room");
        assert_eq!(tapped.receiver.recv().expect("a good one"), "good", "after {bad:?}");
    }
    drop(tapped.sender);
    assert!(matches!(tapped.receiver.recv(), Err(RecvError::Closed)));
}

fn every_way_of_receiving_tells_it() {
    let tapped = Tapped::new(&1u64);
    let bad = header(INLINE, 0, u64::MAX);
    tapped.send(&bad, &[]);
    let result = tapped.receiver.try_recv();
    assert!(matches!(result, Err(TryRecvError::Decode(_))), "{result:?}");
    assert!(matches!(tapped.receiver.try_recv(), Err(TryRecvError::Empty)), "it is gone");
    tapped.send(&bad, &[]);
    assert!(tapped.receiver.poll(Duration::from_secs(3600)).expect("something is there"));
    let waited = procession::wait(&[&tapped.receiver], None).expect("something is there");
    assert_eq!(waited, [0]);
    let result = tapped.receiver.recv_timeout(Duration::from_secs(3600));
    assert!(matches!(result, Err(RecvTimeoutError::Decode(_))), "{result:?}");
    assert!(!tapped.receiver.poll(Duration::ZERO).expect("a look"), "it is gone");
}

fn an_empty_message_is_not_the_end() {
    let tapped = Tapped::new(&1u64);
    tapped.send(&[], &[]);
    let result = tapped.receiver.recv();
    let told = matches!(result, Err(RecvError::Decode(_)));
    assert!(told, "the other end is open, and has sent garbage: {result:?}");
    tapped.sender.send(&2).expect("there is room");
    assert_eq!(tapped.receiver.recv().expect("a good one"), 2);
    // Before the real end there may be one as well.
    tapped.send(&[], &[]);
    drop(tapped.sender);
    loop {
        match tapped.receiver.recv() {
            Err(RecvError::Decode(_)) => {}
            Err(RecvError::Closed) => break,
            other => panic!("{other:?}"),
        }
    }
}

fn a_message_longer_than_any_is_told() {
    let tapped = Tapped::new(&vec![1u8]);
    for length in [65_537usize, 100_000, 150_000] {
        let mut long = header(INLINE, 0, length as u64 - 16);
        long.resize(length, 7);
        tapped.send(&long, &[]);
        let result = tapped.receiver.recv();
        assert!(matches!(result, Err(RecvError::Decode(_) | RecvError::Io(_))), "{result:?}");
        tapped.sender.send(&vec![2]).expect("there is room");
        assert_eq!(tapped.receiver.recv().expect("a good one"), [2]);
    }
}

fn random_bytes_are_no_message() {
    let tapped = Tapped::new(&"any".to_owned());
    let mut random = Random::new();
    for _ in 0..500 {
        let longest = if random.below(4) == 0 { 60_000 } else { 64 };
        let length = 1 + random.below(longest);
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        tapped.send(&bytes, &[]);
        let result = tapped.receiver.recv();
        assert!(matches!(result, Err(RecvError::Decode(_))), "{bytes:?}: {result:?}");
    }
    tapped.sender.send(&"good".to_owned()).expect("there is room");
    assert_eq!(tapped.receiver.recv().expect("a good one"), "good");
}

fn handles_that_do_not_fit_are_refused_and_closed() {
    let tapped = Tapped::new(&"any".to_owned());
    let null = File::open("/dev/null").expect("it is there");
    let good = [header(INLINE, 0, 3), b"\x02ab".to_vec()].concat();
    let claims_two = [header(INLINE, 2, 3), b"\x02ab".to_vec()].concat();
    let open = procession_tests::proc::descriptors_of(std::process::id()).len();
    for (message, handles) in [(&good, 1), (&good, 64), (&claims_two, 1), (&claims_two, 3)] {
        tapped.send(message, &vec![null.as_raw_fd(); handles]);
        let result = tapped.receiver.recv();
        assert!(matches!(result, Err(RecvError::Decode(_))), "{handles}: {result:?}");
        // Nothing but handles, and a message that is too short for a header.
        tapped.send(&[1], &vec![null.as_raw_fd(); handles]);
        let result = tapped.receiver.recv();
        assert!(matches!(result, Err(RecvError::Decode(_))), "{handles}: {result:?}");
        assert_eq!(procession_tests::proc::descriptors_of(std::process::id()).len(), open);
    }
    // As many as the text says, but the text refers to none of them: they are closed unused.
    tapped.send(&claims_two, &[null.as_raw_fd(); 2]);
    assert_eq!(tapped.receiver.recv().expect("a text needs no handles"), "ab");
    assert_eq!(procession_tests::proc::descriptors_of(std::process::id()).len(), open);
}

fn a_handle_that_is_no_connection_is_refused() {
    let (any, _other) = procession::pipe::<u8>().expect("a pipe");
    let tapped: Tapped<Connection<u8>> = Tapped::new(&any);
    let null = File::open("/dev/null").expect("it is there");
    let pair = raw::inheritable_pair(libc::SOCK_STREAM).expect("a pair");
    let message = |handles, place| [header(INLINE, handles, 1), vec![place]].concat();
    for (message, handle) in [
        (message(1, 0), null.as_raw_fd()),
        (message(1, 0), pair[0]),
        // There is a wire, but not at that place.
        (message(1, 1), tapped.socket),
        (message(1, 0x7f), tapped.socket),
    ] {
        tapped.send(&message, &[handle]);
        let result = tapped.receiver.recv();
        assert!(matches!(result, Err(RecvError::Decode(_))), "{message:?}: {result:?}");
    }
    pair.into_iter().for_each(raw::close);
    // The same handle twice.
    let two: Tapped<Vec<Connection<u8>>> = Tapped::new(&Vec::new());
    let twice = [header(INLINE, 1, 3), vec![2, 0, 0]].concat();
    two.send(&twice, &[tapped.socket]);
    let result = two.receiver.recv();
    assert!(matches!(result, Err(RecvError::Decode(_))), "{result:?}");
}

fn a_peer_that_only_stops_sending_is_at_its_end() {
    let tapped = Tapped::new(&1u64);
    tapped.sender.send(&2).expect("there is room");
    // SAFETY: plain numbers.
    let result = unsafe { libc::shutdown(tapped.socket, libc::SHUT_WR) };
    assert_eq!(result, 0, "a socket can be shut down");
    assert_eq!(tapped.receiver.recv().expect("what was sent before"), 2);
    for _ in 0..3 {
        assert!(matches!(tapped.receiver.recv(), Err(RecvError::Closed)));
    }
}
