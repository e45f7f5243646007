//! Large messages whose memory is not what it says.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use procession::RecvError;
use procession_tests::{proc, tests};

use crate::support::{ALL_SEALS, ON_ITS_OWN, Tapped, memory, what};

tests! {
    what_is_no_sealed_memory_is_refused,
    memory_shorter_than_it_says_is_refused,
    good_memory_with_bad_contents_is_refused,
    sparse_memory_is_not_filled_by_its_reader,
    lies_allocate_nothing,
}

/// The longest that a message can say it is.
const MOST: u64 = (1 << 40) - 1;

/// Sends memory that is said to hold a message of `length` bytes.
fn send_apart<M>(tapped: &Tapped<M>, length: u64, handle: i32)
where
    M: serde::Serialize + serde::de::DeserializeOwned,
{
    let ticket = tapped.send_packet(&[handle]);
    tapped.send_slot(what(length, ON_ITS_OWN), 0, ticket, &[]);
}

fn refused<M>(tapped: &Tapped<M>, length: u64, handle: i32) -> String
where
    M: serde::Serialize + serde::de::DeserializeOwned + std::fmt::Debug,
{
    send_apart(tapped, length, handle);
    match tapped.receiver.recv() {
        Err(RecvError::Decode(error)) => error.to_string(),
        other => panic!("{length}: {other:?}"),
    }
}

fn what_is_no_sealed_memory_is_refused() {
    let tapped = Tapped::<Vec<u8>>::new();
    let content = [3u64.to_ne_bytes().to_vec(), b"abc".to_vec()].concat();
    let sealed = |seals| memory(&content, 11, seals);
    let path = std::ffi::CString::new("/").expect("a text");
    // SAFETY: the path is a text with its end.
    let place = unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) };
    // SAFETY: it was made by the call above, and nobody else owns it.
    let place: OwnedFd = unsafe { std::os::fd::FromRawFd::from_raw_fd(place) };
    let (reading, _writing) = std::io::pipe().expect("a pipe");
    let not_memory: Vec<OwnedFd> = vec![
        File::open("/dev/null").expect("it is there").into(),
        File::open("/dev/zero").expect("it is there").into(),
        File::open("/proc/self/exe").expect("it is there").into(),
        File::open("/").expect("it is there").into(),
        place,
        reading.into(),
        sealed(0).into(),
        sealed(libc::F_SEAL_WRITE).into(),
        sealed(libc::F_SEAL_WRITE | libc::F_SEAL_GROW).into(),
        sealed(libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK).into(),
        sealed(libc::F_SEAL_SHRINK | libc::F_SEAL_GROW).into(),
    ];
    for handle in &not_memory {
        for length in [0, 1, 11, 1 << 39, MOST] {
            refused(&tapped, length, handle.as_raw_fd());
        }
    }
    refused(&tapped, 11, tapped.socket);
    // With everything it needs it is a message.
    send_apart(&tapped, 11, sealed(ALL_SEALS).as_raw_fd());
    assert_eq!(tapped.receiver.recv().expect("a good one"), b"abc");
}

fn memory_shorter_than_it_says_is_refused() {
    let tapped = Tapped::<Vec<u8>>::new();
    let content = [3u64.to_ne_bytes().to_vec(), b"abc".to_vec()].concat();
    let good = memory(&content, 11, ALL_SEALS);
    for length in [12, 4096, 1 << 30, 1 << 39, MOST - 4095, MOST] {
        refused(&tapped, length, good.as_raw_fd());
    }
    let empty = memory(&[], 0, ALL_SEALS);
    refused(&tapped, 0, empty.as_raw_fd());
    refused(&tapped, 1, empty.as_raw_fd());
}

fn good_memory_with_bad_contents_is_refused() {
    let numbers = Tapped::<Vec<u64>>::new();
    let texts = Tapped::<String>::new();
    let size = 100_000usize;
    for claim in [u64::MAX, u64::MAX / 8 + 1, 1 << 40, (size as u64 - 8) / 8 + 1, 0] {
        let mut content = claim.to_ne_bytes().to_vec();
        content.resize(size, 1);
        let bad = memory(&content, size as u64, ALL_SEALS);
        let error = refused(&numbers, size as u64, bad.as_raw_fd());
        assert!(error.contains("Vec<u64>"), "{error}");
        refused(&texts, size as u64, bad.as_raw_fd());
    }
}

/// Memory may be long and hold nothing. Who reads it must not pay for what was never written.
fn sparse_memory_is_not_filled_by_its_reader() {
    const SIZE: u64 = 256 << 20;
    let tapped = Tapped::<String>::new();
    let sparse = memory(b"\x02ab", SIZE, ALL_SEALS);
    let written = || sparse.metadata().expect("it is open").blocks() * 512;
    assert!(written() < 1 << 20, "it is sparse");
    send_apart(&tapped, SIZE, sparse.as_raw_fd());
    let result = tapped.receiver.recv();
    assert!(matches!(result, Err(RecvError::Decode(_))), "{result:?}");
    let filled = written();
    assert!(filled < 16 << 20, "the reader has filled {filled} bytes of {SIZE}");
}

fn lies_allocate_nothing() {
    let numbers = Tapped::<Vec<u64>>::new();
    let texts = Tapped::<Vec<String>>::new();
    let before = proc::memory();
    for _ in 0..200 {
        for claim in [u64::MAX, 1 << 32, 1 << 27] {
            let bytes = [claim.to_ne_bytes(), [7; 8]].concat();
            numbers.send(&bytes, &[]);
            let result = numbers.receiver.recv();
            assert!(matches!(result, Err(RecvError::Decode(_))), "{result:?}");
        }
        // A list that claims 2^32 texts, and one text that claims 2^32 bytes.
        for bytes in [b"\xff\xff\xff\xff\x0f\x01a".to_vec(), b"\x01\xff\xff\xff\xff\x0fa".to_vec()]
        {
            texts.send(&bytes, &[]);
            let result = texts.receiver.recv();
            assert!(matches!(result, Err(RecvError::Decode(_))), "{result:?}");
        }
    }
    let grown = proc::memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB more after the lies");
}
