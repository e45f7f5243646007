//! One process for each way to wait for an object in shared memory.

use procession::{
    Array, Barrier, Condition, Event, Lock, Mutex, Process, Queue, RLock, Semaphore, StartMethod,
    Value, wait,
};
use procession_tests::start;
use serde::{Deserialize, Serialize};

/// One of each, none of which lets anybody through before the parent says so.
#[derive(Clone, Serialize, Deserialize)]
struct Objects {
    empty: Queue<u8>,
    polled: Queue<u8>,
    full: Queue<u8>,
    undone: Queue<u8>,
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    mutex: Mutex<u64>,
    value: Value<u64>,
    array: Array<u8>,
}

const WAYS: [fn(Objects); 12] = [
    |o| assert_eq!(o.empty.get().expect("it comes at last"), 1),
    |o| assert_eq!(wait(&[&o.polled], None).expect("a wait"), [0]),
    |o| o.full.put(&2).expect("there is room at last"),
    |o| o.undone.join().expect("it is done at last"),
    |o| drop(o.lock.acquire().expect("nobody dies")),
    |o| drop(o.rlock.acquire().expect("nobody dies")),
    |o| drop(o.semaphore.acquire().expect("nobody dies")),
    |o| o.event.wait(),
    |o| drop(o.condition.wait(o.condition.acquire().expect("nobody dies")).expect("nobody dies")),
    |o| assert!(o.barrier.wait().expect("nobody dies") < 2),
    |o| assert_eq!(o.value.get().expect("nobody dies"), *o.mutex.lock().expect("nobody dies")),
    |o| drop(o.array.lock().expect("nobody dies")),
];

fn wait_in_a_way(objects: Objects, way: usize) {
    WAYS[way](objects);
}

/// Has them all wait, says so, and lets them go.
pub(super) fn run() {
    let queue = || Queue::bounded(1).expect("queue");
    let objects = Objects {
        empty: queue(),
        polled: queue(),
        full: queue(),
        undone: queue(),
        lock: Lock::new().expect("lock"),
        rlock: RLock::new().expect("lock"),
        semaphore: Semaphore::new(0).expect("semaphore"),
        event: Event::new().expect("event"),
        condition: Condition::new().expect("condition"),
        barrier: Barrier::new(2).expect("barrier"),
        mutex: Mutex::new(7).expect("mutex"),
        value: Value::new(7).expect("value"),
        array: Array::new(10).expect("array"),
    };
    objects.full.put(&1).expect("room");
    objects.undone.put(&1).expect("room");
    let held = (
        objects.lock.acquire().expect("nobody dies"),
        objects.rlock.acquire().expect("nobody dies"),
        objects.mutex.lock().expect("nobody dies"),
        objects.value.lock().expect("nobody dies"),
        objects.array.lock().expect("nobody dies"),
    );
    let child = |way| {
        let method = if way % 2 == 0 { StartMethod::ForkServer } else { StartMethod::Spawn };
        start(Process::new(wait_in_a_way, (objects.clone(), way)).daemon(true), method)
    };
    let mut children: Vec<_> = (0..WAYS.len()).map(child).collect();
    super::say_and_wait();
    assert!(children.iter().all(procession::Child::is_alive), "nobody was let through");
    assert_eq!(objects.barrier.n_waiting(), 1);
    drop(held);
    objects.empty.put(&1).expect("it is open");
    objects.polled.put(&1).expect("it is open");
    objects.full.get().expect("one is there");
    objects.undone.task_done().expect("one is undone");
    objects.semaphore.release().expect("there were none");
    objects.event.set();
    objects.condition.notify_all();
    objects.barrier.wait().expect("nobody dies");
    children.drain(..).for_each(|child| child.join().expect("each is let through"));
}
