//! Deaths in the middle of every step on shared memory: at each crash point, and at random.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use procession::{
    Array, Barrier, BoundedSemaphore, Child, Condition, Connection, Event, GetError, JoinError,
    Lock, Mutex, Process, Queue, RLock, RecvError, Semaphore, SharedMemory, StartMethod,
    TryRecvError, Value, pipe, wait,
};
use procession_tests::{METHODS, Random, raw, rounds, tests};
use serde::{Deserialize, Serialize};

use crate::crash_points::points_in;
use crate::mark::Mark;

tests! {
    a_death_at_every_point_leaves_the_others_going,
    a_death_at_any_moment_leaves_the_others_going,
    memory_of_a_killed_program_is_found_by_its_name,
    one_that_dies_while_it_leaves_wakes_who_waits,
    a_copy_that_dies_in_the_middle_wakes_who_waits,
}

const PERMITS: usize = 2;

/// One of each.
#[derive(Clone, Serialize, Deserialize)]
struct Objects {
    lock: Lock,
    rlock: RLock,
    semaphore: Semaphore,
    bounded: BoundedSemaphore,
    event: Event,
    condition: Condition,
    barrier: Barrier,
    /// Changed under its lock: both halves are the same, whoever dies between them is told of.
    pair: Mutex<[u64; 2]>,
    count: Value<u32>,
    array: Array<u8>,
    queue: Queue<Vec<u8>>,
    locks: Queue<Lock>,
    /// Everybody has both ends.
    ends: (Connection<Message>, Connection<Message>),
}

/// What goes through a pipe: bytes that are all the same, perhaps with a handle.
type Message = (Vec<u8>, Option<Lock>);

impl Objects {
    fn new() -> Self {
        Self {
            lock: Lock::new().expect("lock"),
            rlock: RLock::new().expect("rlock"),
            semaphore: Semaphore::new(PERMITS).expect("semaphore"),
            bounded: BoundedSemaphore::new(PERMITS).expect("semaphore"),
            event: Event::new().expect("event"),
            condition: Condition::new().expect("condition"),
            barrier: Barrier::new(2).expect("barrier"),
            pair: Mutex::new([0, 0]).expect("mutex"),
            count: Value::new(0).expect("value"),
            array: Array::new(10).expect("array"),
            queue: Queue::bounded(20).expect("queue"),
            locks: Queue::bounded(5).expect("queue"),
            ends: pipe().expect("pipe"),
        }
    }
}

const SHORT: Duration = Duration::from_millis(2);

/// Does one of everything. Whoever dies elsewhere meanwhile, it ends.
fn step(objects: &Objects) {
    drop(objects.lock.acquire().unwrap_or_else(|died| died.into_inner()));
    drop(objects.lock.try_acquire().unwrap_or_else(|died| Some(died.into_inner())));
    {
        let _first = objects.rlock.acquire().unwrap_or_else(|died| died.into_inner());
        drop(objects.rlock.acquire().unwrap_or_else(|died| died.into_inner()));
    }
    drop(objects.semaphore.acquire().unwrap_or_else(|died| died.into_inner()));
    drop(objects.bounded.acquire().unwrap_or_else(|died| died.into_inner()));
    objects.event.set();
    let _ = objects.event.wait_timeout(SHORT);
    objects.event.clear();
    let guard = objects.condition.acquire().unwrap_or_else(|died| died.into_inner());
    let waited = objects.condition.wait_timeout(guard, SHORT);
    drop(waited.unwrap_or_else(|died| died.into_inner()));
    objects.condition.notify(1);
    if objects.barrier.wait_timeout(SHORT).is_err() {
        objects.barrier.reset();
    }
    match objects.pair.lock() {
        Ok(mut pair) => {
            assert_eq!(
                pair[0], pair[1],
                "nobody has died with it, so nobody has left it half-changed"
            );
            pair[0] += 1;
            pair[1] += 1;
        }
        Err(died) => {
            let mut pair = died.into_inner();
            pair[1] = pair[0];
        }
    }
    let count = objects.count.get().unwrap_or_else(procession::OwnerDied::into_inner);
    let _ = objects.count.set(count.wrapping_add(1));
    objects.array.lock().unwrap_or_else(|died| died.into_inner()).fill(count as u8);
    step_with_queues(objects, count);
    step_with_pipes(objects, count);
    step_with_a_name();
}

