//! Children are killed at random moments while messages and results cross: each message is whole,
//! in order, and followed by the end; or it was never there.

use std::time::Duration;

use procession::{
    Child, Connection, JoinError, Process, Receiver, RecvError, SendError, Sender, StartMethod,
    pipe, simplex,
};
use procession_tests::{Random, for_each_method, rounds};

for_each_method! {
    a_killed_sender_leaves_whole_messages_and_the_end,
    killed_senders_of_one_pipe_do_not_mix,
    a_killed_receiver_is_told_to_the_sender,
    a_killed_receiver_takes_at_most_what_it_was_reading,
    a_child_killed_while_it_returns_has_a_whole_value_or_none,
    a_killed_child_takes_its_pipe_with_it,
}

/// A message that shows if a part of it is missing or another's.
type Message = (u64, u32, Vec<u8>);

/// The sizes that take turns: in the socket's buffer, at the edge of it, in memory of their own.
const SIZES: [usize; 6] = [0, 17, 4_000, 65_000, 66_000, 250_000];

fn message(number: u64, sender: u32) -> Message {
    let size = SIZES[number as usize % SIZES.len()];
    (number, sender, bytes(number, sender, size))
}

/// Bytes that differ from message to message, and from place to place.
fn bytes(number: u64, sender: u32, size: usize) -> Vec<u8> {
    let block: Vec<u8> = (0..251).map(|at| at ^ number as u8 ^ (sender as u8 * 85)).collect();
    let mut bytes = block.repeat(size / block.len() + 1);
    bytes.truncate(size);
    bytes
}

fn assert_whole((number, sender, came): &Message) {
    let size = SIZES[*number as usize % SIZES.len()];
    assert_eq!(came.len(), size, "message {number} of {sender}");
    assert!(*came == bytes(*number, *sender, size), "message {number} of {sender} is torn");
}

fn start<R>(process: Process<R>, method: StartMethod) -> Child<R>
where
    R: serde::Serialize + serde::de::DeserializeOwned,
{
    process.start_method(method).start().expect("it starts")
}

fn assert_killed<R: std::fmt::Debug>(joined: Result<R, JoinError>) {
    assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
}

/// In a child: sends for ever.
fn send_on(tx: Sender<Message>, sender: u32) {
    for number in 0.. {
        if tx.send(&message(number, sender)).is_err() {
            return;
        }
    }
}

/// Kills a child after a while, in a thread of its own, while `meanwhile` runs.
fn kill_after<R: Send>(child: &Child<R>, micros: u64, meanwhile: impl FnOnce()) {
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_micros(micros));
            child.kill().expect("it is ours");
        });
        meanwhile();
    });
}

fn a_killed_sender_leaves_whole_messages_and_the_end(method: StartMethod) {
    let mut random = Random::new();
    for _ in 0..rounds() {
        let (rx, tx) = simplex::<Message>().expect("a pipe");
        let child = start(Process::new(send_on, (tx, 1)), method);
        let first = rx.recv().expect("the first one");
        assert_eq!(first.0, 0);
        let mut next = 1;
        kill_after(&child, random.below(8_000), || {
            loop {
                match rx.recv() {
                    Ok(message) => {
                        assert_whole(&message);
                        assert_eq!(message.0, next, "in order, and none is missing");
                        next += 1;
                    }
                    Err(RecvError::Closed) => break,
                    Err(error) => panic!("after {next} messages: {error:?}"),
                }
            }
        });
        assert!(matches!(rx.recv(), Err(RecvError::Closed)), "the end stays");
        assert_killed(child.join());
    }
}

fn killed_senders_of_one_pipe_do_not_mix(method: StartMethod) {
    const SENDERS: u32 = 3;
    let mut random = Random::new();
    for _ in 0..rounds() / 3 {
        let (rx, tx) = simplex::<Message>().expect("a pipe");
        let children: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let tx = tx.clone();
                start(Process::new(send_on, (tx, sender)), method)
            })
            .collect();
        drop(tx);
        let mut kills: Vec<_> = (0..SENDERS).map(|_| random.below(8_000)).collect();
        let mut next = [0; SENDERS as usize];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for (child, micros) in children.iter().zip(kills.drain(..)) {
                    std::thread::sleep(Duration::from_micros(micros));
                    child.kill().expect("it is ours");
                }
            });
            loop {
                match rx.recv() {
                    Ok(message) => {
                        assert_whole(&message);
                        let next = &mut next[message.1 as usize];
                        assert_eq!(message.0, *next, "in each sender's order");
                        *next += 1;
                    }
                    Err(RecvError::Closed) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        children.into_iter().for_each(|child| assert_killed(child.join()));
    }
}

