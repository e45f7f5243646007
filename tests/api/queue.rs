//! Queues: order, limits, ends, and what can be in a message.

use std::collections::HashMap;
use std::time::Duration;

use procession::{
    Event, GetError, GetTimeoutError, Lock, Process, PutError, PutTimeoutError, Queue, StartMethod,
    TryGetError, TryPutError, pipe, wait,
};
use procession_tests::{fail, for_each_method, is_long, join, proc, start};

for_each_method! {
    messages_of_every_size,
    each_message_goes_to_one_and_each_writer_is_in_order,
    a_full_queue_waits_for_room,
    an_empty_queue_waits_for_a_message,
    closing_ends_all_who_wait,
    handles_go_through,
    a_queue_goes_through_a_queue_and_comes_back,
    messages_outlive_who_put_them,
    a_burst_gives_its_memory_back,
    waiting_for_several_queues_and_a_child,
    tasks_are_joined,
    tasks_of_the_dead_are_told,
    tasks_of_the_dead_are_told_also_before_the_others_are_done,
}

fn echo(from: Queue<Vec<u8>>, to: Queue<Vec<u8>>) {
    for message in &from {
        to.put(&message).expect("it is open");
    }
}

fn messages_of_every_size(method: StartMethod) {
    let (out, back) = (Queue::unbounded().expect("queue"), Queue::unbounded().expect("queue"));
    let child = start(Process::new(echo, (out.clone(), back.clone())), method);
    let around = |size: usize| size - 20..size + 20;
    let sizes = (0..40).chain(around(4096)).chain(around(65_536)).chain(around(262_144));
    for size in sizes.chain([1 << 20, 5 << 20, 40 << 20]) {
        let message: Vec<u8> = (0..size).map(|i| (i ^ (i >> 8)) as u8).collect();
        out.put(&message).expect("it is open");
        assert!(back.get().expect("it comes back") == message, "{size} bytes");
    }
    if is_long() {
        let message = vec![7; 1 << 30];
        out.put(&message).expect("there is memory");
        assert!(back.get().expect("it comes back") == message);
    }
    out.close();
    child.join().expect("it has come to the end");
}

fn count_up(queue: Queue<(u32, u32)>, writer: u32, count: u32) {
    for number in 0..count {
        queue.put(&(writer, number)).expect("it is open");
    }
}

/// Returns what it got, after it has checked each writer's order.
fn collect(queue: Queue<(u32, u32)>) -> Vec<(u32, u32)> {
    let mut last = HashMap::new();
    let got: Vec<_> = queue.iter().collect();
    for (writer, number) in &got {
        let before = last.insert(*writer, *number);
        assert!(before.is_none_or(|before| before < *number), "{before:?} before {number}");
    }
    got
}

fn each_message_goes_to_one_and_each_writer_is_in_order(method: StartMethod) {
    const COUNT: u32 = 2_000;
    for queue in [Queue::unbounded(), Queue::bounded(7)] {
        let queue = queue.expect("queue");
        let reader = |_| start(Process::new(collect, (queue.clone(),)), method);
        let readers: Vec<_> = (0..3).map(reader).collect();
        let writer = |w| start(Process::new(count_up, (queue.clone(), w, COUNT)), method);
        let writers: Vec<_> = (0..3).map(writer).collect();
        writers.into_iter().for_each(|writer| writer.join().expect("all is put"));
        queue.close();
        let got = readers.into_iter().flat_map(|reader| reader.join().expect("in order"));
        let mut got: Vec<_> = got.collect();
        got.sort_unstable();
        let all = (0..3).flat_map(|writer| (0..COUNT).map(move |number| (writer, number)));
        assert!(got.into_iter().eq(all), "every message once");
    }
}

fn a_full_queue_waits_for_room(method: StartMethod) {
    let queue = Queue::bounded(2).expect("queue");
    queue.put(&1).expect("room");
    assert!(!queue.is_full());
    queue.try_put(&2).expect("room");
    assert!(queue.is_full() && queue.len() == 2);
    assert!(matches!(queue.try_put(&3), Err(TryPutError::Full)));
    let late = queue.put_timeout(&3, Duration::from_millis(5));
    assert!(matches!(late, Err(PutTimeoutError::Timeout)), "{late:?}");
    let takes = |queue: Queue<i32>| queue.get().expect("one is there");
    let child = start(Process::new(takes, (queue.clone(),)), method);
    queue.put(&3).expect("the child makes room");
    assert_eq!(child.join().expect("it returns"), 1);
    assert_eq!((queue.get().expect("two"), queue.get().expect("three")), (2, 3));
}

