//! Records: what a worker writes of each item that has run.
//!
//! ```text
//! 0        4      5
//! | length | kind | bytes … | began, ended |      kind's top bit: handles came with it;
//!                                                 the next: the last two (8 bytes each) are there
//! ```

use serde::{Deserialize, Serialize};

use super::TaskError;
use crate::codec::{DecodeError, EncodeError};

pub(crate) const HEADER: usize = 5;
/// Set in a kind: handles came with the item's value.
pub(crate) const HAS_HANDLES: u8 = 0x80;
/// Set in a kind: when the item began and ended comes behind the bytes.
pub(crate) const HAS_TIMES: u8 = 0x40;
/// When an item began and ended, by the machine's clock, in bytes.
pub(crate) const TIMES: usize = 16;

/// What a record's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The encoded value.
    Value = 0,
    /// A [`Panicked`].
    Panicked = 1,
    /// A [`Refused`]: the arguments are not what the function takes.
    Arguments = 2,
    /// A [`Refused`]: the result does not encode, or cannot be stored.
    Result = 3,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Panicked {
    pub(crate) message: String,
    pub(crate) location: String,
    pub(crate) backtrace: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) what: String,
    pub(crate) type_name: String,
    pub(crate) reason: String,
}

/// The bytes in front of a record's own.
#[inline]
pub(crate) fn header(kind: u8, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    // A longer value does not get here: it is refused when it is stored.
    header[..4].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    header[4] = kind;
    header
}

/// In a word or two, how an item ended that has left a record of this kind.
pub(crate) fn outcome(kind: u8) -> &'static str {
    const PANICKED: u8 = Kind::Panicked as u8;
    const ARGUMENTS: u8 = Kind::Arguments as u8;
    const RESULT: u8 = Kind::Result as u8;
    match kind {
        PANICKED => "panicked",
        ARGUMENTS => "arguments not decoded",
        RESULT => "result not encoded",
        // A value, of whichever language.
        _ => "returned",
    }
}

/// A record as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    kind: u8,
    pub(crate) bytes: &'a [u8],
    times: &'a [u8],
}

/// Takes one record from the front of `bytes`; `None` when no whole one is there.
#[inline]
pub(crate) fn take<'a>(bytes: &mut &'a [u8]) -> Option<Record<'a>> {
    let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
    let [a, b, c, d, kind] = *header;
    let length = usize::try_from(u32::from_ne_bytes([a, b, c, d])).ok()?;
    let (record, rest) = rest.split_at_checked(length)?;
    let times = if kind & HAS_TIMES == 0 { 0 } else { TIMES };
    let (times, rest) = rest.split_at_checked(times)?;
    *bytes = rest;
    Some(Record { kind, bytes: record, times })
}

/// Takes the times out of records, which are whole: for each that had them its kind, and when it
/// began and ended.
pub(crate) fn take_times(records: &mut Vec<u8>) -> Vec<(u8, u64, u64)> {
    let (mut from, mut to, mut all) = (0, 0, Vec::new());
    let mut rest = &records[..];
    let mut lengths = Vec::new();
    while let Some(record) = take(&mut rest) {
        if let Some((began, ended)) = record.times() {
            all.push((record.kind(), began, ended));
        }
        lengths.push((HEADER + record.bytes.len(), record.times.len()));
    }
    for (length, times) in lengths {
        records[from + HEADER - 1] &= !HAS_TIMES;
        if from != to {
            records.copy_within(from..from + length, to);
        }
        from += length + times;
        to += length;
    }
    records.truncate(to);
    all
}

impl<'a> Record<'a> {
    /// The kind alone.
    #[inline]
    pub(crate) fn kind(&self) -> u8 {
        self.kind & !(HAS_HANDLES | HAS_TIMES)
    }

    #[inline]
    pub(crate) fn has_times(&self) -> bool {
        self.kind & HAS_TIMES != 0
    }

    /// When the item began and ended, by the machine's clock, if the worker has said it.
    fn times(&self) -> Option<(u64, u64)> {
        let (began, ended) = self.times.split_first_chunk::<8>()?;
        let ended = ended.first_chunk::<8>()?;
        Some((u64::from_ne_bytes(*began), u64::from_ne_bytes(*ended)))
    }

