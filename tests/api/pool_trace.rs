//! Timelines of pools: whatever happened to a task is in the file, which is one that can be read.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use procession::{Event, Lock, Pool, PoolError, StartMethod, TaskError};
use procession_tests::{Folder, for_each_method, proc, sleep_long};
use serde_json::Value;

use crate::pool::square;

for_each_method! {
    tasks_are_slices_on_their_workers_tracks,
    every_outcome_is_told,
    what_the_end_of_a_pool_ends_is_told,
    a_timeline_can_be_read_while_it_is_written,
    a_timeline_follows_another,
}

fn pool(workers: usize, method: StartMethod) -> Pool {
    let builder = Pool::builder().workers(workers).name("traced \"one\"");
    builder.start_method(method).build().expect("a pool")
}

/// The events in a file, if it is a whole one.
fn read(path: &Path) -> Option<Vec<Value>> {
    let text = std::fs::read_to_string(path).expect("it is there");
    serde_json::from_str(&text).ok()
}

fn events(path: &Path) -> Vec<Value> {
    read(path).unwrap_or_else(|| panic!("{}", std::fs::read_to_string(path).expect("there")))
}

/// The tasks that have run, or begun to.
fn slices(events: &[Value]) -> Vec<&Value> {
    events.iter().filter(|event| event["ph"] == "X").collect()
}

/// How many tasks ended how: those that ran, and those that never did.
fn outcomes(events: &[Value]) -> (HashMap<&str, u64>, HashMap<&str, u64>) {
    let (mut ran, mut dropped) = (HashMap::new(), HashMap::new());
    for event in events.iter().filter(|event| event["cat"] == "task") {
        let outcome = event["args"]["outcome"].as_str().expect("it has one");
        if event["ph"] == "X" {
            *ran.entry(outcome).or_default() += 1;
        } else {
            *dropped.entry(outcome).or_default() += event["args"]["tasks"].as_u64().expect("some");
        }
    }
    (ran, dropped)
}

fn tasks_are_slices_on_their_workers_tracks(method: StartMethod) {
    let folder = Folder::new();
    let file = folder.path().join("trace.json");
    let builder = Pool::builder().workers(2).threads_per_worker(2).name("traced \"one\"");
    let pool = builder.start_method(method).build().expect("a pool");
    let untold = pool.map(square, 0..10);
    assert!(untold.is_ok());
    pool.trace(&file).expect("a file");
    assert_eq!(pool.map(square, 0..100), Ok((0..100).map(square).collect()));
    let long = |text: String| text + "!";
    assert_eq!(pool.apply(long, ("x".repeat(1 << 20),)).map(|text| text.len()), Ok((1 << 20) + 1));
    let lock = pool.apply(|| Lock::new().expect("a lock"), ()).expect("a value with a handle");
    assert!(lock.try_acquire().is_ok_and(|guard| guard.is_some()));
    let limited = pool.options().timeout(Duration::from_secs(1000)).chunk_size(3).map(square, 0..7);
    assert_eq!(limited, Ok((0..7).map(square).collect()));
    let workers: Vec<u64> = pool.stats().workers.iter().map(|w| u64::from(w.pid)).collect();
    pool.close();
    pool.join().expect("it is closed");
    let events = events(&file);
    let slices = slices(&events);
    let named = |name: &str| {
        let is_named = |slice: &&&Value| slice["name"].as_str().is_some_and(|n| n.contains(name));
        slices.iter().filter(is_named).count()
    };
    assert_eq!((slices.len(), named("square"), named("closure")), (109, 107, 2));
    let mut tracks: HashMap<(u64, u64), Vec<(f64, f64)>> = HashMap::new();
    for slice in &slices {
        assert_eq!(slice["args"]["outcome"], "returned");
        assert!(slice["args"]["queued_us"].as_f64().is_some_and(|queued| queued >= 0.0), "{slice}");
        let number = |key: &str| slice[key].as_u64().expect("a number");
        let time = |key: &str| slice[key].as_f64().expect("a time");
        assert!(workers.contains(&number("pid")) && [1, 2].contains(&number("tid")), "{slice}");
        let track = tracks.entry((number("pid"), number("tid"))).or_default();
        track.push((time("ts"), time("ts") + time("dur")));
    }
    for track in tracks.values_mut() {
        track.sort_by(|a, b| a.0.total_cmp(&b.0));
        // A thousandth of a microsecond is what is written.
        assert!(track.windows(2).all(|two| two[0].1 <= two[1].0 + 0.001), "{track:?}");
    }
    let names = events.iter().filter(|event| event["name"] == "process_name");
    let names: Vec<&str> = names.filter_map(|event| event["args"]["name"].as_str()).collect();
    assert_eq!(names, ["pool", "traced \"one\"-1", "traced \"one\"-2"]);
}

fn panic_or(number: u32) -> u32 {
    assert_ne!(number, 7, "not this one");
    number
}

/// Kills its process, but not the second time.
fn die_once(met: Event) {
    if !met.is_set() {
        met.set();
        std::process::abort();
    }
}

