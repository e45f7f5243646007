//! Makes thumbnails of a directory of images, in which some break what decodes them.
//!
//! ```text
//! cargo run --release --example thumbnails -- [--workers N] [--into DIR] [DIRECTORY]
//! ```
//!
//! Without a directory it makes one with the worst that a directory can have. Look at:
//!
//! - `main`: one pool with a time limit, a memory limit and retries is all that stands between this
//!   program and a decoder that loops, crashes or eats the machine.
//! - the table: each file has an outcome of its own. Those that killed their workers were tried
//!   twice; they cost nothing but themselves.
//! - `decode.rs`: nothing in there knows of processes. It is as fragile as decoders are.
//! - `log`, an array in shared memory: it is an argument like any other.

mod decode;
mod samples;
mod table;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use procession::{Array, OwnerDied, Pool};

use crate::decode::{Decoded, now, thumbnail};
use crate::table::Row;

const USAGE: &str = "\
usage: thumbnails [--workers N] [--into DIR] [DIRECTORY]

Scales the images in DIRECTORY down (without one: of a folder that it makes)
and prints what became of each.

  --workers N   how many processes work at once (default: one per CPU)
  --into DIR    where thumbnails are put (default: nowhere)
  --help        print this";

/// How long one file may take, how much memory, and how often a file may kill its worker before it
/// is given up.
const TIME: Duration = Duration::from_millis(800);
const MEMORY: u64 = 96 << 20;
const RETRIES: usize = 1;

struct Options {
    workers: usize,
    into: Option<PathBuf>,
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("thumbnails: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("thumbnails: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: Options) -> procession::Result<()> {
    let made = match options.directory {
        Some(_) => None,
        None => Some(samples::make()?),
    };
    let directory = options.directory.as_deref().or(made.as_ref().map(samples::Folder::path));
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory.unwrap_or(Path::new(".")))?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<_>>()?;
    files.retain(|path| path.is_file());
    files.sort();
    if let Some(into) = &options.into {
        std::fs::create_dir_all(into)?;
    }

    let start = Instant::now();
    let pool = Pool::builder()
        .workers(options.workers)
        .name("thumbnails")
        .task_timeout(TIME)
        .memory_limit(MEMORY)
        .retries(RETRIES)
        .build()?;
    let rows = make_all(&pool, &files, options.into.as_deref())?;
    let text = table::text(&rows, options.workers, pool.stats().restarts, start.elapsed());
    // A reader that went away early (`| head`) is no error.
    let _ = writeln!(io::stdout(), "{text}");
    Ok(())
}

/// Makes the thumbnails, each as a task, and returns what became of each.
fn make_all(pool: &Pool, files: &[PathBuf], into: Option<&Path>) -> procession::Result<Vec<Row>> {
    // For each file: how often it was tried, and when it was first.
    let log = Array::<u64>::new(2 * files.len().max(1))?;
    let bar = progress_bar(files.len());
    let (sender, outcomes) = mpsc::channel();
    for (number, file) in files.iter().enumerate() {
        let (done, failed) = (sender.clone(), sender.clone());
        let into = into.map(Path::to_path_buf);
        // Callbacks run in this process, and may capture what they like.
        pool.apply_async(thumbnail, (file.clone(), into, number, log.clone()))?
            .callback(move |value: &Decoded| _ = done.send((number, Ok(value.clone()))))
            .error_callback(move |error| _ = failed.send((number, Err(error.clone()))));
    }
    drop(sender);
    let mut rows: Vec<(usize, Row)> = Vec::new();
    for (number, outcome) in outcomes {
        let log = log.lock().unwrap_or_else(OwnerDied::into_inner);
        let (tries, began) = (log[2 * number], log[2 * number + 1]);
        let milliseconds = now().saturating_sub(began);
        rows.push((number, Row::new(&files[number], outcome, tries, milliseconds)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    rows.sort_by_key(|(number, _)| *number);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Drawn on stderr, and only if that is a terminal.
fn progress_bar(files: usize) -> ProgressBar {
    let bar = ProgressBar::new(files as u64);
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {pos} of {len}, {eta} left") {
        bar.set_style(style);
    }
    bar
}

/// Reads the command line; `None` if it asks for help.
fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Options>, String> {
    let mut options = Options { workers: procession::cpu_count(), into: None, directory: None };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--help" | "-h" => return Ok(None),
            "--workers" => {
                let text = value()?;
                options.workers =
                    text.parse().map_err(|_| format!("--workers {text}: not a number"))?;
            }
            "--into" => options.into = Some(value()?.into()),
            unknown if unknown.starts_with("--") => return Err(format!("{unknown}: unknown")),
            path if options.directory.is_none() => options.directory = Some(path.into()),
            path => return Err(format!("{path}: there is a directory already")),
        }
    }
    Ok(Some(options))
}
