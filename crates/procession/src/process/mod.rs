//! Processes: how one is described, and what its parent holds of it.

mod builder;
mod child;
mod fork;
mod join_error;

pub use builder::{Process, spawn};
pub use child::{Child, active_children};
pub use fork::fork;
pub use join_error::JoinError;
