//! What every object in shared memory has: handles that go anywhere, errors, a word on dead owners.

mod error;
mod handle;
mod owner_died;

pub use error::{CreateError, NotHeldError, OutOfBounds};
pub use owner_died::OwnerDied;

pub(crate) use error::taking_part;
pub(crate) use handle::shared_handle;
pub(crate) use owner_died::told;

use std::time::{Duration, Instant};

/// When a wait of `timeout` that begins now is over; never, if no clock can show that.
pub(crate) fn deadline(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
