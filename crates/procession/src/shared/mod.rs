//! Memory that processes share.

mod array;
mod memory;
mod mutex;
mod one_value;
mod plain;
mod value;

pub use array::{Array, ArrayGuard};
pub use memory::SharedMemory;
pub use mutex::{Mutex, MutexGuard};
pub use procession_shm::named::{Leftover, NameError};
pub use value::{Value, ValueGuard};
