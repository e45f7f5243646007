//! The ends of a pipe within one process: every method, every error.

use std::error::Error;
use std::time::Duration;

use procession::{
    Connection, PipeError, Receiver, RecvError, RecvTimeoutError, SendError, Sender, TryRecvError,
    duplex, pipe, simplex,
};
use procession_tests::tests;
use serde::{Deserialize, Serialize};

tests!(
    looking_without_waiting,
    waiting_for_a_while,
    within_one_process,
    threads_at_one_end,
    clones_keep_an_end_open,
    messages_that_do_not_cross,
    self_describing_messages_are_refused,
    errors_have_words_and_causes,
    json_refuses_every_handle,
);

fn looking_without_waiting() {
    let (a, b) = pipe::<u8>().expect("pipe");
    assert!(matches!(a.try_recv(), Err(TryRecvError::Empty)));
    assert!(!a.poll(Duration::ZERO).expect("poll"));
    b.send(&1).expect("send");
    assert!(a.poll(Duration::ZERO).expect("poll"));
    assert!(a.poll(Duration::MAX).expect("poll"), "looking takes nothing");
    assert_eq!(a.try_recv().expect("receive"), 1);
    assert!(matches!(a.try_recv(), Err(TryRecvError::Empty)));
    b.send(&2).expect("send");
    drop(b);
    assert_eq!(a.try_recv().expect("sent before the end"), 2);
    assert!(a.poll(Duration::ZERO).expect("the end can be received"));
    assert!(matches!(a.try_recv(), Err(TryRecvError::Closed)));
    assert!(matches!(a.try_recv(), Err(TryRecvError::Closed)), "once closed, always closed");
    assert!(matches!(a.recv(), Err(RecvError::Closed)));
    assert!(matches!(a.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Closed)));
    assert!(matches!(a.send(&3), Err(SendError::Closed)));
}

fn waiting_for_a_while() {
    let (rx, tx) = simplex::<u8>().expect("pipe");
    for timeout in [Duration::ZERO, Duration::from_nanos(1), Duration::from_millis(20)] {
        let begin = std::time::Instant::now();
        assert!(matches!(rx.recv_timeout(timeout), Err(RecvTimeoutError::Timeout)));
        assert!(!rx.poll(timeout).expect("poll"));
        assert!(begin.elapsed() >= 2 * timeout, "not earlier");
    }
    tx.send(&1).expect("send");
    assert_eq!(rx.recv_timeout(Duration::ZERO).expect("it is there"), 1);
    let later = std::thread::spawn(move || {
        tx.send(&2).expect("send");
        tx
    });
    assert_eq!(rx.recv_timeout(Duration::MAX).expect("it comes"), 2);
    drop(later.join());
    assert!(matches!(rx.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Closed)));
}

fn within_one_process() {
    let (a, b) = pipe::<Vec<u8>>().expect("pipe");
    for size in [0, 1, 100_000, 1 << 20] {
        let message: Vec<u8> = (0..size).map(|i| (i ^ (i >> 8)) as u8).collect();
        a.send(&message).expect("send");
        assert!(b.recv().expect("receive") == message);
    }
    let large = std::thread::spawn(move || a.send(&vec![1; 64 << 20]).map(|()| a));
    assert_eq!(b.recv().expect("receive").len(), 64 << 20);
    let a = large.join().expect("thread").expect("sent");
    let (units, other) = pipe::<()>().expect("pipe");
    units.send(&()).expect("send");
    other.recv().expect("receive");
    let text = format!("{a:?}");
    assert!(text.contains("Connection"), "{text}");
}

fn threads_at_one_end() {
    const EACH: u64 = 2000;
    let (a, b) = pipe::<u64>().expect("pipe");
    let sum = std::thread::scope(|scope| {
        let send = |first: u64| (0..EACH).for_each(|i| a.send(&(first + i)).expect("send"));
        for first in [0, EACH] {
            scope.spawn(move || send(first));
        }
        let receive = || (0..EACH).map(|_| b.recv().expect("receive")).sum::<u64>();
        let receivers = [scope.spawn(receive), scope.spawn(receive)];
        receivers.into_iter().map(|r| r.join().expect("thread")).sum::<u64>()
    });
    assert_eq!(sum, (0..2 * EACH).sum::<u64>());
    assert!(matches!(b.try_recv(), Err(TryRecvError::Empty)));
}

