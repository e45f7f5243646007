//! Pipes between a program and its children: every size, every direction, every end.

use std::time::Duration;

use procession::{
    Connection, Process, Receiver, RecvError, RecvTimeoutError, SendError, Sender, StartMethod,
    TryRecvError, duplex, pipe, simplex,
};
use procession_tests::{fail, for_each_method, is_long, join, sleep_long, start};

for_each_method!(
    messages_of_every_size,
    messages_come_in_order,
    two_types,
    one_way,
    an_end_that_its_child_drops_is_closed,
    an_end_whose_process_is_killed_is_closed,
    what_was_sent_before_the_end_arrives,
    several_senders,
    several_receivers,
    a_full_pipe_waits_for_its_reader,
    a_sender_that_waits_sees_the_end,
);

fn echo(connection: Connection<Vec<u8>>) -> usize {
    let mut count = 0;
    while let Ok(message) = connection.recv() {
        connection.send(&message).expect("the parent reads");
        count += 1;
    }
    count
}

fn message(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i ^ (i >> 8)) as u8).collect()
}

fn messages_of_every_size(method: StartMethod) {
    let (ours, theirs) = pipe::<Vec<u8>>().expect("pipe");
    let child = start(Process::new(echo, (theirs,)), method);
    let around = |size: usize| size - 64..size + 64;
    let sizes = (0..40).chain(around(4 << 10)).chain(around(64 << 10)).chain(around(128 << 10));
    let mut count = 0;
    for size in sizes.chain([200 << 10, 1 << 20, 4 << 20]) {
        let message = message(size);
        ours.send(&message).expect("send");
        assert!(ours.recv().expect("receive") == message, "{size} bytes");
        count += 1;
    }
    if is_long() {
        let message = vec![3u8; (1 << 30) + 1];
        ours.send(&message).expect("send");
        assert!(ours.recv().expect("receive") == message);
        count += 1;
    }
    drop(ours);
    assert_eq!(child.join().expect("join"), count);
}

fn messages_come_in_order(method: StartMethod) {
    const COUNT: u64 = 5000;
    let count = |tx: Sender<(u64, Vec<u8>)>| {
        for i in 0..COUNT {
            // Short and long ones: bytes behind a header, and memory of their own.
            let size = if i % 100 == 0 { 300_000 } else { i as usize % 3000 };
            tx.send(&(i, vec![i as u8; size])).expect("the parent reads");
        }
    };
    let (rx, tx) = simplex().expect("pipe");
    let child = start(Process::new(count, (tx,)), method);
    for i in 0..COUNT {
        let (number, bytes) = rx.recv().expect("receive");
        assert_eq!(number, i);
        assert!(bytes.iter().all(|byte| *byte == i as u8));
    }
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
    child.join().expect("join");
}

fn two_types(method: StartMethod) {
    fn serve(connection: Connection<Result<u64, String>, (String, u64)>) {
        while let Ok((word, number)) = connection.recv() {
            let answer = word.parse::<u64>().map_err(|error| format!("{word}: {error}"));
            let answer = answer.map(|parsed| parsed + number);
            connection.send(&answer).expect("the parent reads");
        }
    }
    let (client, server) = duplex::<(String, u64), Result<u64, String>>().expect("pipe");
    let child = start(Process::new(serve, (server,)), method);
    client.send(&("4".to_owned(), 5)).expect("send");
    assert_eq!(client.recv().expect("receive"), Ok(9));
    client.send(&("four".to_owned(), 5)).expect("send");
    assert!(client.recv().expect("receive").is_err_and(|error| error.starts_with("four: ")));
    drop(client);
    child.join().expect("join");
}

fn one_way(method: StartMethod) {
    let (rx, tx) = simplex::<String>().expect("pipe");
    let (back_rx, back_tx) = simplex::<usize>().expect("pipe");
    let lengths = |words: Receiver<String>, lengths: Sender<usize>| {
        while let Ok(word) = words.recv() {
            lengths.send(&word.len()).expect("the parent reads");
        }
    };
    let child = start(Process::new(lengths, (rx, back_tx)), method);
    for word in ["", "a", "zw\u{f6}lf"] {
        tx.send(&word.to_owned()).expect("send");
        assert_eq!(back_rx.recv().expect("receive"), word.len());
    }
    drop(tx);
    assert!(matches!(back_rx.recv(), Err(RecvError::Closed)));
    child.join().expect("join");
}

fn an_end_that_its_child_drops_is_closed(method: StartMethod) {
    let (ours, theirs) = pipe::<u8>().expect("pipe");
    let (until, release) = simplex::<()>().expect("pipe");
    let drops = |theirs: Connection<u8>, until: Receiver<()>| {
        drop(theirs);
        assert!(until.recv().is_err());
    };
    let child = start(Process::new(drops, (theirs, until)), method);
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
    assert!(matches!(ours.send(&1), Err(SendError::Closed)));
    assert!(child.is_alive(), "it runs on");
    drop(release);
    child.join().expect("join");
    // A child that ignores its argument has it until it ends, at the latest.
    let (ours, theirs) = pipe::<u8>().expect("pipe");
    join(Process::new(|_: Connection<u8>| (), (theirs,)), method);
    assert!(matches!(ours.recv(), Err(RecvError::Closed)));
}

