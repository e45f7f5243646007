//! Ending a process, and ending a process with all that it has started.
//!
//! ```text
//! cargo run --release --example terminate_tree
//! ```

use std::io::{self, Write};
use std::thread::sleep;
use std::time::Duration;

use procession::{JoinError, Sender, simplex, spawn};

fn main() -> procession::Result<()> {
    let mut out = io::stdout();

    // One process: SIGTERM, and `join` says so.
    let sleeper = spawn(sleep_long, ())?;
    sleeper.terminate()?;
    match sleeper.join() {
        Err(JoinError::Signaled { signal, .. }) => writeln!(out, "ended by signal {signal}")?,
        other => writeln!(out, "unexpected: {other:?}")?,
    }

    // A tree: the child starts two of its own, and tells their pids.
    let (pids, sender) = simplex::<u32>()?;
    let boss = spawn(start_two, (sender,))?;
    let grandchildren = [pids.recv()?, pids.recv()?];
    writeln!(out, "grandchildren: {} of them run", grandchildren.len())?;

    boss.terminate_tree()?;
    let how = boss.wait()?;
    writeln!(out, "the child: {how}")?;

    // Both grandchildren hold the sender too, so the end of the pipe says that they are gone.
    match pids.recv() {
        Err(error) => writeln!(out, "the grandchildren: gone ({error})")?,
        Ok(pid) => writeln!(out, "unexpected: {pid}")?,
    }
    Ok(())
}

fn sleep_long() {
    sleep(Duration::from_secs(3600));
}

/// Starts two processes, tells their pids, and waits for them.
fn start_two(pids: Sender<u32>) {
    for _ in 0..2 {
        // A handle is a value: each grandchild gets its own to the same pipe.
        let grandchild = spawn(hold, (pids.clone(),));
        let grandchild = grandchild.expect("a process can start processes");
        pids.send(&grandchild.pid()).expect("the parent listens");
    }
    sleep_long();
}

/// Keeps its end of the pipe open for as long as it lives.
fn hold(pids: Sender<u32>) {
    sleep_long();
    drop(pids);
}
