//! Counting one batch of files: what runs in the workers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::ops::AddAssign;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Words shorter than this say little about a text.
const SHORTEST_WORD: usize = 4;

/// Longer runs of letters are data, not words.
const LONGEST_WORD: usize = 40;

/// As `wc` counts: bytes, ends of lines, and runs of anything but white space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
    pub(crate) words: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.bytes += other.bytes;
        self.lines += other.lines;
        self.words += other.words;
    }
}

/// How often each word occurs.
pub(crate) type Frequencies = HashMap<String, u64>;

/// A file of a batch: its number among all files, and where it is.
pub(crate) type Task = (usize, PathBuf);

/// What is known about a file that could be read to its end, or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum FileResult {
    Text(Counts),
    /// It holds a zero byte, so it is no text.
    Binary,
    Unreadable(String),
}

/// A whole batch: each file's number and result, and the words of all of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct BatchResult {
    pub(crate) files: Vec<(usize, FileResult)>,
    pub(crate) frequencies: Frequencies,
}

/// Counts a batch of files; runs in a worker.
pub(crate) fn count_batch(tasks: Vec<Task>, crash: Option<String>) -> BatchResult {
    let mut result = BatchResult::default();
    let mut buffer = vec![0; 1 << 16];
    for (number, path) in tasks {
        if crash.as_deref().is_some_and(|part| path.to_string_lossy().contains(part)) {
            crash_for_real();
        }
        let file = match count_file(&path, &mut buffer, &mut result.frequencies) {
            Ok(Some(counts)) => FileResult::Text(counts),
            Ok(None) => FileResult::Binary,
            Err(error) => FileResult::Unreadable(error.to_string()),
        };
        result.files.push((number, file));
    }
    result
}

/// Ends this process as a bug in C code would: a write to an address where nothing is.
fn crash_for_real() {
    let nowhere = std::ptr::without_provenance_mut::<u8>(8);
    // SAFETY: none, and that is the purpose. The first page of a process is never mapped, so the
    // system kills this process at this instruction, which no other process shares memory with.
    unsafe { nowhere.write_volatile(1) };
}

/// Counts one file; `None` if it is no text. The words of an unreadable rest are left out.
fn count_file(
    path: &Path,
    buffer: &mut [u8],
    frequencies: &mut Frequencies,
) -> io::Result<Option<Counts>> {
    let mut file = File::open(path)?;
    let mut counter = Counter::default();
    loop {
        let read = match file.read(buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let chunk = &buffer[..read];
        if counter.counts.bytes == 0 && chunk.contains(&0) {
            return Ok(None);
        }
        counter.read(chunk, frequencies);
    }
    counter.end_word(frequencies);
    Ok(Some(counter.counts))
}

/// The state between two chunks of a file: a word may lie across their border.
#[derive(Default)]
struct Counter {
    counts: Counts,
    is_in_word: bool,
    letters: String,
}

impl Counter {
    fn read(&mut self, chunk: &[u8], frequencies: &mut Frequencies) {
        self.counts.bytes += chunk.len() as u64;
        for &byte in chunk {
            self.counts.lines += u64::from(byte == b'\n');
            // `is_ascii_whitespace` leaves out the vertical tab, which `wc` takes for a space.
            let is_space = byte.is_ascii_whitespace() || byte == 0x0b;
            self.counts.words += u64::from(!is_space && !self.is_in_word);
            self.is_in_word = !is_space;
            if byte.is_ascii_alphabetic() {
                self.letters.push(char::from(byte.to_ascii_lowercase()));
            } else if !self.letters.is_empty() {
                self.end_word(frequencies);
            }
        }
    }

    fn end_word(&mut self, frequencies: &mut Frequencies) {
        if (SHORTEST_WORD..=LONGEST_WORD).contains(&self.letters.len()) {
            match frequencies.get_mut(&self.letters) {
                Some(count) => *count += 1,
                None => _ = frequencies.insert(self.letters.clone(), 1),
            }
        }
        self.letters.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::{Counter, Counts, Frequencies};

    #[test]
    fn a_word_across_two_chunks_is_one_word() {
        let (mut counter, mut frequencies) = (Counter::default(), Frequencies::new());
        counter.read(b"one three\nthr", &mut frequencies);
        counter.read(b"ee-four ", &mut frequencies);
        counter.end_word(&mut frequencies);
        assert_eq!(counter.counts, Counts { bytes: 21, lines: 1, words: 3 });
        assert_eq!(frequencies.get("three"), Some(&2));
        assert_eq!(frequencies.get("four"), Some(&1));
        assert_eq!(frequencies.get("one"), None);
    }
}
