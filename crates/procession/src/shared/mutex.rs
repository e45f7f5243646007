//! A value that processes change one at a time.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytemuck::Pod;

use super::one_value::one_value;
use super::plain::{Guard, Plain};
use crate::object::{CreateError, OwnerDied, deadline, shared_handle};

one_value! {
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
    Mutex, MutexGuard
}
