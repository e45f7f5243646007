//! Pools: values of tasks, in every way of asking for them.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use procession::{
    Array, AsyncResult, EncodeError, Lock, Pool, Queue, ResultTimeoutError, StartMethod, TaskError,
};
use procession_tests::{for_each_method, is_long, proc};
use serde::{Deserialize, Serialize};

for_each_method! {
    apply_returns_the_value,
    maps_keep_the_order_whatever_the_chunks,
    lazy_maps_read_a_little_ahead,
    unordered_values_come_as_they_end,
    results_wait_and_tell,
    callbacks_run_on_their_own_thread,
    values_of_every_size,
    handles_go_both_ways,
    panics_are_outcomes,
    arguments_and_results_that_do_not_encode,
    workers_are_set_up_first,
    workers_are_replaced_after_their_tasks,
    threads_share_a_worker,
    results_in_any_order_or_never,
    large_values_in_both_directions_at_once,
    threads_share_a_pool,
    a_task_has_a_pool_of_its_own,
    resized_while_it_runs,
}

pub(crate) fn pool(workers: usize, method: StartMethod) -> Pool {
    Pool::builder().workers(workers).start_method(method).build().expect("a pool")
}

pub(crate) fn square(number: u64) -> u64 {
    number * number
}

fn no() {
    panic!("no");
}

fn apply_returns_the_value(method: StartMethod) {
    let pool = pool(2, method);
    for number in 0..1000 {
        assert_eq!(pool.apply(square, (number,)), Ok(number * number));
    }
    assert_eq!(pool.apply(|| "nothing to give".to_owned(), ()), Ok("nothing to give".to_owned()));
    let many = |a: u8, b: String, c: (i64, bool), d: Option<f32>| format!("{a} {b} {c:?} {d:?}");
    let value = pool.apply(many, (1, "b".to_owned(), (-3, true), None)).expect("a value");
    assert_eq!(value, "1 b (-3, true) None");
    let stats = pool.stats();
    assert_eq!((stats.done, stats.failed, stats.queued, stats.running), (1002, 0, 0, 0));
    assert_eq!(stats.workers.len(), 2);
    assert_eq!(stats.workers.iter().map(|worker| worker.tasks_done).sum::<u64>(), 1002);
    assert_eq!(stats.workers[0].name, "PoolWorker-1");
}

fn maps_keep_the_order_whatever_the_chunks(method: StartMethod) {
    let pool = pool(2, method);
    let expected: Vec<u64> = (0..10_000).map(square).collect();
    assert_eq!(pool.map(square, 0..10_000), Ok(expected.clone()));
    for chunk in [1, 3, 64, 9_999, 10_000, 20_000, usize::MAX] {
        assert_eq!(pool.map_chunked(square, 0..10_000, chunk).as_ref(), Ok(&expected), "{chunk}");
    }
    assert_eq!(pool.map(square, []), Ok(Vec::new()));
    // An iterator that does not say how long it is.
    let odd = (0..1000u64).filter(|number| number % 2 == 1);
    assert_eq!(pool.map(square, odd.clone()), Ok(odd.map(square).collect()));
    let pairs = (0..500u64).map(|number| (number, 2u32));
    assert_eq!(pool.starmap(u64::pow, pairs), Ok((0..500).map(square).collect()));
    let results = pool.try_map(square, 0..3).expect("submitted");
    assert_eq!(results, [Ok(0), Ok(1), Ok(4)]);
    // One long item among short ones, in one chunk with outputs that do not fit with it.
    let sizes = [10, 100_000, 20, 30_000, 30_000, 30_000, 0, 1 << 20, 5];
    let texts = pool.map_chunked(|size: usize| "x".repeat(size), sizes, 100).expect("values");
    assert!(texts.iter().map(String::len).eq(sizes));
}

