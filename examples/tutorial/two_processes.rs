//! Two processes side by side, and how long both took.
//!
//! ```text
//! cargo run --release --example two_processes
//! ```

use std::io::{self, Write};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn main() -> procession::Result<()> {
    let start = Instant::now();

    // Like `std::thread::spawn`, with the arguments as a tuple. Each call starts a process.
    let first = procession::spawn(nap, ("first".to_string(), 300))?;
    let second = procession::spawn(nap, ("second".to_string(), 300))?;

    let naps = [first.join()?, second.join()?];
    let elapsed = start.elapsed().as_millis();

    let mut out = io::stdout();
    for (text, milliseconds) in &naps {
        writeln!(out, "{text} for {milliseconds} ms")?;
    }
    let together: u64 = naps.iter().map(|(_, milliseconds)| milliseconds).sum();
    writeln!(out, "{together} ms of naps in {elapsed} ms")?;
    Ok(())
}

/// What a child does. Its return value comes back through `join`.
fn nap(who: String, milliseconds: u64) -> (String, u64) {
    sleep(Duration::from_millis(milliseconds));
    let own = procession::current_process();
    (format!("{who} ran as {} ({}) and slept", own.name(), own.pid()), milliseconds)
}
