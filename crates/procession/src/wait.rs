//! Waiting for several things at once.

use std::fmt;
use std::io;
use std::time::{Duration, Instant};

use procession_sys::BorrowedHandle;
use procession_sys::ready::{self, Rings};

use crate::pipe::{Connection, Receiver};
use crate::process::Child;
use crate::queue::Queue;

/// Something that [`wait`] can wait for: a [`Connection`], a [`Receiver`], a [`Queue`], a [`Child`].
pub trait Waitable: sealed::Sealed {}

mod sealed {
    use std::io;

    use procession_sys::BorrowedHandle;
    use procession_sys::ready::Rings;

    /// Keeps the trait ours, and says how to wait.
    pub trait Sealed {
        /// The handle that is readable when there may be something to do, if that is how it is told.
        fn handle(&self) -> Option<BorrowedHandle<'_>> {
            None
        }

        /// Adds what tells of something to do otherwise.
        fn add_to(&self, rings: &Rings) -> io::Result<()> {
            let _ = rings;
            Ok(())
        }

        /// Tells whether there is something to do already; if not, one of the two above tells of it.
        fn prepare(&self) -> bool {
            false
        }

        /// Tells whether there is something to do, now that the handle says so.
        fn confirm(&self) -> bool {
            true
        }
    }
}

impl<M> Waitable for Queue<M> {}
impl<M> sealed::Sealed for Queue<M> {
    fn handle(&self) -> Option<BorrowedHandle<'_>> {
        Some(self.handle())
    }

    fn prepare(&self) -> bool {
        self.prepare_wait()
    }

    fn confirm(&self) -> bool {
        self.prepare_wait()
    }
}

impl<S, R> Waitable for Connection<S, R> {}
impl<S, R> sealed::Sealed for Connection<S, R> {
    fn add_to(&self, rings: &Rings) -> io::Result<()> {
        self.add_to(rings)
    }

    fn prepare(&self) -> bool {
        self.prepare_wait()
    }
}

impl<M> Waitable for Receiver<M> {}
impl<M> sealed::Sealed for Receiver<M> {
    fn add_to(&self, rings: &Rings) -> io::Result<()> {
        self.add_to(rings)
    }

    fn prepare(&self) -> bool {
        self.prepare_wait()
    }
}

impl<R> Waitable for Child<R> {}
impl<R> sealed::Sealed for Child<R> {
    fn handle(&self) -> Option<BorrowedHandle<'_>> {
        Some(self.handle())
    }

    fn confirm(&self) -> bool {
        // It is dead: its pipes hear of that before the caller does.
        let _ = self.is_alive();
        true
    }
}

/// Why [`wait`] failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum WaitError {
    /// Nothing to wait for was given, and no time limit: it would have been for ever.
    Nothing,
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for WaitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => {
                f.write_str("waiting for nothing without a time limit would never end")
            }
            Self::Io(error) => write!(f, "the system refused to wait: {error}"),
        }
    }
}

crate::error::sources! {
    WaitError { Io }
}

/// Waits until at least one of `things` is ready, and returns the places of those that are.
///
/// A connection is ready when a message or the end of file can be received, a queue when it has a
/// message or is closed, a child when it has ended. With a `timeout` of zero it only looks.
///
/// # Blocking
///
/// For at most `timeout`; without one, until something is ready. An empty result means that the
/// time is over.
///
/// # Errors
///
/// - [`Nothing`](WaitError::Nothing): no things and no timeout.
/// - [`Io`](WaitError::Io): the system refused.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let (a, b) = procession::pipe::<u8>()?;
/// let (c, _d) = procession::pipe::<u8>()?;
/// b.send(&1)?;
/// assert_eq!(procession::wait(&[&c, &a], Some(Duration::from_secs(1)))?, [1]);
/// # Ok::<(), procession::Error>(())
/// ```
pub fn wait(things: &[&dyn Waitable], timeout: Option<Duration>) -> Result<Vec<usize>, WaitError> {
    if things.is_empty() && timeout.is_none() {
        return Err(WaitError::Nothing);
    }
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    // Each thing's handle if it has one, and behind those one for all that have none.
    let own: Vec<_> = things.iter().map(|thing| thing.handle()).collect();
    let mut rings = None;
    loop {
        let mut ready: Vec<bool> = things.iter().map(|thing| thing.prepare()).collect();
        let only_look =
            ready.contains(&true) || deadline.is_some_and(|deadline| deadline <= Instant::now());
        if !only_look && rings.is_none() && own.iter().any(Option::is_none) {
            let new = rings.insert(Rings::new().map_err(WaitError::Io)?);
            things.iter().try_for_each(|thing| thing.add_to(new)).map_err(WaitError::Io)?;
        }
        let handles: Vec<_> =
            own.iter().flatten().copied().chain(rings.iter().map(Rings::handle)).collect();
        let until = if only_look { Some(Instant::now()) } else { deadline };
        let readable = ready::wait(&handles, until).map_err(WaitError::Io)?;
        let is_over = only_look || !readable.contains(&true);
        if let Some(rings) = &rings {
            // Before the next look, which sees what they have rung for.
            rings.clear();
        }
        let with_handles = things.iter().zip(&mut ready).zip(&own).filter(|(_, own)| own.is_some());
        for (((thing, ready), _), readable) in with_handles.zip(readable) {
            *ready = *ready || (readable && thing.confirm());
        }
        if is_over || ready.contains(&true) {
            let places = ready.iter().enumerate().filter(|(_, ready)| **ready);
            return Ok(places.map(|(place, _)| place).collect());
        }
    }
}
