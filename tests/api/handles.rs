//! Handles are values: an end of a pipe as an argument, as a result, inside a message.

use std::collections::BTreeMap;

use procession::{
    Connection, JoinError, Process, Receiver, RecvError, Run, SendError, Sender, StartError,
    StartMethod, pipe, simplex, spawn,
};
use procession_tests::{fail, for_each_method, join, start};
use serde::{Deserialize, Serialize};

for_each_method!(
    as_arguments_of_every_kind,
    as_results,
    a_result_with_a_handle_of_a_child_that_is_gone,
    inside_messages,
    a_pipe_through_a_pipe,
    an_end_goes_round_and_comes_home,
    one_end_for_many_children,
    in_custom_processes,
    through_generations,
    with_large_messages,
    as_many_as_fit_and_one_more,
    a_handle_given_to_a_child_that_never_starts_is_closed,
);

fn plus_one(connection: &Connection<u64>) {
    let number = connection.recv().expect("receive");
    connection.send(&(number + 1)).expect("send");
}

fn assert_plus_one(connection: &Connection<u64>, number: u64) {
    connection.send(&number).expect("send");
    assert_eq!(connection.recv().expect("receive"), number + 1);
}

#[derive(Debug, Serialize, Deserialize)]
enum Either {
    Neither,
    One(Connection<u64>),
    Named { words: Vec<String>, end: Box<Connection<u64>> },
}

fn as_arguments_of_every_kind(method: StartMethod) {
    let (a1, b1) = pipe::<u64>().expect("pipe");
    let (a2, b2) = pipe::<u64>().expect("pipe");
    let (a3, b3) = pipe::<u64>().expect("pipe");
    let (a4, b4) = pipe::<u64>().expect("pipe");
    let serve = |plain: Connection<u64>,
                 (number, in_tuple): (u8, Option<Connection<u64>>),
                 map: BTreeMap<String, Connection<u64>>,
                 eithers: Vec<Either>,
                 words: Vec<String>| {
        plus_one(&plain);
        plus_one(&in_tuple.expect("some"));
        plus_one(&map["key"]);
        let [Either::Neither, Either::Named { words: inner, end }] = &eithers[..] else {
            panic!("{eithers:?}")
        };
        plus_one(end);
        number as usize + words.len() + inner.len()
    };
    let map = BTreeMap::from([("key".to_owned(), b3)]);
    let named = Either::Named { words: vec!["a".to_owned()], end: Box::new(b4) };
    let arguments = (b1, (7, Some(b2)), map, vec![Either::Neither, named], vec![String::new(); 2]);
    let child = start(Process::new(serve, arguments), method);
    for (number, end) in [&a1, &a2, &a3, &a4].into_iter().enumerate() {
        assert_plus_one(end, number as u64);
    }
    assert_eq!(child.join().expect("join"), 10);
    assert!(matches!(a4.recv(), Err(RecvError::Closed)));
}

fn as_results(method: StartMethod) {
    let makes = || {
        let (rx, tx) = simplex::<String>().expect("pipe");
        tx.send(&"from the child".to_owned()).expect("send");
        let (a, b) = pipe::<u64>().expect("pipe");
        (rx, tx, vec![Some(a), None], b)
    };
    let (rx, tx, ends, b) = join(Process::new(makes, ()), method);
    assert_eq!(rx.recv().expect("it was in the pipe"), "from the child");
    tx.send(&"from here".to_owned()).expect("send");
    assert_eq!(rx.recv().expect("receive"), "from here");
    drop(tx);
    assert!(matches!(rx.recv(), Err(RecvError::Closed)), "the child holds nothing any more");
    let a = ends[0].as_ref().expect("the first");
    a.send(&1).expect("send");
    plus_one(&b);
    assert_eq!(a.recv().expect("receive"), 2);
}

fn a_result_with_a_handle_of_a_child_that_is_gone(method: StartMethod) {
    let (a, b) = pipe::<u64>().expect("pipe");
    let child = start(Process::new(|end: Connection<u64>| end, (b,)), method);
    assert!(child.wait().expect("wait").success());
    // The result waits, and the end in it with it: open until the child is joined or dropped.
    a.send(&3).expect("the end waits in the result");
    let b = child.join().expect("join");
    assert_eq!(b.recv().expect("receive"), 3);
    let child = start(Process::new(|end: Connection<u64>| end, (b,)), method);
    child.wait().expect("wait");
    drop(child);
    assert!(matches!(a.recv(), Err(RecvError::Closed)));
}

