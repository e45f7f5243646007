//! What is told to the next holder.

use std::fmt;

use procession_shm::lock::Acquired;

/// The process that held it before has died while it did: what was under its protection may be
/// half-changed.
///
/// The lock, or permit, is held by the caller all the same, as with std's
/// [`PoisonError`](std::sync::PoisonError): [`into_inner`](Self::into_inner) gives the guard. It is
/// told once, to the next holder.
///
/// # Examples
///
/// ```
/// use procession::Lock;
///
/// fn dies(lock: Lock) {
///     let _guard = lock.acquire();
///     std::process::abort();
/// }
///
/// let lock = Lock::new()?;
/// assert!(procession::spawn(dies, (lock.clone(),))?.join().is_err());
/// let guard = match lock.acquire() {
///     Ok(_) => unreachable!("the child has died with it"),
///     Err(died) => died.into_inner(), // look after what it guards, then go on
/// };
/// drop(guard);
/// assert!(lock.acquire().is_ok());
/// # Ok::<(), procession::Error>(())
/// ```
pub struct OwnerDied<G> {
    guard: G,
    pid: u32,
}

impl<G> OwnerDied<G> {
    pub(crate) fn new(guard: G, pid: u32) -> Self {
        Self { guard, pid }
    }

    /// Gives the guard: the caller holds what the dead process held.
    pub fn into_inner(self) -> G {
        self.guard
    }

    /// Borrows the guard.
    pub fn get_ref(&self) -> &G {
        &self.guard
    }

    /// Borrows the guard mutably.
    pub fn get_mut(&mut self) -> &mut G {
        &mut self.guard
    }

    /// Returns the number that the dead process had, 0 if it is not known any more.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Replaces the guard.
    pub(crate) fn map<T>(self, f: impl FnOnce(G) -> T) -> OwnerDied<T> {
        OwnerDied { guard: f(self.guard), pid: self.pid }
    }
}

impl<G> fmt::Debug for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerDied").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl<G> fmt::Display for OwnerDied<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "process {} died while it held the lock; what the lock guards may be half-changed, and \
             `into_inner` gives it all the same",
            self.pid
        )
    }
}

impl<G> std::error::Error for OwnerDied<G> {}

/// A guard, with what its taker is to be told.
pub(crate) fn told<G>(acquired: Acquired, guard: G) -> Result<G, OwnerDied<G>> {
    match acquired {
        Acquired::Free => Ok(guard),
        Acquired::FromDead { pid } => Err(OwnerDied::new(guard, pid)),
    }
}
