//! A condition between processes.

use std::time::{Duration, Instant};

use crate::object::{
    CreateError, NotHeldError, OwnerDied, deadline, shared_handle, taking_part, told,
};
use procession_shm::condition as shm;
use procession_shm::lock::{Acquired, NotHeld};

/// A lock whose holders can wait until another one says that something has changed.
///
/// # Across processes
///
/// A condition can be an argument, a result, and a message. What is waited for lies in memory that
/// the processes share, and is looked at and changed under the condition's lock. A waiter may wake
/// although nobody said so, when another process has died for instance: it looks again, as
/// [`wait_while`](Self::wait_while) does.
///
/// # Examples
///
/// ```
/// use procession::{Condition, Value};
///
/// fn produce(condition: Condition, value: Value<u32>) {
///     let _guard = condition.acquire().expect("nobody dies here");
///     value.set(7).expect("nobody dies here");
///     condition.notify(1);
/// }
///
/// let (condition, value) = (Condition::new()?, Value::<u32>::new(0)?);
/// let child = procession::spawn(produce, (condition.clone(), value.clone()))?;
/// let guard = condition.acquire()?;
/// let _guard = condition.wait_while(guard, || value.get().expect("nobody dies here") == 0)?;
/// assert_eq!(value.get()?, 7);
/// # child.join()?;
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Condition {
    shared: shm::Condition,
}

shared_handle!(Condition, shm::Condition);

/// The right to do what a [`Condition`]'s lock guards; dropping it gives the lock up.
#[derive(Debug)]
#[must_use = "the lock is given up when its guard is dropped"]
pub struct ConditionGuard<'a> {
    condition: &'a Condition,
}

impl Drop for ConditionGuard<'_> {
    fn drop(&mut self) {
        self.condition.shared.release_own();
    }
}

type Guard<'a> = Result<ConditionGuard<'a>, OwnerDied<ConditionGuard<'a>>>;

impl Condition {
    /// Makes a condition whose lock nobody holds.
    ///
    /// # Errors
    ///
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, CreateError> {
        Ok(Self::from_shared(shm::Condition::new()?))
    }

    fn from_shared(shared: shm::Condition) -> Self {
        Self { shared }
    }

    fn guard(&self) -> ConditionGuard<'_> {
        ConditionGuard { condition: self }
    }

    /// Waits for the lock.
    ///
    /// # Blocking
    ///
    /// Until whoever holds it gives it up, waits, or dies.
    ///
    /// # Errors
    ///
    /// [`OwnerDied`], with the guard: the lock is held, and its last holder has died.
    ///
    /// # Panics
    ///
    /// In a forked copy of a process that has the condition, if no more can share it.
    pub fn acquire(&self) -> Result<ConditionGuard<'_>, OwnerDied<ConditionGuard<'_>>> {
        let acquired = taking_part(self.shared.acquire(None));
        told(acquired.unwrap_or(Acquired::Free), self.guard())
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
    pub fn try_acquire(&self) -> Result<Option<ConditionGuard<'_>>, OwnerDied<ConditionGuard<'_>>> {
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
    ) -> Result<Option<ConditionGuard<'_>>, OwnerDied<ConditionGuard<'_>>> {
        let acquired = taking_part(self.shared.acquire(deadline(timeout)));
        acquired.map(|acquired| told(acquired, self.guard())).transpose()
    }

    /// Gives the lock up, waits to be notified, and takes the lock again.
    ///
    /// # Blocking
    ///
    /// Until somebody notifies, and the lock is free then.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// When `guard` is that of another condition, or its lock was released by hand; else as
    /// [`acquire`](Self::acquire).
    pub fn wait<'a>(
        &'a self,
        guard: ConditionGuard<'a>,
    ) -> Result<ConditionGuard<'a>, OwnerDied<ConditionGuard<'a>>> {
        self.wait_until(guard, None).1
    }

    /// As [`wait`](Self::wait), but waits at most for `timeout`; also tells whether it was
    /// notified.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout<'a>(
        &'a self,
        guard: ConditionGuard<'a>,
        timeout: Duration,
    ) -> Result<(ConditionGuard<'a>, bool), OwnerDied<(ConditionGuard<'a>, bool)>> {
        match self.wait_until(guard, deadline(timeout)) {
            (notified, Ok(guard)) => Ok((guard, notified)),
            (notified, Err(died)) => Err(died.map(|guard| (guard, notified))),
        }
    }

    /// Waits as long as `condition` is true, which is looked at with the lock held.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), as soon as it happens.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_while<'a>(
        &'a self,
        mut guard: ConditionGuard<'a>,
        mut condition: impl FnMut() -> bool,
    ) -> Result<ConditionGuard<'a>, OwnerDied<ConditionGuard<'a>>> {
        while condition() {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// As [`wait_while`](Self::wait_while), but at most for `timeout`; also tells whether
    /// `condition` was false at the end.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire), as soon as it happens.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout_while<'a>(
        &'a self,
        mut guard: ConditionGuard<'a>,
        timeout: Duration,
        mut condition: impl FnMut() -> bool,
    ) -> Result<(ConditionGuard<'a>, bool), OwnerDied<(ConditionGuard<'a>, bool)>> {
        let deadline = deadline(timeout);
        let mut notified = true;
        while condition() {
            if !notified {
                return Ok((guard, false));
            }
            let waited = self.wait_until(guard, deadline);
            notified = waited.0;
            guard = waited.1.map_err(|died| died.map(|guard| (guard, !condition())))?;
        }
        Ok((guard, true))
    }

    fn wait_until<'a>(
        &'a self,
        guard: ConditionGuard<'a>,
        deadline: Option<Instant>,
    ) -> (bool, Guard<'a>) {
        assert!(
            std::ptr::eq(guard.condition, self),
            "a guard of one condition cannot wait for another: pass the guard that this condition's \
             `acquire` has given"
        );
        // What happens to the lock from here on is told by the structure itself.
        std::mem::forget(guard);
        let (notified, acquired) = match self.shared.wait(deadline) {
            Ok(waited) => waited,
            Err(shm::ConditionError::NotHeld) => {
                panic!("the condition's lock was released by hand while its guard existed")
            }
            Err(shm::ConditionError::Segment(error)) => taking_part(Err(error)),
            Err(_) => {
                // The lock is still held.
                drop(self.guard());
                panic!("more than 65,000 threads wait for one condition");
            }
        };
        (notified, told(acquired, self.guard()))
    }

    /// Wakes at most `n` of those who wait.
    pub fn notify(&self, n: usize) {
        self.shared.notify(n);
    }

    /// Wakes all who wait.
    pub fn notify_all(&self) {
        self.shared.notify(usize::MAX);
    }

    /// Gives the lock up, whoever took it, for a guard that was forgotten on purpose.
    ///
    /// # Errors
    ///
    /// [`NotHeldError`] when nobody holds it.
    pub fn release(&self) -> Result<(), NotHeldError> {
        self.shared
            .release()
            .map_err(|NotHeld| NotHeldError { what: "the condition's lock is not held by anybody" })
    }
}
