//! The table of outcomes.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use procession::TaskError;

use crate::decode::{Decoded, Sizes};

/// What became of one file.
pub(crate) struct Row {
    name: String,
    outcome: String,
    class: Class,
    tries: u64,
    milliseconds: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Made,
    Unreadable,
    /// It broke what decodes it.
    Harmful,
}

impl Row {
    pub(crate) fn new(
        file: &Path,
        outcome: Result<Decoded, TaskError>,
        tries: u64,
        milliseconds: u64,
    ) -> Self {
        let name = file.file_name().unwrap_or_default().display().to_string();
        let (class, outcome) = match outcome {
            Ok(Ok(Sizes { from, to })) => {
                (Class::Made, format!("{}x{} to {}x{}", from.0, from.1, to.0, to.1))
            }
            Ok(Err(why)) => (Class::Unreadable, why),
            Err(TaskError::TimedOut { after }) => (Class::Harmful, format!("took over {after:?}")),
            Err(TaskError::WorkerDied { exit, .. }) => (Class::Harmful, format!("crashed: {exit}")),
            Err(TaskError::MemoryLimit { .. }) => {
                (Class::Harmful, format!("wanted more than {} MiB", crate::MEMORY >> 20))
            }
            Err(TaskError::Panicked { message, .. }) => {
                (Class::Harmful, format!("panicked: {message}"))
            }
            Err(other) => (Class::Harmful, other.to_string()),
        };
        Self { name, outcome, class, tries, milliseconds }
    }
}

/// Everything that is printed at the end.
pub(crate) fn text(rows: &[Row], workers: usize, restarts: u64, time: Duration) -> String {
    let longest = |text: fn(&Row) -> &str, least| {
        rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0).max(least)
    };
    let (names, outcomes) = (longest(|row| &row.name, 4), longest(|row| &row.outcome, 7));
    let mut out = String::new();
    _ = writeln!(out, "{:names$}  {:outcomes$}  tries      ms", "file", "outcome");
    for Row { name, outcome, tries, milliseconds, .. } in rows {
        _ = writeln!(out, "{name:names$}  {outcome:outcomes$}  {tries:>5}  {milliseconds:>6}");
    }
    let count = |class| rows.iter().filter(|row| row.class == class).count();
    _ = write!(
        out,
        "\ntotal: {} files, {} thumbnails, {} unreadable, {} harmful\n\
         {:.2} s with {workers} workers, {restarts} of them replaced",
        rows.len(),
        count(Class::Made),
        count(Class::Unreadable),
        count(Class::Harmful),
        time.as_secs_f64(),
    );
    out
}
