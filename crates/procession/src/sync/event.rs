//! A flag that processes wait for.

use std::time::Duration;

use crate::object::{CreateError, deadline, shared_handle, taking_part};
use procession_shm::event as shm;

/// A flag that processes wait for, and that any of them sets.
///
/// # Across processes
///
/// An event can be an argument, a result, and a message. A process that dies while it sets the event
/// has set it or not; nobody sleeps on wrongly.
///
/// # Examples
///
/// ```
/// use procession::Event;
///
/// fn wait(ready: Event) -> bool {
///     ready.wait();
///     ready.is_set()
/// }
///
/// let ready = Event::new()?;
/// let child = procession::spawn(wait, (ready.clone(),))?;
/// ready.set();
/// assert!(child.join()?);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Event {
    shared: shm::Event,
}

shared_handle!(Event, shm::Event);

impl Event {
    /// Makes an event that is not set.
    ///
    /// # Errors
    ///
    /// [`CreateError::System`] when there is no memory or descriptor.
    pub fn new() -> Result<Self, CreateError> {
        Ok(Self::from_shared(shm::Event::new()?))
    }

    fn from_shared(shared: shm::Event) -> Self {
        Self { shared }
    }

    /// Sets it: all who wait go on, and who comes later does not wait.
    pub fn set(&self) {
        self.shared.set();
    }

    /// Clears it: who comes from now on waits.
    pub fn clear(&self) {
        self.shared.clear();
    }

    /// Tells whether it is set.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.shared.is_set()
    }

    /// Waits until it is set. One that is set and cleared meanwhile counts.
    ///
    /// # Blocking
    ///
    /// Until somebody sets it. If nobody is left who could, that is for ever: give a timeout to a
    /// wait on which a life depends.
    ///
    /// # Panics
    ///
    /// In a forked copy of a process that has the event, if no more processes can share it.
    pub fn wait(&self) {
        taking_part(self.shared.wait(None));
    }

    /// Waits until it is set, at most for `timeout`: false if it was not.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[must_use = "it tells whether the event was set"]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        taking_part(self.shared.wait(deadline(timeout)))
    }
}
