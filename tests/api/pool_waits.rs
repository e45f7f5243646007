//! Pools: threads that wait for different tasks of one pool, and what is submitted as it ends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use procession::{Connection, Event, Pool, StartMethod, TaskError, pipe};
use procession_tests::{Random, block_on, for_each_method, is_long, proc};
use serde::{Deserialize, Deserializer, Serialize};

use crate::pool::{pool, square};

for_each_method! {
    nobody_waits_for_anothers_task,
    waits_that_end_early_leave_the_others_none_the_worse,
    a_time_limit_does_not_keep_who_waits_awake,
    what_is_submitted_at_the_end_has_an_outcome,
    items_that_panic_leave_nothing_to_wait_for,
    values_that_ask_their_pool_or_panic_keep_nobody_waiting,
    tasks_with_handles_run_though_nobody_waits_for_them,
}

thread_local! {
    /// What values are to be asked of, or zero to panic.
    static ASKED: RefCell<Option<Arc<Pool>>> = const { RefCell::new(None) };
}

/// A number that asks a pool for its square when it is decoded, where there is one to ask.
#[derive(Debug, Serialize)]
struct Asking(u64);

impl<'de> Deserialize<'de> for Asking {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u64::deserialize(deserializer)?;
        let pool = ASKED.with_borrow(Clone::clone);
        assert!(pool.is_none() || number != 13, "on purpose");
        Ok(Self(pool.map_or(number, |pool| pool.apply(square, (number,)).expect("a value"))))
    }
}

/// Decoding runs a user's code, which may do anything but harm to others.
fn values_that_ask_their_pool_or_panic_keep_nobody_waiting(method: StartMethod) {
    let pool = Arc::new(pool(2, method));
    ASKED.set(Some(Arc::clone(&pool)));
    for chunk in [1, 7] {
        let mut values = pool.options().chunk_size(chunk).imap(Asking, 0..100);
        for number in 0..100 {
            let value = catch_unwind(AssertUnwindSafe(|| values.next().expect("a value")));
            match value {
                Ok(value) => assert_eq!(value.expect("a value").0, number * number),
                Err(_) => assert_eq!(number, 13),
            }
        }
        assert!(values.next().is_none());
    }
    ASKED.set(None);
}

/// Has a thread wait for a task that lasts until all others have come and gone.
fn nobody_waits_for_anothers_task(method: StartMethod) {
    let pool = pool(2, method);
    let event = Event::new().expect("an event");
    let long = pool.apply_async(|event: Event| event.wait(), (event.clone(),)).expect("it is open");
    let one_by_one = &pool.options().chunk_size(1);
    thread::scope(|scope| {
        let waits = scope.spawn(|| long.get());
        while pool.stats().running == 0 {
            thread::yield_now();
        }
        // It has had the time to sleep; if not, this shows less.
        thread::sleep(Duration::from_millis(20));
        assert_eq!(one_by_one.map(square, 0..200), Ok((0..200).map(square).collect()));
        assert_eq!(one_by_one.imap(square, 0..200).filter(Result::is_ok).count(), 200);
        assert_eq!(one_by_one.imap_unordered(square, 0..200).filter(Result::is_ok).count(), 200);
        assert_eq!(pool.apply(square, (3,)), Ok(9));
        let others: Vec<_> =
            (0..3).map(|n| scope.spawn(move || one_by_one.map(square, n..n + 50))).collect();
        for other in others {
            assert_eq!(other.join().expect("no panic").map(|values| values.len()), Ok(50));
        }
        event.set();
        assert_eq!(waits.join().expect("no panic"), Ok(()));
    });
}

/// Threads that wait for a moment only, beside others that wait until there is a value.
fn waits_that_end_early_leave_the_others_none_the_worse(method: StartMethod) {
    let pool = pool(2, method);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut random = Random::new();
                let never = pool.apply_async(square, (1,)).expect("it is open");
                // Not more than the workers get done: who waits to the end is behind all of these.
                let mut recent = VecDeque::new();
                while !over.load(Ordering::Relaxed) {
                    let nap = |n: u64| {
                        thread::sleep(Duration::from_micros(n));
                        n
                    };
                    let result = pool.apply_async(nap, (random.below(200),)).expect("it is open");
                    result.wait(Duration::from_micros(random.below(300)));
                    recent.push_back(result);
                    if recent.len() > 2 {
                        recent.pop_front().expect("three of them").get().expect("a nap");
                    }
                }
                assert_eq!(never.get(), Ok(1));
            });
        }
        let patient: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    for n in 0..if is_long() { 100_000 } else { 2000 } {
                        assert_eq!(pool.apply(square, (n,)), Ok(n * n));
                    }
                })
            })
            .collect();
        patient.into_iter().for_each(|thread| thread.join().expect("all have come"));
        over.store(true, Ordering::Relaxed);
    });
}

