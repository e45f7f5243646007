//! Data structures in memory that processes share, any of which may die in the middle of anything.
//!
//! | module | what it is |
//! |---|---|
//! | `atomic`, `os` | atomics and the system, in one place each |
//! | `segment` | one piece of shared memory: made, passed on as a handle, checked, joined |
//! | `roster` | who takes part: numbers that are never used again |
//! | `watch` | notices the death of those who take part, and has it swept up |
//! | `gate` | where processes sleep until something has changed |
//! | `hunger` | who has waited long is let through |
//! | `lock`, `rlock`, `semaphore`, `condition`, `event`, `barrier` | what their names say |
//! | `bytes` | plain bytes, with and without a lock |
//! | `named` | plain bytes under a name, for processes that are not related |
//! | `ring`, `queue` | messages from any process to any process |
//! | `lent` | a message that is still where it lies |
//! | `channel`, `pipe` | messages between two ends, until one is gone |
//! | `slots` | work that one process offers, and others take and answer |
//! | `store` | blocks of bytes that one process writes and others copy out |
//!
//! Nothing here starts a process. A peer may be dead, and it may be hostile: what is read from
//! shared memory is judged before it is used, and nothing in it is an address.
//!
//! # What a death leaves behind
//!
//! Each structure's words say who is in the middle of what, by roster number. Whoever is about to
//! sleep on a structure first has every other participant watched; when one dies, each watcher
//! *sweeps*: it takes the dead one's number out of every word, and wakes everybody, who then look
//! again. Sweeping twice, at once, or late, when the place has gone to a newcomer, does no harm. A
//! participant that nobody watched while it died is found by the next one that comes to wait.
//!
//! The crate is internal to procession: its API follows procession's needs without notice.

#![cfg_attr(loom, expect(dead_code, reason = "the models leave some of it out"))]

mod atomic;
pub mod barrier;
pub mod bytes;
#[cfg(not(loom))]
mod channel;
pub mod condition;
pub mod event;
mod gate;
mod hunger;
#[cfg_attr(loom, expect(unreachable_pub, reason = "who passes it on is left out"))]
mod lent;
pub mod lock;
#[cfg(loom)]
mod model;
#[cfg(not(loom))]
pub mod named;
mod os;
#[cfg(not(loom))]
pub mod pipe;
#[cfg(not(loom))]
pub mod queue;
mod ring;
pub mod rlock;
mod roster;
pub mod segment;
pub mod semaphore;
pub mod slots;
#[cfg_attr(loom, path = "model/store.rs")]
pub mod store;
mod turn;
mod wait;
#[cfg_attr(loom, path = "model/watch.rs")]
mod watch;

pub use roster::PLACES;
pub use wait::{gives_up, may_give_up, on_interrupt};
