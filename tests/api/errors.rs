//! Every error of the library: behind `?`, with words, with its cause.

use std::error::Error as _;
use std::time::Duration;

use procession::{Process, StartMethod, pipe, set_start_method, spawn, wait};
use procession_tests::{program, tests};

tests!(all_go_behind_a_question_mark, words_are_fragments_on_one_line, they_can_be_sent_to_threads);

fn number(number: u64) -> u64 {
    number
}

fn fails() -> u8 {
    std::process::abort()
}

fn start_error() -> procession::Result<()> {
    Process::new(number, (1,)).name("\0").start()?;
    Ok(())
}

fn directory_error() -> procession::Result<()> {
    Process::new(number, (1,)).current_dir("/no/such/place").start()?;
    Ok(())
}

fn join_error() -> procession::Result<u8> {
    Ok(spawn(fails, ())?.join()?)
}

fn send_error() -> procession::Result<()> {
    let (a, b) = pipe::<u8>()?;
    drop(b);
    Ok(a.send(&1)?)
}

fn recv_error() -> procession::Result<u8> {
    let (a, b) = pipe::<u8>()?;
    drop(b);
    Ok(a.recv()?)
}

fn try_recv_error() -> procession::Result<u8> {
    let (a, _b) = pipe::<u8>()?;
    Ok(a.try_recv()?)
}

fn recv_timeout_error() -> procession::Result<u8> {
    let (a, _b) = pipe::<u8>()?;
    Ok(a.recv_timeout(Duration::ZERO)?)
}

fn wait_error() -> procession::Result<Vec<usize>> {
    Ok(wait(&[], None)?)
}

fn io_error() -> procession::Result<()> {
    let child = spawn(number, (1,))?;
    child.terminate()?;
    child.wait()?;
    Ok(std::fs::remove_file("/no/such/place")?)
}

fn all() -> Vec<procession::Error> {
    let errors = [
        start_error().err(),
        directory_error().err(),
        join_error().err(),
        send_error().err(),
        recv_error().err(),
        try_recv_error().err(),
        recv_timeout_error().err(),
        wait_error().err(),
        io_error().err(),
    ];
    errors.into_iter().map(|error| error.expect("each of them fails")).collect()
}

fn all_go_behind_a_question_mark() {
    use procession::Error::{Io, Join, Recv, RecvTimeout, Send, Start, TryRecv, Wait};
    let all = all();
    let [
        Start(_),
        Start(directory),
        Join(_),
        Send(_),
        Recv(_),
        TryRecv(_),
        RecvTimeout(_),
        Wait(_),
        Io(_),
    ] = &all[..]
    else {
        panic!("{all:?}")
    };
    let cause = directory.source().expect("the system's word").downcast_ref::<std::io::Error>();
    assert_eq!(cause.map(std::io::Error::kind), Some(std::io::ErrorKind::NotFound));
    assert!(all[1].source().is_some(), "also from outside");
    // Setting the start method concerns the whole program: tried in one of its own.
    program!("context").arg("method").arg("spawn").succeed();
    let behind = || -> procession::Result<()> { Ok(set_start_method(StartMethod::Spawn)?) };
    let _: fn() -> procession::Result<()> = behind;
}

fn words_are_fragments_on_one_line() {
    for error in all() {
        let text = error.to_string();
        assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{text}");
        let systems = matches!(error, procession::Error::Io(_));
        assert!(systems || !text.starts_with(char::is_uppercase), "{text}");
        // The chain of causes ends, and says something at each step.
        let mut cause = error.source();
        while let Some(error) = cause {
            assert!(!error.to_string().is_empty());
            cause = error.source();
        }
    }
}

fn they_can_be_sent_to_threads() {
    fn is_sendable<T: std::error::Error + std::marker::Send + Sync + 'static>(error: T) -> String {
        std::thread::spawn(move || error.to_string()).join().expect("thread")
    }
    for error in all() {
        let text = error.to_string();
        assert_eq!(is_sendable(error), text);
    }
}
