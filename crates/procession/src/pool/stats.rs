//! How a pool is.

/// How a pool is, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// The workers.
    pub workers: Vec<WorkerStats>,
    /// How many tasks wait for a worker.
    pub queued: usize,
    /// How many tasks, or pieces of several, workers are at.
    pub running: usize,
    /// How many tasks have returned a value, or panicked, since the pool was made.
    pub done: u64,
    /// How many tasks ended otherwise: their worker died, they timed out, were cancelled, …
    pub failed: u64,
    /// How many workers were replaced.
    pub restarts: u64,
}

/// How a worker is, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStats {
    /// The process's number.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// How many tasks it has done.
    pub tasks_done: u64,
    /// Whether it is at a task.
    pub busy: bool,
}
