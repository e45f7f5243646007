//! Somebody who scribbles over the memory that objects live in: errors and wrong results at the most.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use procession::{
    Array, Barrier, Condition, Event, Lock, Queue, RLock, Semaphore, SharedMemory, Value, pipe,
    wait,
};
use procession_tests::{Random, is_long, proc, tests};

tests! {
    a_lock,
    a_reentrant_lock,
    a_semaphore,
    an_event,
    a_condition,
    a_barrier,
    values,
    a_queue,
    a_queue_of_handles,
    a_pipe,
    a_pipe_of_handles,
}

const SHORT: Duration = Duration::from_micros(300);

fn times() -> usize {
    if is_long() { 20_000 } else { 200 }
}

/// The memory of what `make` makes, and the thing itself.
fn with_memory<T>(make: impl FnOnce() -> T) -> (T, File) {
    let segments = || {
        let all = proc::descriptors_of(std::process::id());
        let all = all.into_iter().filter(|(_, target)| target.contains("memfd:procession"));
        all.map(|(number, _)| number).collect::<Vec<_>>()
    };
    let before = segments();
    let made = make();
    let new: Vec<_> = segments().into_iter().filter(|number| !before.contains(number)).collect();
    let [number] = new[..] else { panic!("one segment: {new:?}") };
    let path = format!("/proc/self/fd/{number}");
    let memory = File::options().read(true).write(true).open(path).expect("it is ours");
    (made, memory)
}

/// Uses a thing again and again while another thread scribbles over its memory.
fn scribbled<T: Sync>(make: impl Fn() -> T, step: impl Fn(&T) + Sync) {
    let mut random = Random::new();
    for round in 0..4 {
        let (thing, memory) = with_memory(&make);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    step(&thing);
                }
            });
            // Header, roster and words lie in the first pages; a queue's messages behind them.
            let length = if round % 2 == 0 { 6_000 } else { 40_000 };
            for _ in 0..times() / 4 {
                let offset = random.below(length);
                let count = usize::try_from(1 + random.below(64)).expect("small");
                let bytes: Vec<u8> = match random.below(3) {
                    0 => vec![0; count],
                    1 => vec![0xff; count],
                    _ => (0..count).map(|_| random.below(256) as u8).collect(),
                };
                // Beyond its end it would grow, which a seal forbids.
                let _ = memory.write_at(&bytes, offset);
                thread::sleep(Duration::from_micros(random.below(300)));
            }
            over.store(true, Ordering::Relaxed);
        });
        step(&thing);
    }
    // Another of its kind is not hurt.
    step(&make());
}

fn a_lock() {
    scribbled(
        || Lock::new().expect("lock"),
        |lock| {
            drop(lock.acquire_timeout(SHORT));
            drop(lock.try_acquire());
            let _ = (lock.is_locked(), lock.release());
        },
    );
}

fn a_reentrant_lock() {
    scribbled(
        || RLock::new().expect("lock"),
        |lock| {
            let first = lock.acquire_timeout(SHORT);
            drop(lock.try_acquire());
            drop(first);
            let _ = lock.release();
        },
    );
}

fn a_semaphore() {
    scribbled(
        || Semaphore::new(2).expect("semaphore"),
        |semaphore| {
            drop(semaphore.acquire_timeout(SHORT));
            drop(semaphore.try_acquire());
            let _ = (semaphore.release(), semaphore.value());
        },
    );
}

fn an_event() {
    scribbled(
        || Event::new().expect("event"),
        |event| {
            let _ = event.wait_timeout(SHORT);
            event.set();
            let _ = event.is_set();
            event.clear();
        },
    );
}

fn a_condition() {
    scribbled(
        || Condition::new().expect("condition"),
        |condition| {
            // Its wait takes the lock again, which nobody who is alive holds.
            drop(condition.try_acquire());
            condition.notify(1);
            condition.notify_all();
            let _ = condition.release();
        },
    );
}

fn a_barrier() {
    scribbled(
        || Barrier::new(2).expect("barrier"),
        |barrier| {
            let _ = barrier.wait_timeout(SHORT);
            let _ = (barrier.n_waiting(), barrier.parties(), barrier.is_broken());
            barrier.abort();
            barrier.reset();
        },
    );
}

fn values() {
    scribbled(
        || Value::new(1u64).expect("value"),
        |value| drop(value.lock_timeout(SHORT).map(|guard| guard.map(|guard| *guard))),
    );
    scribbled(
        || Array::<u16>::new(1000).expect("array"),
        |array| {
            let guard = array.lock_timeout(SHORT).unwrap_or_else(|died| Some(died.into_inner()));
            assert_eq!(guard.map_or(1000, |guard| guard.len()), 1000);
        },
    );
    scribbled(
        || SharedMemory::new(100).expect("memory"),
        |memory| memory.read(50, &mut [0; 50]).expect("its bounds are its own"),
    );
}

fn a_queue() {
    scribbled(
        || Queue::bounded(10).expect("queue"),
        |queue| {
            let _ = queue.put_timeout(&vec![7u8; 3000], SHORT);
            let _ = queue.get_timeout(SHORT);
            let _ = (queue.len(), queue.is_empty(), queue.is_full(), queue.is_closed());
            let _ = queue.task_done();
            let _ = queue.join_timeout(SHORT);
        },
    );
}

fn a_queue_of_handles() {
    let lock = Lock::new().expect("lock");
    scribbled(
        || Queue::unbounded().expect("queue"),
        |queue| {
            let _ = queue.put_timeout(&lock, SHORT);
            // What comes is a lock or an error.
            if let Ok(lock) = queue.get_timeout(SHORT) {
                drop(lock.acquire_timeout(SHORT));
            }
        },
    );
}

fn a_pipe() {
    scribbled(
        || pipe::<Vec<u8>>().expect("pipe"),
        |(one, other)| {
            for length in [10, 3_000, 100_000] {
                let _ = one.send_timeout(&vec![7; length], SHORT);
                let _ = other.try_send(&vec![7; length]);
            }
            for end in [one, other] {
                let _ = end.poll(SHORT);
                let _ = wait(&[end], Some(SHORT));
                while end.recv_timeout(SHORT).is_ok() {}
            }
        },
    );
}

fn a_pipe_of_handles() {
    let lock = Lock::new().expect("lock");
    scribbled(
        || pipe::<Lock>().expect("pipe"),
        |(one, other)| {
            let _ = one.send_timeout(&lock, SHORT);
            // What comes is a lock or an error.
            if let Ok(lock) = other.recv_timeout(SHORT) {
                drop(lock.acquire_timeout(SHORT));
            }
        },
    );
}
