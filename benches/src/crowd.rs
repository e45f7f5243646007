//! Several processes, or threads, that work on one thing at once: how much they get done.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::measure::Plan;
use crate::system;

/// Does something once, and says how many messages, or whatever else is counted, that was.
pub(crate) type Step = Box<dyn FnMut() -> Result<u64, Box<dyn Error>>>;

/// Makes a step where it will run: in the process, or thread, of its own.
pub(crate) type Open = Arc<dyn Fn() -> Result<Step, Box<dyn Error>> + Send + Sync>;

/// Where the members of a crowd live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lives {
    /// In forks that procession has made, for what is ours.
    Ours,
    /// In the system's own forks.
    Forks,
    /// In threads of this process.
    Threads,
}

/// What is done by how many, and where.
pub(crate) struct Crowd {
    pub(crate) lives: Lives,
    /// How many put, and by which step.
    pub(crate) writers: (usize, Open),
    /// How many take, and by which step. Only what they do is counted.
    pub(crate) readers: (usize, Open),
    /// How far the writers may be ahead: what waits has to fit into memory.
    pub(crate) ahead: u64,
    pub(crate) on_one_core: bool,
}

/// More members than any crowd has.
const MOST: usize = 32;

/// A count that one member writes, on a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct Count(AtomicU64);

// ORDERING: counts guard nothing; whoever reads them late is told a moment later.
const SOME_TIME: Ordering = Ordering::Relaxed;

#[derive(Default)]
struct Counts {
    ready: AtomicU64,
    failed: AtomicU64,
    put: [Count; MOST],
    taken: [Count; MOST],
}

impl Counts {
    fn sum(counts: &[Count]) -> u64 {
        counts.iter().map(|count| count.0.load(SOME_TIME)).sum()
    }

    /// Writers look at the others' counts once for so many steps.
    fn writer(&self, index: usize, step: &mut Step, ahead: u64) -> Result<(), Box<dyn Error>> {
        let (mut count, between) = (0, (ahead / 64).clamp(1, 64));
        loop {
            for _ in 0..between {
                count += step()?;
                self.put[index].0.store(count, SOME_TIME);
            }
            while Self::sum(&self.put) > Self::sum(&self.taken) + ahead {
                thread::sleep(Duration::from_micros(50));
            }
        }
    }

    fn reader(&self, index: usize, step: &mut Step) -> Result<(), Box<dyn Error>> {
        let mut count = 0;
        loop {
            count += step()?;
            self.taken[index].0.store(count, SOME_TIME);
        }
    }
}

/// Ends its members when it goes.
#[derive(Default)]
struct Members {
    ours: Vec<procession::Child<()>>,
    forks: Vec<libc::pid_t>,
}

impl Members {
    fn start(
        &mut self,
        lives: Lives,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), Box<dyn Error>> {
        let in_fork = |work: Box<dyn FnOnce()>| {
            system::die_with_parent();
            work();
        };
        match lives {
            Lives::Ours => {
                // SAFETY: the other thread of this process is procession's own, which it minds.
                self.ours.push(unsafe { procession::fork(|| in_fork(Box::new(work))) }?);
            }
            Lives::Forks => self.forks.push(system::fork(|| in_fork(Box::new(work)))?),
            // A thread ends with this process, which has but one row to measure.
            Lives::Threads => _ = thread::spawn(work),
        }
        Ok(())
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.forks.iter().for_each(|&pid| system::kill(pid));
        for child in self.ours.drain(..) {
            let _ = child.kill();
            let _ = child.join();
        }
    }
}

/// How much the readers take in a second, and what part of the most the least one has taken.
pub(crate) fn rate(plan: Plan, crowd: &Crowd) -> Result<(f64, f64), Box<dyn Error>> {
    let counts: &'static Counts = system::shared(Counts::default())?;
    let cores = system::cores();
    let place = |turn: usize| cores[if crowd.on_one_core { 0 } else { turn % cores.len() }];
    let mut members = Members::default();
    let (readers, ahead) = (crowd.readers.0, crowd.ahead);
    for index in 0..readers {
        // The first reader is not where the first writer is.
        let (open, core) = (Arc::clone(&crowd.readers.1), place(index + 1));
        members.start(crowd.lives, move || {
            work(counts, core, &open, |step| counts.reader(index, step));
        })?;
    }
    for index in 0..crowd.writers.0 {
        let (open, core) = (Arc::clone(&crowd.writers.1), place(index));
        members.start(crowd.lives, move || {
            // What is put before there are readers is lost with some.
            while counts.ready.load(SOME_TIME) < readers as u64 {
                thread::sleep(Duration::from_micros(50));
            }
            work(counts, core, &open, |step| counts.writer(index, step, ahead));
        })?;
    }
    let rate = plan.rate(|| Counts::sum(&counts.taken));
    let taken = || counts.taken[..readers].iter().map(|count| count.0.load(SOME_TIME));
    let (least, most) = (taken().min().unwrap_or(0), taken().max().unwrap_or(0));
    match counts.failed.load(SOME_TIME) {
        0 if rate > 0.0 => Ok((rate, least as f64 / most as f64)),
        0 => Err("nothing was done".into()),
        failed => Err(format!("{failed} of them failed").into()),
    }
}

fn work(
    counts: &Counts,
    core: usize,
    open: &Open,
    run: impl FnOnce(&mut Step) -> Result<(), Box<dyn Error>>,
) {
    let outcome =
        system::pin(core).map_err(Into::into).and_then(|()| open()).and_then(|mut step| {
            counts.ready.fetch_add(1, SOME_TIME);
            run(&mut step)
        });
    if let Err(error) = outcome {
        counts.failed.fetch_add(1, SOME_TIME);
        eprintln!("one of a crowd: {error}");
    }
}
