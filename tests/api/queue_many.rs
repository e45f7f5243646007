//! Queues: several messages at once.

use std::time::Duration;

use procession::{GetTimeoutError, Lock, Process, PutTimeoutError, Queue, StartMethod};
use procession_tests::{for_each_method, start};

for_each_method! {
    each_message_goes_to_one_and_each_writer_is_in_order,
    a_batch_waits_for_room,
    a_batch_waits_for_a_time,
    one_that_cannot_be_put_is_told_with_how_many_were,
    one_that_is_none_does_not_cost_the_others,
    messages_with_handles_go_between_others,
}

const COUNT: u32 = 3_000;

fn put_all(queue: Queue<(u32, u32, String)>, writer: u32) {
    let all: Vec<_> =
        (0..COUNT).map(|number| (writer, number, "x".repeat(writer as usize))).collect();
    for batch in all.chunks(700) {
        queue.put_many(batch).expect("it is open");
    }
}

fn get_all(queue: Queue<(u32, u32, String)>) -> Vec<(u32, u32)> {
    let mut got = Vec::new();
    let mut last = [None; 4];
    while let Ok(messages) = queue.get_many(100) {
        assert!((1..=100).contains(&messages.len()));
        for (writer, number, filling) in messages {
            assert_eq!(filling.len(), writer as usize);
            let before = last[writer as usize].replace(number);
            assert!(before.is_none_or(|before| before < number), "{before:?} before {number}");
            got.push((writer, number));
        }
    }
    got
}

fn each_message_goes_to_one_and_each_writer_is_in_order(method: StartMethod) {
    for queue in [Queue::unbounded(), Queue::bounded(50)] {
        let queue = queue.expect("queue");
        let reader = |_| start(Process::new(get_all, (queue.clone(),)), method);
        let readers: Vec<_> = (0..2).map(reader).collect();
        let writer = |writer| start(Process::new(put_all, (queue.clone(), writer)), method);
        let writers: Vec<_> = (1..4).map(writer).collect();
        writers.into_iter().for_each(|writer| writer.join().expect("all is put"));
        queue.close();
        let got = readers.into_iter().flat_map(|reader| reader.join().expect("in order"));
        let mut got: Vec<_> = got.collect();
        got.sort_unstable();
        let all = (1..4).flat_map(|writer| (0..COUNT).map(move |number| (writer, number)));
        assert!(got.into_iter().eq(all), "every message once");
        assert_eq!(queue.len(), 0);
    }
}

fn a_batch_waits_for_room(method: StartMethod) {
    let queue = Queue::bounded(3).expect("queue");
    let gets = |queue: Queue<u32>| (0..20).map(|_| queue.get().expect("one comes")).collect();
    let child = start(Process::<Vec<u32>>::new(gets, (queue.clone(),)), method);
    queue.put_many(&(0..20).collect::<Vec<_>>()).expect("the child makes room");
    assert_eq!(child.join().expect("it returns"), (0..20).collect::<Vec<_>>());
    // Of nothing, nothing.
    queue.put_many(&[]).expect("nothing to wait for");
    assert!(queue.get_many(0).expect("nothing to wait for").is_empty());
    queue.put_many(&[1, 2, 3]).expect("room");
    assert!(queue.is_full());
    assert_eq!(queue.get_many(usize::MAX).expect("three"), [1, 2, 3]);
}