/// What the names of these tests have in common.
const NAMES: &str = "test-kill-";

/// Makes memory that others can find, and takes its name away.
fn step_with_a_name() {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{NAMES}{}-{count}", std::process::id());
    let memory = SharedMemory::create(&name, 100).expect("the name is free");
    let found = SharedMemory::open(&name).expect("it has a name");
    memory.write(99, &[7]).expect("inside");
    let mut byte = [0];
    found.read(99, &mut byte).expect("inside");
    assert_eq!(byte, [7]);
    SharedMemory::unlink(&name).expect("it has a name");
}

/// Names that the dead have left: each is whole, and all can be found and removed.
fn remove_names() {
    let files = || {
        let files = std::fs::read_dir("/dev/shm").expect("it is there").flatten();
        let names = files.filter_map(|file| file.file_name().into_string().ok());
        names.filter(|name| name.contains(NAMES)).collect::<Vec<_>>()
    };
    for file in files() {
        let name = file.strip_prefix("procession-").expect("nothing is made under another name");
        assert_eq!(SharedMemory::open(name).expect("it is whole").len(), 100);
    }
    for leftover in SharedMemory::leftovers().expect("the folder is there") {
        if leftover.name().starts_with(NAMES) {
            leftover.remove().expect("it is there");
        }
    }
    assert!(files().is_empty(), "left behind: {:?}", files());
}

fn step_with_pipes(objects: &Objects, count: u32) {
    // In the slot, in either area, and with a handle.
    let length = [10, 2_000, 70_000][count as usize % 3];
    let lock = count.is_multiple_of(2).then(|| objects.lock.clone());
    let (one, other) = &objects.ends;
    let _ = one.send_timeout(&(vec![count as u8; length], lock), SHORT);
    let ready = wait(&[other, one], Some(SHORT)).expect("wait");
    assert!(!ready.contains(&1), "nobody sends in this direction");
    if let Ok((message, lock)) = other.recv_timeout(SHORT) {
        assert!(message.iter().all(|byte| *byte == message[0]), "a torn message");
        // It is the same lock, through however many hands it went.
        if let Some(lock) = lock {
            drop(lock.try_acquire());
        }
    }
    let (one, other) = pipe::<u32>().expect("pipe");
    one.send(&count).expect("the other end is here");
    drop(one);
    assert_eq!(other.recv().expect("it was sent"), count);
    assert!(matches!(other.recv(), Err(RecvError::Closed)));
}

fn step_with_queues(objects: &Objects, count: u32) {
    // Long enough that two of them do not fit into the smallest ring.
    let length = if count.is_multiple_of(3) { 40_000 } else { 10 };
    let _ = objects.queue.put_timeout(&vec![count as u8; length], SHORT);
    if let Ok(message) = objects.queue.get_timeout(SHORT) {
        assert!(message.iter().all(|byte| *byte == message[0]), "a torn message");
        // Another may have been marked in its place: by who had lost count by dying.
        let _ = objects.queue.task_done();
    }
    let _ = objects.queue.join_timeout(SHORT);
    let _ = wait(&[&objects.queue], Some(SHORT));
    let _ = objects.locks.try_put(&objects.lock);
    if let Ok(lock) = objects.locks.try_get() {
        // It is the same lock, through however many hands it went.
        drop(lock.try_acquire().unwrap_or_else(|died| Some(died.into_inner())));
    }
    // One of its own moves to a larger ring each time.
    let own = Queue::<Vec<u8>>::unbounded().expect("queue");
    for _ in 0..2 {
        own.put(&vec![1; 40_000]).expect("it is open");
    }
    own.put_many(&[vec![1; 10], vec![2; 20], vec![3; 30]]).expect("it is open");
    own.close();
    assert_eq!(own.iter().take(3).count(), 3);
    assert_eq!(own.get_many(9).expect("two are left").len(), 2);
    assert!(matches!(own.get(), Err(GetError::Closed)));
}

/// In a child: until it is killed.
fn dance(objects: Objects) {
    loop {
        step(&objects);
    }
}

