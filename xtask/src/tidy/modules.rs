//! Within a crate, too, the modules know each other in one direction.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::is_product;
use super::source::Source;

/// For each top module, the top modules of the same crate that it names.
type Graph = BTreeMap<String, BTreeSet<String>>;

/// No top module of a crate reaches itself by way of others.
pub(crate) fn check_cycles(sources: &[Source]) -> Vec<String> {
    let mut crates: BTreeMap<&str, Graph> = BTreeMap::new();
    for source in sources.iter().filter(|source| is_product(&source.path)) {
        let Some((name, module)) = place(&source.path) else { continue };
        let known = crates.entry(name).or_default().entry(module.to_string()).or_default();
        known.extend(named_modules(&code_without_tests(source)));
    }
    let mut faults = Vec::new();
    for (name, graph) in &crates {
        if let Some(cycle) = find_cycle(graph) {
            let cycle = cycle.join("` → `");
            faults.push(format!("crates/{name}: modules know each other in a circle: `{cycle}`"));
        }
    }
    faults
}

/// The crate and the top module of a file; `None` for the root, which knows all, for tests, and for
/// models.
fn place(path: &str) -> Option<(&str, &str)> {
    let (name, path) = path.strip_prefix("crates/")?.split_once("/src/")?;
    let module = path.split('/').next()?;
    let module = module.strip_suffix(".rs").unwrap_or(module);
    let file = path.rsplit('/').next()?;
    // Tests and models use what is above their module; the world of the models uses all.
    let is_known_by_none =
        ["lib", "main", "model"].contains(&module) || ["tests.rs", "model.rs"].contains(&file);
    (!is_known_by_none).then_some((name, module))
}

/// By custom a file's tests come last.
fn code_without_tests(source: &Source) -> String {
    let code = source.lines.iter().map(|line| line.code.as_str());
    code.take_while(|code| !code.trim().starts_with("mod tests {")).collect::<Vec<_>>().join("\n")
}

/// The `a` and `b` of `crate::a::…` and `use crate::{a::…, b};`.
fn named_modules(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        // `$crate` in a macro names the crate from outside.
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + path.len()..];
        match rest.strip_prefix('{') {
            Some(group) => names.extend(first_words(group)),
            None => names.extend(first_word(rest)),
        }
    }
    names
}

/// The first word of each member of a group that has just been opened.
fn first_words(group: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut depth, mut begin) = (1_usize, 0);
    for (at, sign) in group.char_indices() {
        match sign {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (depth == 1 && sign == ',') {
            words.extend(first_word(&group[begin..at]));
            begin = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    words
}

fn first_word(text: &str) -> Option<String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    (end > 0).then(|| text[..end].to_string())
}

fn find_cycle(graph: &Graph) -> Option<Vec<String>> {
    let mut finished = BTreeSet::new();
    graph.keys().find_map(|module| visit(graph, module, &mut Vec::new(), &mut finished))
}

fn visit(
    graph: &Graph,
    module: &str,
    path: &mut Vec<String>,
    finished: &mut BTreeSet<String>,
) -> Option<Vec<String>> {
    if let Some(begin) = path.iter().position(|earlier| earlier == module) {
        let mut cycle = path[begin..].to_vec();
        cycle.push(module.to_string());
        return Some(cycle);
    }
    if finished.contains(module) {
        return None;
    }
    path.push(module.to_string());
    // What the graph has no entry for is no module: a type or macro that the root re-exports.
    let known = graph.get(module)?.iter().filter(|name| *name != module);
    let known = known.filter(|name| graph.contains_key(*name));
    for name in known {
        if let Some(cycle) = visit(graph, name, path, finished) {
            return Some(cycle);
        }
    }
    path.pop();
    finished.insert(module.to_string());
    None
}

#[cfg(test)]
mod tests {
    use super::{check_cycles, named_modules};
    use crate::tidy::source::Source;

    #[test]
    fn modules_are_found_alone_and_in_groups() {
        let code = "use crate::a::B;\nuse crate::{c::{D, E}, f,\n g::H};\n$crate::i!(); crate::j()";
        let names: Vec<String> = named_modules(code).into_iter().collect();
        assert_eq!(names, ["a", "c", "f", "g", "j"]);
    }

    #[test]
    fn a_circle_of_modules_is_a_fault() {
        let a = Source::new("crates/x/src/a.rs", "use crate::b::B;\n");
        let b = Source::new("crates/x/src/b/mod.rs", "mod c;\n");
        let c = Source::new("crates/x/src/b/c.rs", "use crate::{d, b::B};\n// crate::a\n");
        let mut sources = vec![a, b, c, Source::new("crates/x/src/d.rs", "\n")];
        assert_eq!(check_cycles(&sources), Vec::<String>::new());
        sources.push(Source::new("crates/x/src/d.rs", "fn f() { crate::a::g() }\n"));
        let faults = check_cycles(&sources);
        assert!(faults[0].ends_with("`a` → `b` → `d` → `a`"), "{faults:?}");
    }
}
