//! How a pool is described before its workers are started.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::engine::Engine;
use super::local::{CrewSettings, Local, Passed};
use super::own::{Initializer, Own};
use super::{Pool, PoolError};
use crate::codec::arguments_sealed::Encoding;
use crate::codec::{Arguments, Encoded};
use crate::context::{StartMethod, cpu_count};
use crate::start::StartError;
use crate::target::{self, Target};

/// A pool that is not made yet: settings come first.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procession::Pool;
///
/// fn set_up(verbose: bool) {
///     if verbose {
///         println!("a worker is ready");
///     }
/// }
///
/// let pool = Pool::builder()
///     .workers(2)
///     .name("decoders")
///     .initializer(set_up, (false,))
///     .task_timeout(Duration::from_secs(5))
///     .memory_limit(1 << 30)
///     .retries(2)
///     .build()?;
/// assert_eq!(pool.apply(u32::count_ones, (7,))?, 3);
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use = "a pool does nothing until it is built"]
pub struct PoolBuilder {
    workers: Option<usize>,
    threads: usize,
    max_tasks: Option<usize>,
    initializer: Option<Result<Initializer, PoolError>>,
    timeout: Option<Duration>,
    memory_limit: Option<u64>,
    retries: usize,
    name: String,
    start_method: Option<StartMethod>,
}

impl PoolBuilder {
    pub(super) fn new() -> Self {
        Self {
            workers: None,
            threads: 1,
            max_tasks: None,
            initializer: None,
            timeout: None,
            memory_limit: None,
            retries: 0,
            name: "PoolWorker".to_owned(),
            start_method: None,
        }
    }

    /// Chooses how many processes there are; as many as [`cpu_count`] says otherwise.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Chooses how many threads of each process run tasks; one otherwise.
    ///
    /// Threads of one process share its fate: when a task ends its process, or has it ended by a
    /// time limit, tasks of the other threads end with [`WorkerDied`](crate::TaskError::WorkerDied).
    pub fn threads_per_worker(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// Has each worker replaced by a new one after so many tasks.
    pub fn max_tasks_per_child(mut self, tasks: usize) -> Self {
        self.max_tasks = Some(tasks);
        self
    }

    /// Has each worker call `function` with `args` before its first task.
    ///
    /// One that panics, or ends its process, makes the pool fail after a few attempts, if it has no
    /// other worker: all tasks end with [`NoWorkers`](crate::TaskError::NoWorkers), which says what
    /// happened.
    pub fn initializer<F, Args>(mut self, function: F, args: Args) -> Self
    where
        F: Target<Args>,
        Args: Arguments,
        F::Output: Serialize,
    {
        let _ = function; // it has no bytes: its type says it all
        let describe = || {
            let target = target::name_function::<F, Args>()
                .map_err(|error| PoolError::Start(StartError::from(error)))?;
            let mut encoded = Encoded::default();
            args.encode(&mut Encoding(&mut encoded)).map_err(PoolError::Encode)?;
            let handles = encoded.handles.into_iter().map(Passed).collect();
            Ok(Initializer { target, arguments: encoded.bytes, handles })
        };
        self.initializer = Some(describe());
        self
    }

    /// Limits how long each task may run, from when a worker begins with it. See
    /// [`TaskOptions::timeout`](crate::TaskOptions::timeout).
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Limits the private memory of each worker, in bytes, as
    /// [`Process::memory_limit`](crate::Process::memory_limit) does. A task that needs more ends with
    /// its worker, as [`MemoryLimit`](crate::TaskError::MemoryLimit).
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Has a task run again, at most so many times, when its worker died or it timed out.
    pub fn retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// Names the workers: "decoders-1", "decoders-2", …
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Chooses the start method of the workers.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = Some(method);
        self
    }

    /// Makes the pool and starts its workers.
    ///
    /// # Errors
    ///
    /// - [`Invalid`](PoolError::Invalid): no worker, too many, no time, no tasks.
    /// - [`Start`](PoolError::Start): a worker could not be started; none is left.
    /// - [`Encode`](PoolError::Encode): the initializer's arguments.
    /// - [`Create`](PoolError::Create): no memory or descriptor for what pool and workers share.
    pub fn build(self) -> Result<Pool, PoolError> {
        if self.timeout == Some(Duration::ZERO) {
            return Err(PoolError::invalid(
                "a time limit of 0 would end every task: leave it out, or allow some time",
            ));
        }
        if self.max_tasks == Some(0) {
            return Err(PoolError::invalid(
                "workers that end after 0 tasks would never run one: the least is 1",
            ));
        }
        let settings = CrewSettings {
            workers: self.workers.unwrap_or_else(cpu_count),
            threads: self.threads,
            name: self.name,
            max_tasks: self.max_tasks.map(|tasks| tasks as u64),
        };
        let hire = Arc::new(Own {
            memory_limit: self.memory_limit,
            start_method: self.start_method,
            initializer: self.initializer.transpose()?,
        });
        let engine = Engine::new(|wake| Ok(Box::new(Local::new(settings, hire, wake)?)))?;
        Ok(Pool::from_engine(engine, self.timeout, self.retries))
    }
}

impl fmt::Debug for PoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolBuilder")
            .field("workers", &self.workers)
            .field("threads_per_worker", &self.threads)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
