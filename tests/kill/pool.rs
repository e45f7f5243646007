//! Deaths of a pool's workers, at each crash point and at random, under load: each task has one
//! outcome, and only tasks that a dead worker was at are hurt.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use procession::{Pool, SharedMemory, TaskError, Value};
use procession_tests::{METHODS, kill_workers, rounds, tests};

use crate::crash_points::points_in;

tests! {
    a_death_at_every_point_hurts_one_task_at_the_most,
    deaths_at_any_moment_hurt_no_more_tasks_than_workers,
    a_task_runs_again_as_often_as_it_may,
    deaths_of_workers_with_threads_and_few_tasks,
}

/// The points on a worker's way, in both crates.
fn points() -> BTreeSet<String> {
    let all = points_in("procession").into_iter().chain(points_in("procession-shm"));
    all.filter(|name| is_ours(name)).collect()
}

/// Tells whether a crash point is on a worker's way, and so this file's.
pub(crate) fn is_ours(point: &str) -> bool {
    point.starts_with("pool.") || point.starts_with("slots.")
}

/// Arms a crash point in the first worker that comes here.
fn arm(point: String, first: Value<u32>) {
    let mut first = first.lock().expect("nobody dies with it");
    if *first == 0 {
        *first = 1;
        // SAFETY: a worker has one thread before its first task.
        unsafe { std::env::set_var("PROCESSION_CRASH_POINT", point) };
    }
}

/// Marks that item `number` has run once more, and returns its square.
fn run(number: usize, runs: SharedMemory) -> usize {
    let mut count = [0];
    runs.read(number, &mut count).expect("inside");
    runs.write(number, &[count[0] + 1]).expect("inside");
    number * number
}

/// Which item ran how often.
fn counts(runs: &SharedMemory) -> Vec<u8> {
    let mut counts = vec![0; runs.len()];
    runs.read(0, &mut counts).expect("inside");
    counts
}

fn a_death_at_every_point_hurts_one_task_at_the_most() {
    const ITEMS: usize = 100;
    let points = points();
    assert!(points.len() >= 10, "the sources were searched in the wrong place: {points:?}");
    for point in &points {
        for method in METHODS {
            for chunk in [1, 7] {
                let (first, runs) = (Value::new(0).expect("value"), SharedMemory::new(ITEMS));
                let runs = runs.expect("memory");
                let pool = Pool::builder()
                    .workers(2)
                    .start_method(method)
                    .initializer(arm, (point.clone(), first.clone()))
                    .build()
                    .expect("a pool");
                // Handles make each item a piece of its own; without, pieces have several.
                let plain = pool.options().chunk_size(chunk).try_map(|n: usize| n * n, 0..ITEMS);
                let with_handles = pool.starmap_async(run, (0..ITEMS).map(|n| (n, runs.clone())));
                let with_handles = with_handles.expect("it is open").get_all();
                let (mut hurt, counts) = (0, counts(&runs));
                let all = plain.expect("it is open").into_iter().enumerate();
                for (number, outcome) in all.chain(with_handles.into_iter().enumerate()) {
                    match outcome {
                        Ok(value) => assert_eq!(value, number * number, "{point}"),
                        Err(TaskError::WorkerDied { exit, .. }) => {
                            assert_eq!(exit.signal(), Some(9), "{point}");
                            hurt += 1;
                        }
                        Err(other) => panic!("{point}: {other:?}"),
                    }
                }
                assert!(hurt <= 1, "{point}: {hurt} tasks are hurt");
                assert!(counts.iter().all(|count| *count <= 1), "{point}: {counts:?}");
                // The armed worker has died, whatever it was at.
                while pool.stats().restarts == 0 {
                    thread::sleep(Duration::from_millis(1));
                }
                pool.close();
                pool.join().expect("it is closed");
            }
        }
    }
}

