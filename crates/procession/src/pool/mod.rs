//! A pool of processes.
//!
//! ```text
//!   typed, options, imap ──► submit ──► engine ──► backend (seam) ◄── local
//!   result, map_result ◄─── batch ◄─── ledger ◄────┘                   ├ desk: pieces and slots
//!                                                                      ├ crew: workers
//!                                                                      └ worker: in the child
//! ```
//!
//! `trace` writes a timeline of what desk and crew tell it, if somebody has asked for one.
//!
//! Faces are typed; everything from `engine` down carries bytes.

mod backend;
mod batch;
mod buffers;
mod builder;
mod callbacks;
mod engine;
mod errors;
pub(crate) mod face;
mod imap;
mod ledger;
mod local;
mod map_result;
mod news;
mod options;
mod own;
mod progress;
mod record;
mod result;
mod sleeper;
mod stats;
mod submit;
mod trace;
mod typed;

pub use builder::PoolBuilder;
pub use errors::{PoolError, ResultTimeoutError, SubmitError, TaskError};
pub use imap::Imap;
pub use map_result::MapResult;
pub use options::TaskOptions;
pub use result::AsyncResult;
pub use stats::{PoolStats, WorkerStats};
pub use typed::Pool;
