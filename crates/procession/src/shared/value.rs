//! A value that processes share.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytemuck::Pod;

use super::one_value::one_value;
use super::plain::{Guard, Plain};
use crate::object::{CreateError, OwnerDied, deadline, shared_handle};

one_value! {
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
    Value, ValueGuard
}

impl<T: Pod> Value<T> {
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
