//! Markers that do not belong to the process that finds them: it never becomes a child of nobody,
//! and never reaches its `main`.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use procession_tests::{Output, Program, raw, tests};

use crate::support::{ALL_SEALS, IN_MEMORY, INLINE, header, memory};

tests! {
    without_a_marker_main_runs,
    malformed_markers_are_refused,
    numbers_that_are_no_wire_are_refused,
    a_wire_with_nobody_behind_is_refused,
    handoffs_that_are_none_are_refused,
}

/// The variable that makes a process a child.
pub(crate) const MARKER: &str = "PROCESSION_ENTRY";
/// The code of a process that could not become one.
pub(crate) const UNUSABLE: i32 = 70;
/// What the scenario `say-main` prints.
const MAIN: &str = "main was entered\n";

fn say_main() -> Program {
    Program::new(env!("CARGO_BIN_EXE_victim"), "say-main")
}

fn run_with(marker: impl AsRef<std::ffi::OsStr>) -> Output {
    say_main().env(MARKER, marker).run()
}

/// Fails if it got anywhere near `main`, or ended without saying why.
fn assert_refused(output: &Output, what: &str) {
    assert_eq!(output.status.code(), Some(UNUSABLE), "{what}: {output:?}");
    assert_eq!(output.stdout, "", "{what}");
    assert!(output.stderr.starts_with("procession: "), "{what}: {output:?}");
    assert_eq!(output.stderr.lines().count(), 1, "{what}: {output:?}");
}

/// Makes a copy of a descriptor that programs to come inherit, at a number of its own.
pub(crate) fn inheritable(descriptor: i32) -> OwnedFd {
    // SAFETY: plain numbers; it fails on one that is not open.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD, 50) };
    assert!(copy >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: it was made by the call above, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

fn without_a_marker_main_runs() {
    assert_eq!(say_main().succeed().stdout, MAIN);
}

fn malformed_markers_are_refused() {
    let long = "7".repeat(100_000);
    let markers = [
        "",
        " ",
        "0",
        "1",
        "x",
        ".",
        "0.",
        ".0",
        "x.y",
        "-1.1",
        "+1.1",
        "0.-1",
        "0.g",
        "0x1.1",
        "99999999999999999999.1",
        "0.11111111111111111",
        "0.1.1",
        "0 .1",
        "50.1\n",
        "é.1",
        "true",
        &long,
    ];
    for marker in markers {
        let what = &marker[..marker.len().min(20)];
        assert_refused(&run_with(marker), what);
    }
    let no_text = std::ffi::OsString::from_vec(vec![b'5', 0xff, b'.', b'1']);
    assert_refused(&run_with(no_text), "no text");
}

fn numbers_that_are_no_wire_are_refused() {
    for number in ["987", "16777215", "16777216", "2147483647", "4294967295"] {
        assert_refused(&run_with(format!("{number}.00000000000000ab")), number);
    }
    let file = File::open("/proc/self/exe").expect("it is there");
    let folder = File::open("/").expect("it is there");
    let (reading, _writing) = std::io::pipe().expect("a pipe");
    let stream = raw::inheritable_pair(libc::SOCK_STREAM).expect("a pair");
    let datagram = raw::inheritable_pair(libc::SOCK_DGRAM).expect("a pair");
    let no_wires =
        [file.as_raw_fd(), folder.as_raw_fd(), reading.as_raw_fd(), stream[0], datagram[0]];
    for no_wire in no_wires {
        let inherited = inheritable(no_wire);
        let output = run_with(format!("{}.00000000000000ab", inherited.as_raw_fd()));
        assert_refused(&output, "no wire");
    }
    stream.into_iter().chain(datagram).for_each(raw::close);
    // Its standard streams: null, and the pipes that this test reads.
    for number in 0..3 {
        let output = run_with(format!("{number}.00000000000000ab"));
        assert_refused(&output, "a standard stream");
    }
}

/// A wire, with what its other end has sent; that end is closed if `closed`.
fn run_on_wire(messages: &[(Vec<u8>, Vec<i32>)], closed: bool) -> Output {
    let [ours, theirs] = raw::inheritable_pair(libc::SOCK_SEQPACKET).expect("a pair");
    for (bytes, handles) in messages {
        raw::send(ours, bytes, handles).expect("there is room");
    }
    // Only the process below shall have this end, and none the other.
    // SAFETY: plain numbers.
    unsafe { libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC) };
    if closed {
        raw::close(ours);
    }
    let output = run_with(format!("{theirs}.00000000000000ab"));
    raw::close(theirs);
    if !closed {
        raw::close(ours);
    }
    output
}

fn a_wire_with_nobody_behind_is_refused() {
    // The parent has died, and whoever is interested knows that: no word is needed.
    let output = run_on_wire(&[], true);
    assert_eq!((output.status.code(), output.stdout.as_str()), (Some(UNUSABLE), ""));
    // Nobody has died, but nothing was said either; waiting for it might be for ever.
    assert_refused(&run_on_wire(&[], false), "no hand-off");
}

fn handoffs_that_are_none_are_refused() {
    let null = File::open("/dev/null").expect("it is there");
    let garbage: Vec<u8> = (0..500).map(|i| (i * 7) as u8).collect();
    let framed = |bytes: &[u8]| [header(INLINE, 0, bytes.len() as u64), bytes.to_vec()].concat();
    let sealed = memory(&garbage, 500, ALL_SEALS);
    let open = memory(&garbage, 500, 0);
    let cases: Vec<(&str, Vec<u8>, Vec<i32>)> = vec![
        ("one byte", vec![1], vec![]),
        ("bytes", garbage.clone(), vec![]),
        ("bytes and a handle", garbage.clone(), vec![null.as_raw_fd()]),
        ("nothing in a frame", framed(&[]), vec![]),
        ("zeros in a frame", framed(&[0; 64]), vec![]),
        ("garbage in a frame", framed(&garbage), vec![]),
        ("a frame that lies", [header(INLINE, 0, u64::MAX), garbage.clone()].concat(), vec![]),
        ("garbage in memory", header(IN_MEMORY, 0, 500), vec![sealed.as_raw_fd()]),
        ("too short memory", header(IN_MEMORY, 0, 501), vec![sealed.as_raw_fd()]),
        ("open memory", header(IN_MEMORY, 0, 500), vec![open.as_raw_fd()]),
        ("a file for memory", header(IN_MEMORY, 0, 1), vec![null.as_raw_fd()]),
    ];
    for (what, bytes, handles) in cases {
        for closed in [false, true] {
            assert_refused(&run_on_wire(&[(bytes.clone(), handles.clone())], closed), what);
        }
    }
}
