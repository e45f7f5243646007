//! Messages that nobody has sent: on a wire, and as values.

use std::collections::BTreeMap;

use procession::fuzzing;
use procession::{Array, Connection, Lock, Queue, SharedMemory};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::input::Input;

/// Something that comes over a wire, with as many handles as the first byte says.
pub fn frame(bytes: &[u8]) {
    let mut input = Input(bytes);
    let handles = input.byte();
    fuzzing::frame(input.0, usize::from(handles & 3), handles >> 2 & 3);
}

/// Something of everything that a message can hold.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
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

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    Nothing,
    One(u8),
    Named { path: std::path::PathBuf, both: (i16, i64) },
}

/// What comes as a value is that value when it has gone once more.
fn there_and_back<T: Serialize + DeserializeOwned>(bytes: &[u8]) {
    let Some(value) = fuzzing::decode::<T>(bytes, 0) else { return };
    let once = fuzzing::encode(&value).expect("it came as one");
    let again = fuzzing::decode::<T>(&once, 0).expect("it was written by us");
    // Compared as bytes: a number that is not a number is not itself.
    assert_eq!(fuzzing::encode(&again).expect("it came as one"), once);
}

/// Bytes as values of many types, and as the library's own messages.
pub fn codec(bytes: &[u8]) {
    let mut input = Input(bytes);
    let (kind, handles) = (input.byte(), usize::from(input.byte() % 5));
    let bytes = input.0;
    match kind % 16 {
        0 => there_and_back::<Vec<u8>>(bytes),
        1 => there_and_back::<Vec<u64>>(bytes),
        2 => there_and_back::<Vec<u128>>(bytes),
        3 => there_and_back::<String>(bytes),
        4 => there_and_back::<Rich>(bytes),
        5 => there_and_back::<(u8, Vec<Option<(u32, f64)>>, String)>(bytes),
        // Not of `()`: a vector of those is as long as it claims, as SECURITY.md says.
        6 => there_and_back::<Vec<bool>>(bytes),
        7 => there_and_back::<BTreeMap<String, Vec<Choice>>>(bytes),
        8 => drop(fuzzing::decode::<Vec<Lock>>(bytes, handles)),
        9 => drop(fuzzing::decode::<(Queue<u8>, u8)>(bytes, handles)),
        10 => drop(fuzzing::decode::<Option<Connection<u8>>>(bytes, handles)),
        11 => drop(fuzzing::decode::<(SharedMemory, Array<u32>)>(bytes, handles)),
        12 => drop(fuzzing::arguments::<(u8, Vec<u16>, String)>(bytes, handles)),
        13 => drop(fuzzing::arguments::<(Vec<u8>, Lock, Vec<f32>)>(bytes, handles)),
        _ => fuzzing::own_messages(bytes, handles),
    }
}
