//! Real hand-offs in wrong hands: cut short, changed, meant for another process or build.
//!
//! One is taken from the queue of a fork server that is stopped while it is asked for a child.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Output, Stdio};

use procession::{Process, StartMethod};
use procession_tests::{Random, is_long, proc, raw, tests};

use crate::markers::{MARKER, UNUSABLE};
use crate::support::{numbers, receive};

tests! {
    a_handoff_makes_a_child_once_more,
    a_handoff_for_another_process_is_refused,
    a_handoff_for_another_build_is_refused,
    a_handoff_that_was_cut_short_is_refused,
    a_handoff_that_was_changed_never_reaches_main,
}

/// What a fork server's child was to get.
struct Captured {
    bytes: Vec<u8>,
    handles: Vec<OwnedFd>,
}

/// Makes a copy of a descriptor of a child of this process.
pub(crate) fn take_from(pid: u32, number: i32) -> OwnedFd {
    // SAFETY: plain numbers.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    assert!(process >= 0, "{}", std::io::Error::last_os_error());
    let process = i32::try_from(process).expect("a descriptor");
    // SAFETY: it was made by the call above, and nobody else owns it.
    let process = unsafe { OwnedFd::from_raw_fd(process) };
    // SAFETY: plain numbers.
    let copy = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    assert!(copy >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: as above.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(copy).expect("a descriptor")) }
}

/// The number of the one socket that an idle fork server has: its wire.
pub(crate) fn wire_of(server: u32) -> i32 {
    let open = proc::descriptors_of(server);
    let mut sockets = open.iter().filter(|(_, target)| target.starts_with("socket:"));
    sockets.next().expect("a server has a wire").0
}

/// The fork server of this process.
pub(crate) fn the_server() -> u32 {
    let child = Process::new(|| (), ()).start_method(StartMethod::ForkServer).start();
    child.expect("it starts").join().expect("it returns");
    proc::fork_server_of(std::process::id()).expect("it waits for more")
}

/// Stops a server. It is stopped when this returns: until then it may take one more request.
pub(crate) fn stop(server: u32) {
    raw::signal(server, libc::SIGSTOP).expect("it is ours");
    proc::wait_until(|| proc::entry(server).is_some_and(|entry| entry.state == 'T'));
}

impl Captured {
    /// Takes the hand-off of a child that triples a number; the child itself gets it as well.
    fn new() -> Self {
        let server = the_server();
        let wire = take_from(server, wire_of(server));
        stop(server);
        let start = || {
            let process = Process::new(|number: u64| number * 3, (14,));
            process.start_method(StartMethod::ForkServer).start().expect("it starts").join()
        };
        std::thread::scope(|scope| {
            let joined = scope.spawn(start);
            let (_, handles) = receive(wire.as_raw_fd(), libc::MSG_PEEK).expect("the request");
            let [theirs] = &handles[..] else { panic!("the child's end: {handles:?}") };
            let peeked = receive(theirs.as_raw_fd(), libc::MSG_PEEK).expect("the hand-off");
            raw::signal(server, libc::SIGCONT).expect("it is ours");
            drop(handles);
            assert_eq!(joined.join().expect("no panic").expect("it returns"), 42);
            Self { bytes: peeked.0, handles: peeked.1 }
        })
    }

    /// Starts `command` with these bytes as its hand-off; returns how it ended, and what it said
    /// on the wire.
    fn run(&self, mut command: Command, bytes: &[u8], nonce: u64) -> (Output, Vec<u8>) {
        let [ours, theirs] = raw::inheritable_pair(libc::SOCK_SEQPACKET).expect("a pair");
        // SAFETY: plain numbers.
        unsafe { libc::fcntl(ours, libc::F_SETFD, libc::FD_CLOEXEC) };
        raw::send(ours, bytes, &numbers(&self.handles)).expect("there is room");
        command.env(MARKER, format!("{theirs}.{nonce:016x}"));
        let output = command.stdin(Stdio::null()).output().expect("it starts");
        raw::close(theirs);
        let mut said = Vec::new();
        while let Ok((message, _)) = receive(ours, libc::MSG_DONTWAIT) {
            if message.is_empty() {
                break;
            }
            said.extend(message);
        }
        raw::close(ours);
        (output, said)
    }
}