fn an_end_whose_process_is_killed_is_closed(method: StartMethod) {
    let (ours, theirs) = pipe::<u8>().expect("pipe");
    let holds = |theirs: Connection<u8>| {
        theirs.send(&1).expect("the parent reads");
        sleep_long();
    };
    let child = start(Process::new(holds, (theirs,)), method);
    assert_eq!(ours.recv().expect("receive"), 1);
    // Others that start meanwhile must not have got a copy of the end.
    let bystanders: Vec<_> = (0..4).map(|_| start(Process::new(sleep_long, ()), method)).collect();
    let waiter = std::thread::spawn(move || (ours.recv(), ours));
    child.kill().expect("kill");
    let (received, ours) = waiter.join().expect("thread");
    assert!(matches!(received, Err(RecvError::Closed)), "{received:?}");
    assert!(matches!(ours.try_recv(), Err(TryRecvError::Closed)));
    assert!(child.join().is_err());
    for bystander in bystanders {
        bystander.kill().expect("kill");
        assert!(bystander.join().is_err());
    }
}

fn what_was_sent_before_the_end_arrives(method: StartMethod) {
    let sends = |tx: Sender<Vec<u8>>| {
        for size in [10, 500_000, 0] {
            tx.send(&vec![1; size]).expect("the parent reads");
        }
        std::process::abort() as u8
    };
    let (rx, tx) = simplex().expect("pipe");
    fail(Process::new(sends, (tx,)), method);
    for size in [10, 500_000, 0] {
        assert_eq!(rx.recv().expect("sent while it lived").len(), size);
    }
    assert!(matches!(rx.recv(), Err(RecvError::Closed)));
}

fn several_senders(method: StartMethod) {
    const EACH: u32 = 500;
    let sends = |number: u32, tx: Sender<(u32, u32, Vec<u8>)>| {
        for i in 0..EACH {
            let size = if i % 100 == 0 { 300_000 } else { 1000 };
            tx.send(&(number, i, vec![number as u8; size])).expect("the parent reads");
        }
    };
    let (rx, tx) = simplex().expect("pipe");
    let clone = || tx.clone();
    let children: Vec<_> =
        (0..4).map(|number| start(Process::new(sends, (number, clone())), method)).collect();
    drop(tx);
    let mut next = [0; 4];
    while let Ok((number, i, bytes)) = rx.recv() {
        assert_eq!(next[number as usize], i, "in the order of its sender");
        assert!(bytes.iter().all(|byte| u32::from(*byte) == number), "whole");
        next[number as usize] += 1;
    }
    assert_eq!(next, [EACH; 4]);
    children.into_iter().for_each(|child| child.join().expect("join"));
}

fn several_receivers(method: StartMethod) {
    let receives = |rx: Receiver<u64>| {
        let mut sum = (0, 0);
        while let Ok(number) = rx.recv() {
            sum = (sum.0 + 1, sum.1 + number);
        }
        sum
    };
    let (rx, tx) = simplex::<u64>().expect("pipe");
    let clone = || rx.clone();
    let children: Vec<_> =
        (0..3).map(|_| start(Process::new(receives, (clone(),)), method)).collect();
    drop(rx);
    (0..3000).for_each(|number| tx.send(&number).expect("send"));
    drop(tx);
    let sums = children.into_iter().map(|child| child.join().expect("join"));
    let total = sums.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    assert_eq!(total, (3000, (0..3000).sum()));
}

fn a_full_pipe_waits_for_its_reader(method: StartMethod) {
    let (rx, tx) = simplex::<Vec<u8>>().expect("pipe");
    let (sent, tell) = simplex::<()>().expect("pipe");
    let fills = |tx: Sender<Vec<u8>>, tell: Sender<()>| {
        // More than any pipe holds.
        (0..2000).for_each(|i| tx.send(&vec![i as u8; 10_000]).expect("the parent reads"));
        tell.send(&()).expect("the parent reads");
    };
    let child = start(Process::new(fills, (tx, tell)), method);
    assert!(rx.poll(Duration::MAX).expect("poll"));
    assert!(matches!(sent.recv_timeout(Duration::from_millis(50)), Err(RecvTimeoutError::Timeout)));
    (0..2000).for_each(|i| assert_eq!(rx.recv().expect("receive")[9_999], i as u8));
    sent.recv().expect("the rest went through");
    child.join().expect("join");
}

fn a_sender_that_waits_sees_the_end(method: StartMethod) {
    let (rx, tx) = simplex::<Vec<u8>>().expect("pipe");
    let (gone, tell) = simplex::<()>().expect("pipe");
    let holds = |_rx: Receiver<Vec<u8>>, tell: Sender<()>| {
        tell.send(&()).expect("the parent reads");
        sleep_long();
    };
    let child = start(Process::new(holds, (rx, tell)), method);
    gone.recv().expect("it runs");
    let fill = std::thread::spawn(move || {
        loop {
            if let Err(error) = tx.send(&vec![1; 10_000]) {
                return error;
            }
        }
    });
    child.kill().expect("kill");
    let error = fill.join().expect("thread");
    assert!(matches!(error, SendError::Closed), "{error:?}");
    assert!(child.join().is_err());
}
