//! New processes.

use super::process::Process;
use super::unsupported;
use super::wire::Wire;
use std::ffi::OsStr;
use std::io;
use std::process::Command;

/// The variable that makes a process a child.
pub const MARKER: &str = "PROCESSION_ENTRY";

/// Which standard streams the caller has set.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamsSet {
    /// Standard input is set.
    pub stdin: bool,
    /// Standard output is set.
    pub stdout: bool,
    /// Standard error is set.
    pub stderr: bool,
}

/// The marker's contents.
#[derive(Debug, PartialEq, Eq)]
pub struct Marker {
    /// The handle's number.
    pub number: i32,
    /// The nonce.
    pub nonce: u64,
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The one that called.
    Parent(Process),
    /// The new process.
    Child,
}

/// The command that starts this executable anew.
#[must_use]
pub fn command() -> Command {
    Command::new(std::env::current_exe().unwrap_or_default())
}

/// Does nothing: there are no groups.
pub fn set_group(_: &mut Command, _: u32) {}

/// Starts a command.
///
/// # Errors
///
/// Always: unsupported.
pub fn execute(
    _: Command,
    _: Wire,
    _: u64,
    _: StreamsSet,
) -> io::Result<(Process, std::process::Child)> {
    unsupported()
}

/// Reads a marker: none is right.
#[must_use]
pub fn parse_marker(_: &OsStr) -> Option<Marker> {
    None
}

/// Takes a handle for later.
///
/// # Errors
///
/// Always: unsupported.
pub fn reserve() -> io::Result<super::Handle> {
    unsupported()
}

/// Tells nothing.
#[must_use]
pub fn runs_with_more_rights() -> bool {
    false
}

/// Takes an inherited wire.
///
/// # Errors
///
/// Always: unsupported.
pub fn inherited_wire(_: &Marker) -> io::Result<Wire> {
    unsupported()
}

/// Forks.
///
/// # Safety
///
/// Nothing is done.
///
/// # Errors
///
/// Always: unsupported.
pub unsafe fn fork_sibling() -> io::Result<Fork> {
    unsupported()
}

/// Forks.
///
/// # Safety
///
/// Nothing is done.
///
/// # Errors
///
/// Always: unsupported.
pub unsafe fn fork(_: super::Handle) -> io::Result<Fork> {
    unsupported()
}

/// Does nothing: there is no such child.
pub fn abandon(_: u32) {}
