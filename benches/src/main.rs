//! Procession's times beside the system's own and its peers', as Markdown tables.
//!
//! ```text
//! cargo xtask bench [--quick] [start | pipe | queue | shared | lock | pool | idle]
//! ```
//!
//! Every number comes from a process of its own: this program again, with the row as its
//! arguments. So one row's memory, threads and helpers do not weigh on the next, and a row that
//! takes too long is ended and says so.

#[cfg(target_os = "linux")]
mod contention;
#[cfg(target_os = "linux")]
mod crowd;
#[cfg(target_os = "linux")]
mod iceoryx;
#[cfg(target_os = "linux")]
mod idle;
#[cfg(target_os = "linux")]
mod latency;
#[cfg(target_os = "linux")]
mod lock;
#[cfg(target_os = "linux")]
mod measure;
#[cfg(target_os = "linux")]
mod pipe;
#[cfg(target_os = "linux")]
mod pipe_peers;
#[cfg(target_os = "linux")]
mod pool;
#[cfg(target_os = "linux")]
mod posix;
#[cfg(target_os = "linux")]
mod queue;
#[cfg(target_os = "linux")]
mod queue_peers;
#[cfg(target_os = "linux")]
mod row;
#[cfg(target_os = "linux")]
mod shared;
#[cfg(target_os = "linux")]
mod signals;
#[cfg(target_os = "linux")]
mod start;
#[cfg(target_os = "linux")]
mod system;

use std::process::ExitCode;

/// The argument with which this program does nothing: a baseline is how long that takes.
const DO_NOTHING: &str = "do-nothing";

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let [DO_NOTHING] = words[..] {
        return ExitCode::SUCCESS;
    }
    // A child of procspawn enters `main` and must be caught here.
    procspawn::init();
    match words[..] {
        ["row", quick, ref row @ ..] => row::run(quick == "quick", row),
        [] => row::tables(false, ""),
        ["--quick"] => row::tables(true, ""),
        ["--quick", section] => row::tables(true, section),
        [section] => row::tables(false, section),
        _ => {
            eprintln!("usage: procession-benches [--quick] [{}]", row::SECTIONS.join(" | "));
            ExitCode::from(2)
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("the benches know only Linux's baselines ({DO_NOTHING})");
    ExitCode::FAILURE
}
