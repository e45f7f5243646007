//! Pools whose workers die while the system has no room for others.

use std::fs::File;
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use procession::{Lock, Pool, StartMethod, TaskError};
use procession_tests::{Snapshot, proc, raw};

use crate::limits::{FILLED, fill, with_free};

/// Runs a scenario of this family.
pub(crate) fn run(scenario: &str, rest: &[String]) -> Option<ExitCode> {
    let method = crate::method(rest);
    let shortage = || Shortage::of(&rest[1]);
    match scenario {
        "nothing" => {}
        "goes_on" => goes_on(method, &shortage()),
        "gives_up" => gives_up(method, &shortage()),
        "some_files" => some_files(method),
        "handles" => handles(method),
        "large" => large(method),
        _ => return None,
    }
    Some(ExitCode::SUCCESS)
}

/// What there is none of, between `begin` and `end`.
enum Shortage {
    Files { _filling: Vec<File> },
    Processes,
    Memory,
}

impl Shortage {
    fn of(name: &str) -> Self {
        match name {
            "files" => Self::Files { _filling: fill() },
            "processes" => Self::Processes,
            _ => {
                // What this process needs meanwhile it has then, in the heap: it gets no more.
                let mut reserve: Vec<Vec<u8>> = (0..200).map(|_| vec![1; 60_000]).collect();
                // The one at the heap's end stays, or the heap would shrink.
                std::mem::forget(reserve.pop());
                drop(reserve);
                Self::Memory
            }
        }
    }

    fn limit(&self) -> (libc::__rlimit_resource_t, u64) {
        match self {
            Self::Files { .. } => (libc::RLIMIT_NOFILE, FILLED as u64),
            Self::Processes => (libc::RLIMIT_NPROC, 0),
            Self::Memory => (libc::RLIMIT_AS, 1 << 20),
        }
    }

    fn begin(&self) {
        let (resource, most) = self.limit();
        raw::set_limit(resource, most).expect("limited");
    }

    fn end(&self) {
        raw::set_limit(self.limit().0, u64::MAX).expect("back to the hard limit");
    }
}

fn square(number: u64) -> u64 {
    number * number
}

fn pool(method: StartMethod) -> Pool {
    let pool = Pool::builder().workers(3).start_method(method).build().expect("a pool");
    assert_works(&pool);
    pool
}

fn assert_works(pool: &Pool) {
    proc::wait_until(|| pool.stats().workers.len() == 3);
    let values = pool.options().chunk_size(1).map(square, 0..100);
    assert_eq!(values, Ok((0..100).map(square).collect()));
}

/// Kills so many workers, and waits until that was noticed.
fn kill(pool: &Pool, count: usize) {
    let workers = pool.stats().workers;
    for worker in &workers[..count] {
        raw::signal(worker.pid, libc::SIGKILL).expect("it is ours");
    }
    let is_killed = |pid: u32| workers[..count].iter().any(|worker| worker.pid == pid);
    proc::wait_until(|| pool.stats().workers.iter().all(|worker| !is_killed(worker.pid)));
}

/// Fails if a worker was replaced in spite of everything: then this would test nothing.
fn assert_not_replaced(pool: &Pool, left: usize) {
    // It has tried some times.
    sleep(Duration::from_millis(100));
    let workers = pool.stats().workers;
    assert!(workers.len() <= left, "{workers:?}");
}

/// Fails if a task's outcome is wrong, or more than `most` are hurt.
fn check(outcomes: Vec<Result<u64, TaskError>>, most: usize) {
    let mut hurt = 0;
    for (number, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(value) => assert_eq!(value, square(number as u64)),
            Err(TaskError::WorkerDied { exit, .. }) if exit.signal() == Some(9) => hurt += 1,
            Err(other) => panic!("{number}: {other:?}"),
        }
    }
    assert!(hurt <= most, "{hurt} are hurt");
}

