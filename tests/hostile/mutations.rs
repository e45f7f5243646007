//! Good messages with random faults: each is a value, or an error, and the next one arrives.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use procession::{Connection, RecvError};
use procession_tests::{Random, is_long, proc, tests};
use serde::{Deserialize, Serialize};

use crate::support::{ALL_SEALS, ON_ITS_OWN, Tapped, memory, receive, what};

tests! {
    mutated_values_are_values_or_errors,
    mutated_numbers_are_numbers_or_errors,
    mutated_handles_are_handles_or_errors,
    mutated_memory_is_a_value_or_an_error,
}

fn times() -> usize {
    if is_long() { 200_000 } else { 2_000 }
}

/// Something of everything that a message can hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rich {
    name: String,
    numbers: Vec<u32>,
    words: BTreeMap<String, Option<u64>>,
    nested: Vec<Rich>,
    choice: Choice,
    letter: char,
    truth: bool,
    ratio: f64,
    wide: i128,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(u8),
    Named { path: std::path::PathBuf, both: (i16, i64) },
}

fn rich(depth: u32) -> Rich {
    let words = (0..4).map(|i| (format!("word {i}"), (i % 2 == 0).then_some(i << 40)));
    Rich {
        name: "a name of some length".to_owned(),
        numbers: (0..20).collect(),
        words: words.collect(),
        nested: (0..depth).map(|_| rich(depth - 1)).collect(),
        choice: [
            Choice::Nothing,
            Choice::One(3),
            Choice::Named { path: "/tmp".into(), both: (-1, 1) },
        ][depth as usize % 3]
            .clone(),
        letter: 'ß',
        truth: true,
        ratio: 0.5,
        wide: -1,
    }
}

/// Makes some faults; what comes out is not empty.
fn mutate(message: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        let length = message.len() as u64;
        let at = random.below(length) as usize;
        match random.below(7) {
            0 => message[at] ^= 1 << random.below(8),
            1 => message[at] = random.below(256) as u8,
            2 => message.truncate(at.max(1)),
            3 => message.extend((0..random.below(40)).map(|i| i as u8)),
            4 => {
                let value = [u64::MAX, 1 << 63, 1 << 40, 1 << 31, 0][random.below(5) as usize];
                let end = message.len().min(at + 8);
                message[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
            }
            5 => {
                let from = random.below(length) as usize;
                let part = message[from..].to_vec();
                message.truncate(at.max(1));
                message.extend(part);
            }
            _ => {
                let other = random.below(length) as usize;
                message.swap(at, other);
            }
        }
    }
    // What is longer is another test's.
    message.truncate(60_000);
}

/// The bytes of a good message as they lie in the pipe.
fn in_the_pipe<M: Serialize + serde::de::DeserializeOwned>(
    tapped: &Tapped<M>,
    message: &M,
) -> Vec<u8> {
    tapped.sender.send(message).expect("there is room");
    let bytes = tapped.last();
    tapped.receiver.recv().expect("it is there");
    bytes
}

/// Sends faulty forms of what `good` looks like in the pipe, with the same handles.
fn try_mutations<M>(tapped: &Tapped<M>, good: &[u8], handles: &[i32])
where
    M: Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let mut random = Random::new();
    let before = proc::memory();
    let (mut values, mut errors) = (0, 0);
    for _ in 0..times() {
        let mut message = good.to_vec();
        mutate(&mut message, &mut random);
        tapped.send(&message, handles);
        match tapped.receiver.recv() {
            Ok(_) => values += 1,
            Err(RecvError::Decode(_)) => errors += 1,
            Err(error) => panic!("{message:?}: {error:?}"),
        }
    }
    assert!(errors > 0, "{values} values and no error: the faults are none");
    let grown = proc::memory().saturating_sub(before);
    assert!(grown < 32 << 10, "{grown} KiB more after {errors} errors");
    tapped.send(good, handles);
    tapped.receiver.recv().expect("a good one arrives");
}

fn mutated_values_are_values_or_errors() {
    let tapped = Tapped::<Rich>::new();
    let good = in_the_pipe(&tapped, &rich(3));
    try_mutations(&tapped, &good, &[]);
}

fn mutated_numbers_are_numbers_or_errors() {
    let tapped = Tapped::<Vec<u16>>::new();
    let good = in_the_pipe(&tapped, &(0..200).collect());
    try_mutations(&tapped, &good, &[]);
}

fn mutated_handles_are_handles_or_errors() {
    type Message = (String, Vec<Connection<u8>>, Option<Connection<String>>);
    let tapped = Tapped::<Message>::new();
    let (one, two) = procession::pipe::<u8>().expect("a pipe");
    let (three, _four) = procession::pipe::<String>().expect("a pipe");
    tapped.sender.send(&("three".to_owned(), vec![one, two], Some(three))).expect("room");
    let (_, handles) = receive(tapped.receiving_socket, libc::MSG_PEEK).expect("it is there");
    let good = tapped.last();
    tapped.receiver.recv().expect("it is there");
    try_mutations(&tapped, &good, &crate::support::numbers(&handles));
}

fn mutated_memory_is_a_value_or_an_error() {
    let tapped = Tapped::<Rich>::new();
    let good = in_the_pipe(&tapped, &rich(3));
    let mut random = Random::new();
    let mut errors = 0;
    for _ in 0..times() / 4 {
        let mut content = good.clone();
        mutate(&mut content, &mut random);
        // More memory than the message says is there now and then, and less.
        let length = content.len() as u64;
        let size = [length, length + random.below(9000), random.below(length + 1)];
        let memory = memory(&content, size[random.below(3) as usize], ALL_SEALS);
        let ticket = tapped.send_packet(&[memory.as_raw_fd()]);
        let faults = if random.below(4) == 0 { random.below(1 << 42) } else { 0 };
        tapped.send_slot(what(length, ON_ITS_OWN) ^ faults, 0, ticket, &[]);
        match tapped.receiver.recv() {
            Ok(_) => {}
            Err(RecvError::Decode(_)) => errors += 1,
            Err(error) => panic!("{content:?}: {error:?}"),
        }
    }
    assert!(errors > 0, "the faults are none");
    tapped.sender.send(&rich(2)).expect("there is room");
    assert_eq!(tapped.receiver.recv().expect("a good one"), rich(2));
}
