//! Pools: results as futures, on an executor with many threads, and with nothing but one thread.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use procession::{Event, StartMethod, TaskError};
use procession_tests::{block_on, for_each_method, sleep_long};

use crate::pool::{pool, square};

for_each_method! {
    results_are_futures,
    many_are_awaited_on_tokio,
    a_runtime_of_one_thread_is_not_blocked,
    a_future_that_is_dropped_is_told_nothing,
    the_last_waker_is_woken,
    what_ends_a_task_ends_its_future,
}

fn no() {
    panic!("no");
}

fn results_are_futures(method: StartMethod) {
    let pool = pool(2, method);
    let values = block_on(async {
        let first = pool.apply_async(square, (3,)).expect("submitted");
        let second = pool.apply_async(no, ()).expect("submitted");
        let all = pool.map_async(square, 0..100).expect("submitted");
        (first.await, second.await.is_err(), all.await.map(|values| values.len()))
    });
    assert_eq!(values, (Ok(9), true, Ok(100)));
    for number in 0..200 {
        let result = pool.apply_async(square, (number,)).expect("submitted");
        assert_eq!(block_on(result), Ok(number * number));
    }
}

fn many_are_awaited_on_tokio(method: StartMethod) {
    let pool = pool(2, method);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).build();
    let runtime = runtime.expect("a runtime");
    let tasks: Vec<_> = (0..2000)
        .map(|number| {
            let result = pool.apply_async(square, (number,)).expect("submitted");
            let map = (number % 50 == 0)
                .then(|| pool.map_async(square, number..number + 30).expect("submitted"));
            runtime.spawn(async move {
                let values = match map {
                    Some(map) => map.await.expect("values"),
                    None => Vec::new(),
                };
                (number, result.await, values)
            })
        })
        .collect();
    let outcomes: Vec<_> = runtime.block_on(async {
        let mut outcomes = Vec::new();
        for task in tasks {
            outcomes.push(task.await.expect("no panic"));
        }
        outcomes
    });
    for (number, value, values) in outcomes {
        assert_eq!(value, Ok(number * number));
        assert!(
            values.into_iter().eq((number..number + 30).map(square).take(if number % 50 == 0 {
                30
            } else {
                0
            }))
        );
    }
}

/// Its thread runs other things while a result is awaited, and nobody else looks after the pool.
fn a_runtime_of_one_thread_is_not_blocked(method: StartMethod) {
    let pool = pool(1, method);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let event = Event::new().expect("an event");
    let wait = |event: Event| {
        event.wait();
        5
    };
    runtime.expect("a runtime").block_on(async {
        let result = pool.apply_async(wait, (event.clone(),)).expect("submitted");
        let mut result = pin!(result);
        let long = Duration::from_millis(20);
        assert!(tokio::time::timeout(long, result.as_mut()).await.is_err(), "it waits");
        let other = tokio::spawn(async move {
            tokio::time::sleep(long).await;
            event.set();
        });
        assert_eq!(result.await, Ok(5));
        other.await.expect("no panic");
    });
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counter(AtomicUsize);

impl Wake for Counter {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn a_future_that_is_dropped_is_told_nothing(method: StartMethod) {
    let pool = pool(2, method);
    let event = Event::new().expect("an event");
    let mut seen = HashSet::new();
    for number in 0..50u64 {
        let wait = |number: u64, event: Event| {
            event.wait();
            number
        };
        let result = pool.apply_async(wait, (number, event.clone())).expect("submitted");
        let counter = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&counter));
        let mut result = pin!(result);
        assert!(result.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        seen.insert(number);
    }
    // All were asked for and forgotten; they run all the same, and the pool goes on.
    event.set();
    assert_eq!(pool.map(square, 0..100), Ok((0..100).map(square).collect()));
    pool.close();
    pool.join().expect("it is closed");
    assert_eq!(pool.stats().done, seen.len() as u64 + 100);
}

fn the_last_waker_is_woken(method: StartMethod) {
    let pool = pool(1, method);
    let event = Event::new().expect("an event");
    let wait = |event: Event| event.wait();
    let mut result = pin!(pool.apply_async(wait, (event.clone(),)).expect("submitted"));
    let counters = [(); 3].map(|()| Arc::new(Counter::default()));
    for counter in &counters {
        let waker = Waker::from(Arc::clone(counter));
        assert!(result.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    event.set();
    procession_tests::proc::wait_until(|| counters[2].0.load(Ordering::SeqCst) == 1);
    assert_eq!(block_on(result), Ok(()));
    let woken = counters.map(|counter| counter.0.load(Ordering::SeqCst));
    assert_eq!(woken, [0, 0, 1], "an executor has one waker for one future");
}

fn what_ends_a_task_ends_its_future(method: StartMethod) {
    let pool = pool(2, method);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build();
    let runtime = runtime.expect("a runtime");
    let spawn = |result: procession::AsyncResult<()>| runtime.spawn(result);
    let died = spawn(pool.apply_async(|| std::process::abort(), ()).expect("submitted"));
    let limit = Duration::from_millis(20);
    let late = pool.options().timeout(limit).apply_async(sleep_long, ()).expect("submitted");
    let late = spawn(late);
    let cancelled = pool.apply_async(sleep_long, ()).expect("submitted");
    cancelled.cancel();
    let cancelled = spawn(cancelled);
    let died = runtime.block_on(died).expect("no panic");
    assert!(matches!(died, Err(TaskError::WorkerDied { .. })), "{died:?}");
    assert_eq!(
        runtime.block_on(late).expect("no panic"),
        Err(TaskError::TimedOut { after: limit })
    );
    assert_eq!(runtime.block_on(cancelled).expect("no panic"), Err(TaskError::Cancelled));
    let terminated = spawn(pool.apply_async(sleep_long, ()).expect("submitted"));
    pool.terminate();
    assert_eq!(runtime.block_on(terminated).expect("no panic"), Err(TaskError::Terminated));
}