fn lazy_maps_read_a_little_ahead(method: StartMethod) {
    let pool = pool(2, method);
    let read = Arc::new(AtomicU32::new(0));
    let source = {
        let read = Arc::clone(&read);
        (0..).inspect(move |_| {
            read.fetch_add(1, Ordering::Relaxed);
        })
    };
    let mut values = pool.imap(square, source);
    for number in 0..2_000 {
        assert_eq!(values.next(), Some(Ok(number * number)));
        let ahead = u64::from(read.load(Ordering::Relaxed)) - number;
        assert!(ahead < 100, "{ahead} items are under way");
    }
    drop(values);
    let chunked: Result<Vec<u64>, _> =
        pool.options().chunk_size(16).imap(square, 0..1000).collect();
    assert_eq!(chunked, Ok((0..1000).map(square).collect()));
    assert_eq!(pool.imap(square, []).count(), 0);
    // An item that fails is one of its own.
    let values: Vec<_> = pool.imap(|n: u32| assert_ne!(n, 1, "one"), 0..3).collect();
    assert!(values[0].is_ok() && values[1].is_err() && values[2].is_ok(), "{values:?}");
}

fn unordered_values_come_as_they_end(method: StartMethod) {
    let pool = pool(2, method);
    let gate = Queue::<()>::unbounded().expect("queue");
    let wait_if_first = |number: u32, gate: Queue<()>| {
        if number == 0 {
            gate.get().expect("it is opened");
        }
        number
    };
    let items = (0..50).map(|number| (number, gate.clone()));
    let result = pool.starmap_async(wait_if_first, items).expect("submitted");
    assert!(!result.ready());
    gate.put(&()).expect("it is open");
    assert_eq!(result.get(), Ok((0..50).collect()));

    let sleep = |number: u64| {
        std::thread::sleep(Duration::from_millis(if number == 0 { 300 } else { 1 }));
        number
    };
    let values: Vec<u64> =
        pool.imap_unordered(sleep, 0..40).map(|value| value.expect("a value")).collect();
    assert_eq!(values.iter().collect::<HashSet<_>>().len(), 40);
    assert_ne!(values[0], 0, "the slow one does not come first");
}

fn results_wait_and_tell(method: StartMethod) {
    let pool = pool(1, method);
    let gate = Queue::<u8>::unbounded().expect("queue");
    let result = pool.apply_async(|gate: Queue<u8>| gate.get().ok(), (gate.clone(),));
    let result = result.expect("submitted");
    assert!(!result.ready() && !result.successful());
    assert!(!result.wait(Duration::from_millis(10)));
    let error = result.get_timeout(Duration::from_millis(10)).expect_err("too early");
    assert_eq!(error, ResultTimeoutError::Timeout);
    gate.put(&5).expect("it is open");
    assert!(result.wait(Duration::from_secs(60)));
    assert!(result.ready() && result.successful());
    assert_eq!((result.get(), result.get()), (Ok(Some(5)), Ok(Some(5))));
    assert_eq!(result.get_timeout(Duration::ZERO), Ok(Some(5)));
    assert_eq!(result.take(), Ok(Some(5)));
    assert_eq!((result.take(), result.get()), (Err(TaskError::Taken), Err(TaskError::Taken)));
    assert!(!result.cancel(), "it is done");
    let failed = pool.apply_async(no, ()).expect("submitted");
    assert!(failed.wait(Duration::from_secs(60)) && failed.ready() && !failed.successful());
}

