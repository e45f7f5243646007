//! A process as a type of one's own: its fields go to the child, `run` runs there.
//!
//! ```text
//! cargo run --release --example custom_process
//! ```

use std::io::{self, Write};

use procession::{JoinError, Process, Run};
use serde::{Deserialize, Serialize};

/// Adds up the numbers of a range, and insists on a range that is not empty.
#[derive(Serialize, Deserialize)]
struct Sum {
    from: u64,
    to: u64,
}

impl Run for Sum {
    type Output = u64;

    fn run(self) -> u64 {
        assert!(self.from < self.to, "nothing between {} and {}", self.from, self.to);
        (self.from..self.to).sum()
    }
}

fn main() -> procession::Result<()> {
    let mut out = io::stdout();

    let child = Process::custom(Sum { from: 1, to: 101 }).name("adder").start()?;
    writeln!(out, "{} has started", child.name())?;
    writeln!(out, "the sum is {}", child.join()?)?;

    // A panic stays in the child; what it said, and where, comes back.
    let child = Process::custom(Sum { from: 5, to: 5 }).start()?;
    match child.join() {
        Err(JoinError::Panicked { message, location, .. }) => {
            writeln!(out, "panicked with `{message}` at {location}")?;
        }
        other => writeln!(out, "unexpected: {other:?}")?,
    }
    Ok(())
}
