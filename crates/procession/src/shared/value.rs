//! A value that processes share.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytemuck::Pod;

use super::plain::{Guard, Plain};
use crate::object::{CreateError, OwnerDied, deadline, shared_handle};

/// A plain value in shared memory, behind a lock.
///
/// # Across processes
///
/// A value can be an argument, a result, and a message. When a process dies that holds its lock, the
/// next one is told by [`OwnerDied`].
///
/// # Examples
///
/// ```
/// use procession::Value;
///
/// fn work(progress: Value<u32>) {
///     for _ in 0..10 {
///         *progress.lock().expect("nobody dies here") += 10;
///     }
/// }
///
/// let progress = Value::<u32>::new(0)?;
/// procession::spawn(work, (progress.clone(),))?.join()?;
/// assert_eq!(progress.get()?, 100);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Value<T> {
    shared: Plain<T>,
}

shared_handle!(Value<T>, Plain<T>);

/// The right to read and write what a [`Value`] holds; dropping it gives the lock up.
#[must_use = "the lock is given up when its guard is dropped"]
pub struct ValueGuard<'a, T>(Guard<'a, T>);

impl<T> Value<T> {
    fn from_shared(shared: Plain<T>) -> Self {
        Self { shared }
    }
}

impl<T: Pod> Value<T> {
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
    pub fn lock(&self) -> Result<ValueGuard<'_, T>, OwnerDied<ValueGuard<'_, T>>> {
        match self.shared.lock(None) {
            Some(Err(died)) => Err(died.map(ValueGuard)),
            Some(Ok(guard)) => Ok(ValueGuard(guard)),
            None => unreachable!("a wait without a deadline ends with the lock"),
        }
    }

    /// Takes the lock if nobody has it; `None` if somebody has.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<ValueGuard<'_, T>>, OwnerDied<ValueGuard<'_, T>>> {
        let guard = self.shared.try_lock().transpose();
        guard.map(|guard| guard.map(ValueGuard)).map_err(|died| died.map(ValueGuard))
    }

    /// Waits for the lock, at most for `timeout`; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<ValueGuard<'_, T>>, OwnerDied<ValueGuard<'_, T>>> {
        let guard = self.shared.lock(deadline(timeout)).transpose();
        guard.map(|guard| guard.map(ValueGuard)).map_err(|died| died.map(ValueGuard))
    }

    /// Returns a copy of the value, taken under the lock.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`], with the copy: the last holder of the lock has died.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    pub fn get(&self) -> Result<T, OwnerDied<T>> {
        self.lock().map(|guard| *guard).map_err(|died| died.map(|guard| *guard))
    }

    /// Replaces the value, under the lock.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`]: the last holder of the lock has died; the value is replaced all the same.
    ///
    /// # Panics
    ///
    /// As [`lock`](Self::lock).
    pub fn set(&self, value: T) -> Result<(), OwnerDied<()>> {
        self.lock()
            .map(|mut guard| *guard = value)
            .map_err(|died| died.map(|mut guard| *guard = value))
    }
}

impl<T: Pod> Deref for ValueGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0[0]
    }
}

impl<T: Pod> DerefMut for ValueGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0[0]
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.deref().fmt(f)
    }
}
