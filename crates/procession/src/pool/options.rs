//! Submitting tasks, with settings for some of them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::batch::{Batch, Order};
use super::engine::Engine;
use super::imap::Imap;
use super::map_result::MapResult;
use super::progress::Progress;
use super::result::AsyncResult;
use super::submit::{self, Limits, Many};
use super::{SubmitError, TaskError};
use crate::codec::Arguments;
use crate::target::Target;

/// Settings for some tasks of a pool, and every way to submit them.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use procession::{Pool, TaskError};
///
/// fn endless(_: u32) {
///     loop {
///         std::hint::spin_loop();
///     }
/// }
///
/// let pool = Pool::new(1)?;
/// let limit = Duration::from_millis(50);
/// let error = pool.options().timeout(limit).apply(endless, (1,)).unwrap_err();
/// assert_eq!(error, TaskError::TimedOut { after: limit });
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "settings do nothing by themselves"]
pub struct TaskOptions<'a> {
    engine: &'a Arc<Engine>,
    timeout: Option<Duration>,
    retries: usize,
    chunk_size: Option<usize>,
    #[cfg(feature = "progress")]
    progress: bool,
}

impl<'a> TaskOptions<'a> {
    pub(super) fn new(engine: &'a Arc<Engine>, timeout: Option<Duration>, retries: usize) -> Self {
        Self {
            engine,
            timeout,
            retries,
            chunk_size: None,
            #[cfg(feature = "progress")]
            progress: false,
        }
    }

    /// Limits how long each task may run, from when a worker begins with it. One that runs longer
    /// ends with its worker, as [`TimedOut`](TaskError::TimedOut).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Has a task run again, at most so many times, when its worker died or it timed out. A panic is
    /// an outcome and not repeated.
    pub fn retries(mut self, retries: usize) -> Self {
        self.retries = retries;
        self
    }

    /// Chooses how many items of a map go to a worker at a time. It changes no outcome: each item
    /// has its own.
    pub fn chunk_size(mut self, items: usize) -> Self {
        self.chunk_size = Some(items);
        self
    }

    /// Has a map say how far it is, in a line on standard error, if that is a terminal.
    ///
    /// An `imap` counts what was taken from it. Workers have the same terminal: what they write to
    /// standard error goes between. Needs the feature `progress`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procession::Pool::new(2)?;
    /// let values = pool.options().progress().map(u64::count_ones, 0..1000)?;
    /// assert_eq!(values[7], 3);
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[cfg(feature = "progress")]
    pub fn progress(mut self) -> Self {
        self.progress = true;
        self
    }

    #[cfg(feature = "progress")]
    fn begin_progress(&self, total: Option<usize>) -> Option<Arc<Progress>> {
        if self.progress { Progress::begin(total) } else { None }
    }

    #[cfg(not(feature = "progress"))]
    fn begin_progress(&self, _: Option<usize>) -> Option<Arc<Progress>> {
        None
    }

    fn limits(&self) -> Result<Limits, TaskError> {
        let invalid = |message: &str| TaskError::Invalid { message: message.to_owned() };
        if self.timeout == Some(Duration::ZERO) {
            return Err(invalid(
                "a time limit of 0 would end every task: leave it out, or allow some time",
            ));
        }
        if self.chunk_size == Some(0) {
            return Err(invalid("chunks of 0 items would never get to the end: the least is 1"));
        }
        let retries = u32::try_from(self.retries).unwrap_or(u32::MAX);
        Ok(Limits { timeout: self.timeout, retries })
    }

    fn chunk(&self) -> Option<u32> {
        self.chunk_size.map(|items| u32::try_from(items).unwrap_or(u32::MAX))
    }

    /// Calls `function` in a worker and waits for its value. See [`Pool::apply`](crate::Pool::apply).
    ///
    /// # Errors
    ///
    /// A [`TaskError`] that says how it ended instead.
    pub fn apply<F, Args>(&self, function: F, args: Args) -> Result<F::Output, TaskError>
    where
        F: Target<Args>,
        Args: Arguments,
        F::Output: Serialize + DeserializeOwned,
    {
        self.apply_async(function, args)?.take()
    }