/// This very build. In its `main` it would print the names of the tests.
fn this_build() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("--list");
    command
}

fn reached_main(output: &Output) -> bool {
    String::from_utf8_lossy(&output.stdout).contains("::tests::")
}

/// The nonce behind a fork server, where there is no marker.
const NONCE: u64 = 0;

fn a_handoff_makes_a_child_once_more() {
    let captured = Captured::new();
    // What the other tests rely on: nothing is wrong with it.
    let (output, said) = captured.run(this_build(), &captured.bytes, NONCE);
    assert!(output.status.success() && !reached_main(&output), "{output:?}");
    assert!(said.contains(&42), "the result: {said:?}");
    let main = this_build().output().expect("it starts");
    assert!(reached_main(&main), "without a marker: {main:?}");
}

fn a_handoff_for_another_process_is_refused() {
    let captured = Captured::new();
    for nonce in [1, 0xab, u64::MAX] {
        let (output, said) = captured.run(this_build(), &captured.bytes, nonce);
        assert_eq!(output.status.code(), Some(UNUSABLE), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("another process"), "{text}");
        assert!(!reached_main(&output) && said.is_empty(), "{output:?} {said:?}");
    }
}

fn a_handoff_for_another_build_is_refused() {
    let captured = Captured::new();
    let mut other = Command::new(env!("CARGO_BIN_EXE_victim"));
    other.arg("say-main");
    let (output, said) = captured.run(other, &captured.bytes, NONCE);
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(UNUSABLE), &b""[..]));
    // Its parent would be told.
    let said = String::from_utf8_lossy(&said);
    assert!(said.contains("different builds"), "{said}");
}

fn a_handoff_that_was_cut_short_is_refused() {
    let captured = Captured::new();
    let whole = captured.bytes.len();
    // The argument is one byte at the end: behind every cut the hand-off or it is missing.
    let step = if is_long() { 1 } else { 5 };
    for length in (16..whole).step_by(step) {
        let mut bytes = captured.bytes[..length].to_vec();
        // With a header that agrees, so that it is for the hand-off's own reader to notice.
        bytes[8..16].copy_from_slice(&(length as u64 - 16).to_ne_bytes());
        let (output, said) = captured.run(this_build(), &bytes, NONCE);
        assert!(!reached_main(&output), "{length} of {whole}: {output:?}");
        let failed = output.status.code() == Some(UNUSABLE) && !output.stderr.is_empty();
        let told = output.status.code() == Some(1) && !said.is_empty();
        assert!(failed || told, "{length} of {whole}: {output:?} {said:?}");
    }
}

fn a_handoff_that_was_changed_never_reaches_main() {
    let captured = Captured::new();
    let mut random = Random::new();
    let crashes = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP];
    for _ in 0..if is_long() { 5_000 } else { 150 } {
        let mut bytes = captured.bytes.clone();
        for _ in 0..=random.below(2) {
            // The header is another test's.
            let at = 16 + random.below(bytes.len() as u64 - 16) as usize;
            bytes[at] = match random.below(3) {
                0 => bytes[at] ^ (1 << random.below(8)),
                1 => random.below(256) as u8,
                _ => [0, 0xff, 0x7f, 0x80][random.below(4) as usize],
            };
        }
        let (output, said) = captured.run(this_build(), &bytes, NONCE);
        assert!(!reached_main(&output), "{bytes:?}: {output:?}");
        use std::os::unix::process::ExitStatusExt;
        let signal = output.status.signal();
        let crashed = signal.is_some_and(|signal| crashes.contains(&signal));
        assert!(!crashed, "{bytes:?}: {output:?}");
        // It is refused with a word, or the change was to a value that can be anything.
        let silent = output.stderr.is_empty() && said.is_empty();
        assert!(!silent || signal.is_some(), "{bytes:?}: {output:?}");
    }
}
