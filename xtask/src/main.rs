//! The project's own commands.
//!
//! ```text
//! cargo xtask test [--long]      everything that CI checks; --long makes the kill tests 1,000 rounds
//! cargo xtask python             the Python package alone
//! cargo xtask tidy               the structural tests alone
//! cargo xtask bench [--quick]    tables beside the peers; --into FILE writes them into that as well
//! ```
//!
//! `test` needs rustup's cargo and a C linker. It installs what else it wants, and prints a line
//! for what cannot be had.

mod bench;
mod examples;
mod leftovers;
mod python;
mod run;
mod suite;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str =
    "usage: cargo xtask test [--long] | python | tidy | bench [--quick] [SECTION] [--into FILE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut words = arguments.iter().map(String::as_str);
    let passed = match words.next() {
        Some("test") => match words.next() {
            None => suite::test(false),
            Some("--long") if words.next().is_none() => suite::test(true),
            Some(_) => return usage(),
        },
        Some("python") if words.next().is_none() => suite::python(),
        Some("tidy") if words.next().is_none() => report_tidy(),
        Some("bench") => bench::run(&arguments[1..]),
        _ => return usage(),
    };
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}

fn report_tidy() -> bool {
    match tidy::check(&root()) {
        Ok(summary) => {
            println!("{summary}");
            true
        }
        Err(faults) => {
            eprintln!("{faults}");
            false
        }
    }
}

/// The workspace's folder.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