fn callbacks_run_on_their_own_thread(method: StartMethod) {
    let pool = pool(2, method);
    let (sender, receiver) = mpsc::channel();
    let here = std::thread::current().id();
    for number in 0..100u64 {
        let (ok, failed) = (sender.clone(), sender.clone());
        let half = |number: u64| {
            assert!(number.is_multiple_of(2), "odd");
            number / 2
        };
        let result = pool.apply_async(half, (number,)).expect("submitted");
        result
            .callback(move |value: &u64| {
                assert_ne!(std::thread::current().id(), here);
                ok.send((number, Some(*value))).expect("it listens");
                panic!("a callback that panics harms nothing");
            })
            .error_callback(move |error| {
                assert!(matches!(error, TaskError::Panicked { .. }), "{error}");
                failed.send((number, None)).expect("it listens");
            });
    }
    let mut seen: Vec<_> = (0..100)
        .map(|_| receiver.recv_timeout(Duration::from_secs(60)).expect("nobody has to wait for it"))
        .collect();
    seen.sort_unstable();
    let expected = (0..100u64).map(|number| (number, (number % 2 == 0).then_some(number / 2)));
    assert!(seen.into_iter().eq(expected));
    // One that waits for another task, and one on a task that is done.
    let other = pool.apply_async(square, (9,)).expect("submitted");
    let sent = sender.clone();
    let result = pool.apply_async(square, (2,)).expect("submitted").callback(move |value| {
        sent.send((*value, other.get().ok())).expect("it listens");
    });
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok((4, Some(81))));
    let sent = sender.clone();
    result.callback(move |value| sent.send((*value, None)).expect("it listens"));
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok((4, None)));
    let all = pool.map_async(square, 0..10).expect("submitted");
    all.callback(move |values| sender.send((values.iter().sum(), None)).expect("listens"));
    assert_eq!(receiver.recv_timeout(Duration::from_secs(60)), Ok((285, None)));
}

fn values_of_every_size(method: StartMethod) {
    let pool = pool(2, method);
    let around = |size: usize| size - 40..size + 40;
    let sizes = (0..40).chain(around(512)).chain(around(1024)).chain(around(32_768));
    let sizes = sizes.chain(around(65_536)).chain([1 << 20, 10 << 20]);
    let long = is_long().then_some(1 << 30);
    for size in sizes.chain(long) {
        let bytes: Vec<u8> = (0..size).map(|i| (i ^ (i >> 8)) as u8).collect();
        let back = pool.apply(|bytes: Vec<u8>| bytes, (bytes.clone(),)).expect("a value");
        assert!(back == bytes, "{size} bytes");
    }
}

fn handles_go_both_ways(method: StartMethod) {
    let pool = pool(2, method);
    let queue = Queue::unbounded().expect("queue");
    let put = |queue: Queue<u32>, number: u32| {
        queue.put(&number).expect("it is open");
        queue
    };
    let calls: Vec<_> = (0..100).map(|number| (queue.clone(), number)).collect();
    let back = pool.starmap(put, calls).expect("values");
    assert_eq!(back.len(), 100);
    let mut got: Vec<u32> = (0..100).map(|_| back[7].try_get().expect("it is there")).collect();
    got.sort_unstable();
    assert!(got.into_iter().eq(0..100));
    let result = pool.apply_async(|| Lock::new().expect("lock"), ()).expect("submitted");
    let (first, second) = (result.get().expect("a lock"), result.take().expect("the same"));
    let guard = first.acquire().expect("it is free");
    assert!(second.try_acquire().expect("nobody died").is_none());
    drop(guard);
    // Large memory goes by reference.
    let array = Array::<u64>::new(1 << 20).expect("array");
    let fill = |array: Array<u64>, from: usize| {
        array.lock().expect("nobody died")[from..from + 8].fill(from as u64);
    };
    pool.starmap(fill, (0..64).map(|i| (array.clone(), i * 8))).expect("values");
    let filled = array.lock().expect("nobody died");
    assert!((0..512).all(|i| filled[i] == i as u64 / 8 * 8));
}

fn panics_are_outcomes(method: StartMethod) {
    let pool = pool(1, method);
    let error = pool.apply(|n: u32| assert_eq!(n, 4, "a reason"), (3,)).expect_err("a panic");
    match &error {
        TaskError::Panicked { message, location, worker, .. } => {
            assert!(message.contains("a reason"), "{message}");
            assert!(location.contains("pool.rs"), "{location}");
            assert_eq!(*worker, pool.stats().workers[0].pid, "it goes on");
        }
        other => panic!("{other:?}"),
    }
    assert!(error.to_string().contains("a reason"), "{error}");
    let results = pool.try_map(|n: u32| assert_ne!(n % 10, 3, "three"), 0..100).expect("submitted");
    for (number, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), number % 10 == 3, "{number}");
    }
    assert!(pool.map(|n: u32| assert_ne!(n, 50), 0..100).is_err());
    assert_eq!(pool.stats().restarts, 0);
}

