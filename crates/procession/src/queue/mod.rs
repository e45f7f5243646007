//! Queues: typed messages between any number of processes.

mod errors;
mod many;
mod typed;

pub use errors::{
    GetError, GetTimeoutError, PutError, PutTimeoutError, QueueJoinError, TaskDoneError,
    TryGetError, TryPutError,
};
pub use many::{GetManyError, PutManyError};
pub use typed::{Iter, Queue};
