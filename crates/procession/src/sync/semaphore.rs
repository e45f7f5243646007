//! Semaphores between processes.

use std::fmt;
use std::time::Duration;

use crate::object::{
    CreateError, NotHeldError, OwnerDied, deadline, shared_handle, taking_part, told,
};
use procession_shm::lock::Acquired;
use procession_shm::semaphore as shm;
use procession_sys::runtime::known_copies;

/// A number of permits that processes take and give.
///
/// # Across processes
///
/// A semaphore can be an argument, a result, and a message. The permits that a process has taken
/// and not given come back when it dies, and the next taker is told by [`OwnerDied`]. A process may
/// give what another has taken, also more than there were at first; what was given for a process
/// does not come back once more when that dies.
///
/// # Examples
///
/// ```
/// use procession::Semaphore;
///
/// let semaphore = Semaphore::new(2)?;
/// let one = semaphore.acquire()?;
/// let two = semaphore.acquire()?;
/// assert!(semaphore.try_acquire()?.is_none());
/// drop(one);
/// assert_eq!(semaphore.value(), 1);
/// # drop(two);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Semaphore {
    shared: shm::Semaphore,
}

/// A [`Semaphore`] that never has more permits than at first: giving one too many is an error.
///
/// # Examples
///
/// ```
/// let semaphore = procession::BoundedSemaphore::new(1)?;
/// assert!(semaphore.release().is_err());
/// # Ok::<(), procession::Error>(())
/// ```
pub struct BoundedSemaphore {
    shared: shm::Semaphore,
}

/// A permit; dropping it gives it back. [`std::mem::forget`] keeps it taken.
#[must_use = "the permit is given back when its guard is dropped"]
pub struct SemaphoreGuard<'a> {
    shared: &'a shm::Semaphore,
    copies: u32,
}

impl Drop for SemaphoreGuard<'_> {
    fn drop(&mut self) {
        // In a forked copy it is the original's.
        if self.copies == known_copies() {
            // Too many: somebody else has given it for us.
            let _ = self.shared.release();
        }
    }
}

impl fmt::Debug for SemaphoreGuard<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphoreGuard").finish_non_exhaustive()
    }
}

shared_handle!(Semaphore, shm::Semaphore);
shared_handle!(BoundedSemaphore, shm::Semaphore);

macro_rules! semaphore {
    ($name:ident, $limit:expr) => {
        impl $name {
            /// Makes a semaphore with `value` permits.
            ///
            /// # Errors
            ///
            /// [`CreateError::Invalid`] for more than [`u32::MAX`] permits,
            /// [`CreateError::System`] when there is no memory or descriptor.
            pub fn new(value: usize) -> Result<Self, CreateError> {
                let value = u32::try_from(value).map_err(|_| {
                    let most = u32::MAX;
                    CreateError::invalid(format!(
                        "a semaphore of {value} permits cannot be made: the most is {most}"
                    ))
                })?;
                let limit: fn(u32) -> u32 = $limit;
                Ok(Self::from_shared(shm::Semaphore::new(value, limit(value))?))
            }

            fn from_shared(shared: shm::Semaphore) -> Self {
                Self { shared }
            }

            fn guard(&self) -> SemaphoreGuard<'_> {
                SemaphoreGuard { shared: &self.shared, copies: known_copies() }
            }

            /// Waits for a permit.
            ///
            /// # Blocking
            ///
            /// Until one is given, or comes back from a process that has died. There is no strict
            /// order, but whoever has waited for some milliseconds comes before newcomers.
            ///
            /// # Errors
            ///
            /// [`OwnerDied`], with the guard: the permit is taken, and a process has died that had
            /// some.
            ///
            /// # Panics
            ///
            /// In a forked copy of a process that has the semaphore, if no more can share it.
            pub fn acquire(&self) -> Result<SemaphoreGuard<'_>, OwnerDied<SemaphoreGuard<'_>>> {
                let acquired = taking_part(self.shared.acquire(None));
                told(acquired.unwrap_or(Acquired::Free), self.guard())
            }

            /// Takes a permit if one is there; `None` if not.
            ///
            /// # Errors
            ///
            /// As [`acquire`](Self::acquire).
            ///
            /// # Panics
            ///
            /// As [`acquire`](Self::acquire).
            pub fn try_acquire(
                &self,
            ) -> Result<Option<SemaphoreGuard<'_>>, OwnerDied<SemaphoreGuard<'_>>> {
                let acquired = taking_part(self.shared.try_acquire());
                acquired.map(|acquired| told(acquired, self.guard())).transpose()
            }

            /// Waits for a permit, at most for `timeout`; `None` if that was not enough.
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
            ) -> Result<Option<SemaphoreGuard<'_>>, OwnerDied<SemaphoreGuard<'_>>> {
                let acquired = taking_part(self.shared.acquire(deadline(timeout)));
                acquired.map(|acquired| told(acquired, self.guard())).transpose()
            }

            /// Gives a permit: one that this process has taken and whose guard was forgotten, or
            /// one that another has taken.
            ///
            /// # Errors
            ///
            /// [`NotHeldError`] when there are as many as there may be.
            pub fn release(&self) -> Result<(), NotHeldError> {
                self.shared.release().map_err(|_| NotHeldError {
                    what: "the semaphore has as many permits as it may have; one can be released \
                           for each that was acquired",
                })
            }

            /// Returns how many permits are there now.
            #[must_use]
            pub fn value(&self) -> usize {
                self.shared.value() as usize
            }
        }
    };
}

semaphore!(Semaphore, |_| u32::MAX);
semaphore!(BoundedSemaphore, |value| value);
