//! Rules about single files.

use std::collections::BTreeMap;

use super::source::{Line, Source};

/// Past this a file holds more than one idea.
const LONGEST_FILE: usize = 800;

/// Every `unsafe` block and `unsafe impl` says why it is sound.
pub(crate) fn check_unsafe(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        for (number, line) in source.lines.iter().enumerate() {
            if has_unsafe_block(&line.code) && !is_justified(&source.lines, number) {
                faults.push(fault(source, number, "`unsafe` without a `SAFETY:` comment"));
            }
        }
    }
    faults
}

/// An expectation with its reason takes the place of a lint that is switched off in silence.
pub(crate) fn check_allow(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    for source in sources {
        for (number, line) in source.lines.iter().enumerate() {
            let attribute = line.code.trim_start().starts_with('#');
            if attribute && words(&line.code).any(|(word, after)| word == "allow" && after == "(") {
                let text = "`allow` instead of `#[expect(…, reason = \"…\")]`";
                faults.push(fault(source, number, text));
            }
        }
    }
    faults
}

/// No file grows beyond what one can read at a sitting.
pub(crate) fn check_lengths(sources: &[Source]) -> Vec<String> {
    let too_long = sources.iter().filter(|source| source.lines.len() > LONGEST_FILE);
    too_long
        .map(|source| {
            let length = source.lines.len();
            format!("{}: {length} lines, more than {LONGEST_FILE}: split it", source.path)
        })
        .collect()
}

/// Counts the crash points; each has a name of its own, `area.place`.
pub(crate) fn crash_points(sources: &[Source], faults: &mut Vec<String>) -> usize {
    let mut seen: BTreeMap<&str, String> = BTreeMap::new();
    let in_crates = |source: &&Source| is_product(&source.path);
    for source in sources.iter().filter(in_crates) {
        for (number, line) in source.lines.iter().enumerate() {
            // The macro's definition takes its name from a variable and has no string.
            let (true, Some(name)) = (line.code.contains("crash_point!(\""), line.strings.first())
            else {
                continue;
            };
            if !is_point_name(name) {
                let text = format!("crash point `{name}`: use lower-case words with dots");
                faults.push(fault(source, number, &text));
            }
            let here = format!("{}:{}", source.path, number + 1);
            if let Some(there) = seen.insert(name, here) {
                let text = format!("crash point `{name}` is at {there} already");
                faults.push(fault(source, number, &text));
            }
        }
    }
    seen.len()
}

/// Sources that users get, as against tests and tools.
pub(crate) fn is_product(path: &str) -> bool {
    path.starts_with("crates/")
}

pub(crate) fn fault(source: &Source, index: usize, text: &str) -> String {
    format!("{}:{}: {text}", source.path, index + 1)
}

fn has_unsafe_block(code: &str) -> bool {
    words(code).any(|(word, after)| word == "unsafe" && (after == "{" || after == "impl"))
}

/// The comment is on the line itself or above it, with nothing between but the same statement.
fn is_justified(lines: &[Line], index: usize) -> bool {
    if lines[index].comment.contains("SAFETY:") {
        return true;
    }
    for line in lines[..index].iter().rev() {
        let code = line.code.trim();
        if code.ends_with([';', '}']) {
            return false;
        }
        if line.comment.contains("SAFETY:") {
            return true;
        }
        if code.ends_with('{') || (code.is_empty() && line.comment.is_empty()) {
            return false;
        }
    }
    false
}

fn is_point_name(name: &str) -> bool {
    let is_word = |word: &str| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        !word.is_empty() && word.chars().all(plain)
    };
    name.contains('.') && name.split('.').all(is_word)
}

/// Each word of the code with the word or sign that follows it.
fn words(code: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    let next: Vec<&str> = tokens.iter().copied().skip(1).chain([""]).collect();
    tokens.into_iter().zip(next)
}

#[cfg(test)]
mod tests {
    use super::{check_allow, check_lengths, check_unsafe, crash_points};
    use crate::tidy::source::Source;

    fn source(text: &str) -> [Source; 1] {
        [Source::new("crates/x/src/a.rs", text)]
    }

    #[test]
    fn an_unsafe_block_needs_its_reason() {
        let good = [
            "// SAFETY: because.\nlet a = unsafe { f() };",
            "// SAFETY: because\n// of this.\n#[inline]\nunsafe impl Send for A {}",
            "// SAFETY: because.\nlet a = g(\n    1,\n    unsafe { f() },\n);",
            "let a = unsafe { f() }; // SAFETY: because.",
            "pub unsafe fn f() {",
            "#[unsafe(no_mangle)]",
            "let text = \"unsafe { }\"; // unsafe { }",
        ];
        for text in good {
            assert_eq!(check_unsafe(&source(text)), Vec::<String>::new(), "{text}");
        }
        let bad = [
            "let a = unsafe { f() };",
            "// SAFETY: of the first alone.\nunsafe { f() };\nunsafe { f() };",
            "// SAFETY: too far away.\n\nunsafe { f() };",
            "unsafe impl Send for A {}",
        ];
        for text in bad {
            assert_eq!(check_unsafe(&source(text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn allow_is_a_fault_as_an_attribute_only() {
        let allowing = ["#[allow(dead_code)]", "#![allow(x)]", "#[cfg_attr(test, allow(x))]"];
        for text in allowing {
            assert_eq!(check_allow(&source(text)).len(), 1, "{text}");
        }
        for text in ["// #[allow(x)]", "allow(x);", "#[expect(x, reason = \"allow(\")]"] {
            assert_eq!(check_allow(&source(text)), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_file_may_have_800_lines() {
        assert_eq!(check_lengths(&source(&"//\n".repeat(800))).len(), 0);
        assert_eq!(check_lengths(&source(&"//\n".repeat(801))).len(), 1);
    }

    #[test]
    fn crash_points_have_names_of_their_own() {
        let mut faults = Vec::new();
        let text = "crash_point!(\"a.b\");\ncrash_point!(\"a.c\");\n// crash_point!(\"a.b\")\n";
        assert_eq!(crash_points(&source(text), &mut faults), 2);
        assert_eq!(faults, Vec::<String>::new());
        let text = "crash_point!(\"a.b\");\ncrash_point!(\"a.b\");\ncrash_point!(\"Start\");";
        assert_eq!(crash_points(&source(text), &mut faults), 2);
        assert_eq!(faults.len(), 2, "{faults:?}");
    }
}
