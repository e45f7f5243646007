//! A value that processes change one at a time.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytemuck::Pod;

use super::plain::{Guard, Plain};
use crate::object::{CreateError, OwnerDied, deadline, shared_handle};

/// A plain value in shared memory that is reached through its lock alone, as std's `Mutex`.
///
/// # Across processes
///
/// A mutex can be an argument, a result, and a message. When a process dies that holds it, the next
/// one is told by [`OwnerDied`].
///
/// # Examples
///
/// ```
/// use procession::Mutex;
///
/// fn add(total: Mutex<u64>) {
///     *total.lock().expect("nobody dies here") += 3;
/// }
///
/// let total = Mutex::<u64>::new(4)?;
/// procession::spawn(add, (total.clone(),))?.join()?;
/// assert_eq!(*total.lock()?, 7);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Mutex<T> {
    shared: Plain<T>,
}

shared_handle!(Mutex<T>, Plain<T>);

/// The right to read and write what a [`Mutex`] holds; dropping it gives the lock up.
#[must_use = "the lock is given up when its guard is dropped"]
pub struct MutexGuard<'a, T>(Guard<'a, T>);

impl<T> Mutex<T> {
    fn from_shared(shared: Plain<T>) -> Self {
        Self { shared }
    }
}

impl<T: Pod> Mutex<T> {
    /// Puts `value` into shared memory.
    ///
    /// # Errors
    ///
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn new(value: T) -> Result<Self, CreateError> {
        let shared = Plain::new(1)?;
        if let Some(Ok(mut guard)) = shared.lock(None) {
            guard[0] = value;
        }
        Ok(Self::from_shared(shared))
    }

    /// Waits for the lock.
    ///
    /// # Blocking
    ///
    /// Until whoever holds it gives it up or dies.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`], with the guard: the last holder has died, and the value may be half-changed.
    ///
    /// # Panics
    ///
    /// In a forked copy of a process that has it, if no more can share it.
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, OwnerDied<MutexGuard<'_, T>>> {
        match self.shared.lock(None) {
            Some(Err(died)) => Err(died.map(MutexGuard)),
            Some(Ok(guard)) => Ok(MutexGuard(guard)),
            None => unreachable!("a wait without a deadline ends with the lock"),
        }
    }

    /// Takes the lock if nobody has it; `None` if somebody has.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<MutexGuard<'_, T>>, OwnerDied<MutexGuard<'_, T>>> {
        let guard = self.shared.try_lock().transpose();
        guard.map(|guard| guard.map(MutexGuard)).map_err(|died| died.map(MutexGuard))
    }

    /// Waits for the lock, at most for `timeout`; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<MutexGuard<'_, T>>, OwnerDied<MutexGuard<'_, T>>> {
        let guard = self.shared.lock(deadline(timeout)).transpose();
        guard.map(|guard| guard.map(MutexGuard)).map_err(|died| died.map(MutexGuard))
    }
}

impl<T: Pod> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T: Pod> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}
