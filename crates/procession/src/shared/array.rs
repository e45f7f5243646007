//! A slice that processes share.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytemuck::Pod;

use super::plain::{Guard, Plain};
use crate::object::{CreateError, OwnerDied, deadline, shared_handle};

/// A slice of plain values in shared memory, behind a lock.
///
/// # Across processes
///
/// An array can be an argument, a result, and a message; it is not copied, however long it is. When
/// a process dies that holds its lock, the next one is told by [`OwnerDied`].
///
/// # Examples
///
/// ```
/// use procession::Array;
///
/// fn fill(array: Array<f64>) {
///     array.lock().expect("nobody dies here").fill(1.5);
/// }
///
/// let array = Array::<f64>::new(1000)?;
/// procession::spawn(fill, (array.clone(),))?.join()?;
/// assert_eq!(array.lock()?.iter().sum::<f64>(), 1500.0);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Array<T> {
    shared: Plain<T>,
}

shared_handle!(Array<T>, Plain<T>);

/// The right to read and write an [`Array`]; dropping it gives the lock up.
#[must_use = "the lock is given up when its guard is dropped"]
pub struct ArrayGuard<'a, T>(Guard<'a, T>);

impl<T> Array<T> {
    fn from_shared(shared: Plain<T>) -> Self {
        Self { shared }
    }
}

impl<T: Pod> Array<T> {
    /// Makes an array of `len` elements, all of their bytes zero.
    ///
    /// # Errors
    ///
    /// [`CreateError::Invalid`] for no elements, or more bytes than [`isize::MAX`];
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn new(len: usize) -> Result<Self, CreateError> {
        Plain::new(len).map(Self::from_shared)
    }

    /// Makes an array with a copy of `values`.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn from_slice(values: &[T]) -> Result<Self, CreateError> {
        let array = Self::new(values.len())?;
        if let Some(Ok(mut guard)) = array.shared.lock(None) {
            guard.copy_from_slice(values);
        }
        Ok(array)
    }

    /// Returns the number of elements.
    #[expect(clippy::len_without_is_empty, reason = "there is no empty one")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// Waits for the lock.
    ///
    /// # Blocking
    ///
    /// Until whoever holds it gives it up or dies.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`], with the guard: the last holder has died, and the elements may be
    /// half-changed.
    ///
    /// # Panics
    ///
    /// In a forked copy of a process that has the array, if no more can share it.
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, OwnerDied<ArrayGuard<'_, T>>> {
        match self.shared.lock(None) {
            Some(Err(died)) => Err(died.map(ArrayGuard)),
            Some(Ok(guard)) => Ok(ArrayGuard(guard)),
            None => unreachable!("a wait without a deadline ends with the lock"),
        }
    }

    /// Takes the lock if nobody has it; `None` if somebody has.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<ArrayGuard<'_, T>>, OwnerDied<ArrayGuard<'_, T>>> {
        let guard = self.shared.try_lock().transpose();
        guard.map(|guard| guard.map(ArrayGuard)).map_err(|died| died.map(ArrayGuard))
    }

    /// Waits for the lock, at most for `timeout`; `None` if that was not enough.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn lock_timeout(
        &self,
        timeout: Duration,
    ) -> Result<Option<ArrayGuard<'_, T>>, OwnerDied<ArrayGuard<'_, T>>> {
        let guard = self.shared.lock(deadline(timeout)).transpose();
        guard.map(|guard| guard.map(ArrayGuard)).map_err(|died| died.map(ArrayGuard))
    }
}

impl<T: Pod> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Pod> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T: Pod + fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.deref().fmt(f)
    }
}
