//! The tables.

use std::fmt::Write;
use std::time::Duration;

use crate::count::{Counts, FileResult};
use crate::fan::Results;
use crate::input::Input;

/// How many files and words a table shows.
const ROWS: usize = 10;

/// Everything that is printed at the end.
pub(crate) fn text(input: &Input, results: &Results, processes: usize, time: Duration) -> String {
    let mut texts: Vec<(&str, Counts)> = Vec::new();
    let mut failures: Vec<(String, String)> = Vec::new();
    let mut binaries = 0;
    let path_of = |number: usize| input.files[number].path.to_str().unwrap_or("(not UTF-8)");
    for (&number, result) in &results.files {
        match result {
            FileResult::Text(counts) => texts.push((path_of(number), *counts)),
            FileResult::Binary => binaries += 1,
            FileResult::Unreadable(why) => failures.push((path_of(number).into(), why.clone())),
        }
    }
    for (number, why) in &results.failed {
        failures.push((path_of(*number).into(), why.clone()));
    }
    for (path, error) in &input.unreadable {
        failures.push((path.display().to_string(), error.to_string()));
    }
    texts.sort_by(|(a_path, a), (b_path, b)| b.words.cmp(&a.words).then(a_path.cmp(b_path)));
    failures.sort();

    let mut out = String::new();
    let total = file_table(&mut out, &texts);
    word_table(&mut out, results);
    for (path, why) in &failures {
        _ = writeln!(out, "failed: {path}: {why}");
    }
    if !failures.is_empty() {
        out.push('\n');
    }
    let Counts { bytes, lines, words } = total;
    let files = texts.len();
    _ = writeln!(
        out,
        "total: {} files, {} bytes, {} lines, {} words ({} binary files left out, {} failed)",
        grouped(files as u64),
        grouped(bytes),
        grouped(lines),
        grouped(words),
        grouped(binaries),
        grouped(failures.len() as u64),
    );
    let seconds = time.as_secs_f64().max(1e-9);
    _ = write!(
        out,
        "{seconds:.2} s, {} words per second, {:.1} MB per second; {processes} at a time, {} processes in all",
        grouped((words as f64 / seconds) as u64),
        bytes as f64 / 1e6 / seconds,
        grouped(results.started),
    );
    out
}

/// Writes the files with the most words, and returns the sum over all.
fn file_table(out: &mut String, texts: &[(&str, Counts)]) -> Counts {
    _ = writeln!(out, "{:>14} {:>11} {:>13}  file", "words", "lines", "bytes");
    let mut total = Counts::default();
    for (index, (path, counts)) in texts.iter().enumerate() {
        total += *counts;
        if index < ROWS {
            let Counts { bytes, lines, words } = *counts;
            let numbers = (grouped(words), grouped(lines), grouped(bytes));
            _ = writeln!(out, "{:>14} {:>11} {:>13}  {path}", numbers.0, numbers.1, numbers.2);
        }
    }
    if texts.len() > ROWS {
        _ = writeln!(out, "{:>14}", format!("… {} more", grouped((texts.len() - ROWS) as u64)));
    }
    out.push('\n');
    total
}

fn word_table(out: &mut String, results: &Results) {
    let mut words: Vec<(&String, &u64)> = results.frequencies.iter().collect();
    words.sort_by(|(a_word, a), (b_word, b)| b.cmp(a).then(a_word.cmp(b_word)));
    _ = writeln!(out, "{:>14}  word of four letters or more", "times");
    for (word, count) in words.into_iter().take(ROWS) {
        _ = writeln!(out, "{:>14}  {word}", grouped(*count));
    }
    out.push('\n');
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped_by_three() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
