//! A barrier between processes.

use std::time::Duration;

use crate::object::{CreateError, deadline, shared_handle};
use procession_shm::barrier as shm;
pub use procession_shm::barrier::BarrierError;

/// A place where processes wait until as many as it is for have come.
///
/// # Across processes
///
/// A barrier can be an argument, a result, and a message. When a process dies that waits there, the
/// barrier is broken: all others get an error instead of waiting for ever, until it is reset.
///
/// # Examples
///
/// ```
/// use procession::Barrier;
///
/// fn meet(barrier: Barrier) -> usize {
///     barrier.wait().expect("nobody dies here")
/// }
///
/// let barrier = Barrier::new(2)?;
/// let child = procession::spawn(meet, (barrier.clone(),))?;
/// let here = barrier.wait()?;
/// assert_eq!(here + child.join()?, 1); // one is 0, the other 1
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Barrier {
    shared: shm::Barrier,
}

shared_handle!(Barrier, shm::Barrier);

impl Barrier {
    /// Makes a barrier for `parties`.
    ///
    /// # Errors
    ///
    /// [`CreateError::Invalid`] for none or more than a million; [`CreateError::System`] when there
    /// is no memory or descriptor.
    pub fn new(parties: usize) -> Result<Self, CreateError> {
        const MOST: usize = 1_000_000;
        let checked = u32::try_from(parties).ok().filter(|n| (1..=MOST).contains(&(*n as usize)));
        let parties = checked.ok_or_else(|| {
            CreateError::invalid(format!(
                "a barrier for {parties} parties cannot be made: it is for at least 1 and at most \
                 {MOST}"
            ))
        })?;
        Ok(Self::from_shared(shm::Barrier::new(parties)?))
    }

    fn from_shared(shared: shm::Barrier) -> Self {
        Self { shared }
    }

    /// Waits until all parties have come, and returns which of them this one was, from 0.
    ///
    /// # Blocking
    ///
    /// Until all have come, or the barrier is broken.
    ///
    /// # Errors
    ///
    /// [`BarrierError::Broken`] when the barrier is broken, or was reset meanwhile.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.shared.wait(None)
    }

    /// As [`wait`](Self::wait), but waits at most for `timeout`; one that waits too long breaks the
    /// barrier for all.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<usize, BarrierError> {
        self.shared.wait(deadline(timeout))
    }

    /// Breaks the barrier: all who wait and all who come get an error, until it is reset.
    pub fn abort(&self) {
        self.shared.abort();
    }

    /// Begins anew; who waits now gets an error.
    pub fn reset(&self) {
        self.shared.reset();
    }

    /// Returns how many parties wait now.
    #[must_use]
    pub fn n_waiting(&self) -> usize {
        self.shared.n_waiting()
    }

    /// Returns how many parties it is for.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.shared.parties()
    }

    /// Tells whether it is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.shared.is_broken()
    }
}
