//! Pipes that are full, and the end of pipes for who waits for room, or holds an end unread.

use std::thread;
use std::time::{Duration, Instant};

use procession::{
    Connection, JoinError, Process, Receiver, RecvError, SendError, SendTimeoutError, Sender,
    StartMethod, TryRecvError, TrySendError, pipe, simplex, wait,
};
use procession_tests::{for_each_method, is_long, sleep_long, start, tests};

for_each_method! {
    room_comes_when_another_process_reads,
    who_sends_to_the_dead_is_told,
    who_learns_of_a_death_sends_no_more,
    who_waits_for_room_is_told_of_the_end,
    siblings_are_told_of_the_end,
    an_end_in_an_unread_message_ends_with_its_reader,
    an_end_in_the_hands_of_a_dead_sender_ends,
    an_end_in_the_hands_of_a_dead_reader_ends,
}

tests! {
    a_full_pipe_says_so,
    room_is_used_again,
    one_message_of_any_size_fits,
    threads_at_both_ends_both_ways,
    the_end_is_told_to_who_looks_for_several_things,
}

/// So long that only something else can be what ended the wait.
const FOR_EVER: Duration = Duration::from_secs(24 * 3600);

/// Fills a pipe, and returns how many messages it has taken.
fn fill(tx: &Sender<Vec<u8>>, length: usize) -> usize {
    (0..).take_while(|i| tx.try_send(&vec![*i as u8; length]).is_ok()).count()
}

fn a_full_pipe_says_so() {
    for length in [0, 1, 88, 89, 5_000, 16_384, 16_385, 100_000, 1 << 20] {
        let (rx, tx) = simplex::<Vec<u8>>().expect("pipe");
        let count = fill(&tx, length);
        assert!(count > 0 && count * length <= 4 << 20, "{count} of {length}");
        let message = vec![0; length];
        assert!(matches!(tx.try_send(&message), Err(TrySendError::Full)));
        for timeout in [Duration::ZERO, Duration::from_millis(3)] {
            let begin = Instant::now();
            let result = tx.send_timeout(&message, timeout);
            assert!(matches!(result, Err(SendTimeoutError::Timeout)), "{result:?}");
            assert!(begin.elapsed() >= timeout, "not earlier");
        }
        for i in 0..count {
            assert_eq!(rx.recv().expect("receive"), vec![i as u8; length], "nothing more, or less");
        }
        assert!(matches!(rx.try_recv(), Err(TryRecvError::Empty)));
        tx.send_timeout(&message, Duration::ZERO).expect("there is room");
        fill(&tx, length);
        drop(rx);
        assert!(matches!(tx.try_send(&message), Err(TrySendError::Closed)), "no longer full");
        assert!(matches!(tx.send_timeout(&message, FOR_EVER), Err(SendTimeoutError::Closed)));
        assert!(matches!(tx.send(&message), Err(SendError::Closed)));
    }
}

fn room_is_used_again() {
    let (rx, tx) = simplex::<Vec<u8>>().expect("pipe");
    let mut seed = 1u64;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) as usize % below
    };
    let (mut sent, mut received) = (0u64, 0u64);
    let mut lengths = std::collections::VecDeque::new();
    let rounds = if is_long() { 200_000 } else { 20_000 };
    for round in 0..rounds {
        let kind = [100, 5_000, 50_000, 700_000][random(100) / 30];
        let length = 8 + random(kind);
        let mut message = vec![sent as u8; length];
        message[..8].copy_from_slice(&sent.to_ne_bytes());
        if random(5) > 1 && tx.try_send(&message).is_ok() {
            lengths.push_back(length);
            sent += 1;
        } else {
            for _ in 0..random(if round % 50 == 0 { 300 } else { 4 }) {
                let Some(length) = lengths.pop_front() else { break };
                let message = rx.recv().expect("receive");
                assert_eq!((message.len(), &message[..8]), (length, &received.to_ne_bytes()[..]));
                assert!(message[8..].iter().all(|byte| *byte == received as u8), "{received}");
                received += 1;
            }
        }
    }
    assert!(received > 1000 && received + lengths.len() as u64 == sent);
}

fn one_message_of_any_size_fits() {
    let (a, b) = pipe::<Vec<u8>>().expect("pipe");
    let mib = 1 << 20;
    let mut sizes = vec![3 * mib, 3 * mib + 1, 16 * mib - 8, 16 * mib - 7, 40 * mib];
    if is_long() {
        sizes.push((1 << 30) + 1);
    }
    for size in sizes {
        let message: Vec<u8> = (0..size).map(|i| (i ^ (i >> 8)) as u8).collect();
        a.try_send(&message).expect("it is empty");
        assert!(matches!(a.try_send(&message), Err(TrySendError::Full)), "{size}");
        // A short one has room beside it.
        a.try_send(&vec![5]).expect("there is room");
        assert!(b.try_recv().expect("it is there") == message, "{size}");
        assert_eq!(b.try_recv().expect("it is there"), [5]);
        a.try_send(&message).expect("it is empty again");
        assert!(b.recv().expect("it is there") == message, "{size}");
    }
}

