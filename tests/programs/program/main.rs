//! A helper program: what changes a whole process, or needs one of its own, is tried here.
//!
//! The first argument names the family, the second the scenario, the rest is the scenario's. A
//! scenario fails by panicking.

mod context;
mod copy;
mod environment;
mod events;
mod executable;
mod exit;
mod fork;
mod host;
mod idle;
mod limits;
mod pool_limits;
mod progress;
mod runtime;
mod streams;

use std::process::ExitCode;

/// Runs a scenario by name; `None` if it does not know it.
type Family = fn(scenario: &str, rest: &[String]) -> Option<ExitCode>;

/// The families.
const FAMILIES: &[(&str, Family)] = &[
    ("context", context::run),
    ("copy", copy::run),
    ("environment", environment::run),
    ("events", events::run),
    ("executable", executable::run),
    ("exit", exit::run),
    ("fork", fork::run),
    ("host", host::run),
    ("idle", idle::run),
    ("limits", limits::run),
    ("pool_limits", pool_limits::run),
    ("progress", progress::run),
    ("runtime", runtime::run),
    ("streams", streams::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (Some(family), Some(scenario)) = (arguments.first(), arguments.get(1)) else {
        let names: Vec<&str> = FAMILIES.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: program {} SCENARIO ...", names.join("|"));
        return ExitCode::from(2);
    };
    let run = FAMILIES.iter().find(|(name, _)| name == family).map(|(_, run)| run);
    run.and_then(|run| run(scenario, &arguments[2..])).unwrap_or_else(|| {
        eprintln!("program: there is no scenario `{scenario}` of a family `{family}`");
        ExitCode::from(2)
    })
}

/// The start method that the arguments of a scenario begin with.
///
/// # Panics
///
/// When they do not.
fn method(rest: &[String]) -> procession::StartMethod {
    procession_tests::method_from(rest.first().expect("a start method comes first"))
}
