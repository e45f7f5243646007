//! Law 2: one outcome per task. Every task ends once, whatever happens to it and to others: it
//! returns, panics, exits, takes too long, is cancelled or forgotten, while workers are killed.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use procession::{AsyncResult, Pool, SharedMemory, StartMethod, TaskError};
use procession_tests::{Random, block_on, for_each_method, is_long, kill_workers, sleep_long};

for_each_method! {
    each_task_has_one_outcome_whatever_happens,
    each_task_runs_no_more_often_than_it_may,
}

/// What a task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Value,
    Panic,
    Exit,
    Endless,
}

/// The code that `Fate::Exit` ends with.
const CODE: i32 = 7;

/// What the tasks of a round may take.
const LIMIT: Duration = Duration::from_millis(30);

impl Fate {
    fn of(number: usize) -> Self {
        match number % 97 {
            11 | 40 => Self::Panic,
            23 => Self::Exit,
            61 => Self::Endless,
            _ => Self::Value,
        }
    }
}

/// Which task ran how often: a byte each. Workers have it from their initializer, as handles in a
/// task's arguments would keep it from going with others.
static RUNS: OnceLock<SharedMemory> = OnceLock::new();

fn set_up(runs: SharedMemory) {
    RUNS.set(runs).expect("once in each worker");
}

fn run(number: usize) -> usize {
    let runs = RUNS.get().expect("it was set up");
    let mut count = [0];
    runs.read(number, &mut count).expect("inside");
    runs.write(number, &[count[0] + 1]).expect("inside");
    match Fate::of(number) {
        Fate::Value => {}
        Fate::Panic => panic!("on purpose"),
        Fate::Exit => std::process::exit(CODE),
        Fate::Endless => sleep_long(),
    }
    number * 3
}

/// All tasks of a round, and what is known of each.
struct Ledger {
    outcomes: Vec<AtomicU8>,
    next: AtomicUsize,
    /// How many ended with a worker that somebody has killed.
    hurt: AtomicUsize,
    /// How many tasks may have had their worker killed by the pool: timed out, or cancelled.
    ended: AtomicUsize,
    /// What ended as it cannot.
    strange: Mutex<Vec<String>>,
}

impl Ledger {
    fn new(tasks: usize) -> Self {
        Self {
            outcomes: (0..tasks).map(|_| AtomicU8::new(0)).collect(),
            next: AtomicUsize::new(0),
            hurt: AtomicUsize::new(0),
            ended: AtomicUsize::new(0),
            strange: Mutex::default(),
        }
    }

    /// The numbers of the next few tasks; none at the end of the round.
    fn open(&self, count: usize) -> std::ops::Range<usize> {
        let first = self.next.fetch_add(count, Ordering::Relaxed).min(self.outcomes.len());
        first..(first + count).min(self.outcomes.len())
    }

