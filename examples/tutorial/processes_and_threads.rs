//! Processes times threads: three processes with ten threads each.
//!
//! ```text
//! cargo run --release --example processes_and_threads
//! ```

use std::collections::BTreeSet;
use std::io::{self, Write};

use procession::{Barrier, Pool};

fn main() -> procession::Result<()> {
    let mut out = io::stdout();
    let pool = Pool::builder().workers(3).threads_per_worker(10).build()?;

    // Thirty tasks that wait for each other: they can only end if all thirty run at once.
    let barrier = Barrier::new(30)?;
    let ran = pool.starmap(meet, (0..30).map(|_| (barrier.clone(),)))?;

    let processes: BTreeSet<u32> = ran.iter().map(|(process, _)| *process).collect();
    let threads: BTreeSet<&(u32, String)> = ran.iter().collect();
    writeln!(out, "{} processes, {} threads, all at once", processes.len(), threads.len())?;

    // Threads of one process share its memory, so what one has counted all have.
    let counts = pool.map(|_: u32| count(), 0..300)?;
    let most = counts.iter().max().copied().unwrap_or_default();
    writeln!(out, "a process has counted at least 100 of 300: {}", most >= 100)?;
    Ok(())
}

/// Waits for all others, and says who this is.
fn meet(barrier: Barrier) -> (u32, String) {
    barrier.wait().expect("all thirty come");
    (std::process::id(), format!("{:?}", std::thread::current().id()))
}

fn count() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    /// One for each process.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    COUNT.fetch_add(1, Ordering::Relaxed) + 1
}