/// Does not encode if it is odd, or does not decode if it is divisible by three.
#[derive(Debug, PartialEq)]
struct Picky(u32);

impl Serialize for Picky {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 {
            return Err(serde::ser::Error::custom("odd"));
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Picky {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        if number != 0 && number % 3 == 0 {
            return Err(serde::de::Error::custom("three"));
        }
        Ok(Self(number))
    }
}

fn arguments_and_results_that_do_not_encode(method: StartMethod) {
    let pool = pool(2, method);
    let results = pool.try_map(|picky: Picky| picky.0, (0..30).map(Picky)).expect("submitted");
    for (number, result) in results.iter().enumerate() {
        match result {
            Ok(value) => assert_eq!(*value as usize, number),
            Err(TaskError::Encode(error)) => {
                assert!(number % 2 == 1, "{number}");
                assert_eq!(EncodeError::what(error), "argument 1");
                assert!(error.type_name().contains("Picky"), "{error}");
            }
            Err(TaskError::Decode(error)) => {
                assert!(number % 6 == 0 && number > 0, "{number}");
                assert!(error.to_string().contains("Picky"), "{error}");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    let make = |number: u32| Picky(number);
    let error = pool.apply(make, (7,)).expect_err("it does not encode");
    assert!(matches!(&error, TaskError::Encode(e) if e.type_name().contains("Picky")), "{error:?}");
    let error = pool.apply(make, (6,)).expect_err("it does not decode");
    assert!(matches!(&error, TaskError::Decode(e) if e.type_name().contains("Picky")), "{error:?}");
    let lazy: Vec<_> = pool.imap(|picky: Picky| picky.0, (0..10).map(Picky)).collect();
    assert_eq!(lazy.iter().filter(|value| value.is_ok()).count(), 4, "{lazy:?}");
}

static SET_UP: Mutex<Option<String>> = Mutex::new(None);

fn workers_are_set_up_first(method: StartMethod) {
    let queue = Queue::unbounded().expect("queue");
    let set_up = |word: String, queue: Queue<u32>| {
        *SET_UP.lock().expect("lock") = Some(word);
        queue.put(&procession::current_process().pid()).expect("it is open");
    };
    let pool = Pool::builder()
        .workers(2)
        .start_method(method)
        .name("readers")
        .initializer(set_up, ("ready".to_owned(), queue.clone()))
        .build()
        .expect("a pool");
    let seen = |_: u32| {
        let name = procession::current_process().name().to_owned();
        (SET_UP.lock().expect("lock").clone(), name)
    };
    for (word, name) in pool.map(seen, 0..20).expect("values") {
        assert_eq!(word.as_deref(), Some("ready"));
        assert!(["readers-1", "readers-2"].contains(&&*name), "{name}");
    }
    let mut set_up: Vec<u32> = (0..2).map(|_| queue.get().expect("a number")).collect();
    let mut pids: Vec<u32> = pool.stats().workers.iter().map(|worker| worker.pid).collect();
    set_up.sort_unstable();
    pids.sort_unstable();
    assert_eq!(set_up, pids);
}

fn workers_are_replaced_after_their_tasks(method: StartMethod) {
    let pool = Pool::builder().workers(2).start_method(method).max_tasks_per_child(3);
    let pool = pool.build().expect("a pool");
    let pid = |_: u32| procession::current_process().pid();
    for chunk in [1, 5, 30] {
        let pids = pool.map_chunked(pid, 0..30, chunk).expect("values");
        for pid in &pids {
            let count = pids.iter().filter(|other| *other == pid).count();
            assert!(count <= 3, "{pid} has done {count} tasks");
        }
    }
    assert!(pool.stats().restarts >= 28, "{:?}", pool.stats());
}

fn threads_share_a_worker(method: StartMethod) {
    let pool = Pool::builder().workers(2).threads_per_worker(4).start_method(method);
    let pool = pool.build().expect("a pool");
    let barrier = procession::Barrier::new(8).expect("barrier");
    let meet = |barrier: procession::Barrier| {
        barrier.wait().expect("all eight come at once");
        procession::current_process().pid()
    };
    let pids = pool.starmap(meet, (0..8).map(|_| (barrier.clone(),))).expect("values");
    assert_eq!(pids.iter().collect::<HashSet<_>>().len(), 2);
    assert_eq!(pool.map(square, 0..1000), Ok((0..1000).map(square).collect()));
    let panics =
        pool.try_map(|n: u32| assert!(n.is_multiple_of(2), "odd {n}"), 0..100).expect("submitted");
    for (number, result) in panics.iter().enumerate().filter(|(_, result)| result.is_err()) {
        let expected = format!("odd {number}");
        assert!(
            matches!(result, Err(TaskError::Panicked { message, .. }) if *message == expected),
            "{result:?}"
        );
    }
}

fn results_in_any_order_or_never(method: StartMethod) {
    let pool = pool(2, method);
    let count = if is_long() { 1_000_000 } else { 20_000 };
    let open = || proc::descriptors_of(std::process::id()).len();
    let before = open();
    let results: Vec<AsyncResult<u64>> =
        (0..count).map(|number| pool.apply_async(square, (number,)).expect("submitted")).collect();
    assert_eq!(open(), before, "a task that nobody has asked for yet needs no descriptor");
    for (number, result) in results.iter().enumerate().rev().step_by(7) {
        assert_eq!(result.get(), Ok((number * number) as u64));
    }
    drop(results);
    pool.close();
    pool.join().expect("it is closed");
    assert_eq!(pool.stats().done, count);
}

fn large_values_in_both_directions_at_once(method: StartMethod) {
    let pool = pool(2, method);
    let large = |n: u8| vec![n; 1 << 20];
    let results: Vec<_> = (0..40)
        .map(|n| pool.apply_async(|bytes: Vec<u8>| bytes, (large(n),)).expect("submitted"))
        .collect();
    for (n, result) in results.iter().enumerate() {
        assert!(result.take().expect("a value") == large(n as u8));
    }
}

fn threads_share_a_pool(method: StartMethod) {
    let pool = pool(2, method);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let pool = &pool;
            scope.spawn(move || {
                for number in 0..300 {
                    let number = thread * 1000 + number;
                    match number % 3 {
                        0 => assert_eq!(pool.apply(square, (number,)), Ok(number * number)),
                        1 => {
                            assert_eq!(pool.map(square, [number; 3]), Ok(vec![number * number; 3]))
                        }
                        _ => {
                            let result = pool.apply_async(square, (number,)).expect("submitted");
                            assert!(result.wait(Duration::from_secs(60)));
                            assert_eq!(result.get(), Ok(number * number));
                        }
                    }
                }
            });
        }
    });
    assert_eq!(pool.stats().done, 4 * (100 + 300 + 100));
}

fn a_task_has_a_pool_of_its_own(method: StartMethod) {
    let sum = |count: u64| {
        let pool = Pool::new(2).expect("a pool inside");
        pool.map(square, 0..count).expect("values").iter().sum::<u64>()
    };
    let pool = pool(2, method);
    assert_eq!(pool.map(sum, [3, 4, 5]), Ok(vec![5, 14, 30]));
}

fn resized_while_it_runs(method: StartMethod) {
    let pool = pool(1, method);
    let result = pool
        .options()
        .chunk_size(1)
        .map_async(
            |n: u64| {
                std::thread::sleep(Duration::from_millis(2));
                n
            },
            0..200,
        )
        .expect("submitted");
    let count = |expected: usize| {
        while pool.stats().workers.len() != expected {
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    pool.resize(3).expect("it is possible");
    count(3);
    pool.resize(2).expect("it is possible");
    count(2);
    assert_eq!(result.get(), Ok((0..200).collect()));
    assert!(pool.resize(0).is_err() && pool.resize(10_000).is_err());
    assert_eq!(pool.map(square, 0..100), Ok((0..100).map(square).collect()));
}