    /// Notes an outcome. One that this task cannot have is kept for the end: who calls this may be a
    /// callback, whose panic would harm nobody.
    fn settle(&self, number: usize, outcome: Result<&usize, &TaskError>, cancelled: bool) {
        let (fate, killed) = (Fate::of(number), Some(9));
        let is_possible = match outcome {
            Ok(value) => fate == Fate::Value && *value == number * 3,
            Err(TaskError::Panicked { message, .. }) => {
                fate == Fate::Panic && message == "on purpose"
            }
            Err(TaskError::WorkerDied { exit, .. }) if exit.signal() == killed => {
                self.hurt.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TaskError::WorkerDied { exit, .. }) => {
                fate == Fate::Exit && exit.code() == Some(CODE)
            }
            // On a machine that is busy with other things a short task may take as long.
            Err(TaskError::TimedOut { after }) => {
                self.ended.fetch_add(1, Ordering::Relaxed);
                *after == LIMIT
            }
            Err(TaskError::Cancelled) => cancelled,
            Err(_) => false,
        };
        if cancelled {
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
        if !is_possible {
            let mut strange = self.strange.lock().unwrap_or_else(PoisonError::into_inner);
            strange.push(format!("{number}, {fate:?}: {outcome:?}"));
        }
        self.outcomes[number].fetch_add(1, Ordering::Relaxed);
    }
}

/// Submits one by one, and asks for the outcomes in every way, or never.
fn one_by_one(pool: &Pool, ledger: &Arc<Ledger>, random: &mut Random) {
    let numbers = ledger.open(40);
    let mut results: Vec<(usize, bool, AsyncResult<usize>)> = Vec::new();
    for number in numbers {
        // The callbacks come for certain; whether it is cancelled is decided before.
        let cancelled = random.below(10) == 0;
        let (done, failed) = (Arc::clone(ledger), Arc::clone(ledger));
        let result = pool.apply_async(run, (number,)).expect("it is open");
        let result = result
            .callback(move |value| done.settle(number, Ok(value), cancelled))
            .error_callback(move |error| failed.settle(number, Err(error), cancelled));
        results.push((number, cancelled, result));
    }
    for (number, cancelled, result) in results {
        if cancelled {
            thread::sleep(Duration::from_micros(random.below(500)));
            result.cancel();
        }
        let value = match random.below(4) {
            0 => result.get(),
            1 => block_on(result),
            2 => {
                result.wait(Duration::from_micros(random.below(300)));
                continue;
            }
            _ => continue,
        };
        assert!(value.is_err() || value == Ok(number * 3));
    }
}

/// Submits many at a time, in pieces of several, and cancels some of them all.
fn many_at_a_time(pool: &Pool, ledger: &Ledger, random: &mut Random) {
    let numbers = ledger.open(150);
    let chunk = 1 + usize::try_from(random.below(20)).expect("small");
    let result = pool.options().chunk_size(chunk).map_async(run, numbers.clone());
    let result = result.expect("it is open");
    let cancelled = random.below(6) == 0;
    if cancelled {
        thread::sleep(Duration::from_micros(random.below(3000)));
        result.cancel();
    }
    for (number, outcome) in numbers.zip(result.get_all()) {
        ledger.settle(number, outcome.as_ref(), cancelled);
    }
}

/// Takes outcomes one after the other, as tasks are submitted.
fn as_they_are_taken(pool: &Pool, ledger: &Ledger, random: &mut Random) {
    let numbers = ledger.open(100);
    let chunk = 1 + usize::try_from(random.below(5)).expect("small");
    let outcomes = pool.options().chunk_size(chunk).imap(run, numbers.clone());
    let mut count = 0;
    for (number, outcome) in numbers.clone().zip(outcomes) {
        ledger.settle(number, outcome.as_ref(), false);
        count += 1;
    }
    assert_eq!(count, numbers.len());
}

/// One pool, until all tasks have been submitted; returns how many workers were killed.
fn round(method: StartMethod, retries: usize, tasks: usize) -> (Arc<Ledger>, Vec<u8>, usize) {
    let ledger = Arc::new(Ledger::new(tasks));
    let runs = SharedMemory::new(tasks).expect("memory");
    let pool = Pool::builder()
        .workers(3)
        .start_method(method)
        .initializer(set_up, (runs.clone(),))
        .task_timeout(LIMIT)
        .retries(retries)
        .max_tasks_per_child(200)
        .build()
        .expect("a pool");
    let done = AtomicBool::new(false);
    let killed = thread::scope(|scope| {
        let killer = scope.spawn(|| kill_workers(&pool, usize::MAX, &done));
        let submitters: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let mut random = Random::new();
                    while ledger.next.load(Ordering::Relaxed) < tasks {
                        match random.below(3) {
                            0 => one_by_one(&pool, &ledger, &mut random),
                            1 => many_at_a_time(&pool, &ledger, &mut random),
                            _ => as_they_are_taken(&pool, &ledger, &mut random),
                        }
                    }
                })
            })
            .collect();
        submitters.into_iter().for_each(|submitter| submitter.join().expect("no surprise"));
        done.store(true, Ordering::Relaxed);
        killer.join().expect("no surprise")
    });
    pool.close();
    pool.join().expect("it is closed");
    let stats = pool.stats();
    assert_eq!((stats.queued, stats.running), (0, 0), "{stats:?}");
    assert_eq!(stats.done + stats.failed, tasks as u64, "{stats:?}");
    // The last callbacks may still be on their way; the watchdog is the only limit.
    procession_tests::proc::wait_until(|| {
        ledger.outcomes.iter().all(|count| count.load(Ordering::Relaxed) > 0)
    });
    let strange = ledger.strange.lock().expect("no panic");
    assert!(strange.is_empty(), "{strange:#?}");
    drop((strange, pool));
    let mut counts = vec![0; tasks];
    runs.read(0, &mut counts).expect("inside");
    (ledger, counts, killed)
}

fn each_task_has_one_outcome_whatever_happens(method: StartMethod) {
    for _ in 0..if is_long() { 60 } else { 1 } {
        let (ledger, counts, killed) = round(method, 0, 4000);
        for (number, count) in ledger.outcomes.iter().enumerate() {
            assert_eq!(count.load(Ordering::Relaxed), 1, "outcomes of task {number}");
        }
        assert!(counts.iter().all(|count| *count <= 1), "no task runs twice");
        let [hurt, ended] = [&ledger.hurt, &ledger.ended].map(|n| n.load(Ordering::Relaxed));
        println!("{method:?}: {killed} kills, {ended} ends by the pool, {hurt} of 4000 hurt");
        // A worker that the pool ends because of one task may just have gone on to the next.
        assert!(hurt <= killed + ended, "{hurt} tasks are hurt by {killed} kills");
        assert!(killed > 0 && ended > 0, "nothing was tried");
    }
}

fn each_task_runs_no_more_often_than_it_may(method: StartMethod) {
    const RETRIES: usize = 2;
    for _ in 0..if is_long() { 60 } else { 1 } {
        let (ledger, counts, _) = round(method, RETRIES, 1500);
        for (number, (count, runs)) in ledger.outcomes.iter().zip(&counts).enumerate() {
            assert_eq!(count.load(Ordering::Relaxed), 1, "outcomes of task {number}");
            assert!(usize::from(*runs) <= 1 + RETRIES, "{number} ran {runs} times");
        }
    }
}