fn threads_at_both_ends_both_ways() {
    const THREADS: u64 = 3;
    let each = if is_long() { 20_000 } else { 1_500 };
    let (a, b) = pipe::<(u64, Vec<u8>)>().expect("pipe");
    let send = |end: &Connection<(u64, Vec<u8>)>, thread: u64| {
        for i in 0..each {
            let number = thread * each + i;
            let length = if i % 50 == 0 { 90_000 } else { i as usize % 700 };
            match i % 3 {
                0 => end.send_timeout(&(number, vec![i as u8; length]), FOR_EVER).expect("room"),
                _ => end.send(&(number, vec![i as u8; length])).expect("somebody reads"),
            }
        }
    };
    let receive = |end: &Connection<(u64, Vec<u8>)>| {
        (0..each)
            .map(|i| {
                if i % 7 == 0 {
                    assert!(end.poll(FOR_EVER).expect("something comes"));
                }
                let (number, bytes) = end.recv().expect("somebody sends");
                assert!(bytes.iter().all(|byte| *byte == (number % each) as u8), "whole");
                number
            })
            .sum::<u64>()
    };
    thread::scope(|scope| {
        let mut sums = Vec::new();
        for end in [&a, &b] {
            for thread in 0..THREADS {
                scope.spawn(move || send(end, thread));
            }
            sums.push((0..THREADS).map(|_| scope.spawn(move || receive(end))).collect::<Vec<_>>());
        }
        for threads in sums {
            let sum: u64 = threads.into_iter().map(|t| t.join().expect("thread")).sum();
            assert_eq!(sum, (0..THREADS * each).sum::<u64>());
        }
    });
    assert!(matches!(a.try_recv(), Err(TryRecvError::Empty)));
    assert!(matches!(b.try_recv(), Err(TryRecvError::Empty)));
}

fn the_end_is_told_to_who_looks_for_several_things() {
    for _ in 0..20 {
        let (a, b) = pipe::<u8>().expect("pipe");
        let (quiet, _other) = pipe::<u8>().expect("pipe");
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(wait(&[&quiet, &a], None).expect("wait"), [1]));
                scope.spawn(|| assert!(a.poll(FOR_EVER).expect("poll")));
            }
            drop(b);
        });
    }
}

fn room_comes_when_another_process_reads(method: StartMethod) {
    let (rx, tx) = simplex::<Vec<u8>>().expect("pipe");
    let (until, go) = simplex::<()>().expect("pipe");
    let reads = |rx: Receiver<Vec<u8>>, until: Receiver<()>| {
        until.recv().expect("the parent says so");
        std::iter::from_fn(|| rx.recv().ok()).map(|message| message.len() as u64).sum::<u64>()
    };
    let child = start(Process::new(reads, (rx, until)), method);
    let mut sum = fill(&tx, 10_000) as u64 * 10_000;
    let mut send = |timeout| {
        let result = tx.send_timeout(&vec![1; 10_000], timeout);
        sum += if result.is_ok() { 10_000 } else { 0 };
        result.is_ok()
    };
    assert!(!send(Duration::from_millis(5)));
    go.send(&()).expect("it listens");
    for _ in 0..500 {
        assert!(send(FOR_EVER));
    }
    drop(tx);
    assert_eq!(child.join().expect("join"), sum);
}

fn hold(end: Connection<Vec<u8>>) {
    end.send(&vec![1]).expect("the parent reads");
    sleep_long();
}

fn who_sends_to_the_dead_is_told(method: StartMethod) {
    let (ours, theirs) = pipe::<Vec<u8>>().expect("pipe");
    let child = start(Process::new(hold, (theirs,)), method);
    ours.recv().expect("it has the end");
    for _ in 0..100 {
        ours.send(&vec![1]).expect("it lives");
    }
    child.kill().expect("it is ours");
    child.wait().expect("its status");
    // Known to be dead, though nothing was received, and there is room.
    assert!(matches!(ours.send(&vec![1]), Err(SendError::Closed)));
}

/// However one learns of a death: by who looks, by who waits with others, or by who waits for it.
fn who_learns_of_a_death_sends_no_more(method: StartMethod) {
    for round in 0..30 {
        let (ours, theirs) = pipe::<Vec<u8>>().expect("pipe");
        let child = start(Process::new(hold, (theirs,)), method);
        ours.recv().expect("it has the end");
        for _ in 0..100 {
            ours.send(&vec![1]).expect("it lives");
        }
        child.kill().expect("it is ours");
        match round % 3 {
            0 => while child.is_alive() {},
            1 => assert_eq!(wait(&[&child], None).expect("wait"), [0]),
            _ => while child.exit_status().is_none() {},
        }
        assert!(matches!(ours.send(&vec![1]), Err(SendError::Closed)), "{round}");
    }
}