fn an_empty_queue_waits_for_a_message(method: StartMethod) {
    let queue = Queue::<u8>::unbounded().expect("queue");
    assert!(matches!(queue.try_get(), Err(TryGetError::Empty)));
    let late = queue.get_timeout(Duration::from_millis(5));
    assert!(matches!(late, Err(GetTimeoutError::Timeout)), "{late:?}");
    let puts = |queue: Queue<u8>| queue.put(&5).expect("it is open");
    let child = start(Process::new(puts, (queue.clone(),)), method);
    assert_eq!(queue.get().expect("the child puts one"), 5);
    child.join().expect("it returns");
}

fn closing_ends_all_who_wait(method: StartMethod) {
    let queue = Queue::bounded(1).expect("queue");
    let (waits, waiting) = (Event::new().expect("event"), Event::new().expect("event"));
    let gets = |queue: Queue<u8>, waits: Event| {
        waits.set();
        matches!(queue.get(), Err(GetError::Closed))
    };
    let getter = start(Process::new(gets, (queue.clone(), waits.clone())), method);
    waits.wait();
    queue.close();
    assert!(getter.join().expect("it returns"));
    let queue = Queue::bounded(1).expect("queue");
    queue.put(&1u8).expect("room");
    let puts = |queue: Queue<u8>, waiting: Event| {
        waiting.set();
        matches!(queue.put(&2), Err(PutError::Closed))
    };
    let putter = start(Process::new(puts, (queue.clone(), waiting.clone())), method);
    waiting.wait();
    queue.close();
    assert!(putter.join().expect("it returns"));
    // What was there can still be got.
    assert!(queue.is_closed());
    assert_eq!(queue.get().expect("it was put before"), 1);
    assert!(matches!(queue.get(), Err(GetError::Closed)));
    assert!(matches!(queue.try_get(), Err(TryGetError::Closed)));
    assert!(matches!(queue.put(&3), Err(PutError::Closed)));
}

fn handles_go_through(method: StartMethod) {
    let (locks, done) = (Queue::unbounded().expect("queue"), Event::new().expect("event"));
    let holds = |locks: Queue<Vec<Lock>>, done: Event| {
        let mine = locks.get().expect("one is there");
        let guards: Vec<_> = mine.iter().map(|lock| lock.acquire().expect("free")).collect();
        done.wait();
        drop(guards);
    };
    let two = vec![Lock::new().expect("lock"), Lock::new().expect("lock")];
    locks.put(&two).expect("it is open");
    let child = start(Process::new(holds, (locks.clone(), done.clone())), method);
    // They are the same locks.
    proc::wait_until(|| two[0].is_locked() && two[1].is_locked());
    done.set();
    child.join().expect("it returns");
    assert!(!two[0].is_locked() && !two[1].is_locked());
    // Connections, too, and more handles than one packet carries are refused.
    let (ours, theirs) = pipe::<u8>().expect("pipe");
    let connections = Queue::unbounded().expect("queue");
    connections.put(&vec![theirs]).expect("it is open");
    let mut got = connections.get().expect("it was put");
    got.remove(0).send(&9).expect("we listen");
    assert_eq!(ours.recv().expect("it came"), 9);
    let many = vec![ours; 300];
    let refused = connections.put(&many).expect_err("too many").to_string();
    assert!(refused.contains("the most is") && refused.contains("handles"), "{refused}");
    assert!(connections.is_empty());
}

fn a_queue_goes_through_a_queue_and_comes_back(method: StartMethod) {
    let (queues, answers) =
        (Queue::unbounded().expect("queue"), Queue::unbounded().expect("queue"));
    let answer = |queues: Queue<Queue<String>>| {
        let to: Queue<String> = queues.get().expect("one is there");
        to.put(&"through".to_owned()).expect("it is open");
        to
    };
    queues.put(&answers).expect("it is open");
    let back = join(Process::new(answer, (queues,)), method);
    assert_eq!(answers.get().expect("the child has answered"), "through");
    back.put(&"again".to_owned()).expect("it is open");
    assert_eq!(answers.get().expect("it is the same queue"), "again");
}

fn messages_outlive_who_put_them(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    let puts_and_dies = |queue: Queue<Vec<u8>>| {
        for size in [1, 100_000] {
            queue.put(&vec![1; size]).expect("it is open");
        }
        std::process::abort();
    };
    fail(Process::<()>::new(puts_and_dies, (queue.clone(),)), method);
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.get().expect("the first").len(), 1);
    assert_eq!(queue.get().expect("the second").len(), 100_000);
}

