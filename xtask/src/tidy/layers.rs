//! The layers of the design: who may depend on whom, and where the system may be called.

use std::fs;
use std::path::Path;

use super::rules::{fault, is_product};
use super::source::Source;

/// Each crate with the crates of ours below it, from the bottom up.
const LAYERS: [(&str, &[&str]); 5] = [
    ("procession-sys", &[]),
    ("procession-shm", &["procession-sys"]),
    ("procession", &["procession-sys", "procession-shm"]),
    ("procession-python", &["procession-sys", "procession-shm", "procession"]),
    ("procession-cluster", &["procession"]),
];

/// Only `procession-sys` talks to the system; all else goes through it.
const SYSTEM: [&str; 4] = ["libc", "rustix", "windows-sys", "windows"];

/// Every crate depends only on what lies below it.
pub(crate) fn check_manifests(root: &Path) -> Vec<String> {
    let mut faults = Vec::new();
    let Ok(entries) = fs::read_dir(root.join("crates")) else {
        return vec!["crates/ cannot be read".to_string()];
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    for name in names {
        let path = format!("crates/{name}/Cargo.toml");
        let Some(&(_, below)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
            faults.push(format!("{path}: `{name}` has no place among the layers"));
            continue;
        };
        let manifest = fs::read_to_string(root.join(&path)).unwrap_or_default();
        for dependency in dependencies(&manifest) {
            let is_ours = LAYERS.iter().any(|(layer, _)| *layer == dependency);
            if is_ours && !below.contains(&dependency) {
                faults.push(format!("{path}: `{dependency}` does not lie below `{name}`"));
            }
            if SYSTEM.contains(&dependency) && name != "procession-sys" {
                faults.push(format!("{path}: `{dependency}` belongs to `procession-sys` alone"));
            }
        }
    }
    faults
}

/// No source above the platform crate names the system's own crates, not even by a re-export.
pub(crate) fn check_paths(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let above = |source: &&Source| {
        is_product(&source.path) && !source.path.starts_with("crates/procession-sys/")
    };
    for source in sources.iter().filter(above) {
        for (number, line) in source.lines.iter().enumerate() {
            for name in ["libc", "rustix", "windows_sys"] {
                if line.code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == name) {
                    let text = format!("`{name}` outside `procession-sys`");
                    faults.push(fault(source, number, &text));
                }
            }
        }
    }
    faults
}

/// Where atomics come from in the crate whose atomics a model checker must see: the façade, and the
/// world of the models.
const ATOMICS: [&str; 2] =
    ["crates/procession-shm/src/atomic.rs", "crates/procession-shm/src/model/"];

/// In the crate of shared structures, atomics come from the one façade.
pub(crate) fn check_atomics(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let bound = |source: &&Source| {
        source.path.starts_with("crates/procession-shm/src/")
            && !ATOMICS.iter().any(|path| source.path.starts_with(path))
    };
    for source in sources.iter().filter(bound) {
        for (number, line) in source.lines.iter().enumerate() {
            if names_foreign_atomics(&line.code) {
                let text = "atomics of its own instead of `crate::atomic`";
                faults.push(fault(source, number, text));
            }
        }
    }
    faults
}

/// Tells whether a line names a module `atomic` that is not the crate's own.
fn names_foreign_atomics(code: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices("atomic").any(|(at, name)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        !before.ends_with(is_word)
            && !after.starts_with(is_word)
            && !before.ends_with("crate::")
            && !before.ends_with("mod ")
    })
}

/// The names in every table of dependencies of a manifest, whatever its kind or target.
fn dependencies(manifest: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut in_table = false;
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            in_table = header.ends_with("dependencies");
            // `[dependencies.name]` is a table of one dependency.
            if let Some((_, name)) = header.rsplit_once("dependencies.") {
                names.push(name);
            }
        } else if in_table && !line.starts_with('#') {
            // `name = …`, `name.workspace = true`
            let end = line.find(|c: char| !c.is_alphanumeric() && c != '-' && c != '_');
            let name = &line[..end.unwrap_or(line.len())];
            if !name.is_empty() {
                names.push(name);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::{check_atomics, dependencies};
    use crate::tidy::source::Source;

    #[test]
    fn atomics_come_from_one_place() {
        let good = "mod atomic;\nuse crate::atomic::AtomicU32; // std::sync::atomic\natomics();\n";
        let bad = "use std::sync::atomic::AtomicU32;\nuse std::sync::{\n    atomic,\n};\n";
        let source = |path: &str, text| Source::new(&format!("crates/{path}.rs"), text);
        let fine = [
            source("procession-shm/src/a", good),
            source("procession-shm/src/atomic", bad),
            source("procession-shm/src/model/futex", bad),
            source("procession/src/a", bad),
        ];
        assert_eq!(check_atomics(&fine), Vec::<String>::new());
        assert_eq!(check_atomics(&[source("procession-shm/src/a/b", bad)]).len(), 2);
    }

    #[test]
    fn every_kind_of_dependency_is_seen() {
        let manifest = "[package]\nname = \"x\"\n[dependencies]\n# why\nserde.workspace = true\n\
            procession-sys = { path = \"..\" }\n[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n\
            [dev-dependencies.loom]\nversion = \"1\"\n[lints]\nworkspace = true\n";
        assert_eq!(dependencies(manifest), ["serde", "procession-sys", "libc", "loom"]);
    }
}
