//! The pool as its users see it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::PoolBuilder;
use super::engine::Engine;
use super::imap::Imap;
use super::map_result::MapResult;
use super::options::TaskOptions;
use super::result::AsyncResult;
use super::{PoolError, PoolStats, SubmitError, TaskError};
use crate::codec::Arguments;
use crate::target::Target;

/// Processes that run tasks.
///
/// A task is a function, or a closure that captures nothing, and its arguments. Each ends exactly
/// once: with a value, or with a [`TaskError`] that says what happened instead. A task that crashes,
/// loops or leaks ends alone, with its worker, which is replaced.
///
/// # Across processes
///
/// Workers end with this process, whatever ends it. A pool may be shared by threads; it cannot be
/// passed to another process, but a task may have a pool of its own. Dropping a pool terminates it.
///
/// # Examples
///
/// ```
/// use procession::{Pool, TaskError};
///
/// fn decode(number: u32) -> u32 {
///     if number == 3 {
///         std::process::abort(); // as a fragile C library would
///     }
///     number * 2
/// }
///
/// let pool = Pool::new(2)?;
/// let results = pool.try_map(decode, 0..5)?;
/// assert_eq!(results[4], Ok(8));
/// assert!(matches!(results[3], Err(TaskError::WorkerDied { .. })));
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Pool {
    engine: Arc<Engine>,
    timeout: Option<Duration>,
    retries: usize,
}

