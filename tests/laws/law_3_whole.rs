//! Law 3: all or nothing. What fails has not happened, and leaves nothing.
//!
//! Messages of killed senders are among the kill tests; here something else is in the way.

use std::time::Duration;

use procession::{Connection, SendError, pipe};
use procession_tests::{Folder, METHODS, is_long, method_name, proc, tests};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::mark::victim;

tests! {
    a_message_that_does_not_encode_is_not_sent,
    a_message_with_too_many_handles_is_not_sent,
    threads_that_share_an_end_do_not_mix,
    a_start_without_descriptors_has_not_happened,
    a_first_start_without_descriptors_has_not_happened,
    a_message_without_descriptors_is_not_sent,
    a_start_whose_answer_is_lost_works_or_has_not_happened,
}

/// A text that may refuse to be written, after part of it has been.
#[derive(Debug, PartialEq)]
struct Stubborn(Option<String>);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::{Error, SerializeSeq};
        let mut parts = serializer.serialize_seq(Some(2))?;
        parts.serialize_element("a first part that was written")?;
        match &self.0 {
            Some(text) => parts.serialize_element(text)?,
            None => return Err(S::Error::custom("on purpose")),
        }
        parts.end()
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|mut parts: Vec<String>| Self(parts.pop()))
    }
}

fn a_message_that_does_not_encode_is_not_sent() {
    let (a, b) = pipe::<Stubborn>().expect("a pipe");
    let good = Stubborn(Some("good".to_owned()));
    for _ in 0..3 {
        let result = a.send(&Stubborn(None));
        assert!(matches!(result, Err(SendError::Encode(_))), "{result:?}");
        assert!(!b.poll(Duration::ZERO).expect("a look"), "nothing came");
        a.send(&good).expect("there is room");
        assert_eq!(b.recv().expect("the good one"), good);
    }
    // Handles that were written before it refused are not left open.
    let (a, _b) = pipe::<(Connection<u8>, Stubborn)>().expect("a pipe");
    let (one, _other) = pipe::<u8>().expect("a pipe");
    let message = (one, Stubborn(None));
    let open = open();
    for _ in 0..3 {
        assert!(matches!(a.send(&message), Err(SendError::Encode(_))));
        assert_eq!(self::open(), open);
    }
}

fn open() -> usize {
    proc::descriptors_of(std::process::id()).len()
}

fn a_message_with_too_many_handles_is_not_sent() {
    let (a, b) = pipe::<Vec<Connection<u8>>>().expect("a pipe");
    let (one, other) = pipe::<u8>().expect("a pipe");
    let message = |count: usize| -> Vec<_> { (0..count).map(|_| one.clone()).collect() };
    let before = open();
    for count in [254, 300] {
        let result = a.send(&message(count));
        assert!(matches!(result, Err(SendError::Encode(_))), "{result:?}");
        assert!(!b.poll(Duration::ZERO).expect("a look"), "nothing came");
        assert_eq!(open(), before);
    }
    a.send(&message(250)).expect("they fit");
    let came = b.recv().expect("a good one");
    assert_eq!(came.len(), 250);
    came[249].send(&7).expect("it works there");
    assert_eq!(other.recv().expect("a byte"), 7);
    drop(came);
    assert_eq!(open(), before);
}

fn threads_that_share_an_end_do_not_mix() {
    const THREADS: usize = 4;
    let messages = if is_long() { 5_000 } else { 200 };
    let (a, b) = pipe::<Vec<u8>>().expect("a pipe");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let a = &a;
            scope.spawn(move || {
                for number in 0..messages {
                    // In the socket's buffer, and in memory of their own.
                    let size = if number % 3 == 0 { 100_000 + number } else { number + 2 };
                    let mut message = vec![thread as u8; size];
                    message[0] = number as u8;
                    a.send(&message).expect("somebody reads");
                }
            });
        }
        let mut next = [0; THREADS];
        for _ in 0..THREADS * messages {
            let message = b.recv().expect("they all come");
            let thread = usize::from(message[1]);
            let number = next[thread];
            next[thread] += 1;
            let size = if number % 3 == 0 { 100_000 + number } else { number + 2 };
            assert_eq!((message.len(), message[0]), (size, number as u8), "of {thread}, in order");
            assert!(message[1..] == vec![thread as u8; size - 1], "it is whole");
        }
    });
    assert!(!b.poll(Duration::ZERO).expect("a look"), "nothing is left");
}

/// How many descriptors are free: from none to more than any start needs.
const FREE: std::ops::Range<usize> = 0..24;

fn a_start_without_descriptors_has_not_happened() {
    for method in METHODS {
        let mut victim = victim("scarce").arg(method_name(method)).arg("warm");
        for free in FREE {
            victim = victim.arg(free.to_string());
        }
        let output = victim.succeed();
        assert_some_of_each(&output.stdout);
    }
}

fn a_first_start_without_descriptors_has_not_happened() {
    for method in METHODS {
        let mut said = String::new();
        for free in FREE {
            let victim = victim("scarce").arg(method_name(method)).arg("cold");
            said += &victim.arg(free.to_string()).succeed().stdout;
        }
        assert_some_of_each(&said);
    }
}

/// The range is wide enough: with few descriptors a start fails, with many it does not.
fn assert_some_of_each(said: &str) {
    let count = |what| said.lines().filter(|line| line.starts_with(what)).count();
    assert!(count("refused") > 0 && count("started") > 0, "{said}");
    assert_eq!(count("refused") + count("started"), FREE.len(), "{said}");
}

fn a_message_without_descriptors_is_not_sent() {
    victim("scarce-messages").succeed();
}

fn a_start_whose_answer_is_lost_works_or_has_not_happened() {
    let folder = Folder::new();
    victim("scarce-replies").arg(folder.path().join("tally")).succeed();
}