/// In a child: takes every message and says which.
fn take_on(rx: Receiver<Message>, taken: Sender<u64>) {
    while let Ok(message) = rx.recv() {
        assert_whole(&message);
        if taken.send(&message.0).is_err() {
            return;
        }
    }
}

fn a_killed_receiver_is_told_to_the_sender(method: StartMethod) {
    let mut random = Random::new();
    for _ in 0..rounds() {
        let (rx, tx) = simplex::<Message>().expect("a pipe");
        let (taken, says) = simplex::<u64>().expect("a pipe");
        let child = start(Process::new(take_on, (rx, says)), method);
        let mut sent = 0;
        kill_after(&child, random.below(8_000), || {
            loop {
                match tx.send(&message(sent, 1)) {
                    Ok(()) => sent += 1,
                    Err(SendError::Closed) => break,
                    Err(error) => panic!("after {sent} messages: {error:?}"),
                }
                // It must not block on what it says.
                while taken.try_recv().is_ok() {}
            }
        });
        assert!(matches!(tx.send(&message(0, 1)), Err(SendError::Closed)), "it stays closed");
        assert_killed(child.join());
    }
}

/// Two receivers share an end. One is killed; all but the message that it was about to tell of
/// reach somebody, once.
fn a_killed_receiver_takes_at_most_what_it_was_reading(method: StartMethod) {
    const MESSAGES: u64 = 100;
    let mut random = Random::new();
    for _ in 0..rounds() / 2 {
        let (rx, tx) = simplex::<Message>().expect("a pipe");
        let (taken, says) = simplex::<u64>().expect("a pipe");
        let receiver = |rx: &Receiver<Message>, says: &Sender<u64>| {
            let ends = (rx.clone(), says.clone());
            start(Process::new(take_on, ends), method)
        };
        let (doomed, other) = (receiver(&rx, &says), receiver(&rx, &says));
        drop((rx, says));
        let mut times = vec![0; MESSAGES as usize];
        let micros = random.below(8_000);
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    tx.send(&message(number, 1)).expect("one receiver lives");
                }
            });
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(micros));
                doomed.kill().expect("it is ours");
            });
            loop {
                match taken.recv() {
                    Ok(number) => times[number as usize] += 1,
                    Err(RecvError::Closed) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        assert!(times.iter().all(|times| *times <= 1), "one message, one receiver: {times:?}");
        let missing = times.iter().filter(|times| **times == 0).count();
        assert!(missing <= 1, "{missing} messages went with one receiver");
        other.join().expect("nobody kills it");
        let doomed = doomed.join();
        // All may have been sent, and read, before its moment came.
        let fine = matches!(doomed, Ok(()) | Err(JoinError::Signaled { signal: 9, .. }));
        assert!(fine, "{doomed:?}");
    }
}

fn a_child_killed_while_it_returns_has_a_whole_value_or_none(method: StartMethod) {
    let mut random = Random::new();
    let (mut whole, mut none) = (0, 0);
    for round in 0..rounds() as u64 {
        let (ready, says) = simplex::<()>().expect("a pipe");
        let returns = |round: u64, says: Sender<()>| {
            says.send(&()).expect("the parent waits");
            drop(says);
            message(round, 2)
        };
        let child = start(Process::new(returns, (round, says)), method);
        ready.recv().expect("it runs");
        let longest = if round % 2 == 0 { 500 } else { 20_000 };
        kill_after(&child, random.below(longest), || {});
        match child.join() {
            Ok(value) => {
                assert_whole(&value);
                assert_eq!(value.0, round);
                whole += 1;
            }
            Err(JoinError::Signaled { signal: 9, .. }) => none += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(whole + none, rounds(), "each is one or the other");
}

/// In a child: gives what it gets back.
fn echo(connection: Connection<Message>) {
    while let Ok(message) = connection.recv() {
        if connection.send(&message).is_err() {
            return;
        }
    }
}

fn a_killed_child_takes_its_pipe_with_it(method: StartMethod) {
    let mut random = Random::new();
    for _ in 0..rounds() {
        let (ours, theirs) = pipe::<Message>().expect("a pipe");
        let child = start(Process::new(echo, (theirs,)), method);
        kill_after(&child, random.below(4_000), || {
            for number in 0.. {
                match ours.send(&message(number, 3)) {
                    Ok(()) => {}
                    Err(SendError::Closed) => break,
                    Err(error) => panic!("{error:?}"),
                }
                match ours.recv() {
                    Ok(message) => {
                        assert_whole(&message);
                        assert_eq!(message.0, number);
                    }
                    Err(RecvError::Closed) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));
        assert!(matches!(ours.send(&message(0, 3)), Err(SendError::Closed)));
        assert_killed(child.join());
    }
}