fn a_batch_waits_for_a_time(method: StartMethod) {
    const SHORT: Duration = Duration::from_millis(10);
    let queue = Queue::bounded(3).expect("queue");
    let error = queue.get_many_timeout(2, SHORT).expect_err("nobody puts");
    assert!(matches!(error.into_error(), GetTimeoutError::Timeout));
    let error = queue.put_many_timeout(&[1, 2, 3, 4], SHORT).expect_err("nobody gets");
    assert_eq!(error.put(), 3);
    assert!(matches!(error.into_error(), PutTimeoutError::Timeout));
    assert_eq!(queue.get_many_timeout(9, SHORT).expect("they are there"), [1, 2, 3]);
    let gets = |queue: Queue<u32>| (0..20).map(|_| queue.get().expect("one comes")).collect();
    let child = start(Process::<Vec<u32>>::new(gets, (queue.clone(),)), method);
    let all: Vec<_> = (0..20).collect();
    queue.put_many_timeout(&all, Duration::MAX).expect("the child makes room");
    assert_eq!(child.join().expect("it returns"), all);
    queue.close();
    let error = queue.put_many_timeout(&[1], SHORT).expect_err("it is closed");
    assert!(matches!(error.into_error(), PutTimeoutError::Closed));
    let error = queue.get_many_timeout(1, SHORT).expect_err("it is closed");
    assert!(matches!(error.into_error(), GetTimeoutError::Closed));
}

fn one_that_cannot_be_put_is_told_with_how_many_were(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    // Within the batch, one that has no form.
    let text = |text: &str| Picky(text.to_owned());
    let error = queue.put_many(&[text("a"), text("b"), text("refused"), text("c")]);
    let error = error.expect_err("the third one");
    assert_eq!(error.put(), 2);
    let says = error.to_string();
    assert!(says.starts_with("after 2 messages that were put: the message of type"), "{says}");
    assert_eq!(queue.len(), 2);
    // Closed by another while it waits.
    let queue = Queue::bounded(2).expect("queue");
    let closes = |queue: Queue<u8>| {
        procession_tests::proc::wait_until(|| queue.is_full());
        queue.close();
    };
    let child = start(Process::new(closes, (queue.clone(),)), method);
    let error = queue.put_many(&[1, 2, 3]).expect_err("nobody gets");
    assert_eq!(error.put(), 2);
    assert!(error.to_string().contains("the queue is closed"), "{error}");
    child.join().expect("it returns");
    assert_eq!(queue.get_many(9).expect("what is there"), [1, 2]);
    assert!(queue.get_many(9).expect_err("drained").to_string().contains("none will come"));
}

/// A text that one word of does not encode.
#[derive(Debug)]
struct Picky(String);

impl serde::Serialize for Picky {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 == "refused" {
            return Err(serde::ser::Error::custom("it is refused"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "unreadable" { Err(serde::de::Error::custom("no")) } else { Ok(Self(text)) }
    }
}

fn one_that_is_none_does_not_cost_the_others(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    for texts in [["unreadable", "a", "b"], ["a", "unreadable", "b"], ["a", "b", "unreadable"]] {
        let puts = |queue: Queue<Picky>, texts: Vec<String>| {
            queue.put_many(&texts.into_iter().map(Picky).collect::<Vec<_>>()).expect("it is open");
        };
        let texts: Vec<_> = texts.map(str::to_owned).into();
        start(Process::new(puts, (queue.clone(), texts)), method).join().expect("it returns");
        let error = queue.get_many(5).expect_err("one is none");
        let says = error.to_string();
        assert!(says.contains("cannot be decoded") && says.contains("2 others"), "{says}");
        let others: Vec<_> = error.into_messages().into_iter().map(|text| text.0).collect();
        assert_eq!(others, ["a", "b"]);
        assert!(queue.is_empty());
    }
}

fn messages_with_handles_go_between_others(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    let lock = Lock::new().expect("lock");
    let puts = |queue: Queue<(u32, Option<Lock>)>, lock: Lock| {
        let message = |number: u32| (number, number.is_multiple_of(5).then(|| lock.clone()));
        queue.put_many(&(0..30).map(message).collect::<Vec<_>>()).expect("it is open");
    };
    start(Process::new(puts, (queue.clone(), lock.clone())), method).join().expect("it returns");
    let mut next = 0u32;
    let guard = lock.acquire().expect("nobody dies");
    while !queue.is_empty() {
        for (number, lock) in queue.get_many(7).expect("some are left") {
            assert_eq!((number, lock.is_some()), (next, next.is_multiple_of(5)));
            assert!(lock.is_none_or(|lock| lock.is_locked()), "the same lock");
            next += 1;
        }
    }
    assert_eq!(next, 30);
    drop(guard);
}
