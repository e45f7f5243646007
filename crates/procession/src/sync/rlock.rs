//! A lock between processes that its holder can take again.

use std::marker::PhantomData;
use std::time::Duration;

use crate::object::{
    CreateError, NotHeldError, OwnerDied, deadline, shared_handle, taking_part, told,
};
use procession_shm::lock::{Acquired, NotHeld};
use procession_shm::rlock as shm;

/// A lock that the thread that holds it can take again; it is free when it was given up as often.
///
/// # Across processes
///
/// As [`Lock`](crate::Lock), but only the thread that took it can give it up.
///
/// # Examples
///
/// ```
/// let lock = procession::RLock::new()?;
/// let first = lock.acquire()?;
/// let second = lock.acquire()?;
/// drop(first);
/// assert!(lock.is_locked());
/// drop(second);
/// assert!(!lock.is_locked());
/// # Ok::<(), procession::Error>(())
/// ```
pub struct RLock {
    shared: shm::RLock,
}

shared_handle!(RLock, shm::RLock);

/// The right to do what an [`RLock`] guards; dropping it gives the lock up once.
#[derive(Debug)]
#[must_use = "the lock is given up when its guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    /// Only the thread that took it can give it up.
    not_send: PhantomData<*const ()>,
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        // In a forked copy it is not held.
        let _ = self.lock.shared.release();
    }
}

impl RLock {
    /// Makes a lock that nobody holds.
    ///
    /// # Errors
    ///
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, CreateError> {
        Ok(Self::from_shared(shm::RLock::new()?))
    }

    fn from_shared(shared: shm::RLock) -> Self {
        Self { shared }
    }

    fn guard(&self) -> RLockGuard<'_> {
        RLockGuard { lock: self, not_send: PhantomData }
    }

    /// Waits for the lock, or takes it once more.
    ///
    /// # Blocking
    ///
    /// Until whoever holds it gives it up or dies; not at all for the thread that has it. The order
    /// is that of [`Lock::acquire`](crate::Lock::acquire).
    ///
    /// # Errors
    ///
    /// [`OwnerDied`], with the guard: the lock is held, and its last holder has died.
    ///
    /// # Panics
    ///
    /// As [`Lock::acquire`](crate::Lock::acquire).
    pub fn acquire(&self) -> Result<RLockGuard<'_>, OwnerDied<RLockGuard<'_>>> {
        let acquired = taking_part(self.shared.acquire(None));
        told(acquired.unwrap_or(Acquired::Free), self.guard())
    }

    /// Takes the lock if nobody else has it; `None` if somebody has.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<RLockGuard<'_>>, OwnerDied<RLockGuard<'_>>> {
        let acquired = taking_part(self.shared.try_acquire());
        acquired.map(|acquired| told(acquired, self.guard())).transpose()
    }

    /// Waits for the lock, at most for `timeout`; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub fn acquire_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<RLockGuard<'_>>, OwnerDied<RLockGuard<'_>>> {
        let acquired = taking_part(self.shared.acquire(deadline(timeout)));
        acquired.map(|acquired| told(acquired, self.guard())).transpose()
    }

    /// Gives the lock up once, for a guard that was forgotten on purpose.
    ///
    /// # Errors
    ///
    /// [`NotHeldError`] when this thread does not hold it.
    pub fn release(&self) -> Result<(), NotHeldError> {
        self.shared.release().map_err(|NotHeld| NotHeldError {
            what: "this thread does not hold the lock; only the thread that took it can release it",
        })
    }

    /// Tells whether somebody holds it now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.shared.is_held()
    }
}