fn every_outcome_is_told(method: StartMethod) {
    let folder = Folder::new();
    let file = folder.path().join("trace.json");
    let pool = pool(1, method);
    pool.trace(&file).expect("a file");
    let outcomes = pool.options().chunk_size(3).try_map(panic_or, 6..9).expect("it is open");
    assert!(matches!(outcomes[..], [Ok(6), Err(TaskError::Panicked { .. }), Ok(8)]));
    assert!(
        pool.apply(
            || if true {
                std::process::abort()
            },
            ()
        )
        .is_err()
    );
    let again = Event::new().expect("an event");
    assert_eq!(pool.options().retries(1).apply(die_once, (again,)), Ok(()));
    let limited = pool.options().timeout(Duration::from_millis(20));
    assert!(matches!(limited.apply(sleep_long, ()), Err(TaskError::TimedOut { .. })));
    // Of these one runs; the others wait in its chunk, or behind it.
    let many = pool.options().chunk_size(2).map_async(|_: u32| sleep_long(), 0..6);
    let many = many.expect("it is open");
    proc::wait_until(|| pool.stats().running == 1);
    many.cancel();
    assert_eq!(many.get_all(), vec![Err(TaskError::Cancelled); 6]);
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    pool.close();
    pool.join().expect("it is closed");
    let events = events(&file);
    let (mut ran, dropped) = self::outcomes(&events);
    let cancelled = ran.remove("cancelled").unwrap_or(0);
    // What is taken may not have begun.
    assert!(cancelled <= 1 && cancelled + dropped["cancelled"] == 6, "{ran:?} {dropped:?}");
    let expected = [("returned", 4), ("panicked", 1), ("worker died", 2), ("timed out", 1)].into();
    assert_eq!(ran, expected);
    let marks = |name: &str| events.iter().filter(|event| event["name"] == name).count();
    let (started, ended) = (marks("started"), marks("ended"));
    assert!(started >= 5 && ended >= 4, "{started} workers, of which {ended} ended");
    let late = slices(&events).into_iter().find(|slice| slice["args"]["outcome"] == "timed out");
    let late = late.expect("it is told");
    assert!(late["dur"].as_f64() >= Some(20_000.0), "{late}");
    assert!(late["name"].as_str().is_some_and(|name| name.ends_with("sleep_long")), "{late}");
}

fn what_the_end_of_a_pool_ends_is_told(method: StartMethod) {
    for terminate in [Pool::terminate, |_: &Pool| ()] {
        let folder = Folder::new();
        let file = folder.path().join("trace.json");
        let pool = pool(1, method);
        pool.trace(&file).expect("a file");
        let begun = Event::new().expect("an event");
        let stuck = |begun: Event| {
            begun.set();
            sleep_long();
        };
        let first = pool.apply_async(stuck, (begun.clone(),)).expect("it is open");
        let rest = pool.map_async(square, 0..1000).expect("it is open");
        begun.wait();
        terminate(&pool);
        drop(pool);
        assert_eq!(first.get(), Err(TaskError::Terminated));
        assert_eq!(rest.get(), Err(TaskError::Terminated));
        let events = events(&file);
        let (ran, dropped) = outcomes(&events);
        let (ran, dropped): (Vec<_>, Vec<_>) =
            (ran.into_iter().collect(), dropped.into_iter().collect());
        assert_eq!(
            (&ran[..], &dropped[..]),
            (&[("terminated", 1)][..], &[("terminated", 1000)][..])
        );
    }
}

fn a_timeline_can_be_read_while_it_is_written(method: StartMethod) {
    let folder = Folder::new();
    let file = folder.path().join("trace.json");
    let pool = pool(2, method);
    pool.trace(&file).expect("a file");
    for round in 1..=3 {
        assert!(pool.map(square, 0..1000).is_ok());
        // What was told is written soon, without more to come.
        proc::wait_until(|| {
            read(&file).is_some_and(|events| slices(&events).len() == 1000 * round)
        });
    }
}

fn a_timeline_follows_another(method: StartMethod) {
    let folder = Folder::new();
    let [first, second, third] = ["1", "2", "3"].map(|name| folder.path().join(name));
    let pool = pool(1, method);
    pool.trace(&first).expect("a file");
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    let refused = pool.trace(folder.path().join("nowhere").join("1")).expect_err("no such folder");
    assert!(matches!(&refused, PoolError::Invalid { message } if message.contains("nowhere")));
    let full = pool.trace("/dev/full").expect_err("a disk without room");
    assert!(matches!(&full, PoolError::Invalid { message } if message.contains("/dev/full")));
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    pool.trace(&second).expect("a file");
    assert_eq!(slices(&events(&first)).len(), 2, "the first is complete");
    assert_eq!(pool.apply(square, (3,)), Ok(9));
    pool.terminate();
    assert_eq!((slices(&events(&first)).len(), slices(&events(&second)).len()), (2, 1));
    assert!(matches!(pool.trace(&third), Err(PoolError::Invalid { .. })));
    assert!(!third.exists());
}