fn inside_messages(method: StartMethod) {
    let serve = |requests: Receiver<Either>| {
        let mut served = 0;
        while let Ok(request) = requests.recv() {
            match request {
                Either::Neither => {}
                Either::One(end) => plus_one(&end),
                Either::Named { end, .. } => plus_one(&end),
            }
            served += 1;
        }
        served
    };
    let (rx, tx) = simplex().expect("pipe");
    let child = start(Process::new(serve, (rx,)), method);
    for number in 0..50 {
        let (a, b) = pipe().expect("pipe");
        let message = match number % 3 {
            0 => Either::One(b),
            1 => Either::Named { words: vec!["w".repeat(100_000)], end: Box::new(b) },
            _ => Either::Neither,
        };
        tx.send(&message).expect("send");
        if number % 3 < 2 {
            assert_plus_one(&a, number);
            drop(message);
            assert!(matches!(a.recv(), Err(RecvError::Closed)), "nobody has the other end");
        }
    }
    drop(tx);
    assert_eq!(child.join().expect("join"), 50);
}

fn a_pipe_through_a_pipe(method: StartMethod) {
    let serve = |pipes: Receiver<(Receiver<u64>, Sender<u64>)>| {
        let (numbers, sums) = pipes.recv().expect("a pair");
        let mut sum = 0;
        while let Ok(number) = numbers.recv() {
            sum += number;
            sums.send(&sum).expect("the parent reads");
        }
    };
    let (rx, tx) = simplex().expect("pipe");
    let child = start(Process::new(serve, (rx,)), method);
    let (numbers, number) = simplex().expect("pipe");
    // One that has a message in it already.
    number.send(&10).expect("send");
    let (sums, sum) = simplex().expect("pipe");
    tx.send(&(numbers, sum)).expect("send");
    assert_eq!(sums.recv().expect("receive"), 10);
    number.send(&5).expect("send");
    assert_eq!(sums.recv().expect("receive"), 15);
    drop(number);
    assert!(matches!(sums.recv(), Err(RecvError::Closed)));
    child.join().expect("join");
}

fn an_end_goes_round_and_comes_home(method: StartMethod) {
    let pass = |rx: Receiver<Connection<u64>>, tx: Sender<Connection<u64>>| {
        let end = rx.recv().expect("an end");
        tx.send(&end).expect("the next reads");
    };
    let (mut rx, tx) = simplex::<Connection<u64>>().expect("pipe");
    let mut children = Vec::new();
    for _ in 0..5 {
        let (next_rx, next_tx) = simplex().expect("pipe");
        children.push(start(Process::new(pass, (rx, next_tx)), method));
        rx = next_rx;
    }
    let (a, b) = pipe::<u64>().expect("pipe");
    tx.send(&b).expect("send");
    drop(b);
    let b = rx.recv().expect("it comes home");
    children.into_iter().for_each(|child| child.join().expect("join"));
    a.send(&1).expect("send");
    assert_eq!(b.recv().expect("receive"), 1);
    drop(b);
    assert!(matches!(a.recv(), Err(RecvError::Closed)), "no copy was left on the way");
    let (a, b) = pipe::<Connection<u64>>().expect("pipe");
    let (c, d) = pipe::<u64>().expect("pipe");
    a.send(&c).expect("send");
    drop(c);
    b.recv().expect("receive").send(&9).expect("send");
    assert_eq!(d.recv().expect("receive"), 9);
}

fn one_end_for_many_children(method: StartMethod) {
    let (rx, tx) = simplex::<u32>().expect("pipe");
    let say = |tx: Sender<u32>, number: u32| tx.send(&number).expect("the parent reads");
    let child = |number| {
        let tx = tx.clone();
        start(Process::new(say, (tx, number)), method)
    };
    let children: Vec<_> = (0..10).map(child).collect();
    drop(tx);
    let mut said: Vec<u32> = std::iter::from_fn(|| rx.recv().ok()).collect();
    said.sort_unstable();
    assert_eq!(said, (0..10).collect::<Vec<_>>());
    children.into_iter().for_each(|child| child.join().expect("join"));
}

