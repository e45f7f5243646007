//! What the tests of procession share: a watchdog, a leak check, helper programs, a look at `/proc`.
//!
//! `PROCESSION_LONG=1` in the environment makes rounds many and values large.

mod checked;
mod pools;
pub mod proc;
mod program;
pub mod raw;
mod watchdog;

use std::time::Duration;

pub use checked::{checked, warm_up};
pub use pools::{block_on, kill_workers};
pub use proc::Snapshot;
use procession::{Child, JoinError, Process, StartMethod};
pub use program::{Folder, Output, Program, Running, copy_executable};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Both start methods.
pub const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Tells whether the long form of the tests was asked for.
#[must_use]
pub fn is_long() -> bool {
    std::env::var_os("PROCESSION_LONG").is_some_and(|value| value != "0")
}

/// How many rounds a test with kills makes.
#[must_use]
pub fn rounds() -> usize {
    if is_long() { 1000 } else { 30 }
}

/// The start method as an argument of a helper program.
#[must_use]
pub fn method_name(method: StartMethod) -> &'static str {
    if method == StartMethod::Spawn { "spawn" } else { "forkserver" }
}

/// The start method that an argument of a helper program names.
///
/// # Panics
///
/// On any other text.
#[must_use]
pub fn method_from(name: &str) -> StartMethod {
    let method = METHODS.into_iter().find(|method| method_name(*method) == name);
    method.unwrap_or_else(|| panic!("`{name}` is not a start method"))
}

/// Starts a process by `method`.
///
/// # Panics
///
/// When it does not start.
pub fn start<R: Serialize + DeserializeOwned>(
    process: Process<R>,
    method: StartMethod,
) -> Child<R> {
    process.start_method(method).start().expect("it starts")
}

/// Starts a process by `method` and returns what its target returns.
///
/// # Panics
///
/// When it does not start, or returns no value.
pub fn join<R: Serialize + DeserializeOwned>(process: Process<R>, method: StartMethod) -> R {
    start(process, method).join().expect("it returns")
}

/// Starts a process by `method` that returns no value, and says why not.
///
/// # Panics
///
/// When it does not start, or returns a value.
pub fn fail<R>(process: Process<R>, method: StartMethod) -> JoinError
where
    R: Serialize + DeserializeOwned + std::fmt::Debug,
{
    start(process, method).join().expect_err("it returns no value")
}

/// Ends long after every watchdog, with a code that nobody expects.
pub fn sleep_long() {
    std::thread::sleep(Duration::from_secs(3600));
    std::process::exit(99);
}

/// Random numbers, different in each run.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Starts a sequence.
    #[must_use]
    pub fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        Self(RandomState::new().hash_one(std::process::id()) | 1)
    }

    /// Returns a number below `end`, which is not 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// Makes tests of functions that take a start method, one per method and function.
#[macro_export]
macro_rules! for_each_method {
    ($($name:ident),* $(,)?) => {
        mod spawn {
            $(#[test]
            fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::checked(name, || super::$name(procession::StartMethod::Spawn));
            })*
        }
        mod fork_server {
            $(#[test]
            fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::checked(name, || super::$name(procession::StartMethod::ForkServer));
            })*
        }
    };
}

/// Makes tests of functions for which the start method plays no role, or that try both.
#[macro_export]
macro_rules! tests {
    ($($name:ident),* $(,)?) => {
        mod tests {
            $(#[test]
            fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::checked(name, super::$name);
            })*
        }
    };
}

/// A helper program that runs one of its scenarios.
#[macro_export]
macro_rules! program {
    ($scenario:expr) => {
        $crate::Program::new(env!("CARGO_BIN_EXE_program"), $scenario)
    };
}
