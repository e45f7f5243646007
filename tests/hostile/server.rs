//! A fork server that answers nonsense, or is stopped.

use std::os::fd::AsRawFd;
use std::path::PathBuf;

use procession::{Process, StartMethod};
use procession_tests::{Folder, proc, raw, tests};

use crate::handoffs::{stop, take_from, the_server, wire_of};
use crate::support::{INLINE, header};

tests! {
    nonsense_from_the_server_is_no_answer,
    a_stopped_server_delays_and_does_no_more,
}

fn leave_a_line(tally: PathBuf) -> u32 {
    use std::io::Write;
    let file = std::fs::File::options().create(true).append(true).open(tally);
    file.and_then(|mut file| file.write_all(b"ran\n")).expect("the folder is there");
    7
}

fn start_and_join(tally: PathBuf) -> u32 {
    let process = Process::new(leave_a_line, (tally,)).start_method(StartMethod::ForkServer);
    process.start().expect("it starts").join().expect("it returns")
}

/// Who holds a server's wire can answer for it. The program ends such a server and takes another;
/// the child was started once, by the one or the other.
fn nonsense_from_the_server_is_no_answer() {
    let folder = Folder::new();
    let frame = |bytes: &[u8]| [header(INLINE, 0, bytes.len() as u64), bytes.to_vec()].concat();
    let answers = [
        vec![1],
        vec![7; 5000],
        frame(&[]),
        frame(&[0xff; 20]),
        header(INLINE, 0, u64::MAX),
        header(INLINE, 3, 0),
        // A process that does not exist, whose handle did not come.
        frame(&[0, 1, 0]),
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        for stopped in [false, true] {
            let tally = folder.path().join(format!("tally.{number}.{stopped}"));
            let server = the_server();
            let wire = take_from(server, wire_of(server));
            if stopped {
                stop(server);
            }
            raw::send(wire.as_raw_fd(), &answer, &[]).expect("there is room");
            std::thread::scope(|scope| {
                let joined = scope.spawn(|| start_and_join(tally.clone()));
                // It is killed for this answer. As long as its wire is held here, nobody can know
                // that no child comes of the request in it.
                proc::wait_until(|| !proc::is_running(server));
                drop(wire);
                assert_eq!(joined.join().expect("the start is not lost"), 7, "{answer:?}");
            });
            let ran = std::fs::read_to_string(&tally).expect("it ran").lines().count();
            assert_eq!(ran, 1, "{answer:?}, stopped: {stopped}");
        }
    }
}

fn a_stopped_server_delays_and_does_no_more() {
    let folder = Folder::new();
    let tally = folder.path().join("tally");
    let server = the_server();
    stop(server);
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| start_and_join(tally.clone()));
        // Other start methods do not wait for it.
        let spawned = Process::new(|| 3, ()).start_method(StartMethod::Spawn).start();
        assert_eq!(spawned.expect("it starts").join().expect("it returns"), 3);
        assert!(!tally.exists(), "the server stands still");
        raw::signal(server, libc::SIGCONT).expect("it is ours");
        assert_eq!(joined.join().expect("no panic"), 7);
    });
    assert_eq!(proc::fork_server_of(std::process::id()), Some(server), "it is the same");
    let ran = std::fs::read_to_string(&tally).expect("it ran").lines().count();
    assert_eq!(ran, 1);
}
