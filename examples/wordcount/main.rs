//! Counts the bytes, lines and words of many files in several processes.
//!
//! ```text
//! cargo run --release --example wordcount -- [--processes N] [--crash SUBSTRING] [PATH …]
//! ```
//!
//! A file on which a process dies costs that file alone: the program says what killed the process,
//! and the other files of its batch are counted by another. `--crash` makes it happen for real.

mod count;
mod fan;
mod input;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "\
usage: wordcount [--processes N] [--crash SUBSTRING] [PATH …]

Counts the bytes, lines and words of the text files at and below the paths
(without one: of documentation that this machine has).

  --processes N       how many processes count at once (default: one per CPU)
  --crash SUBSTRING   write to an invalid address on each file whose path has it
  --help              print this";

/// What the command line asks for.
struct Options {
    processes: usize,
    crash: Option<String>,
    paths: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => return say(USAGE),
        Err(why) => {
            eprintln!("wordcount: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("wordcount: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(options: Options) -> procession::Result<ExitCode> {
    let start = Instant::now();
    let roots = if options.paths.is_empty() { input::default_roots() } else { options.paths };
    let input = input::find(&roots);
    let processes = options.processes;
    let results = fan::count_all(&input, processes, options.crash.as_deref())?;
    let text = report::text(&input, &results, processes, start.elapsed());
    let has_failed = !input.unreadable.is_empty() || !results.failed.is_empty();
    say(&text);
    Ok(if has_failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Prints to stdout. A reader that went away early (`| head`) is no error.
fn say(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(2),
        _ => ExitCode::SUCCESS,
    }
}

/// Reads the command line; `None` if it asks for help.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options =
        Options { processes: procession::cpu_count(), crash: None, paths: Vec::new() };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--processes" => {
                let text = value()?;
                options.processes = match text.parse() {
                    Ok(0) | Err(_) => return Err(format!("--processes {text}: not 1 or more")),
                    Ok(number) => number,
                };
            }
            "--crash" => options.crash = Some(value()?),
            unknown if unknown.starts_with("--") => return Err(format!("{unknown}: unknown")),
            path => options.paths.push(path.into()),
        }
    }
    Ok(Some(options))
}