fn deaths_at_any_moment_hurt_no_more_tasks_than_workers() {
    for method in METHODS {
        let pool = Pool::builder().workers(3).start_method(method).build().expect("a pool");
        let (done, submitted, hurt) =
            (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        let killed = thread::scope(|scope| {
            let submitters: Vec<_> = [1, 5, 100]
                .into_iter()
                .map(|chunk| {
                    let (pool, done) = (&pool, &done);
                    let (submitted, hurt) = (&submitted, &hurt);
                    scope.spawn(move || {
                        while !done.load(Ordering::Relaxed) {
                            const ITEMS: usize = 300;
                            let square = |n: usize, text: String| (n * n, text);
                            let items = (0..ITEMS).map(|n| (n, "x".repeat(n * chunk % 2000)));
                            let result =
                                pool.options().chunk_size(chunk).starmap_async(square, items);
                            let outcomes = result.expect("it is open").get_all();
                            assert_eq!(outcomes.len(), ITEMS);
                            submitted.fetch_add(ITEMS, Ordering::Relaxed);
                            for (n, outcome) in outcomes.into_iter().enumerate() {
                                match outcome {
                                    Ok((square, text)) => {
                                        assert_eq!((square, text.len()), (n * n, n * chunk % 2000));
                                    }
                                    Err(TaskError::WorkerDied { exit, .. }) => {
                                        assert_eq!(exit.signal(), Some(9));
                                        hurt.fetch_add(1, Ordering::Relaxed);
                                    }
                                    Err(other) => panic!("{other:?}"),
                                }
                            }
                        }
                    })
                })
                .collect();
            let killed = kill_workers(&pool, rounds() * 6, &AtomicBool::new(false));
            done.store(true, Ordering::Relaxed);
            submitters.into_iter().for_each(|submitter| submitter.join().expect("no surprise"));
            killed
        });
        let (submitted, hurt) = (submitted.into_inner(), hurt.into_inner());
        println!("{method:?}: {killed} kills, {hurt} of {submitted} tasks hurt");
        assert!(hurt <= killed, "{hurt} tasks are hurt by {killed} kills");
        let stats = pool.stats();
        assert_eq!((stats.done + stats.failed) as usize, submitted);
        assert_eq!((stats.queued, stats.running), (0, 0), "{stats:?}");
    }
}

fn a_task_runs_again_as_often_as_it_may() {
    const RETRIES: usize = 3;
    const ITEMS: usize = 400;
    for round in 0..(rounds() / 30) {
        let runs = SharedMemory::new(ITEMS).expect("memory");
        let pool = Pool::builder().workers(2).retries(RETRIES).build().expect("a pool");
        let done = AtomicBool::new(false);
        let outcomes = thread::scope(|scope| {
            let killer = scope.spawn(|| kill_workers(&pool, usize::MAX, &done));
            let items = (0..ITEMS).map(|n| (n, runs.clone()));
            let outcomes = pool.starmap_async(run, items).expect("it is open").get_all();
            done.store(true, Ordering::Relaxed);
            killer.join().expect("no surprise");
            outcomes
        });
        let counts = counts(&runs);
        for (n, (outcome, count)) in outcomes.iter().zip(&counts).enumerate() {
            assert!(usize::from(*count) <= 1 + RETRIES, "{round}: item {n} ran {count} times");
            match outcome {
                Ok(value) => assert_eq!((*value, *count > 0), (n * n, true)),
                Err(error) => assert!(matches!(error, TaskError::WorkerDied { .. }), "{error:?}"),
            }
        }
    }
}

fn deaths_of_workers_with_threads_and_few_tasks() {
    const THREADS: usize = 4;
    let pool = Pool::builder().workers(2).threads_per_worker(THREADS).max_tasks_per_child(50);
    let pool = pool.build().expect("a pool");
    let (done, mut hurt, mut submitted) = (AtomicBool::new(false), 0, 0);
    let killed = thread::scope(|scope| {
        let killer = scope.spawn(|| {
            let killed = kill_workers(&pool, rounds(), &AtomicBool::new(false));
            done.store(true, Ordering::Relaxed);
            killed
        });
        while !done.load(Ordering::Relaxed) {
            let outcomes = pool.options().chunk_size(3).try_map(|n: u64| n + 1, 0..200);
            for (n, outcome) in outcomes.expect("it is open").into_iter().enumerate() {
                match outcome {
                    Ok(value) => assert_eq!(value, n as u64 + 1),
                    Err(TaskError::WorkerDied { .. }) => hurt += 1,
                    Err(other) => panic!("{other:?}"),
                }
            }
            submitted += 200;
        }
        killer.join().expect("no surprise")
    });
    println!("{killed} kills, {hurt} of {submitted} tasks hurt");
    assert!(hurt <= killed * THREADS, "{hurt} tasks are hurt by {killed} kills");
}