fn goes_on(method: StartMethod, shortage: &Shortage) {
    let pool = pool(method);
    let before = Snapshot::take();
    let one_by_one = pool.options().chunk_size(1);
    for _ in 0..3 {
        // With one worker left, the work goes on.
        shortage.begin();
        kill(&pool, 2);
        check(one_by_one.try_map(square, 0..300).expect("it is open"), 0);
        assert_not_replaced(&pool, 1);
        check(one_by_one.try_map(square, 0..300).expect("it is open"), 0);
        shortage.end();
        assert_works(&pool);
        if matches!(shortage, Shortage::Memory) {
            // The last child takes the thread that watches children with it, and std ends a process
            // that has no memory for a thread's signal stack.
            continue;
        }
        // With none, it waits.
        let nap = |number| {
            sleep(Duration::from_millis(1));
            square(number)
        };
        let result = one_by_one.map_async(nap, 0..300).expect("it is open");
        shortage.begin();
        kill(&pool, 3);
        assert_not_replaced(&pool, 0);
        shortage.end();
        check(result.get_all(), 3);
        assert_works(&pool);
    }
    before.assert_nothing_left();
    pool.close();
    pool.join().expect("it is closed");
}

/// It says so when there is no worker left and no hope for one. No task waits for ever.
fn gives_up(method: StartMethod, shortage: &Shortage) {
    let pool = pool(method);
    let nap = |number| {
        sleep(Duration::from_millis(1));
        square(number)
    };
    let result = pool.options().chunk_size(1).map_async(nap, 0..300).expect("it is open");
    shortage.begin();
    kill(&pool, 3);
    let outcomes = result.get_all();
    shortage.end();
    let is_lost =
        |outcome: &&Result<u64, TaskError>| matches!(outcome, Err(TaskError::NoWorkers { .. }));
    let lost: Vec<_> = outcomes.iter().filter(is_lost).collect();
    println!("{:?}", lost.first());
    assert!(!lost.is_empty(), "300 naps are longer than it takes to kill three");
    let others = outcomes.iter().filter(|outcome| outcome.is_err() && !is_lost(outcome));
    check(others.cloned().collect(), 3);
    assert!(matches!(pool.apply(square, (1,)), Err(TaskError::NoWorkers { .. })));
    pool.close();
    pool.join().expect("it is closed");
    assert_eq!(self::pool(method).apply(square, (3,)), Ok(9), "the next pool is as good as any");
}

/// With some descriptors a start gets some way.
fn some_files(method: StartMethod) {
    let pool = pool(method);
    let _filling = fill();
    let before = Snapshot::take();
    for free in 0..24 {
        with_free(free, || {
            kill(&pool, 1);
            sleep(Duration::from_millis(15));
        });
        assert_works(&pool);
        before.assert_nothing_left();
    }
}

/// A value whose handle finds no room is an error of that task, and of no other.
fn handles(method: StartMethod) {
    let pool = pool(method);
    let _filling = fill();
    let before = Snapshot::take();
    let make = || Lock::new().expect("the worker has room");
    for free in 0..4 {
        let results = with_free(free, || {
            let results: Vec<_> =
                (0..5).map(|_| pool.apply_async(make, ()).expect("it is open")).collect();
            results.iter().for_each(|result| assert!(result.wait(Duration::from_secs(100))));
            results
        });
        for result in results {
            match result.take() {
                Ok(lock) => assert!(lock.try_acquire().is_ok_and(|guard| guard.is_some())),
                Err(error) => assert!(matches!(error, TaskError::Decode(_)), "{error:?}"),
            }
        }
        assert_works(&pool);
        assert!(pool.apply(make, ()).is_ok(), "now there is room");
        before.assert_nothing_left();
    }
}

/// The user's limit on the size of files is one on what goes to workers and comes from them.
fn large(method: StartMethod) {
    const LONG: usize = 70 << 20;
    // Less would be too little for a pool.
    raw::set_limit(libc::RLIMIT_FSIZE, LONG as u64).expect("limited");
    let pool = pool(method);
    let length = |bytes: Vec<u8>| bytes.len();
    let others = pool.map_async(square, 0..100).expect("it is open");
    let refused = pool.apply(length, (vec![1; LONG],));
    assert!(matches!(refused, Err(TaskError::Encode(_))), "{refused:?}");
    let refused = pool.apply(|length: usize| vec![1u8; length], (LONG,));
    assert!(matches!(refused, Err(TaskError::Encode(_))), "{refused:?}");
    check(others.get_all(), 0);
    assert_eq!(pool.apply(length, (vec![1; 100_000],)), Ok(100_000));
    assert_works(&pool);
}
