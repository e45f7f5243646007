//! Timelines of pools whose workers are killed: each task is told of as often as it has an outcome.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use procession::{Pool, StartMethod, TaskError};
use procession_tests::{Folder, for_each_method, kill_workers, rounds};
use serde_json::Value;

for_each_method!(a_timeline_has_every_outcome_once);

fn a_timeline_has_every_outcome_once(method: StartMethod) {
    const ITEMS: usize = 300;
    let folder = Folder::new();
    let file = folder.path().join("trace.json");
    let pool = Pool::builder().workers(3).start_method(method).build().expect("a pool");
    pool.trace(&file).expect("a file");
    let (done, values, hurt) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let submit = |chunk: usize| {
        while !done.load(Ordering::Relaxed) {
            let length = |text: String| text.len();
            // Some have a place of their own, in the slots' large areas or beside them.
            let long = if chunk == 5 { 70_000 } else { 100 };
            let items = (0..ITEMS).map(|n| "x".repeat(n * chunk % long));
            let outcomes = pool.options().chunk_size(chunk).try_map(length, items);
            for (n, outcome) in outcomes.expect("it is open").into_iter().enumerate() {
                match outcome {
                    Ok(length) => {
                        assert_eq!(length, n * chunk % long);
                        values.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(TaskError::WorkerDied { .. }) => {
                        hurt.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(other) => panic!("{other:?}"),
                }
            }
        }
    };
    thread::scope(|scope| {
        let submit = &submit;
        let submitters = [1, 5, 100].map(|chunk| scope.spawn(move || submit(chunk)));
        kill_workers(&pool, rounds() * 2, &AtomicBool::new(false));
        done.store(true, Ordering::Relaxed);
        submitters.into_iter().for_each(|submitter| submitter.join().expect("no surprise"));
    });
    pool.close();
    pool.join().expect("it is closed");
    let text = std::fs::read_to_string(&file).expect("it is there");
    let events: Vec<Value> = serde_json::from_str(&text).expect("a whole array");
    let mut told: HashMap<&str, u64> = HashMap::new();
    for event in events.iter().filter(|event| event["cat"] == "task") {
        let outcome = event["args"]["outcome"].as_str().expect("it has one");
        // One that was hurt before it had begun is no slice.
        *told.entry(outcome).or_default() += event["args"]["tasks"].as_u64().unwrap_or(1);
    }
    let (values, hurt) = (values.into_inner(), hurt.into_inner());
    println!("{method:?}: {told:?}");
    let expected = [("returned", values as u64), ("worker died", hurt as u64)];
    assert_eq!(told, expected.into_iter().filter(|(_, count)| *count > 0).collect());
}
