//! Processes as easy as threads.
//!
//! Start a function in a process of its own, and join it:
//!
//! ```
//! fn work(number: u64) -> u64 {
//!     number * number
//! }
//!
//! let child = procession::spawn(work, (7,))?;
//! assert_eq!(child.join()?, 49);
//! # Ok::<(), procession::Error>(())
//! ```
//!
//! There is no line to add to `main`, no attribute, no guard. A child that crashes, leaks or loops
//! does so alone; its parent gets an error that says what happened.
//!
//! - [`spawn`], [`Process`], [`Child`]: start, settings, join and end; [`Run`] for a process that is
//!   data; [`fork`] for closures that capture.
//! - [`Pool`]: many tasks on a few processes, with a time limit, a memory limit, and an outcome for
//!   each.
//! - [`pipe`], [`duplex`], [`simplex`]: typed messages, with other ends of pipes inside them.
//! - [`Queue`]: messages from any number of processes to any number of processes.
//! - [`Lock`], [`RLock`], [`Semaphore`], [`BoundedSemaphore`], [`Condition`], [`Event`], [`Barrier`]:
//!   between processes, and none of them waits for the dead.
//! - [`SharedMemory`], [`Array`], [`Value`], [`Mutex`]: memory that processes share.
//! - [`wait`]: several of these at once.
//! - [`current_process`], [`parent_process`], [`active_children`]: who is who.
//!
//! # Features
//!
//! None is on by itself.
//!
//! - `progress`: `progress()` of a pool's options and of [`Imap`], a line on the terminal that says
//!   how far a map is.
//! - `tracing`: events of pools, with the target `procession::pool`. Workers that start and end are
//!   told at the level info, those that die, or do not start, at warn, and what becomes of each task at
//!   trace. A subscriber runs in the thread that learns of it: it must not wait for tasks.

mod bootstrap;
mod codec;
mod context;
/// What front ends in other languages are made of. It is no part of the library's interface, and
/// changes without notice.
#[doc(hidden)]
pub mod engine {
    pub use crate::pool::face::*;
}
mod error;
mod frame;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod handoff;
mod object;
mod pipe;
mod pool;
mod process;
mod queue;
mod shared;
mod start;
mod supervisor;
mod sync;
mod target;
mod tell;
mod wait;

pub use bytemuck::Pod;
pub use codec::{Arguments, DecodeError, EncodeError};
pub use context::{
    ProcessInfo, SetStartMethodError, StartMethod, cpu_count, current_process, parent_process,
    set_start_method,
};
pub use error::{Error, Result};
pub use object::{CreateError, NotHeldError, OutOfBounds, OwnerDied};
pub use pipe::{
    Connection, PipeError, Receiver, RecvError, RecvTimeoutError, SendError, SendTimeoutError,
    Sender, TryRecvError, TrySendError, duplex, pipe, simplex,
};
pub use pool::{
    AsyncResult, Imap, MapResult, Pool, PoolBuilder, PoolError, PoolStats, ResultTimeoutError,
    SubmitError, TaskError, TaskOptions, WorkerStats,
};
pub use process::{Child, JoinError, Process, active_children, fork, spawn};
pub use procession_sys::ExitStatus;
pub use queue::{
    GetError, GetManyError, GetTimeoutError, Iter, PutError, PutManyError, PutTimeoutError, Queue,
    QueueJoinError, TaskDoneError, TryGetError, TryPutError,
};
pub use shared::{
    Array, ArrayGuard, Leftover, Mutex, MutexGuard, NameError, SharedMemory, Value, ValueGuard,
};
pub use start::{Group, StartError};
pub use sync::{
    Barrier, BarrierError, BoundedSemaphore, Condition, ConditionGuard, Event, Lock, LockGuard,
    RLock, RLockGuard, Semaphore, SemaphoreGuard,
};
pub use target::{Run, Target};
pub use wait::{WaitError, Waitable, wait};