impl Pool {
    /// Makes a pool of so many processes.
    ///
    /// # Errors
    ///
    /// As [`PoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Self, PoolError> {
        Self::builder().workers(workers).build()
    }

    /// Describes a pool with settings of its own.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::new()
    }

    pub(super) fn from_engine(
        engine: Arc<Engine>,
        timeout: Option<Duration>,
        retries: usize,
    ) -> Self {
        Self { engine, timeout, retries }
    }

    /// Settings for some tasks: every method that submits is there, too.
    pub fn options(&self) -> TaskOptions<'_> {
        TaskOptions::new(&self.engine, self.timeout, self.retries)
    }

    /// Calls `function` with `args` in a worker, and waits for its value.
    ///
    /// # Blocking
    ///
    /// Until the task is done. The death of its worker ends the wait.
    ///
    /// # Errors
    ///
    /// A [`TaskError`] that says how it ended instead.
    ///
    /// # Examples
    ///
    /// ```
    /// fn square(number: u64) -> u64 {
    ///     number * number
    /// }
    ///
    /// let pool = procession::Pool::new(1)?;
    /// assert_eq!(pool.apply(square, (7,))?, 49);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn apply<F, Args>(&self, function: F, args: Args) -> Result<F::Output, TaskError>
    where
        F: Target<Args>,
        Args: Arguments,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().apply(function, args)
    }

    /// Submits a call of `function` with `args`, and returns at once.
    ///
    /// # Errors
    ///
    /// A [`SubmitError`] with the arguments, if the pool takes no more tasks. Arguments that do not
    /// encode are the task's outcome.
    ///
    /// # Examples
    ///
    /// ```
    /// fn shout(word: String) -> String {
    ///     word.to_uppercase()
    /// }
    ///
    /// let pool = procession::Pool::new(1)?;
    /// let result = pool
    ///     .apply_async(shout, ("quiet".to_string(),))?
    ///     .callback(|word| println!("{word}"))
    ///     .error_callback(|error| eprintln!("{error}"));
    /// assert_eq!(result.get()?, "QUIET");
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn apply_async<F, Args>(
        &self,
        function: F,
        args: Args,
    ) -> Result<AsyncResult<F::Output>, SubmitError<Args>>
    where
        F: Target<Args>,
        Args: Arguments,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().apply_async(function, args)
    }

    /// Calls `function` with each item, and waits for all values, in the order of the items.
    ///
    /// Several items go to a worker at a time. That changes no outcome: one that crashes hurts none
    /// that went with it.
    ///
    /// # Blocking
    ///
    /// Until all tasks are done.
    ///
    /// # Errors
    ///
    /// The error of the first item that has one; see [`try_map`](Self::try_map) for all.
    ///
    /// [`options`](Self::options) has settings for some tasks: a time limit, say, or a line on the
    /// terminal that says how far it is.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procession::Pool::new(2)?;
    /// let values: Vec<u64> = pool.map(|number: u64| number * number, 0..5)?;
    /// assert_eq!(values, [0, 1, 4, 9, 16]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn map<F, T, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<(T,)>,
        (T,): Arguments,
        I: IntoIterator<Item = T>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().map(function, items)
    }

    /// As [`map`](Self::map), with the items in chunks of `chunk_size`.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map), and [`Invalid`](TaskError::Invalid) for chunks of 0.
    pub fn map_chunked<F, T, I>(
        &self,
        function: F,
        items: I,
        chunk_size: usize,
    ) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<(T,)>,
        (T,): Arguments,
        I: IntoIterator<Item = T>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().map_chunked(function, items, chunk_size)
    }

    /// As [`map`](Self::map), with what became of each item.
    ///
    /// # Errors
    ///
    /// When nothing was submitted: the pool takes no more tasks.
    pub fn try_map<F, T, I>(
        &self,
        function: F,
        items: I,
    ) -> Result<Vec<Result<F::Output, TaskError>>, TaskError>
    where
        F: Target<(T,)>,
        (T,): Arguments,
        I: IntoIterator<Item = T>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().try_map(function, items)
    }

    /// Submits a call of `function` with each item, and returns when all are submitted.
    ///
    /// # Errors
    ///
    /// A [`SubmitError`] with the items, if the pool takes no more tasks.
    pub fn map_async<F, T, I>(
        &self,
        function: F,
        items: I,
    ) -> Result<MapResult<F::Output>, SubmitError<I>>
    where
        F: Target<(T,)>,
        (T,): Arguments,
        I: IntoIterator<Item = T>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().map_async(function, items)
    }

    /// As [`map`](Self::map), with a tuple of arguments for each call.
    ///
    /// # Errors
    ///
    /// As [`map`](Self::map).
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procession::Pool::new(2)?;
    /// let powers = pool.starmap(u64::pow, [(2, 3), (3, 2)])?;
    /// assert_eq!(powers, [8, 9]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn starmap<F, Args, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<Args>,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().starmap(function, items)
    }

    /// As [`map_async`](Self::map_async), with a tuple of arguments for each call.
    ///
    /// # Errors
    ///
    /// As [`map_async`](Self::map_async).
    pub fn starmap_async<F, Args, I>(
        &self,
        function: F,
        items: I,
    ) -> Result<MapResult<F::Output>, SubmitError<I>>
    where
        F: Target<Args>,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().starmap_async(function, items)
    }

    /// Calls `function` with each item, as values are taken from the iterator, in the order of the
    /// items.
    ///
    /// The items are read only a little ahead: an endless source is as good as a short one. Each
    /// value is a result of its own, so an item that fails does not end the others.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procession::Pool::new(2)?;
    /// let mut squares = pool.imap(|number: u64| number * number, 0..);
    /// assert_eq!(squares.next(), Some(Ok(0)));
    /// assert_eq!(squares.next(), Some(Ok(1)));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn imap<F, T, I>(
        &self,
        function: F,
        items: I,
    ) -> Imap<impl Iterator<Item = (T,)> + use<F, T, I>, (T,), F::Output>
    where
        F: Target<(T,)>,
        (T,): Arguments,
        I: IntoIterator<Item = T>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().imap(function, items)
    }

    /// As [`imap`](Self::imap), with values in the order in which tasks end.
    pub fn imap_unordered<F, T, I>(
        &self,
        function: F,
        items: I,
    ) -> Imap<impl Iterator<Item = (T,)> + use<F, T, I>, (T,), F::Output>
    where
        F: Target<(T,)>,
        (T,): Arguments,
        I: IntoIterator<Item = T>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().imap_unordered(function, items)
    }

    /// As [`imap`](Self::imap), with a tuple of arguments for each call.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procession::Pool::new(2)?;
    /// let mut powers = pool.istarmap(u64::pow, [(2, 3), (3, 2)]);
    /// assert_eq!((powers.next(), powers.next(), powers.next()), (Some(Ok(8)), Some(Ok(9)), None));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn istarmap<F, Args, I>(&self, function: F, items: I) -> Imap<I::IntoIter, Args, F::Output>
    where
        F: Target<Args>,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.options().istarmap(function, items)
    }

    /// Changes how many workers there are. Those that are too many go when they have done what they
    /// are at.
    ///
    /// # Errors
    ///
    /// [`Invalid`](PoolError::Invalid) for none, or too many.
    pub fn resize(&self, workers: usize) -> Result<(), PoolError> {
        if !self.engine.is_ours() {
            return Err(PoolError::NotOurs);
        }
        self.engine.backend().resize(workers)
    }

    /// Returns how the pool is now.
    #[must_use]
    pub fn stats(&self) -> PoolStats {
        self.engine.stats()
    }

    /// From now on writes a timeline of tasks to a file, until the pool ends.
    ///
    /// [Perfetto](https://ui.perfetto.dev) and Chrome's `about:tracing` show it: workers as processes,
    /// their threads as tracks, and tasks as slices on them, with the function's name, how it ended,
    /// and how long it has waited for its turn (`queued_us`). Tasks that never ran are marks on a
    /// track of the pool's own. The file is a JSON array at any time, and complete when
    /// [`join`](Self::join), [`terminate`](Self::terminate) or drop has returned. What was there before
    /// is overwritten. A second timeline ends the first. Tasks that were already handed to workers are
    /// left out.
    ///
    /// Without a timeline nothing is noted. With one, each task costs two looks at the clock, and a
    /// thread writes what workers say.
    ///
    /// # Across processes
    ///
    /// Times are those that workers have noted, by the clock that they share with this process.
    ///
    /// # Errors
    ///
    /// - [`Invalid`](PoolError::Invalid): the file cannot be made, or the pool has ended. When the
    ///   file cannot be written later, the timeline ends, with a line on standard error.
    /// - [`NotOurs`](PoolError::NotOurs): in a forked copy of the process that has the pool.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procession::Pool::new(2)?;
    /// let file = std::env::temp_dir().join(format!("trace-{}.json", std::process::id()));
    /// pool.trace(&file)?;
    /// pool.map(u32::count_ones, 0..100)?;
    /// drop(pool);
    /// let timeline = std::fs::read_to_string(&file).expect("it is there");
    /// assert!(timeline.contains("count_ones"));
    /// # std::fs::remove_file(&file).expect("it is ours");
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn trace(&self, path: impl AsRef<Path>) -> Result<(), PoolError> {
        self.engine.trace(path.as_ref())
    }

    /// Takes no more tasks. Those that were submitted are done.
    pub fn close(&self) {
        self.engine.close();
    }

    /// Waits until all tasks are done and all workers are gone.
    ///
    /// # Errors
    ///
    /// - [`StillOpen`](PoolError::StillOpen): neither [`close`](Self::close) nor
    ///   [`terminate`](Self::terminate) was called.
    /// - [`NotOurs`](PoolError::NotOurs): in a forked copy of the process that has the pool.
    pub fn join(&self) -> Result<(), PoolError> {
        self.engine.join()
    }

    /// Ends all workers at once (`SIGKILL`). Tasks that are not done end with
    /// [`Terminated`](TaskError::Terminated).
    pub fn terminate(&self) {
        self.engine.terminate();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.engine.terminate();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("engine", &self.engine).finish_non_exhaustive()
    }
}
