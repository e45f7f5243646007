//! A pool at work for long, while its workers are killed, take too long and are replaced: each task
//! has its outcome, and in the end there is no more memory in use, and nothing more open, than when
//! it had just begun. `PROCESSION_LONG=1` makes it ten million tasks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use procession::{Pool, StartMethod, TaskError};
use procession_tests::{Random, for_each_method, is_long, kill_workers, proc, sleep_long};

use crate::in_use;

for_each_method!(a_pool_at_work_for_long_stays_as_it_was);

/// How many tasks there are: many by the faster method.
fn tasks(method: StartMethod) -> usize {
    match (is_long(), method) {
        (false, _) => 20_000,
        (true, StartMethod::ForkServer) => 10_000_000,
        (true, _) => 1_000_000,
    }
}

/// The item of each so many that never comes to its end.
const ENDLESS: usize = 1_001;

/// How long one may take, where that is limited.
const LIMIT: Duration = Duration::from_millis(30);

fn work(number: usize, text: String) -> (usize, String) {
    if number % ENDLESS == ENDLESS - 1 {
        sleep_long();
    }
    (number * 3, text)
}

fn back(text: String) -> String {
    text
}

/// The text that goes with an item: mostly short, sometimes longer than a slot's small area. Longer
/// ones would be kept for the next time, piece by piece, up to a limit that hides what leaks.
fn text(number: usize) -> String {
    let length = if number.is_multiple_of(4999) { 15_000 } else { number % 40 };
    "x".repeat(length)
}

fn item(number: usize) -> (usize, String) {
    (number, text(number))
}

/// What has become of the tasks so far.
#[derive(Debug, Default)]
struct Tally {
    next: AtomicUsize,
    values: AtomicUsize,
    hurt: AtomicUsize,
    late: AtomicUsize,
}