fn who_waits_for_room_is_told_of_the_end(method: StartMethod) {
    for length in [10, 10_000, 1 << 20] {
        let (ours, theirs) = pipe::<Vec<u8>>().expect("pipe");
        let child = start(Process::new(hold, (theirs,)), method);
        ours.recv().expect("it has the end");
        while ours.try_send(&vec![1; length]).is_ok() {}
        let (message, ours) = (&vec![1; length], &ours);
        thread::scope(|scope| {
            scope.spawn(move || {
                assert!(matches!(ours.send(message), Err(SendError::Closed)));
            });
            scope.spawn(move || {
                let result = ours.send_timeout(message, FOR_EVER);
                assert!(matches!(result, Err(SendTimeoutError::Closed)), "{result:?}");
            });
            thread::sleep(Duration::from_millis(2));
            child.kill().expect("it is ours");
        });
    }
}

/// Neither has started the other, or knows that it dies.
fn siblings_are_told_of_the_end(method: StartMethod) {
    let (one, other) = pipe::<Vec<u8>>().expect("pipe");
    let (told, tell) = simplex::<Vec<u8>>().expect("pipe");
    let holds = |end: Connection<Vec<u8>>, tell: Sender<Vec<u8>>| {
        tell.send(&Vec::new()).expect("the parent listens");
        hold(end);
    };
    let sends = |end: Connection<Vec<u8>>| {
        end.recv().expect("it has the end");
        while end.send(&vec![1; 10]).is_ok() {
            thread::sleep(Duration::from_micros(500));
        }
    };
    let doomed = start(Process::new(holds, (other, tell)), method);
    let sender = start(Process::new(sends, (one,)), method);
    told.recv().expect("it runs");
    thread::sleep(Duration::from_millis(10));
    doomed.kill().expect("it is ours");
    // It ends by itself: after some messages, and without ever being out of room.
    sender.join().expect("it was told");
}

fn an_end_in_an_unread_message_ends_with_its_reader(method: StartMethod) {
    let (ours, theirs) = pipe::<u8>().expect("pipe");
    let (rx, tx) = simplex::<Connection<u8>>().expect("pipe");
    tx.send(&theirs).expect("there is room");
    drop(theirs);
    ours.send(&1).expect("the end waits in the message");
    assert!(matches!(ours.try_recv(), Err(TryRecvError::Empty)));
    let holds = |rx: Receiver<Connection<u8>>| {
        sleep_long();
        drop(rx);
    };
    let child = start(Process::new(holds, (rx,)), method);
    thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(ours.recv(), Err(RecvError::Closed))));
        scope.spawn(|| assert_eq!(wait(&[&ours], None).expect("wait"), [0]));
        child.kill().expect("it is ours");
    });
    assert!(matches!(tx.send(&ours), Err(SendError::Closed)));
}

/// A child dies at `point`, between `rx` and `tx`, and takes an end with it. Others have its ends of
/// that pipe as well.
fn dies_at(point: &str, method: StartMethod) -> Receiver<Connection<u8>> {
    let (ours, theirs) = pipe::<u8>().expect("pipe");
    let (rx, tx) = simplex::<Connection<u8>>().expect("pipe");
    let passes = |rx: Receiver<Connection<u8>>, tx: Sender<Connection<u8>>, end: Connection<u8>| {
        tx.send(&end).expect("there is room");
        drop(end);
        rx.recv().expect("it is there");
    };
    let process = Process::new(passes, (rx.clone(), tx.clone(), theirs));
    let child = start(process.env("PROCESSION_CRASH_POINT", point), method);
    let joined = child.join();
    assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
    // Who waits for messages finds none, and what is left of this one.
    thread::scope(|scope| {
        scope.spawn(|| assert!(matches!(ours.recv(), Err(RecvError::Closed))));
        let result = rx.recv_timeout(Duration::from_millis(1));
        assert!(result.is_err(), "{result:?}");
    });
    let (_one, other) = pipe::<u8>().expect("pipe");
    tx.send(&other).expect("there is room");
    rx
}

fn an_end_in_the_hands_of_a_dead_sender_ends(method: StartMethod) {
    let rx = dies_at("pipe.send.packed", method);
    rx.recv().expect("the next one is not hurt");
}

fn an_end_in_the_hands_of_a_dead_reader_ends(method: StartMethod) {
    let rx = dies_at("channel.read.committed", method);
    rx.recv().expect("the next one is not hurt");
}
