//! The files over the processes: what runs in the parent.
//!
//! Each batch of files goes to a child of its own and is taken whole, as the child's return value.
//! The child also says which file it is on. If it dies, that file is the one that killed it; the
//! batch without it is counted anew in another child, and no file is counted twice.

use std::collections::{HashMap, VecDeque};

use indicatif::{ProgressBar, ProgressStyle};
use procession::{Child, Process, Receiver, TryRecvError, Waitable, simplex, wait};

use crate::count::{BatchResult, FileResult, Frequencies, Progress, Task, count_batch};
use crate::input::Input;

/// A batch is this large, or this many files: a child lives for some tens of milliseconds.
const BATCH_BYTES: u64 = 8 << 20;
const BATCH_FILES: usize = 1_000;

/// How many children may die on no file of a batch before it is given up.
const MOST_STARTS: usize = 3;

/// What all children found.
#[derive(Default)]
pub(crate) struct Results {
    /// Each file by its number in the input.
    pub(crate) files: HashMap<usize, FileResult>,
    pub(crate) frequencies: Frequencies,
    /// Files that killed the process that read them, and how it ended.
    pub(crate) failed: Vec<(usize, String)>,
    /// How many children were started.
    pub(crate) started: usize,
}

/// Files that go to one child together.
struct Batch {
    tasks: Vec<Task>,
    starts: usize,
}

/// A child at work.
struct Worker {
    child: Child<BatchResult>,
    progress: Receiver<Progress>,
    batch: Batch,
    /// The file that it is on, if any.
    current: Option<usize>,
    /// What it has added to the progress bar.
    shown: u64,
}

/// Counts all files with at most `processes` children at a time.
pub(crate) fn count_all(
    input: &Input,
    processes: usize,
    crash: Option<&str>,
) -> procession::Result<Results> {
    let mut results = Results::default();
    let mut waiting = batches(input);
    let mut workers: Vec<Worker> = Vec::new();
    let bar = progress_bar(input.bytes());
    loop {
        while workers.len() < processes {
            let Some(batch) = waiting.pop_front() else { break };
            match start(&batch, crash) {
                Ok((child, progress)) => workers.push(Worker::new(child, progress, batch)),
                // The machine allows no more processes: go on with those that are there.
                Err(_) if !workers.is_empty() => {
                    waiting.push_front(batch);
                    break;
                }
                Err(error) => return Err(error),
            }
            results.started += 1;
        }
        if workers.is_empty() {
            break;
        }
        let watched: Vec<&dyn Waitable> =
            workers.iter().map(|worker| &worker.progress as &dyn Waitable).collect();
        let ready = wait(&watched, None)?;
        // From the last to the first, so that removing one leaves the numbers of the others.
        for index in ready.into_iter().rev() {
            if workers[index].listen(&bar)? {
                let worker = workers.swap_remove(index);
                waiting.extend(worker.finish(&mut results, &bar));
            }
        }
    }
    bar.finish_and_clear();
    Ok(results)
}

/// Splits the files, in order, into batches.
fn batches(input: &Input) -> VecDeque<Batch> {
    let mut batches = VecDeque::new();
    let (mut tasks, mut bytes) = (Vec::new(), 0);
    for (number, file) in input.files.iter().enumerate() {
        tasks.push((number, file.path.clone()));
        bytes += file.bytes;
        if bytes >= BATCH_BYTES || tasks.len() >= BATCH_FILES {
            batches.push_back(Batch { tasks: std::mem::take(&mut tasks), starts: 0 });
            bytes = 0;
        }
    }
    if !tasks.is_empty() {
        batches.push_back(Batch { tasks, starts: 0 });
    }
    batches
}

/// A child that has been started, and what it says while it works.
type Started = (Child<BatchResult>, Receiver<Progress>);

fn start(batch: &Batch, crash: Option<&str>) -> procession::Result<Started> {
    let (progress, sender) = simplex::<Progress>()?;
    let arguments = (batch.tasks.clone(), crash.map(String::from), sender);
    // A daemon ends with its parent, so Ctrl-C leaves nothing running.
    let child = Process::new(count_batch, arguments).name("counter").daemon(true).start()?;
    Ok((child, progress))
}

impl Worker {
    fn new(child: Child<BatchResult>, progress: Receiver<Progress>, mut batch: Batch) -> Worker {
        batch.starts += 1;
        Worker { child, progress, batch, current: None, shown: 0 }
    }

    /// Takes what the child has said, and says whether that was the last.
    fn listen(&mut self, bar: &ProgressBar) -> procession::Result<bool> {
        loop {
            match self.progress.try_recv() {
                Ok(Progress { on, done }) => {
                    self.current = on;
                    bar.inc(done - self.shown);
                    self.shown = done;
                }
                Err(TryRecvError::Empty) => return Ok(false),
                Err(TryRecvError::Closed) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes the result of a child that has closed its end; what is left of its batch comes back.
    fn finish(self, results: &mut Results, bar: &ProgressBar) -> Option<Batch> {
        let error = match self.child.join() {
            Ok(BatchResult { files, frequencies }) => {
                results.files.extend(files);
                for (word, count) in frequencies {
                    *results.frequencies.entry(word).or_default() += count;
                }
                return None;
            }
            Err(error) => error,
        };
        bar.dec(self.shown);
        let mut batch = self.batch;
        match self.current {
            Some(number) => {
                batch.tasks.retain(|(task, _)| *task != number);
                batch.starts = 0;
                results.failed.push((number, error.to_string()));
            }
            // It died before the first file or after the last, by no fault of theirs.
            None if batch.starts < MOST_STARTS => {}
            None => {
                let why = error.to_string();
                let tasks = batch.tasks.drain(..);
                results.failed.extend(tasks.map(|(number, _)| (number, why.clone())));
            }
        }
        (!batch.tasks.is_empty()).then_some(batch)
    }
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
