//! Processes: how one is described, and what its parent holds of it.

mod builder;
mod child;
mod join_error;

pub use builder::{Group, Process, spawn};
pub use child::{Child, active_children};
pub use join_error::JoinError;
