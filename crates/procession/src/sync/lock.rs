//! A lock between processes.

use std::time::Duration;

use crate::object::{
    CreateError, NotHeldError, OwnerDied, deadline, shared_handle, taking_part, told,
};
use procession_shm::lock as shm;

/// A lock between processes, and between threads, that survives its holder.
///
/// # Across processes
///
/// A lock can be an argument, a result, and a message; every handle, in whichever process, is on
/// the same lock. When the process that holds it dies, the next one that takes it is told by
/// [`OwnerDied`]; nobody waits for the dead.
///
/// # Examples
///
/// ```
/// use procession::{Lock, SharedMemory};
///
/// fn count(lock: Lock, memory: SharedMemory) {
///     for _ in 0..100 {
///         let _guard = lock.acquire().expect("nobody dies here");
///         let mut byte = [0];
///         memory.read(0, &mut byte).expect("inside");
///         memory.write(0, &[byte[0] + 1]).expect("inside");
///     }
/// }
///
/// let (lock, memory) = (Lock::new()?, SharedMemory::new(1)?);
/// let child = procession::spawn(count, (lock.clone(), memory.clone()))?;
/// count(lock, memory.clone());
/// child.join()?;
/// let mut byte = [0];
/// memory.read(0, &mut byte)?;
/// assert_eq!(byte, [200]);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Lock {
    shared: shm::Lock,
}

shared_handle!(Lock, shm::Lock);

/// The right to do what a [`Lock`] guards; dropping it gives the lock up.
#[derive(Debug)]
#[must_use = "the lock is given up when its guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        self.lock.shared.release_own();
    }
}

impl Lock {
    /// Makes a lock that nobody holds.
    ///
    /// # Errors
    ///
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, CreateError> {
        Ok(Self::from_shared(shm::Lock::new()?))
    }

    fn from_shared(shared: shm::Lock) -> Self {
        Self { shared }
    }

    /// Waits for the lock.
    ///
    /// # Blocking
    ///
    /// Until whoever holds it gives it up or dies. There is no strict order, but whoever has waited
    /// for some milliseconds comes before newcomers.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`], with the guard: the lock is held, and its last holder has died.
    ///
    /// # Panics
    ///
    /// In a forked copy of a process that has the lock, if no more processes can share it.
    pub fn acquire(&self) -> Result<LockGuard<'_>, OwnerDied<LockGuard<'_>>> {
        let acquired = taking_part(self.shared.acquire(None));
        told(acquired.unwrap_or(shm::Acquired::Free), LockGuard { lock: self })
    }

    /// Takes the lock if nobody has it; `None` if somebody has.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<LockGuard<'_>>, OwnerDied<LockGuard<'_>>> {
        let acquired = taking_part(self.shared.try_acquire());
        acquired.map(|acquired| told(acquired, LockGuard { lock: self })).transpose()
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
    ) -> Result<Option<LockGuard<'_>>, OwnerDied<LockGuard<'_>>> {
        let acquired = taking_part(self.shared.acquire(deadline(timeout)));
        acquired.map(|acquired| told(acquired, LockGuard { lock: self })).transpose()
    }

    /// Gives the lock up, whoever took it, in whichever thread or process.
    ///
    /// For a guard that was forgotten ([`std::mem::forget`]) on purpose. A guard that still exists
    /// does nothing when it is dropped later, unless its own process has the lock again by then.
    ///
    /// # Errors
    ///
    /// [`NotHeldError`] when nobody holds it.
    pub fn release(&self) -> Result<(), NotHeldError> {
        self.shared.release().map_err(|shm::NotHeld| NotHeldError {
            what: "the lock is not held by anybody; it can be released once for each acquire",
        })
    }

    /// Tells whether somebody holds it now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.shared.is_held()
    }
}