    /// Submits a call of `function`. See [`Pool::apply_async`](crate::Pool::apply_async).
    ///
    /// # Errors
    ///
    /// A [`SubmitError`] with the arguments, if the pool takes no more tasks.
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
        let _ = function; // it has no bytes: its type says it all
        let limits = self.limits();
        match limits.and_then(|limits| submit::one::<F, Args>(self.engine, &args, limits)) {
            Ok(result) => Ok(result),
            Err(error) => Err(SubmitError::new(args, error)),
        }
    }

    /// Calls `function` with each item and waits for all values. See [`Pool::map`](crate::Pool::map).
    ///
    /// # Errors
    ///
    /// The error of the first item that has one.
    pub fn map<F, T, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<(T,)>,
        (T,): Arguments,
        I: IntoIterator<Item = T>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.starmap(function, items.into_iter().map(one_argument))
    }

    /// As [`map`](Self::map), with the items in chunks of `chunk_size`.
    ///
    /// # Errors
    ///
    /// The error of the first item that has one.
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
        self.clone().chunk_size(chunk_size).map(function, items)
    }

    /// As [`map`](Self::map), with what became of each item.
    ///
    /// # Errors
    ///
    /// When nothing was submitted.
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
        Ok(self.map_async(function, items)?.get_all())
    }

    /// Submits a call of `function` with each item. See [`Pool::map_async`](crate::Pool::map_async).
    ///
    /// # Errors
    ///
    /// A [`SubmitError`], if the pool takes no more tasks.
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
        let _ = function;
        match self.prepare::<F, (T,)>() {
            Ok((name, limits)) => {
                Ok(self.submit(name, limits, items.into_iter().map(one_argument)))
            }
            Err(error) => Err(SubmitError::new(items, error)),
        }
    }

    /// Calls `function` with each tuple of arguments and waits for all values.
    ///
    /// # Errors
    ///
    /// The error of the first call that has one.
    pub fn starmap<F, Args, I>(&self, function: F, items: I) -> Result<Vec<F::Output>, TaskError>
    where
        F: Target<Args>,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.starmap_async(function, items)?.get()
    }

    /// Submits a call of `function` with each tuple of arguments.
    ///
    /// # Errors
    ///
    /// A [`SubmitError`], if the pool takes no more tasks.
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
        let _ = function;
        match self.prepare::<F, Args>() {
            Ok((name, limits)) => Ok(self.submit(name, limits, items.into_iter())),
            Err(error) => Err(SubmitError::new(items, error)),
        }
    }

    fn prepare<F, Args>(&self) -> Result<(Arc<[u8]>, Limits), TaskError>
    where
        F: Target<Args>,
        Args: Arguments,
        F::Output: Serialize,
    {
        let limits = self.limits()?;
        if !self.engine.is_open() {
            return Err(TaskError::Closed);
        }
        Ok((submit::function::<F, Args>()?, limits))
    }

    fn submit<R, Args: Arguments>(
        &self,
        function: Arc<[u8]>,
        limits: Limits,
        items: impl Iterator<Item = Args>,
    ) -> MapResult<R> {
        let mut items = items;
        let (least, most) = items.size_hint();
        let mut collected = Vec::new();
        // How many there are decides how many make a piece.
        let known = if most == Some(least) || self.chunk_size.is_some() {
            least
        } else {
            collected.extend(items.by_ref());
            collected.len()
        };
        let is_known = most == Some(least) || self.chunk_size.is_none();
        let progress = self.begin_progress(is_known.then_some(known));
        let batch = Batch::new(self.engine, Order::All, progress);
        batch.end_progress_when_over(self.engine);
        let chunk = self.chunk();
        let mut many = Many::new(self.engine, &batch, function, limits, chunk, known);
        collected.iter().for_each(|args| many.push(args));
        items.for_each(|args| many.push(&args));
        many.finish();
        batch.complete();
        MapResult::new(batch, Arc::clone(self.engine))
    }

    /// Calls `function` with each item, as values are taken from the iterator. See
    /// [`Pool::imap`](crate::Pool::imap).
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
        self.lazy(function, items.into_iter().map(one_argument), Order::OfTasks)
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
        self.lazy(function, items.into_iter().map(one_argument), Order::OfEnds)
    }

    /// As [`imap`](Self::imap), with a tuple of arguments for each call.
    pub fn istarmap<F, Args, I>(&self, function: F, items: I) -> Imap<I::IntoIter, Args, F::Output>
    where
        F: Target<Args>,
        Args: Arguments,
        I: IntoIterator<Item = Args>,
        F::Output: Serialize + DeserializeOwned,
    {
        self.lazy(function, items.into_iter(), Order::OfTasks)
    }

    fn lazy<F, Args, I>(&self, function: F, source: I, order: Order) -> Imap<I, Args, F::Output>
    where
        F: Target<Args>,
        Args: Arguments,
        I: Iterator<Item = Args>,
        F::Output: Serialize + DeserializeOwned,
    {
        let _ = function;
        let (name, limits) = match self.prepare::<F, Args>() {
            Ok((name, limits)) => (Ok(name), limits),
            Err(error) => (Err(error), Limits::default()),
        };
        let chunk = self.chunk().unwrap_or(1).max(1);
        let imap = Imap::new(self.engine, name, source, limits, chunk, order);
        #[cfg(feature = "progress")]
        let imap = if self.progress { imap.progress() } else { imap };
        imap
    }
}

fn one_argument<T>(item: T) -> (T,) {
    (item,)
}

impl fmt::Debug for TaskOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskOptions")
            .field("timeout", &self.timeout)
            .field("retries", &self.retries)
            .field("chunk_size", &self.chunk_size)
            .finish_non_exhaustive()
    }
}
