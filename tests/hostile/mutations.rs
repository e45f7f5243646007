//! Good messages with random faults: each is a value, or an error, and the next one arrives.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;

use procession::{Connection, RecvError};
use procession_tests::{Random, is_long, proc, tests};
use serde::{Deserialize, Serialize};

use crate::support::{ALL_SEALS, IN_MEMORY, Tapped, header, memory, receive};

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

/// The bytes of a good message on the wire.
fn on_the_wire<M: Serialize + serde::de::DeserializeOwned>(
    tapped: &Tapped<M>,
    message: &M,
) -> Vec<u8> {
    tapped.sender.send(message).expect("there is room");
    receive(tapped.receiving_socket, 0).expect("it is there").0
}

/// Sends faulty forms of what `good` looks like on the wire, with the same handles.
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
    let tapped = Tapped::new(&rich(0));
    let good = on_the_wire(&tapped, &rich(3));
    try_mutations(&tapped, &good, &[]);
}

fn mutated_numbers_are_numbers_or_errors() {
    let tapped = Tapped::new(&vec![1u16]);
    let good = on_the_wire(&tapped, &(0..200).collect());
    try_mutations(&tapped, &good, &[]);
}

fn mutated_handles_are_handles_or_errors() {
    type Message = (String, Vec<Connection<u8>>, Option<Connection<String>>);
    let tapped: Tapped<Message> = Tapped::new(&(String::new(), Vec::new(), None));
    let (one, two) = procession::pipe::<u8>().expect("a pipe");
    let (three, _four) = procession::pipe::<String>().expect("a pipe");
    tapped.sender.send(&("three".to_owned(), vec![one, two], Some(three))).expect("room");
    let (good, handles) = receive(tapped.receiving_socket, 0).expect("it is there");
    try_mutations(&tapped, &good, &crate::support::numbers(&handles));
}

fn mutated_memory_is_a_value_or_an_error() {
    let tapped = Tapped::new(&rich(0));
    let good = on_the_wire(&tapped, &rich(3))[16..].to_vec();
    let mut random = Random::new();
    let mut errors = 0;
    for _ in 0..times() / 4 {
        let mut content = good.clone();
        mutate(&mut content, &mut random);
        // More memory than the message says is there now and then, and less.
        let length = content.len() as u64;
        let size = [length, length + random.below(9000), random.below(length + 1)];
        let memory = memory(&content, size[random.below(3) as usize], ALL_SEALS);
        let mut message = header(IN_MEMORY, 0, length);
        if random.below(4) == 0 {
            mutate(&mut message, &mut random);
        }
        tapped.send(&message, &[memory.as_raw_fd()]);
        match tapped.receiver.recv() {
            Ok(_) => {}
            Err(RecvError::Decode(_)) => errors += 1,
            Err(error) => panic!("{message:?}: {error:?}"),
        }
    }
    assert!(errors > 0, "the faults are none");
    tapped.sender.send(&rich(2)).expect("there is room");
    assert_eq!(tapped.receiver.recv().expect("a good one"), rich(2));
}
