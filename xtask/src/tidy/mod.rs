//! Structural tests: what the compiler and clippy cannot see.

mod layers;
mod modules;
mod orderings;
mod rules;
mod source;

use std::path::Path;

use source::Source;

/// Runs every structural test; either a summary, or one line per fault.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    let sources = match source::read_all(root) {
        Ok(sources) => sources,
        Err(error) => return Err(format!("the sources cannot be read: {error}")),
    };
    let mut faults = layers::check_manifests(root);
    faults.extend(layers::check_paths(&sources));
    faults.extend(layers::check_atomics(&sources));
    faults.extend(orderings::check(&sources));
    faults.extend(modules::check_cycles(&sources));
    faults.extend(rules::check_unsafe(&sources));
    faults.extend(rules::check_allow(&sources));
    faults.extend(rules::check_lengths(&sources));
    let points = rules::crash_points(&sources, &mut faults);
    if faults.is_empty() { Ok(summary(&sources, points)) } else { Err(faults.join("\n")) }
}

fn summary(sources: &[Source], points: usize) -> String {
    let mut by_length: Vec<&Source> = sources.iter().collect();
    by_length.sort_by_key(|source| std::cmp::Reverse(source.lines.len()));
    let lines: usize = sources.iter().map(|source| source.lines.len()).sum();
    let median = by_length.get(by_length.len() / 2).map_or(0, |source| source.lines.len());
    let mut text = format!(
        "{} files, {lines} lines, median {median}, {points} crash points; the longest files:",
        sources.len()
    );
    for source in by_length.iter().take(8) {
        text += &format!("\n{:6}  {}", source.lines.len(), source.path);
    }
    text
}
