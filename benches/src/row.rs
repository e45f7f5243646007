//! The tables, and the processes that measure their rows.

use std::process::{Command, ExitCode, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use crate::measure::Plan;
use crate::{contention, iceoryx, idle, latency, lock, pipe, pool, queue, shared, start};

/// No row may hold up the others for longer.
const LONGEST_ROW: Duration = Duration::from_secs(40);

/// Tables that belong together.
pub(crate) const SECTIONS: [&str; 7] = ["start", "pipe", "queue", "shared", "lock", "pool", "idle"];

/// Prints every table, or those of one section.
pub(crate) fn tables(quick: bool, section: &str) -> ExitCode {
    let prints = [
        start::table as fn(bool) -> bool,
        pipe::tables,
        queue::tables,
        shared::tables,
        lock::tables,
        pool::tables,
        idle::table,
    ];
    if !section.is_empty() && !SECTIONS.contains(&section) {
        eprintln!("there is no section `{section}`: {}", SECTIONS.join(", "));
        return ExitCode::from(2);
    }
    println!("{}", machine(quick));
    let mut all_measured = true;
    for (name, print) in SECTIONS.into_iter().zip(prints) {
        if section.is_empty() || section == name {
            all_measured &= print(quick);
        }
    }
    if all_measured { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures one row in this process and prints what came out, for [`measure`] to read.
pub(crate) fn run(quick: bool, row: &[&str]) -> ExitCode {
    let plan = Plan::new(quick);
    let result = match row {
        ["start", what, parent] => start::measure(plan, what, parent),
        ["pipe", what, size, placement, kind] => pipe::measure(plan, what, size, placement, kind),
        ["queue", row @ ..] => queue::measure(plan, row),
        ["latency", what, place] => latency::measure(quick, what, place),
        ["contention", what, count, pause] => contention::measure(plan, what, count, pause),
        ["shared", what, bytes] => shared::measure(plan, what, bytes),
        ["lock", what] => lock::measure(plan, what),
        ["pool", what, argument] => pool::measure(plan, quick, what, argument),
        ["idle"] => idle::measure(quick),
        _ => Err(format!("no such row: {row:?}").into()),
    };
    match result {
        Ok(numbers) => {
            let words: Vec<String> = numbers.iter().map(f64::to_string).collect();
            println!("{}", words.join(" "));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{}: {error}", row.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// Measures one row in a process of its own. A row that fails says why on stderr.
pub(crate) fn measure(quick: bool, row: &[&str]) -> Option<Vec<f64>> {
    let numbers = match measure_elsewhere(quick, row) {
        Ok(text) => text.split_whitespace().map(|word| word.parse().ok()).collect(),
        Err(error) => {
            eprintln!("{}: {error}", row.join(" "));
            None
        }
    };
    numbers.filter(|numbers: &Vec<f64>| !numbers.is_empty())
}

fn measure_elsewhere(quick: bool, row: &[&str]) -> io::Result<String> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["row", if quick { "quick" } else { "full" }]).args(row);
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let give_up = Instant::now() + LONGEST_ROW;
    let mut in_time = true;
    while in_time && process.try_wait()?.is_none() {
        sleep(Duration::from_millis(5));
        in_time = Instant::now() < give_up;
    }
    process.kill()?; // not if it has ended
    iceoryx::remove_files(process.id());
    if !in_time {
        process.wait()?;
        return Err(io::Error::other(format!("ended after {} s", LONGEST_ROW.as_secs())));
    }
    // One line: it fits the pipe, so the process never waited for us to read it.
    let output = process.wait_with_output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(output.status.to_string())),
    }
}

/// `number` with three significant digits, or a dash.
pub(crate) fn shown(number: Option<f64>) -> String {
    match number {
        None => "–".to_string(),
        Some(number) if number >= 100.0 => format!("{number:.0}"),
        Some(number) if number >= 10.0 => format!("{number:.1}"),
        Some(number) => format!("{number:.2}"),
    }
}

/// How many times the base a number is.
pub(crate) fn ratio(number: Option<f64>, base: Option<f64>) -> String {
    match (number, base) {
        (Some(number), Some(base)) if base > 0.0 => format!("{}×", shown(Some(number / base))),
        _ => "–".to_string(),
    }
}

fn machine(quick: bool) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let processor = processor.lines().find_map(|line| line.strip_prefix("model name"));
    let processor = processor.unwrap_or_default().trim_start_matches([' ', '\t', ':']);
    format!(
        "{processor}, {} CPUs, Linux {}{}",
        procession::cpu_count(),
        read("/proc/sys/kernel/osrelease").trim(),
        if quick { "; quick: not to be quoted" } else { "" }
    )
}