fn a_burst_gives_its_memory_back(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    let floods = |queue: Queue<Vec<u8>>| {
        for _ in 0..60 {
            queue.put(&vec![1; 1 << 20]).expect("there is memory");
        }
    };
    join(Process::new(floods, (queue.clone(),)), method);
    let shared = || {
        let status = std::fs::read_to_string("/proc/self/status").expect("it is there");
        proc::field("RssShmem", &status).expect("a line")
    };
    for _ in 0..60 {
        assert_eq!(queue.get().expect("sixty were put").len(), 1 << 20);
    }
    assert!(shared() < 40 << 10, "{} KiB are left of 60 MiB", shared());
    queue.put(&vec![2]).expect("it goes on");
    assert_eq!(queue.get().expect("it was put"), [2]);
}

fn waiting_for_several_queues_and_a_child(method: StartMethod) {
    let (a, b) =
        (Queue::<u8>::unbounded().expect("queue"), Queue::<u8>::unbounded().expect("queue"));
    let until = Event::new().expect("event");
    let waits = |until: Event, b: Queue<u8>| {
        b.put(&1).expect("it is open");
        until.wait();
    };
    let now = Some(Duration::ZERO);
    assert!(wait(&[&a, &b], now).expect("wait").is_empty());
    let child = start(Process::new(waits, (until.clone(), b.clone())), method);
    assert_eq!(wait(&[&a, &b, &child], None).expect("wait"), [1]);
    // It stays ready until the message is taken, and is not ready afterwards.
    assert_eq!(wait(&[&a, &b, &child], None).expect("wait"), [1]);
    assert_eq!(b.get().expect("one"), 1);
    assert!(wait(&[&a, &b, &child], now).expect("wait").is_empty());
    until.set();
    assert_eq!(wait(&[&a, &b, &child], None).expect("wait"), [2]);
    child.join().expect("it returns");
    a.put(&1).expect("it is open");
    b.close();
    assert_eq!(wait(&[&a, &b], None).expect("wait"), [0, 1]);
}

fn work(queue: Queue<u32>) -> usize {
    let mut count = 0;
    for _ in &queue {
        queue.task_done().expect("it was got");
        count += 1;
    }
    count
}

fn tasks_are_joined(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    queue.join().expect("nothing is to be done");
    assert!(queue.task_done().is_err(), "nothing was put");
    (0..500).for_each(|task| queue.put(&task).expect("it is open"));
    let late = queue.join_timeout(Duration::from_millis(1)).expect_err("nobody works");
    assert!(late.to_string().contains("in time"), "{late}");
    let worker = |_| start(Process::new(work, (queue.clone(),)), method);
    let workers: Vec<_> = (0..2).map(worker).collect();
    queue.join().expect("all is done");
    assert!(queue.is_empty());
    let error = queue.task_done().expect_err("one too many").to_string();
    assert!(error.contains("done already"), "{error}");
    queue.close();
    let done: usize = workers.into_iter().map(|worker| worker.join().expect("the end")).sum();
    assert_eq!(done, 500);
}

fn take_one_and_end(queue: Queue<u32>) {
    queue.get().expect("one is there");
}

fn tasks_of_the_dead_are_told_also_before_the_others_are_done(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    queue.put(&1).expect("it is open");
    queue.put(&2).expect("it is open");
    start(Process::new(take_one_and_end, (queue.clone(),)), method).join().expect("it ends");
    queue.get().expect("the other one");
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| queue.join());
        std::thread::sleep(Duration::from_millis(20));
        queue.task_done().expect("it was not");
        let lost = joined.join().expect("no panic").expect_err("one is lost").to_string();
        assert!(lost.starts_with("1 message"), "{lost}");
    });
    queue.join().expect("it was told");
}

fn tasks_of_the_dead_are_told(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    (0..3).for_each(|task| queue.put(&task).expect("it is open"));
    let takes_and_dies = |queue: Queue<u32>| {
        queue.get().expect("the first");
        queue.get().expect("the second");
        std::process::abort();
    };
    fail(Process::<()>::new(takes_and_dies, (queue.clone(),)), method);
    queue.get().expect("the third");
    queue.task_done().expect("it was got");
    let lost = queue.join().expect_err("two are lost").to_string();
    assert!(lost.starts_with("2 messages"), "{lost}");
    queue.join().expect("it is told once");
}
