//! Values of tasks as they come.

use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::TaskError;
use super::batch::{Batch, Next, Order};
use super::engine::Engine;
use super::progress::Progress;
use super::submit::{Limits, Many};
use crate::codec::Arguments;

/// An iterator over the values of tasks, which are submitted as it goes.
///
/// It reads its source only a little ahead of what was taken from it, so an endless source needs no
/// more memory than a short one. What is submitted when it is dropped runs, and is forgotten.
#[must_use = "nothing is submitted until it is iterated"]
pub struct Imap<I, Args, R> {
    source: Option<I>,
    engine: Arc<Engine>,
    batch: Arc<Batch>,
    function: Result<Arc<[u8]>, TaskError>,
    limits: Limits,
    chunk: u32,
    /// How many items were submitted and not taken.
    under_way: usize,
    /// Why its source is not read to its end: said last.
    last: Option<TaskError>,
    progress: Option<Arc<Progress>>,
    types: PhantomData<fn(Args) -> R>,
}

impl<I, Args, R> Imap<I, Args, R> {
    pub(super) fn new(
        engine: &Arc<Engine>,
        function: Result<Arc<[u8]>, TaskError>,
        source: I,
        limits: Limits,
        chunk: u32,
        order: Order,
    ) -> Self {
        Self {
            source: Some(source),
            engine: Arc::clone(engine),
            batch: Batch::new(engine, order, None),
            function,
            limits,
            chunk,
            under_way: 0,
            last: None,
            progress: None,
            types: PhantomData,
        }
    }
}

impl<I, Args, R> Imap<I, Args, R>
where
    I: Iterator<Item = Args>,
    Args: Arguments,
{
    /// Says how far it is, in a line on standard error, if that is a terminal: it counts what was
    /// taken from it. Needs the feature `progress`.
    ///
    /// # Examples
    ///
    /// ```
    /// let pool = procession::Pool::new(2)?;
    /// for ones in pool.imap(u64::count_ones, 0..100).progress() {
    ///     assert!(ones? < 8);
    /// }
    /// # Ok::<(), procession::Error>(())
    /// ```
    #[cfg(feature = "progress")]
    pub fn progress(mut self) -> Self {
        let total = self.source.as_ref().and_then(|source| {
            let (least, most) = source.size_hint();
            (most == Some(least)).then_some(least)
        });
        self.progress = Progress::begin(total);
        self
    }

    /// Reads no more of the source, and says why, once.
    fn end(&mut self, error: TaskError) {
        if self.source.take().is_some() {
            self.last = Some(error);
        }
    }

    /// Submits as much as is to be under way.
    fn read_ahead(&mut self, function: &Arc<[u8]>) {
        let chunk = self.chunk as usize;
        let ahead = (self.engine.backend().width() * 4).max(16).saturating_mul(chunk);
        // In gulps: each costs a look at all workers.
        if self.under_way > ahead / 2 && self.under_way > 0 {
            return;
        }
        let Some(source) = &mut self.source else { return };
        let function = Arc::clone(function);
        let mut many =
            Many::new(&self.engine, &self.batch, function, self.limits, Some(self.chunk), 0);
        while self.under_way < ahead {
            let Some(args) = source.next() else {
                self.source = None;
                break;
            };
            many.push(&args);
            self.under_way += 1;
        }
        many.finish();
    }
}

impl<I, Args, R> Iterator for Imap<I, Args, R>
where
    I: Iterator<Item = Args>,
    Args: Arguments,
    R: DeserializeOwned,
{
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &self.function {
            Ok(function) if self.engine.is_open() => {
                let function = Arc::clone(function);
                self.read_ahead(&function);
            }
            Ok(_) if self.source.is_some() => self.end(TaskError::Closed),
            Ok(_) => {}
            Err(error) => {
                let error = error.clone();
                self.end(error);
            }
        }
        if self.under_way == 0 {
            if let Some(progress) = self.progress.take() {
                progress.end();
            }
            return self.last.take().map(Err);
        }
        self.engine.wait(&Next(&self.batch), None);
        self.under_way -= 1;
        let item = self.batch.take_next();
        if let Some(progress) = &self.progress
            && progress.add(1)
        {
            progress.draw();
        }
        Some(item.unwrap_or(Err(TaskError::Closed)))
    }
}

impl<I, Args, R> FusedIterator for Imap<I, Args, R>
where
    I: Iterator<Item = Args>,
    Args: Arguments,
    R: DeserializeOwned,
{
}

impl<I, Args, R> fmt::Debug for Imap<I, Args, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}
