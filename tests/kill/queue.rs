//! Kills of those who put and those who get: no message torn, none twice, each writer's in order.

use std::collections::{HashMap, HashSet};

use procession::{GetError, JoinError, Process, Queue, Sender, StartMethod, simplex, wait};
use procession_tests::{Random, for_each_method, rounds};
use serde::{Deserialize, Serialize};

for_each_method! {
    killed_writers_and_readers_tear_nothing_and_take_nothing_twice,
    a_reader_killed_at_any_point_leaves_room,
    a_writer_killed_at_any_point_is_seen_by_who_waits,
    a_message_of_a_dead_writer_is_done_when_it_is,
}

/// A message that shows where it comes from, and whether it is whole.
#[derive(Serialize, Deserialize)]
struct Message {
    writer: u64,
    number: u64,
    filling: Vec<u8>,
}

/// In a child: puts messages, one or several at a time, until it is killed.
fn write(queue: Queue<Message>, writer: u64) {
    let message = |number: u64| {
        let length = usize::try_from(number * 7919 % 30_011).expect("small");
        let length = if number.is_multiple_of(50) { length } else { length % 90 };
        Message { writer, number, filling: vec![(number % 251) as u8; length] }
    };
    for number in (0..).step_by(10) {
        queue.put(&message(number)).expect("it is open");
        let others: Vec<_> = (number + 1..number + 10).map(message).collect();
        queue.put_many(&others).expect("it is open");
    }
}

/// How many messages a reader takes at once, at the most.
const MOST_AT_ONCE: usize = 5;

/// In a child: gets messages, one or several at a time, until it is killed, and tells of each.
fn read(queue: Queue<Message>, tell: Sender<(u64, u64)>) {
    for most in (1..=MOST_AT_ONCE).cycle() {
        let messages = match queue.get_many(most) {
            Ok(messages) => messages,
            Err(error) => match error.into_error() {
                GetError::Closed => return,
                error => panic!("{error}"),
            },
        };
        for message in messages {
            let expected = (message.number % 251) as u8;
            assert!(message.filling.iter().all(|byte| *byte == expected), "a torn message");
            tell.send(&(message.writer, message.number)).expect("the parent listens");
        }
    }
}

fn killed_writers_and_readers_tear_nothing_and_take_nothing_twice(method: StartMethod) {
    let queue = Queue::bounded(200).expect("queue");
    let (told, tell) = simplex::<(u64, u64)>().expect("pipe");
    let mut next_writer = 0;
    let mut writer = || {
        next_writer += 1;
        let process = Process::new(write, (queue.clone(), next_writer));
        process.start_method(method).daemon(true).start().expect("it starts")
    };
    let reader = || {
        let process = Process::new(read, (queue.clone(), tell.clone()));
        process.start_method(method).daemon(true).start().expect("it starts")
    };
    let mut children = [writer(), writer(), reader(), reader()];
    let mut seen = HashSet::new();
    let mut random = Random::new();
    let mut readers_killed = 0;
    for _ in 0..rounds() * 4 {
        // Something moves, whoever was killed.
        let message = told.recv().expect("a reader lives");
        assert!(seen.insert(message), "{message:?} was taken twice");
        for _ in 0..random.below(60) {
            let Ok(message) = told.try_recv() else { break };
            assert!(seen.insert(message), "{message:?} was taken twice");
        }
        let index = usize::try_from(random.below(4)).expect("small");
        readers_killed += u64::from(index >= 2);
        let new = if index < 2 { writer() } else { reader() };
        let victim = std::mem::replace(&mut children[index], new);
        victim.kill().expect("it is ours");
        let joined = victim.join();
        assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
    }
    let [a, b, c, d] = children;
    for writer in [a, b] {
        writer.kill().expect("it is ours");
        assert!(matches!(writer.join(), Err(JoinError::Signaled { signal: 9, .. })));
    }
    // The readers drain what is left, and then see the end.
    queue.close();
    drop(tell);
    while let Ok(message) = told.recv() {
        assert!(seen.insert(message), "{message:?} was taken twice");
    }
    for reader in [c, d] {
        reader.join().expect("it has come to the end");
    }
    assert_eq!((queue.is_empty(), queue.len()), (true, 0));
    // A message is lost only with the reader that had it in its hands, among those of one turn.
    let mut last = HashMap::<u64, (u64, u64)>::new();
    for (writer, number) in seen {
        let (most, count) = last.entry(writer).or_default();
        *most = (*most).max(number);
        *count += 1;
    }
    let lost: u64 = last.values().map(|(most, count)| most + 1 - count).sum();
    let most = readers_killed * MOST_AT_ONCE as u64;
    assert!(lost <= most, "{lost} messages died with {readers_killed} readers");
}

fn get_one(queue: Queue<u32>) {
    let _ = queue.get();
}

fn put_one(queue: Queue<u32>) {
    let _ = queue.put(&1);
}

/// Has a child put one message, or get one, that is killed at a crash point.
fn die_at(point: &str, queue: &Queue<u32>, method: StartMethod) {
    let process = match point {
        "ring.write.committed" => Process::new(put_one, (queue.clone(),)),
        _ => Process::new(get_one, (queue.clone(),)),
    };
    let child = process.start_method(method).env("PROCESSION_CRASH_POINT", point).start();
    let joined = child.expect("it starts").join();
    assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{point}: {joined:?}");
}

fn a_reader_killed_at_any_point_leaves_room(method: StartMethod) {
    for point in ["queue.get.counted", "ring.read.copied", "ring.read.committed"] {
        let queue = Queue::bounded(1).expect("queue");
        queue.put(&1).expect("it is open");
        die_at(point, &queue, method);
        if !queue.is_empty() {
            assert_eq!(queue.get().expect("nobody has taken it"), 1, "{point}");
        }
        queue.put(&2).expect("it is open");
        assert_eq!(queue.get().expect("it is there"), 2, "{point}");
        assert_eq!(queue.len(), 0, "{point}");
    }
}

fn a_message_of_a_dead_writer_is_done_when_it_is(method: StartMethod) {
    let queue = Queue::bounded(3).expect("queue");
    die_at("ring.write.committed", &queue, method);
    assert_eq!(queue.get().expect("it is there"), 1);
    // Its writer has not counted it.
    queue.task_done().expect("it was put and taken");
    assert!(queue.task_done().is_err(), "there was one");
    queue.join().expect("all is done");
    queue.put(&2).expect("it is open");
    assert_eq!(queue.get().expect("it is there"), 2);
    queue.task_done().expect("it was put and taken");
    queue.join().expect("all is done");
}

fn a_writer_killed_at_any_point_is_seen_by_who_waits(method: StartMethod) {
    let (queue, spare) =
        (Queue::bounded(1).expect("queue"), Queue::<u32>::unbounded().expect("queue"));
    die_at("ring.write.committed", &queue, method);
    assert_eq!(queue.get().expect("it is there"), 1);
    std::thread::scope(|scope| {
        // Both wait at the bell, which the dead one has not rung.
        let waiters = [0, 1].map(|_| scope.spawn(|| wait(&[&spare, &queue], None).expect("wait")));
        std::thread::sleep(std::time::Duration::from_millis(20));
        die_at("ring.write.committed", &queue, method);
        for waiter in waiters {
            assert_eq!(waiter.join().expect("it ends"), [1]);
        }
    });
}