/// In a child: dies with a permit of each semaphore, the second time with the lock as well.
fn die_with_permits(objects: Objects) {
    let _one = objects.semaphore.acquire();
    let _two = objects.bounded.acquire();
    std::process::abort();
}

/// Dances in two threads of this process as long as `work` takes.
fn accompany(objects: &Objects, work: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    step(objects);
                }
            });
        }
        work();
        over.store(true, Ordering::Relaxed);
    });
}

/// Nobody else has the objects any more: all of them work, and nothing is missing.
fn assert_whole(objects: &Objects) {
    step(objects);
    remove_names();
    // Every permit can be had: those of the dead come back for who needs them.
    let take = |_| objects.semaphore.acquire().unwrap_or_else(|died| died.into_inner());
    drop((0..PERMITS).map(take).collect::<Vec<_>>());
    let take = |_| objects.bounded.acquire().unwrap_or_else(|died| died.into_inner());
    drop((0..PERMITS).map(take).collect::<Vec<_>>());
    assert_eq!(objects.semaphore.value(), PERMITS);
    assert_eq!(objects.bounded.value(), PERMITS);
    assert!(objects.bounded.release().is_err(), "none too many");
    assert!(!objects.lock.is_locked() && !objects.rlock.is_locked());
    while objects.queue.try_get().is_ok() {}
    objects.queue.put(&vec![1; 100]).expect("it is open");
    assert_eq!(objects.queue.get().expect("it was put").len(), 100);
    assert!(objects.queue.is_empty());
    assert_eq!(objects.queue.len(), 0);
    while objects.locks.try_get().is_ok() {}
    objects.locks.put(&objects.lock).expect("it is open");
    let lock = objects.locks.get().expect("with its handle");
    let guard = objects.lock.acquire().unwrap_or_else(|died| died.into_inner());
    assert!(lock.is_locked(), "the same lock");
    drop(guard);
    drop(objects.lock.acquire().expect("told of already"));
    let (one, other) = &objects.ends;
    while other.try_recv().is_ok() {}
    assert!(matches!(other.try_recv(), Err(TryRecvError::Empty)));
    for length in [10, 200_000] {
        one.send(&(vec![1; length], Some(objects.lock.clone()))).expect("there is room");
    }
    for length in [10, 200_000] {
        let (message, lock) = other.recv().expect("with its handle");
        assert_eq!(message.len(), length);
        assert!(!lock.expect("a lock").is_locked());
    }
    objects.barrier.reset();
    thread::scope(|scope| {
        let other = scope.spawn(|| objects.barrier.wait().expect("two have come"));
        let here = objects.barrier.wait().expect("two have come");
        assert_eq!(here + other.join().expect("thread"), 1);
    });
}

fn start(objects: &Objects, method: StartMethod) -> Child<()> {
    let process = Process::new(dance, (objects.clone(),)).start_method(method).daemon(true);
    process.start().expect("it starts")
}

fn a_death_at_every_point_leaves_the_others_going() {
    let mut points = points_in("procession-shm");
    points.retain(|point| !crate::pool::is_ours(point));
    assert!(points.len() >= 20, "the sources were searched in the wrong place: {points:?}");
    for point in &points {
        println!("a death at {point}");
        let objects = Objects::new();
        let process = Process::new(dance, (objects.clone(),)).daemon(true);
        let victim = process.env("PROCESSION_CRASH_POINT", point).start().expect("it starts");
        accompany(&objects, || {
            // Somebody has to die for the points on the way of a sweep.
            while point.contains(".sweep.") && victim.is_alive() {
                let dying = Process::new(die_with_permits, (objects.clone(),)).start();
                let _ = dying.expect("it starts").join();
            }
            let joined = victim.join();
            let killed = matches!(joined, Err(JoinError::Signaled { signal: 9, .. }));
            assert!(killed, "{point}: {joined:?}");
        });
        assert_whole(&objects);
    }
}