    #[inline]
    pub(crate) fn has_handles(&self) -> bool {
        self.kind & HAS_HANDLES != 0
    }

    /// The value's bytes, or what it failed with.
    #[inline]
    pub(crate) fn value(self, worker: u32) -> Result<&'a [u8], TaskError> {
        if self.kind() == Kind::Value as u8 { Ok(self.bytes) } else { Err(self.error(worker)) }
    }

    /// What it failed with.
    #[cold]
    fn error(self, worker: u32) -> TaskError {
        let garbage = |what: &str| {
            let reason = format!("worker {worker} has written what is no outcome: {what}");
            TaskError::Decode(DecodeError::from_parts(
                "the outcome".into(),
                "a task".into(),
                reason,
            ))
        };
        let refused = |bytes| {
            postcard::from_bytes::<Refused>(bytes).map_err(|error| garbage(&error.to_string()))
        };
        match self.kind() {
            kind if kind == Kind::Panicked as u8 => {
                match postcard::from_bytes::<Panicked>(self.bytes) {
                    Ok(Panicked { message, location, backtrace }) => {
                        TaskError::Panicked { message, location, backtrace, worker }
                    }
                    Err(error) => garbage(&error.to_string()),
                }
            }
            kind if kind == Kind::Arguments as u8 => match refused(self.bytes) {
                Ok(Refused { what, type_name, reason }) => {
                    TaskError::Decode(DecodeError::from_parts(what, type_name, reason))
                }
                Err(garbage) => garbage,
            },
            kind if kind == Kind::Result as u8 => match refused(self.bytes) {
                Ok(Refused { what, type_name, reason }) => {
                    TaskError::Encode(EncodeError::from_parts(what, type_name, reason))
                }
                Err(garbage) => garbage,
            },
            kind => garbage(&format!("kind {kind}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_taken_whole_or_not_at_all() {
        let mut bytes = Vec::new();
        for (kind, text) in [(Kind::Value, "abc"), (Kind::Value, "")] {
            bytes.extend(header(kind as u8, text.len()));
            bytes.extend(text.as_bytes());
        }
        bytes.extend([9, 0, 0, 0, 0, 1]);
        let mut rest = &*bytes;
        let values = [take(&mut rest), take(&mut rest)]
            .map(|record| record.expect("a record").value(1).expect("a value").to_vec());
        assert_eq!(values, [b"abc".to_vec(), Vec::new()]);
        assert!(take(&mut rest).is_none(), "the last one is cut off");
        assert_eq!(rest.len(), 6);
    }

    #[test]
    fn times_come_behind_the_bytes() {
        let mut bytes = header(Kind::Value as u8 | HAS_TIMES, 3).to_vec();
        bytes.extend(*b"abc");
        bytes.extend([7_u64.to_ne_bytes(), 9_u64.to_ne_bytes()].concat());
        bytes.extend(header(Kind::Value as u8, 0));
        bytes.extend(header(Kind::Panicked as u8 | HAS_HANDLES | HAS_TIMES, 1));
        bytes.push(b'd');
        bytes.extend([10_u64.to_ne_bytes(), 11_u64.to_ne_bytes()].concat());
        assert!(take(&mut &bytes[..10]).is_none(), "its times are cut off");
        assert_eq!(take_times(&mut bytes), [(0, 7, 9), (1, 10, 11)]);
        let mut rest = &*bytes;
        for (kind, handles, value) in [(0, false, &b"abc"[..]), (0, false, b""), (1, true, b"d")] {
            let record = take(&mut rest).expect("a record");
            assert!(!record.has_times());
            assert_eq!((record.kind(), record.has_handles(), record.bytes), (kind, handles, value));
        }
        assert_eq!((rest.len(), take_times(&mut bytes).len()), (0, 0));
    }

    #[test]
    fn garbage_is_an_error_that_names_the_worker() {
        for kind in [1, 2, 3, 4, 0x7f] {
            let error =
                Record { kind, bytes: &[0xff; 3], times: &[] }.value(77).expect_err("garbage");
            assert!(error.to_string().contains("77"), "{error}");
        }
    }
}
