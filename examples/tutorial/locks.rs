//! Locks, semaphores and events between processes, and a holder that dies.
//!
//! ```text
//! cargo run --release --example locks
//! ```

use std::io::{self, Write};

use procession::{BoundedSemaphore, Event, Lock, Value, spawn};

fn main() -> procession::Result<()> {
    let mut out = io::stdout();

    // A value in shared memory, behind a lock of its own: no increment is lost.
    let counter = Value::<u64>::new(0)?;
    let children =
        (0..4).map(|_| spawn(count, (counter.clone(), 1_000))).collect::<Result<Vec<_>, _>>()?;
    for child in children {
        child.join()?;
    }
    writeln!(out, "4 processes have counted to {}", *counter.lock()?)?;

    // At most two at a time, and giving up more than was taken is an error.
    let seats = BoundedSemaphore::new(2)?;
    let at_once = Value::<u64>::new(0)?;
    let guests = (0..6)
        .map(|_| spawn(sit, (seats.clone(), at_once.clone())))
        .collect::<Result<Vec<_>, _>>()?;
    let mut most = 0;
    for guest in guests {
        most = most.max(guest.join()?);
    }
    writeln!(out, "never more than 2 sat: {}", most <= 2)?;
    writeln!(
        out,
        "a third seat: {}",
        seats.release().is_err_and(|error| !error.to_string().is_empty())
    )?;

    // A flag that processes wait for.
    let ready = Event::new()?;
    let waiting = spawn(wait_for, (ready.clone(),))?;
    ready.set();
    writeln!(out, "the event was seen: {}", waiting.join()?)?;

    // A process that dies with a lock: whoever takes it next is told, and has it.
    let lock = Lock::new()?;
    let _ = spawn(die_with, (lock.clone(),))?.join();
    match lock.acquire() {
        Ok(_) => writeln!(out, "unexpected: nobody was missed")?,
        Err(died) => {
            writeln!(out, "the lock's holder died: {died}")?;
            let _guard = died.into_inner();
            writeln!(out, "and the lock is ours: {}", lock.is_locked())?;
        }
    }
    Ok(())
}

fn count(counter: Value<u64>, times: u64) {
    for _ in 0..times {
        *counter.lock().expect("nobody died") += 1;
    }
}

/// Returns how many sat at the same time.
fn sit(seats: BoundedSemaphore, at_once: Value<u64>) -> u64 {
    let _seat = seats.acquire().expect("nobody died");
    let now = {
        let mut sitting = at_once.lock().expect("nobody died");
        *sitting += 1;
        *sitting
    };
    std::thread::sleep(std::time::Duration::from_millis(20));
    *at_once.lock().expect("nobody died") -= 1;
    now
}

fn wait_for(ready: Event) -> bool {
    ready.wait();
    ready.is_set()
}

fn die_with(lock: Lock) {
    let _guard = lock.acquire();
    std::process::abort();
}
