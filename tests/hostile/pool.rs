//! Workers that scribble over the memory that they share with the pool, and over its descriptors:
//! tasks of that pool may fail, or mean nothing; the parent is unharmed, and can end the pool.

use std::time::Duration;

use procession::{Pool, TaskError};
use procession_tests::{Folder, METHODS, Random, is_long, tests};

tests! {
    scribbled_slots_do_the_parent_no_harm,
    garbage_on_a_workers_descriptors_is_its_own_problem,
}

/// The memory that a worker shares with others: where each piece begins, and how long it is.
fn shared_memory() -> Vec<(usize, usize)> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("it is there");
    let lines =
        maps.lines().filter(|line| line.contains("memfd:procession") && line.contains("rw-s"));
    let ranges = lines.filter_map(|line| {
        let (start, end) = line.split_once(' ')?.0.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        Some((start, usize::from_str_radix(end, 16).ok()? - start))
    });
    ranges.collect()
}

/// Writes garbage all over the slots: their words, areas, and the roster before them.
fn scribble(seed: u64, writes: u64) -> u64 {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    /// The part that has memory from the beginning.
    const BACKED: usize = 1 << 20;
    for (start, length) in shared_memory() {
        for _ in 0..writes {
            // Words are what matters: most of the time it is one of those in front.
            let length = if random() % 4 == 0 { BACKED } else { 120 << 10 }.min(length);
            let place = start + random() as usize % (length / 8) * 8;
            let garbage = match random() % 4 {
                0 => 0,
                1 => u64::MAX,
                2 => random() % 16,
                _ => random(),
            };
            let word = std::ptr::with_exposed_provenance_mut::<u64>(place);
            // SAFETY: it is mapped to be written; what is written there is the point of this.
            unsafe { word.write_volatile(garbage) };
        }
    }
    seed
}

fn scribbled_slots_do_the_parent_no_harm() {
    let mut random = Random::new();
    let (mut values, mut errors) = (0, 0);
    for round in 0..if is_long() { 2000 } else { 40 } {
        let method = METHODS[round % 2];
        let pool = Pool::builder().workers(2).start_method(method).build().expect("a pool");
        let chunk = [1, 10][round / 2 % 2];
        let folder = Folder::new();
        let file = folder.path().join("trace.json");
        // Then workers say when tasks began and ended, and anybody may have written over that.
        let is_traced = round / 4 % 2 == 1;
        if is_traced {
            pool.trace(&file).expect("a file");
        }
        let squares = |n: u64| n * n;
        let before =
            pool.options().chunk_size(chunk).map_async(squares, 0..200).expect("it is open");
        let writes = 1 << random.below(14);
        let scribbled = pool.apply_async(scribble, (random.below(u64::MAX), writes));
        let scribbled = scribbled.expect("it is open");
        let after =
            pool.options().chunk_size(chunk).map_async(squares, 0..200).expect("it is open");
        // Somebody may wait for ever for what was wiped out: so not for ever.
        scribbled.wait(Duration::from_millis(50));
        after.wait(Duration::from_millis(50));
        pool.terminate();
        assert!(before.ready() && scribbled.ready() && after.ready(), "all have an outcome");
        for outcome in before.get_all().into_iter().chain(after.get_all()) {
            match outcome {
                Ok(_) => values += 1,
                Err(_) => errors += 1,
            }
        }
        if is_traced {
            let text = std::fs::read_to_string(&file).expect("it is there");
            let events: Result<Vec<serde_json::Value>, _> = serde_json::from_str(&text);
            assert!(events.is_ok_and(|events| !events.is_empty()), "{text}");
        }
        // Another pool is not concerned.
        if round % 10 == 0 {
            let pool = Pool::new(1).expect("a pool");
            assert_eq!(pool.map(squares, 0..100), Ok((0..100).map(squares).collect()));
        }
    }
    println!("{values} values and {errors} errors");
    assert!(values > 0);
}

/// Writes garbage to every socket and memory that the worker has open.
fn flood(bytes: Vec<u8>) -> usize {
    let mut written = 0;
    for descriptor in 3..100 {
        // SAFETY: bytes of our own, to whatever that is.
        let sent = unsafe {
            libc::send(descriptor, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT)
        };
        written += usize::from(sent > 0);
    }
    written
}

fn garbage_on_a_workers_descriptors_is_its_own_problem() {
    for method in METHODS {
        let pool = Pool::builder().workers(2).start_method(method).build().expect("a pool");
        for length in [1, 8, 9, 100, 60_000] {
            let flooded = pool.apply(flood, (vec![b'r'; length],)).expect("a value");
            assert!(flooded >= 1, "its wires are among them");
            // Handles still go both ways: what is no message of a worker's is passed over.
            let queue = procession::Queue::<u32>::unbounded().expect("queue");
            for _ in 0..4 {
                let back = pool.apply(|queue: procession::Queue<u32>| queue, (queue.clone(),));
                match back {
                    Ok(back) => back.put(&7).expect("it is open"),
                    Err(error) => assert!(
                        matches!(error, TaskError::Decode(_) | TaskError::WorkerDied { .. }),
                        "{error:?}"
                    ),
                }
            }
        }
        assert_eq!(pool.map(|n: u64| n + 1, 0..100), Ok((1..101).collect()));
    }
}
