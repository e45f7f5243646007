//! Running programs, and the record of what passed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What became of one step.
pub(crate) enum Outcome {
    /// It ran and found nothing wrong; the text says what was seen, if anything is worth saying.
    Passed(String),
    /// It could not run on this machine, and why.
    Skipped(String),
    /// What was wrong.
    Failed(String),
}

/// The steps so far. A failed step does not stop the ones after it.
#[derive(Default)]
pub(crate) struct Report {
    steps: Vec<(String, Outcome, Duration)>,
}

impl Report {
    /// Runs one step and keeps its outcome.
    pub(crate) fn step(&mut self, name: &str, work: impl FnOnce() -> Outcome) {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = work();
        match &outcome {
            Outcome::Passed(note) if note.is_empty() => {}
            Outcome::Passed(note) => println!("{note}"),
            Outcome::Skipped(why) => println!("skipped: {why}"),
            Outcome::Failed(why) => println!("FAILED: {why}"),
        }
        self.steps.push((name.to_string(), outcome, start.elapsed()));
    }

    /// Prints one line per step and says whether none failed.
    pub(crate) fn finish(self) -> bool {
        println!("\n==> summary");
        let mut failed = 0;
        for (name, outcome, time) in &self.steps {
            let (word, why) = match outcome {
                Outcome::Passed(_) => ("ok", ""),
                Outcome::Skipped(why) => ("skipped", why.as_str()),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
            };
            failed += usize::from(matches!(outcome, Outcome::Failed(_)));
            let first_line = why.lines().next().unwrap_or_default();
            println!("{word:8}{name:44}{:7.1} s  {first_line}", time.as_secs_f64());
        }
        println!("{} steps, {failed} failed", self.steps.len());
        failed == 0
    }
}

/// A command on the cargo that runs us, in the workspace's folder, with no terminal input.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(crate::root()).stdin(Stdio::null());
    command
}

/// A command on rustup, with no terminal input.
pub(crate) fn rustup(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(arguments).current_dir(crate::root()).stdin(Stdio::null());
    command
}

/// Runs a command with its output shown, and passes if it exits with 0.
pub(crate) fn shown(command: &mut Command) -> Outcome {
    match command.status() {
        Ok(status) if status.success() => Outcome::Passed(String::new()),
        Ok(status) => Outcome::Failed(format!("{}: {status}", in_words(command))),
        Err(error) => Outcome::Failed(format!("{}: {error}", in_words(command))),
    }
}

/// Runs a command quietly; an error carries the command and the end of what it said.
pub(crate) fn quiet(command: &mut Command) -> Result<String, String> {
    let name = in_words(command);
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    let last = &lines[lines.len().saturating_sub(20)..];
    Err(format!("{name}: {} {}", output.status, last.join("\n")))
}

/// The command as one would type it.
pub(crate) fn in_words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy();
    let mut words = vec![program.rsplit('/').next().unwrap_or_default().to_string()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}
