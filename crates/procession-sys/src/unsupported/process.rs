//! Death handles.

use super::{BorrowedHandle, Handle, unsupported};
use crate::ExitStatus;
use std::io;
use std::time::Instant;

/// A process.
#[derive(Debug)]
pub struct Process(std::convert::Infallible);

/// What [`Process::try_reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// It runs.
    Running,
    /// It is dead.
    Dead(ExitStatus),
    /// It is dead, and its status is not to be had.
    Lost,
}

macro_rules! methods {
    ($($(#[$doc:meta])* fn $name:ident(&self $(, $argument:ty)*) -> $result:ty;)*) => {
        $($(#[$doc])* pub fn $name(&self $(, _: $argument)*) -> $result { match self.0 {} })*
    };
}

impl Process {
    /// Opens a handle.
    ///
    /// # Errors
    ///
    /// Always: unsupported.
    pub fn open(_: u32) -> io::Result<Self> {
        unsupported()
    }

    /// Takes over a handle.
    ///
    /// # Panics
    ///
    /// Always: there is no way to have come by one.
    #[must_use]
    pub fn from_handle(_: u32, _: Handle) -> Self {
        unreachable!("no process has been started on an unsupported system")
    }

    /// Gives the handle up.
    #[must_use]
    pub fn into_handle(self) -> Handle {
        match self.0 {}
    }

    methods! {
        /// Lends the handle.
        fn handle(&self) -> BorrowedHandle<'_>;
        /// Returns the process's number.
        fn pid(&self) -> u32;
        /// Waits for its death.
        ///
        /// # Errors
        ///
        /// Never: there is no such process.
        fn wait(&self, Option<Instant>) -> io::Result<bool>;
        /// Takes its status.
        ///
        /// # Errors
        ///
        /// Never: there is no such process.
        fn try_reap(&self) -> io::Result<Reaped>;
        /// Asks it to end.
        ///
        /// # Errors
        ///
        /// Never: there is no such process.
        fn terminate(&self) -> io::Result<()>;
        /// Ends it.
        ///
        /// # Errors
        ///
        /// Never: there is no such process.
        fn kill(&self) -> io::Result<()>;
        /// Asks it and all below it to end.
        ///
        /// # Errors
        ///
        /// Never: there is no such process.
        fn terminate_tree(&self) -> io::Result<()>;
    }
}

/// Returns the number of this process.
#[must_use]
pub fn current_pid() -> u32 {
    std::process::id()
}

/// Returns 0: not known.
#[must_use]
pub fn parent_pid() -> u32 {
    0
}

/// Finds children by their titles.
///
/// # Errors
///
/// Always: unsupported.
pub fn children_titled(_: &str) -> io::Result<Vec<u32>> {
    unsupported()
}

/// Knows no process.
#[must_use]
pub fn start_time(_: u32) -> Option<u64> {
    None
}

/// Finds a process.
///
/// # Errors
///
/// Always: unsupported.
pub fn find(_: u32, _: impl FnOnce(u64) -> bool) -> io::Result<Option<Process>> {
    unsupported()
}

/// Returns 1: not known.
#[must_use]
pub fn online_processors() -> usize {
    1
}

/// Tells where numbers mean the same.
///
/// # Errors
///
/// Always: unsupported.
pub fn namespace() -> io::Result<u64> {
    unsupported()
}

/// Counts this process's threads.
///
/// # Errors
///
/// Always: unsupported.
pub fn count_threads() -> io::Result<usize> {
    unsupported()
}

/// Returns `None`: there are no groups.
#[must_use]
pub fn current_group() -> Option<u32> {
    None
}

/// Puts a child into a group.
///
/// # Errors
///
/// Always: unsupported.
pub fn set_group(_: u32, _: u32) -> io::Result<()> {
    unsupported()
}