/// Something has to be looked at now and then, and a thread waits: one of them does, at rest.
fn a_time_limit_does_not_keep_who_waits_awake(method: StartMethod) {
    let pool = pool(2, method);
    let event = Event::new().expect("an event");
    let wait = |event: Event| event.wait();
    let limited = pool.options().timeout(Duration::from_secs(3600));
    let limited = limited.apply_async(wait, (event.clone(),)).expect("it is open");
    thread::scope(|scope| {
        // The pool's own thread has begun to look after the limit when these come.
        while pool.stats().running == 0 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_millis(20));
        let waiting: Vec<_> = (0..2).map(|_| scope.spawn(|| limited.get())).collect();
        // They come to rest: for a while nobody stops and goes on. Else the watchdog ends this.
        let switches = || -> u64 {
            let threads = proc::switches(std::process::id());
            let pools = |name: &str| {
                !name.starts_with("watchdog")
                    && !name.starts_with("spawn::")
                    && !name.starts_with("fork_server::")
                    && !name.starts_with("pool_waits::")
            };
            threads.iter().filter(|(name, _)| pools(name)).map(|(_, count)| count).sum()
        };
        let mut last = switches();
        loop {
            thread::sleep(Duration::from_millis(500));
            let now = switches();
            if std::mem::replace(&mut last, now) == now {
                break;
            }
        }
        event.set();
        for thread in waiting {
            assert_eq!(thread.join().expect("no panic"), Ok(()));
        }
    });
}

/// Submits in every way while another thread ends the pool: what was taken on has its outcome.
fn what_is_submitted_at_the_end_has_an_outcome(method: StartMethod) {
    let mut random = Random::new();
    for round in 0..if is_long() { 2000 } else { 60 } {
        let pool = pool(1, method);
        let (told, hooked) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        thread::scope(|scope| {
            let (pool, hooked) = (&pool, &hooked);
            let starts: Vec<_> = (0..4).map(|_| mpsc::channel::<()>()).collect();
            for (way, (ready, _)) in starts.iter().enumerate() {
                let (ready, told) = (ready.clone(), Arc::clone(&told));
                scope.spawn(move || {
                    for n in 0.. {
                        let Ok(result) = pool.apply_async(square, (n,)) else { return };
                        if n == 3 {
                            ready.send(()).expect("it listens");
                        }
                        let outcome = match way {
                            0 => result.get(),
                            1 => block_on(result),
                            2 => {
                                let (told, also) = (Arc::clone(&told), Arc::clone(&told));
                                hooked.fetch_add(1, Ordering::Relaxed);
                                while pool.stats().queued > 1000 {
                                    thread::yield_now();
                                }
                                drop(
                                    result
                                        .callback(move |_| {
                                            told.fetch_add(1, Ordering::Relaxed);
                                        })
                                        .error_callback(move |_| {
                                            also.fetch_add(1, Ordering::Relaxed);
                                        }),
                                );
                                continue;
                            }
                            _ => match pool.map(square, n..n + 300) {
                                Ok(values) => Ok(values[0]),
                                Err(error) => Err(error),
                            },
                        };
                        match outcome {
                            Ok(value) => assert_eq!(value, n * n),
                            Err(TaskError::Terminated | TaskError::Closed) => return,
                            Err(other) => panic!("{other:?}"),
                        }
                    }
                });
            }
            starts.iter().for_each(|(_, ready)| ready.recv().expect("it gets there"));
            let until = Instant::now() + Duration::from_micros(random.below(300));
            while Instant::now() < until {}
            if round % 3 == 0 {
                pool.close();
                pool.join().expect("it is closed");
            } else {
                pool.terminate();
            }
        });
        let stats = pool.stats();
        assert_eq!((stats.queued, stats.running), (0, 0));
        proc::wait_until(|| told.load(Ordering::Relaxed) == hooked.load(Ordering::Relaxed));
    }
}

fn items_that_panic_leave_nothing_to_wait_for(method: StartMethod) {
    for good in [0, 1, 10, 31, 32, 33, 1000] {
        let pool = pool(2, method);
        let items = || (0..).inspect(|n| assert!(*n < good, "no more of them"));
        let one_by_one = pool.options().chunk_size(1);
        for _ in 0..2 {
            let panic = catch_unwind(AssertUnwindSafe(|| one_by_one.map(square, items())));
            assert!(panic.is_err());
            let panic = catch_unwind(AssertUnwindSafe(|| one_by_one.map_async(square, items())));
            assert!(panic.is_err());
            let lazy = catch_unwind(AssertUnwindSafe(|| one_by_one.imap(square, items()).count()));
            assert!(lazy.is_err());
            assert_eq!(pool.apply(square, (3,)), Ok(9));
        }
        pool.close();
        pool.join().expect("it is closed");
    }
}

/// A worker gets the handles in a task's arguments from the parent, which waits for something else.
fn tasks_with_handles_run_though_nobody_waits_for_them(method: StartMethod) {
    let pool = pool(2, method);
    let (ours, theirs) = pipe::<u32>().expect("a pipe");
    for number in 0..20 {
        let send = |number: u32, end: Connection<u32>| end.send(&number).expect("it is read");
        pool.apply_async(send, (number, theirs.clone())).expect("it is open");
    }
    let mut received: Vec<u32> = (0..20).map(|_| ours.recv().expect("they all run")).collect();
    received.sort_unstable();
    assert_eq!(received, (0..20).collect::<Vec<_>>());
}