fn a_death_at_any_moment_leaves_the_others_going() {
    let mut random = Random::new();
    for method in METHODS {
        let objects = Objects::new();
        let mut children: Vec<_> = (0..3).map(|_| start(&objects, method)).collect();
        accompany(&objects, || {
            for _ in 0..rounds() * 3 {
                thread::sleep(Duration::from_micros(random.below(4000)));
                let index = usize::try_from(random.below(3)).expect("small");
                let victim = std::mem::replace(&mut children[index], start(&objects, method));
                victim.kill().expect("it is ours");
                assert!(matches!(victim.join(), Err(JoinError::Signaled { signal: 9, .. })));
            }
        });
        for child in children {
            child.kill().expect("it is ours");
            assert!(child.join().is_err());
        }
        assert_whole(&objects);
    }
}

/// Has the others sleep, as far as that can be seen from here.
fn let_them_sleep() {
    thread::sleep(Duration::from_millis(30));
}

/// In a child: leaves the lock that it holds, and is killed when it has freed its place.
fn leave_with(lock: Lock, held: Event, go_on: Event) {
    std::mem::forget(lock.acquire());
    held.set();
    go_on.wait();
    // One of the others may be swept up after first, and then nobody has left.
    drop(lock);
}

fn one_that_dies_while_it_leaves_wakes_who_waits() {
    let (lock, held, go_on) =
        (Lock::new().expect("lock"), Event::new().expect("event"), Event::new().expect("event"));
    let process = Process::new(leave_with, (lock.clone(), held.clone(), go_on.clone()));
    let victim = process.env("PROCESSION_CRASH_POINT", "segment.sweep.freed");
    let victim = victim.daemon(true).start().expect("it starts");
    held.wait();
    thread::scope(|scope| {
        // Without a time limit: at its end, the waiter would see for itself.
        let waiter = scope.spawn(|| drop(lock.acquire()));
        let_them_sleep();
        go_on.set();
        let joined = victim.join();
        assert!(matches!(joined, Err(JoinError::Signaled { signal: 9, .. })), "{joined:?}");
        waiter.join().expect("it is woken");
    });
}

/// In a child: a forked copy of it changes something, and is killed before it wakes who waits for
/// that. The child itself lives on, so that its own death wakes nobody.
fn have_a_copy_change(what: String, objects: Objects, go_on: Event) {
    let code = raw::in_forked_copy(|| {
        match &*what {
            "event.set.flagged" => objects.event.set(),
            "queue.close.closed" => objects.queue.close(),
            "condition.notify.counted" => objects.condition.notify(1),
            other => panic!("{other} is none of these"),
        }
        0
    });
    assert_eq!(code.expect("it forks"), -libc::SIGKILL);
    go_on.wait();
}

fn a_copy_that_dies_in_the_middle_wakes_who_waits() {
    for point in ["event.set.flagged", "queue.close.closed", "condition.notify.counted"] {
        let (objects, go_on) = (Objects::new(), Event::new().expect("event"));
        thread::scope(|scope| {
            let waiter = scope.spawn(|| match point {
                "event.set.flagged" => objects.event.wait(),
                "queue.close.closed" => {
                    assert!(matches!(objects.queue.get(), Err(GetError::Closed)));
                }
                _ => {
                    let guard = objects.condition.acquire().expect("nobody has died with it");
                    drop(objects.condition.wait(guard).expect("nor now"));
                }
            });
            let_them_sleep();
            let arguments = (point.to_owned(), objects.clone(), go_on.clone());
            let process = Process::new(have_a_copy_change, arguments).daemon(true);
            let child = process.env("PROCESSION_CRASH_POINT", point).start().expect("it starts");
            waiter.join().expect("it is woken");
            go_on.set();
            child.join().expect("it has seen its copy die");
        });
    }
}

fn memory_of_a_killed_program_is_found_by_its_name() {
    let (mark, name) = (Mark::new(), format!("{NAMES}program-{}", std::process::id()));
    let mut victim = mark.victim("named").arg(&name).start();
    assert_eq!(victim.line(), "made");
    raw::signal(victim.pid(), libc::SIGKILL).expect("it runs");
    mark.wait_for_end();
    drop(victim);
    let memory = SharedMemory::open(&name).expect("its maker is gone, it is not");
    let mut bytes = [0; 5];
    memory.read(0, &mut bytes).expect("inside");
    assert_eq!(&bytes, b"whole");
    drop(memory);
    remove_names();
}