impl Tally {
    fn count(&self, number: usize, outcome: Result<&(usize, String), &TaskError>) {
        let counter = match outcome {
            Ok((value, said)) => {
                assert!(*value == number * 3 && *said == text(number), "{number} has {value}");
                &self.values
            }
            Err(TaskError::WorkerDied { exit, .. }) if exit.signal() == Some(9) => &self.hurt,
            Err(TaskError::TimedOut { after }) if *after == LIMIT => &self.late,
            Err(other) => panic!("{number}: {other:?}"),
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    fn done(&self) -> usize {
        [&self.values, &self.hurt, &self.late].map(|n| n.load(Ordering::Relaxed)).iter().sum()
    }
}

/// Submits the next tasks, in one of the ways.
fn submit_some(pool: &Pool, tally: &Arc<Tally>, random: &mut Random) {
    let many = |count| {
        let first = tally.next.fetch_add(count, Ordering::Relaxed);
        first..first + count
    };
    let limited = pool.options().timeout(LIMIT);
    match random.below(9) {
        0 => {
            let numbers = many(200);
            let (sender, outcomes) = mpsc::channel();
            for number in numbers.clone() {
                let (done, failed) = (sender.clone(), sender.clone());
                let result = limited.apply_async(work, item(number)).expect("it is open");
                let told = result
                    .callback(move |value| done.send((number, Ok(value.clone()))).expect("read"))
                    .error_callback(move |error| {
                        failed.send((number, Err(error.clone()))).expect("read");
                    });
                drop(told);
            }
            drop(sender);
            for (number, outcome) in outcomes {
                tally.count(number, outcome.as_ref());
            }
        }
        1 => {
            let numbers = many(500);
            let outcomes = limited.chunk_size(3).istarmap(work, numbers.clone().map(item));
            for (number, outcome) in numbers.zip(outcomes) {
                tally.count(number, outcome.as_ref());
            }
        }
        2 => {
            // This one goes through the stores, both ways.
            let (number, long) = (many(1).start, "x".repeat(200_000));
            match limited.apply(back, (long,)) {
                Ok(text) => {
                    assert_eq!(text.len(), 200_000);
                    tally.values.fetch_add(1, Ordering::Relaxed);
                }
                Err(error) => tally.count(number, Err(&error)),
            }
        }
        way => {
            let numbers = many(if is_long() { 5_000 } else { 500 });
            let limited = if way == 3 { limited.chunk_size(1) } else { limited };
            let result = limited.starmap_async(work, numbers.clone().map(item));
            let outcomes = result.expect("it is open").get_all();
            assert_eq!(outcomes.len(), numbers.len());
            for (number, outcome) in numbers.zip(outcomes) {
                tally.count(number, outcome.as_ref());
            }
        }
    }
}

/// What the program and its fork server use.
#[derive(Debug)]
struct Use {
    descriptors: usize,
    /// Bytes of the heap, and pages in KiB.
    heap: usize,
    kib: u64,
    server_kib: u64,
    server_descriptors: usize,
}

impl Use {
    fn look() -> Self {
        let me = std::process::id();
        let server = proc::fork_server_of(me).expect("it was started");
        let status = std::fs::read_to_string(format!("/proc/{server}/status")).unwrap_or_default();
        Self {
            descriptors: proc::descriptors_of(me).len(),
            heap: in_use::bytes(),
            kib: proc::memory(),
            server_kib: proc::field("RssAnon", &status).unwrap_or(0),
            server_descriptors: proc::descriptors_of(server).len(),
        }
    }
}

const WORKERS: usize = 3;

fn a_pool_at_work_for_long_stays_as_it_was(method: StartMethod) {
    const PARTS: usize = 10;
    let tally = Arc::new(Tally::default());
    let pool = Pool::builder().workers(WORKERS).start_method(method).max_tasks_per_child(5_000);
    let pool = pool.build().expect("a pool");
    let mut uses = Vec::new();
    let mut killed = 0;
    for _ in 0..PARTS {
        killed += work_and_kill(&pool, &tally, tasks(method) / PARTS);
        proc::wait_until(|| {
            let stats = pool.stats();
            stats.workers.len() == WORKERS && (stats.queued, stats.running) == (0, 0)
        });
        uses.push(Use::look());
    }
    let stats = pool.stats();
    println!("{method:?}: {killed} kills, {tally:?}, {} restarts, {uses:#?}", stats.restarts);
    let submitted = tally.next.load(Ordering::Relaxed);
    assert_eq!(tally.done(), submitted);
    assert_eq!(stats.done + stats.failed, submitted as u64);
    let [hurt, late] = [&tally.hurt, &tally.late].map(|n| n.load(Ordering::Relaxed));
    assert!(hurt <= killed, "{tally:?}");
    // Some of those with no end may not have been submitted as such.
    assert!(hurt + late >= submitted / ENDLESS / 2, "what has no end has ended: {tally:?}");
    assert!(stats.restarts > 0, "the killed were not replaced");
    // The first parts fill what is kept for the next time: lists of slots, buffers, the heap.
    let (before, after) = (&uses[PARTS / 3], &uses[PARTS - 1]);
    assert!(after.descriptors <= before.descriptors, "{uses:#?}");
    assert!(after.server_descriptors <= before.server_descriptors, "{uses:#?}");
    // A list may still have grown for the most that was ever outstanding. What leaks with each task
    // or worker is more than this in the long form.
    assert!(after.heap <= before.heap + (2 << 20), "{uses:#?}");
    // Allocators do not give back everything.
    assert!(after.kib <= before.kib + (16 << 10), "{uses:#?}");
    assert!(after.server_kib <= before.server_kib + (4 << 10), "{uses:#?}");
    pool.close();
    pool.join().expect("it is closed");
}

/// Has so many tasks done, or a few more, and returns how many workers were killed meanwhile.
fn work_and_kill(pool: &Pool, tally: &Arc<Tally>, tasks: usize) -> usize {
    let until = tally.next.load(Ordering::Relaxed) + tasks;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let mut killed = kill_workers(pool, 1, &AtomicBool::new(false));
            while !done.load(Ordering::Relaxed) {
                thread::sleep(Duration::from_millis(30));
                killed += kill_workers(pool, 1, &done);
            }
            killed
        });
        let submit = || {
            let mut random = Random::new();
            while tally.next.load(Ordering::Relaxed) < until {
                submit_some(pool, tally, &mut random);
            }
        };
        let submitters = [scope.spawn(submit), scope.spawn(submit)];
        // One that has failed says so when the killer has come to its end.
        let results = submitters.map(|submitter| submitter.join());
        done.store(true, Ordering::Relaxed);
        results.into_iter().for_each(|result| result.expect("no surprise"));
        killer.join().expect("it has killed")
    })
}
