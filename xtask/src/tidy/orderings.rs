//! A named ordering is one that a model has been shown to need.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::{fault, is_product};
use super::source::{Line, Source};

/// Each `ordering!("name", …)` has a name of its own, and a test that expects a model to fail
/// without it.
pub(crate) fn check(sources: &[Source]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut named: BTreeMap<&str, (&Source, usize)> = BTreeMap::new();
    let mut tested = BTreeSet::new();
    for source in sources.iter().filter(|source| is_product(&source.path)) {
        for (number, line) in source.lines.iter().enumerate() {
            if line.code.contains("expect_failure(") {
                tested.extend(name_at(&source.lines[number..]));
            }
            if !line.code.contains("ordering!(") {
                continue;
            }
            let Some(name) = name_at(&source.lines[number..]) else { continue };
            if named.insert(name, (source, number)).is_some() {
                faults.push(fault(source, number, &format!("another ordering is named `{name}`")));
            }
        }
    }
    for (name, (source, number)) in named {
        if !tested.contains(name) {
            let text = format!("no test expects a model to fail without the ordering `{name}`");
            faults.push(fault(source, number, &text));
        }
    }
    faults
}

/// The first string of a call, on its line or, as the formatter may have it, on the next.
fn name_at(lines: &[Line]) -> Option<&str> {
    lines.iter().take(2).flat_map(|line| &line.strings).map(String::as_str).next()
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::tidy::source::Source;

    #[test]
    fn an_ordering_without_a_test_is_a_fault() {
        let code = "a.load(ordering!(\"x.a\", Acquire));\na.load(ordering!(\"x.b\", Acquire));\n";
        let model = "expect_failure(\"x.a\", Relaxed, f);\nexpect_failure(\n\"x.b\", Relaxed);\n";
        let code = Source::new("crates/x/src/a.rs", code);
        let mut sources = vec![code, Source::new("crates/x/src/a/model.rs", model)];
        assert_eq!(check(&sources), Vec::<String>::new());
        sources.pop();
        assert_eq!(check(&sources).len(), 2);
        sources.push(Source::new("crates/x/src/b.rs", "ordering!(\"x.a\", Release)\n"));
        assert_eq!(check(&sources).len(), 3, "the name is taken");
    }
}
