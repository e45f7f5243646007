//! A pipe between two processes: sending, polling, and the end of file.
//!
//! ```text
//! cargo run --release --example pipe_poll
//! ```

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use procession::{RecvError, Sender, simplex, spawn};

fn main() -> procession::Result<()> {
    let mut out = io::stdout();
    let (readings, sender) = simplex::<f64>()?;

    // The sender moves into the child: when the child ends, in whatever way, the pipe ends.
    let child = spawn(measure, (3, sender))?;

    let mut idle = 0_u32;
    loop {
        // True if `recv` would not wait: a message is there, or the end.
        if !readings.poll(Duration::from_millis(20))? {
            idle += 1;
            continue;
        }
        match readings.recv() {
            Ok(reading) => writeln!(out, "reading {reading}")?,
            Err(RecvError::Closed) => break,
            Err(error) => return Err(error.into()),
        }
    }
    writeln!(out, "end of file; there was time for other work: {}", idle > 0)?;
    writeln!(out, "the child sent {} readings", child.join()?)?;
    Ok(())
}

/// Sends some readings, with a pause before each.
fn measure(count: u32, readings: Sender<f64>) -> u32 {
    for number in 0..count {
        sleep(Duration::from_millis(60));
        if readings.send(&(f64::from(number) * 1.5)).is_err() {
            return number;
        }
    }
    count
}