#[derive(Serialize, Deserialize)]
struct Counter {
    tx: Sender<u64>,
    end: u64,
}

impl Run for Counter {
    type Output = Sender<u64>;

    fn run(self) -> Self::Output {
        (0..self.end).for_each(|number| self.tx.send(&number).expect("the parent reads"));
        self.tx
    }
}

fn in_custom_processes(method: StartMethod) {
    let (rx, tx) = simplex().expect("pipe");
    let tx = join(Process::custom(Counter { tx, end: 3 }), method);
    tx.send(&3).expect("send");
    drop(tx);
    assert_eq!(std::iter::from_fn(|| rx.recv().ok()).collect::<Vec<_>>(), [0, 1, 2, 3]);
}

fn descend(depth: u32, tx: Sender<u32>) {
    tx.send(&depth).expect("the root reads");
    if depth > 0 {
        spawn(descend, (depth - 1, tx)).expect("start").join().expect("join");
    }
}

fn through_generations(method: StartMethod) {
    let (rx, tx) = simplex().expect("pipe");
    let child = start(Process::new(descend, (3, tx)), method);
    assert_eq!(std::iter::from_fn(|| rx.recv().ok()).collect::<Vec<_>>(), [3, 2, 1, 0]);
    child.join().expect("join");
}

fn with_large_messages(method: StartMethod) {
    let answer = |large: Vec<u8>, end: Connection<u64>, larger: Vec<u64>| {
        plus_one(&end);
        (larger, large.len(), end)
    };
    let (a, b) = pipe().expect("pipe");
    let arguments = (vec![1; 8 << 20], b, vec![2; 1 << 20]);
    let child = start(Process::new(answer, arguments), method);
    assert_plus_one(&a, 5);
    let (larger, length, b) = child.join().expect("join");
    assert_eq!((larger.len(), length), (1 << 20, 8 << 20));
    b.send(&1).expect("send");
    assert_eq!(a.recv().expect("receive"), 1);
}

fn as_many_as_fit_and_one_more(method: StartMethod) {
    let (a, b) = simplex::<Vec<Sender<u32>>>().expect("pipe");
    let (rx, tx) = simplex::<u32>().expect("pipe");
    let senders = |count: u32| -> Vec<Sender<u32>> { (0..count).map(|_| tx.clone()).collect() };
    let say = |senders: Vec<Sender<u32>>| {
        for (number, tx) in (0..).zip(&senders) {
            tx.send(&number).expect("the parent reads");
        }
        senders
    };
    let back = join(Process::new(say, (senders(200),)), method);
    assert_eq!(back.len(), 200);
    assert!((0..200).all(|number| rx.recv().is_ok_and(|said| said == number)), "in their order");
    b.send(&back).expect("as a message");
    assert_eq!(a.recv().expect("receive").len(), 200);

    let error = b.send(&senders(300)).expect_err("too many");
    assert!(matches!(error, SendError::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("handles"), "{error}");
    let error = Process::new(say, (senders(300),)).start_method(method).start();
    let error = error.expect_err("too many");
    assert!(matches!(error, StartError::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("handles"), "{error}");
    let makes = || {
        let (_, tx) = simplex::<u32>().expect("pipe");
        (0..300).map(|_| tx.clone()).collect::<Vec<_>>()
    };
    let error = fail(Process::new(makes, ()), method);
    assert!(matches!(error, JoinError::Encode(_)), "{error:?}");
    assert!(error.to_string().contains("handles"), "{error}");
}

fn a_handle_given_to_a_child_that_never_starts_is_closed(method: StartMethod) {
    let (a, b) = pipe::<u64>().expect("pipe");
    let process =
        Process::new(|end: Connection<u64>| drop(end), (b,)).current_dir("/no/such/place");
    assert!(process.start_method(method).start().is_err());
    assert!(matches!(a.recv(), Err(RecvError::Closed)));
}
