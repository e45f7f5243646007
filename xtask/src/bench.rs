//! The benches, and the tables that they leave in a page.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

use crate::run::{cargo, in_words};

/// Between these lines of a page are the tables.
const BEGIN: &str = "<!-- bench -->\n";
const END: &str = "<!-- /bench -->\n";

/// Runs the benches in release mode and shows their tables. After `--into` comes a page whose tables
/// they replace.
pub(crate) fn run(arguments: &[String]) -> bool {
    let at = arguments.iter().position(|word| word == "--into");
    let (words, page) = match at {
        Some(at) => (&arguments[..at], arguments.get(at + 1)),
        None => (arguments, None),
    };
    if at.is_some() && (page.is_none() || arguments.len() > words.len() + 2) {
        eprintln!("`--into FILE` comes last, and names one page");
        return false;
    }
    let written = tables(words).and_then(|tables| match page {
        Some(page) => replace(&crate::root().join(page), &tables),
        None => Ok(()),
    });
    written.inspect_err(|why| eprintln!("{why}")).is_ok()
}

/// Shows the tables while they are made, and returns them.
fn tables(words: &[String]) -> Result<String, String> {
    let mut command = cargo(&["run", "--release", "--package", "procession-benches", "--"]);
    let name = in_words(command.args(words));
    let failed = |error: &dyn std::fmt::Display| format!("{name}: {error}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| failed(&error))?;
    let mut tables = String::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(|error| failed(&error))?;
            println!("{line}");
            tables += &line;
            tables.push('\n');
        }
    }
    let status = child.wait().map_err(|error| failed(&error))?;
    if status.success() { Ok(tables) } else { Err(failed(&status)) }
}

fn replace(page: &Path, tables: &str) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", page.display());
    let text = fs::read_to_string(page).map_err(|error| failed(&error))?;
    let parts = text.split_once(BEGIN);
    let parts = parts.and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.ok_or_else(|| failed(&format_args!("it has no lines {BEGIN:?} and {END:?}")))?;
    let text = format!("{before}{BEGIN}{tables}{END}{after}");
    fs::write(page, text).map_err(|error| failed(&error))
}
