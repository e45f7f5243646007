//! A pool: callbacks in the parent, and workers that are replaced after some tasks.
//!
//! ```text
//! cargo run --release --example pool_callbacks
//! ```

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::mpsc;

use procession::{Pool, TaskError};

fn main() -> procession::Result<()> {
    let mut out = io::stdout();
    let pool = Pool::builder().workers(2).max_tasks_per_child(3).name("roots").build()?;

    // Callbacks run on a thread of this process, so what they capture is this process's own.
    let (results, received) = mpsc::channel();
    for number in [49.0, 2.0, -1.0, 100.0] {
        let (ok, failed) = (results.clone(), results.clone());
        pool.apply_async(root, (number,))?
            .callback(move |root: &f64| _ = ok.send(format!("root of {number}: {root:.3}")))
            .error_callback(move |error| _ = failed.send(format!("root of {number}: {error}")));
    }
    drop(results);
    // They come as the tasks end, so their order is another one each time.
    let mut lines: Vec<String> = received.iter().collect();
    lines.sort();
    for line in lines {
        writeln!(out, "{line}")?;
    }

    // Look at the processes: none does more than three tasks.
    let pids = pool.map_chunked(|_: u32| std::process::id(), 0..12, 1)?;
    let workers: BTreeSet<u32> = pids.into_iter().collect();
    writeln!(out, "12 tasks, at least 4 processes: {}", workers.len() >= 4)?;

    // A task that ends its process hurts itself alone.
    let outcomes = pool.try_map(fragile, 0..6)?;
    for (number, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(value) => writeln!(out, "task {number}: {value}")?,
            Err(TaskError::WorkerDied { exit, .. }) => {
                writeln!(out, "task {number}: its worker died of {exit}")?;
            }
            Err(error) => writeln!(out, "task {number}: {error}")?,
        }
    }

    // No more tasks; wait for those that are left, and for the workers to go.
    pool.close();
    pool.join()?;
    writeln!(out, "workers left: {}", pool.stats().workers.len())?;
    Ok(())
}

fn root(number: f64) -> f64 {
    assert!(number >= 0.0, "{number} has no root");
    number.sqrt()
}

fn fragile(number: u32) -> u32 {
    if number == 4 {
        std::process::abort();
    }
    number * number
}
