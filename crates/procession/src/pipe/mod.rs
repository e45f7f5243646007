//! Pipes: typed messages between processes, and handles inside them.

mod connection;
mod errors;

pub use connection::{Connection, Receiver, Sender, duplex, pipe, simplex};
pub use errors::{
    PipeError, RecvError, RecvTimeoutError, SendError, SendTimeoutError, TryRecvError, TrySendError,
};