fn clones_keep_an_end_open() {
    let (rx, tx) = simplex::<u8>().expect("pipe");
    let (rx2, tx2) = (rx.clone(), tx.clone());
    drop(tx);
    assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
    drop(rx);
    tx2.send(&5).expect("a receiver is left");
    assert_eq!(rx2.recv().expect("receive"), 5);
    drop(tx2);
    assert!(matches!(rx2.recv(), Err(RecvError::Closed)));
    let (a, b) = pipe::<u8>().expect("pipe");
    let a2 = a.clone();
    drop(a);
    b.send(&6).expect("send");
    assert_eq!(a2.recv().expect("receive"), 6);
    drop(b);
    assert!(matches!(a2.recv(), Err(RecvError::Closed)));
}

/// Even numbers cross.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
struct Even(u8);

impl From<Even> for u8 {
    fn from(even: Even) -> Self {
        even.0
    }
}

impl TryFrom<u8> for Even {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        if number.is_multiple_of(2) { Ok(Self(number)) } else { Err(format!("{number} is odd")) }
    }
}

/// What has no place in any format.
#[derive(Debug, Deserialize)]
struct Sealed;

impl Serialize for Sealed {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("sealed"))
    }
}

fn messages_that_do_not_cross() {
    let (a, b) = duplex::<Even, Option<Sealed>>().expect("pipe");
    for number in [1, 2, 3] {
        a.send(&Even(number)).expect("send");
    }
    let error = b.recv().expect_err("odd");
    let RecvError::Decode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "the message");
    assert!(inner.type_name().ends_with("Even"), "{inner:?}");
    assert_eq!(b.recv().expect("the pipe goes on"), Even(2));
    assert!(matches!(b.try_recv(), Err(TryRecvError::Decode(_))));
    a.send(&Even(5)).expect("send");
    assert!(matches!(b.recv_timeout(Duration::MAX), Err(RecvTimeoutError::Decode(_))));

    let error = b.send(&Some(Sealed)).expect_err("sealed");
    let SendError::Encode(inner) = &error else { panic!("{error:?}") };
    assert_eq!(inner.what(), "the message");
    assert!(inner.type_name().contains("Sealed"), "{inner:?}");
    assert!(matches!(a.try_recv(), Err(TryRecvError::Empty)), "nothing was sent");
    b.send(&None).expect("the pipe goes on");
    assert!(a.recv().expect("receive").is_none());
}

fn self_describing_messages_are_refused() {
    let (a, b) = pipe::<serde_json::Value>().expect("pipe");
    a.send(&serde_json::json!([1, "a"])).expect("it encodes");
    let error = b.recv().expect_err("it does not decode");
    assert!(error.to_string().contains("self-describing"), "{error}");
}

/// An error as a user meets it: behind `?`, with words, on one line.
fn assert_words(error: impl Into<procession::Error>, words: &str, has_cause: bool) {
    let error = error.into();
    let text = error.to_string();
    assert!(text.contains(words) && !text.contains('\n'), "{text}");
    assert_eq!(error.source().is_some(), has_cause, "{text}");
}

fn errors_have_words_and_causes() {
    let (a, b) = pipe::<Even>().expect("pipe");
    assert_words(a.try_recv().expect_err("empty"), "no message", false);
    assert_words(a.recv_timeout(Duration::ZERO).expect_err("timeout"), "in time", false);
    b.send(&Even(1)).expect("send");
    assert_words(a.recv().expect_err("odd"), "the message", true);
    drop(b);
    assert_words(a.recv().expect_err("closed"), "gone", false);
    assert_words(a.try_recv().expect_err("closed"), "gone", false);
    assert_words(a.recv_timeout(Duration::ZERO).expect_err("closed"), "gone", false);
    assert_words(a.send(&Even(2)).expect_err("closed"), "gone", false);
    let refused = PipeError::Io(std::io::Error::from_raw_os_error(libc::EMFILE));
    assert_words(refused, "a pipe cannot be made", true);
}

fn json_refuses_every_handle() {
    let (connection, _b) = pipe::<u8>().expect("pipe");
    let (rx, tx) = simplex::<u8>().expect("pipe");
    let refused = [
        serde_json::to_string(&connection),
        serde_json::to_string(&Some(&rx)),
        serde_json::to_string(&vec![&tx]),
    ];
    for error in refused {
        let text = error.expect_err("no handle goes into JSON").to_string();
        assert!(text.contains("procession handle") && text.contains("argument"), "{text}");
    }
    let forged = [
        serde_json::from_str::<Connection<u8>>("0").map(drop),
        serde_json::from_str::<Receiver<u8>>("1").map(drop),
        serde_json::from_str::<Sender<u8>>("2").map(drop),
    ];
    for error in forged {
        let text = error.expect_err("no handle comes out of JSON").to_string();
        assert!(text.contains("procession handle"), "{text}");
    }
    connection.send(&1).expect("it works on");
}
