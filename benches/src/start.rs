//! Starting a process that does nothing, and waiting for its end.

use std::error::Error;
use std::process::{Command, Stdio};

use procession::{Process, StartMethod};

use crate::measure::Plan;
use crate::row::{self, ratio, shown};
use crate::{DO_NOTHING, system};

/// What a large parent has in memory.
const RESIDENT: usize = 1 << 30;

/// The rows: what is asked for, and how the table calls it.
const ROWS: [(&str, &str); 8] = [
    ("raw-fork", "`fork` + `waitpid` (base of the ratios)"),
    ("forkserver", "**procession, fork server**"),
    ("fork", "**procession, `unsafe fork`**"),
    ("re-execute", "`std::process::Command` of oneself"),
    ("spawn", "**procession, spawn**"),
    ("posix-spawn", "`posix_spawn` of `/bin/true`"),
    ("procspawn", "procspawn 1.0.2"),
    ("thread", "a thread (within one process)"),
];

/// Prints the table, and says whether every number could be had.
pub(crate) fn table(quick: bool) -> bool {
    let measured: Vec<[Option<f64>; 2]> = ROWS
        .iter()
        .map(|(what, _)| {
            ["small", "large"].map(|parent| {
                let numbers = row::measure(quick, &["start", what, parent])?;
                Some(numbers[0] / 1e3)
            })
        })
        .collect();
    let of = |what: &str| ROWS.iter().position(|row| row.0 == what).map(|row| measured[row]);
    let base = of("raw-fork").unwrap_or_default();

    println!("\n### Start and join\n");
    println!("| | small parent, µs | × fork | parent with 1 GiB, µs | × fork | × small fork |");
    println!("|---|---:|---:|---:|---:|---:|");
    for ((_, title), [small, large]) in ROWS.iter().zip(&measured) {
        println!(
            "| {title} | {} | {} | {} | {} | {} |",
            shown(*small),
            ratio(*small, base[0]),
            shown(*large),
            ratio(*large, base[1]),
            ratio(*large, base[0]),
        );
    }
    if let (Some(spawn), Some(oneself)) = (of("spawn"), of("re-execute")) {
        let (small, large) = (ratio(spawn[0], oneself[0]), ratio(spawn[1], oneself[1]));
        println!("\nSpawn against re-executing oneself: {small} small, {large} with 1 GiB.");
    }
    measured.iter().flatten().all(Option::is_some)
}

/// Measures one row: the nanoseconds from the start to the end of a child.
pub(crate) fn measure(plan: Plan, what: &str, parent: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    if parent == "large" {
        system::make_resident(RESIDENT)?;
    }
    // Once before measuring, so that a failure is an error with its reason.
    once(what)?;
    let mut failures = 0;
    let nanoseconds = plan.nanoseconds(|| failures += usize::from(once(what).is_err()));
    if failures > 0 {
        return Err(format!("{failures} starts failed").into());
    }
    Ok(vec![nanoseconds])
}

fn once(what: &str) -> Result<(), Box<dyn Error>> {
    match what {
        "raw-fork" => system::waitpid(system::fork(|| ())?)?,
        "posix-spawn" => system::waitpid(system::posix_spawn_true()?)?,
        "re-execute" => {
            let mut command = Command::new(std::env::current_exe()?);
            let status = command.arg(DO_NOTHING).stdin(Stdio::null()).status()?;
            if !status.success() {
                return Err(status.to_string().into());
            }
        }
        "forkserver" => start(StartMethod::ForkServer)?,
        "spawn" => start(StartMethod::Spawn)?,
        "fork" => {
            // SAFETY: this process has no thread of its own besides this one, and the child does
            // nothing.
            let child = unsafe { procession::fork(|| ()) }?;
            child.join()?;
        }
        "procspawn" => procspawn::spawn((), |()| ()).join()?,
        "thread" => std::thread::spawn(|| ()).join().map_err(|_| "the thread panicked")?,
        _ => return Err(format!("nothing starts by `{what}`").into()),
    }
    Ok(())
}

fn start(method: StartMethod) -> Result<(), Box<dyn Error>> {
    Process::new(nothing, ()).start_method(method).start()?.join()?;
    Ok(())
}

fn nothing() {}
