//! Law 1 among the living: who waits for a lock that others hammer gets it again and again.

use std::time::{Duration, Instant};

use procession::{
    Array, BoundedSemaphore, Condition, Event, Lock, Mutex, Process, RLock, Semaphore, StartMethod,
    Value,
};
use procession_tests::{is_long, start, tests};
use serde::Serialize;
use serde::de::DeserializeOwned;

tests! {
    locks_are_fair,
    reentrant_locks_are_fair,
    semaphores_are_fair,
    bounded_semaphores_are_fair,
    conditions_are_fair,
    mutexes_are_fair,
    values_are_fair,
    arrays_are_fair,
}

const PROCESSES: usize = 4;

/// A thing that one can have at a time.
trait Exclusive: Serialize + DeserializeOwned + Clone + Send + 'static {
    /// Has it for a moment.
    fn have(&self, how_long: Duration);
}

macro_rules! exclusive {
    ($($T:ty: $acquire:ident),*) => {
        $(impl Exclusive for $T {
            fn have(&self, how_long: Duration) {
                let guard = self.$acquire().expect("nobody dies");
                let begin = Instant::now();
                while begin.elapsed() < how_long {
                    std::hint::spin_loop();
                }
                drop(guard);
            }
        })*
    };
}

exclusive! {
    Lock: acquire, RLock: acquire, Semaphore: acquire, BoundedSemaphore: acquire,
    Condition: acquire, Mutex<u64>: lock, Value<u64>: lock, Array<u8>: lock
}

/// How often this process could have it, and the longest that it had to wait.
fn hammer<T: Exclusive>(
    thing: T,
    go: Event,
    duration: Duration,
    how_long: Duration,
) -> (u64, Duration) {
    go.wait();
    let (begin, mut count, mut longest) = (Instant::now(), 0, Duration::ZERO);
    let mut last = begin;
    while last - begin < duration {
        thing.have(how_long);
        let now = Instant::now();
        (count, longest) = (count + 1, longest.max(now - last));
        last = now;
    }
    (count, longest)
}

/// Each of them gets its share: a tenth of an even one at the least. Without any care, a process
/// that has just given up takes again before who was woken runs, and one gets nearly all.
fn assert_fair<T: Exclusive>(thing: T) {
    let duration = if is_long() { Duration::from_secs(10) } else { Duration::from_millis(1500) };
    for how_long in HOW_LONG {
        assert_fair_when(&thing, duration / HOW_LONG.len() as u32, how_long);
    }
}

/// A moment; and so long that who has given up is back before who was woken has come.
const HOW_LONG: [Duration; 2] = [Duration::ZERO, Duration::from_micros(300)];

fn assert_fair_when<T: Exclusive>(thing: &T, duration: Duration, how_long: Duration) {
    let go = Event::new().expect("event");
    let child = |_| {
        let process = Process::new(hammer::<T>, (thing.clone(), go.clone(), duration, how_long));
        start(process, StartMethod::ForkServer)
    };
    let children: Vec<_> = (0..PROCESSES).map(child).collect();
    go.set();
    let shares: Vec<(u64, Duration)> =
        children.into_iter().map(|child| child.join().expect("it returns")).collect();
    let all: u64 = shares.iter().map(|(count, _)| count).sum();
    println!("{all} in all: {shares:?}");
    for (count, _) in &shares {
        assert!(count * 10 * PROCESSES as u64 >= all, "one of them starves: {shares:?}");
    }
}

fn locks_are_fair() {
    assert_fair(Lock::new().expect("lock"));
}

fn reentrant_locks_are_fair() {
    assert_fair(RLock::new().expect("lock"));
}

fn semaphores_are_fair() {
    assert_fair(Semaphore::new(1).expect("semaphore"));
}

fn bounded_semaphores_are_fair() {
    assert_fair(BoundedSemaphore::new(1).expect("semaphore"));
}

fn conditions_are_fair() {
    assert_fair(Condition::new().expect("condition"));
}

fn mutexes_are_fair() {
    assert_fair(Mutex::new(1u64).expect("mutex"));
}

fn values_are_fair() {
    assert_fair(Value::new(1u64).expect("value"));
}

fn arrays_are_fair() {
    assert_fair(Array::<u8>::new(1).expect("array"));
}
