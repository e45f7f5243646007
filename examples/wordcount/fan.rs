//! The files over the processes: what runs in the parent.
//!
//! Batches of files are tasks of a pool. A batch in which a worker died is done again file by file,
//! each a task of its own: so the file that kills is found, and costs itself alone. Nothing of the
//! failed batch was counted, so no file is counted twice.

use std::collections::HashMap;

use indicatif::{ProgressBar, ProgressStyle};
use procession::{Pool, TaskError};

use crate::count::{BatchResult, FileResult, Frequencies, Task, count_batch};
use crate::input::Input;

/// A batch is this large, or this many files: a task takes some tens of milliseconds.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_FILES: usize = 1_000;

/// What all workers found.
#[derive(Default)]
pub(crate) struct Results {
    /// Each file by its number in the input.
    pub(crate) files: HashMap<usize, FileResult>,
    pub(crate) frequencies: Frequencies,
    /// Files that killed the process that read them, and how it ended.
    pub(crate) failed: Vec<(usize, String)>,
    /// How many processes were started.
    pub(crate) started: u64,
}

/// Counts all files with `processes` workers.
pub(crate) fn count_all(
    input: &Input,
    processes: usize,
    crash: Option<&str>,
) -> procession::Result<Results> {
    let mut results = Results::default();
    let pool = Pool::builder().workers(processes).name("counter").build()?;
    let bar = progress_bar(input.bytes());
    let call = |tasks: &Vec<Task>| (tasks.clone(), crash.map(String::from));

    let batches = batches(input);
    let mut again: Vec<Vec<Task>> = Vec::new();
    // Batches are read from the iterator as workers get through them, and come back in order.
    let outcomes = pool.options().istarmap(count_batch, batches.iter().map(call));
    for (batch, outcome) in batches.iter().zip(outcomes) {
        match outcome {
            Ok(result) => results.add(result),
            Err(_) => again.extend(batch.iter().map(|task| vec![task.clone()])),
        }
        bar.inc(batch.iter().map(|(number, _)| input.files[*number].bytes).sum());
    }
    let outcomes = pool.options().istarmap(count_batch, again.iter().map(call));
    for (files, outcome) in again.iter().zip(outcomes) {
        match outcome {
            Ok(result) => results.add(result),
            Err(error) => results.fail(files, &error),
        }
    }
    bar.finish_and_clear();
    results.started = processes as u64 + pool.stats().restarts;
    Ok(results)
}

impl Results {
    fn add(&mut self, BatchResult { files, frequencies }: BatchResult) {
        self.files.extend(files);
        for (word, count) in frequencies {
            *self.frequencies.entry(word).or_default() += count;
        }
    }

    fn fail(&mut self, files: &[Task], error: &TaskError) {
        self.failed.extend(files.iter().map(|(number, _)| (*number, error.to_string())));
    }
}

/// Splits the files, in order, into batches.
fn batches(input: &Input) -> Vec<Vec<Task>> {
    let mut batches = Vec::new();
    let (mut tasks, mut bytes) = (Vec::new(), 0);
    for (number, file) in input.files.iter().enumerate() {
        tasks.push((number, file.path.clone()));
        bytes += file.bytes;
        if bytes >= BATCH_BYTES || tasks.len() >= BATCH_FILES {
            batches.push(std::mem::take(&mut tasks));
            bytes = 0;
        }
    }
    if !tasks.is_empty() {
        batches.push(tasks);
    }
    batches
}

/// Drawn on stderr, and only if that is a terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::new(bytes);
    let template = "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}
