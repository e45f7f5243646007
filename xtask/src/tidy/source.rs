//! Rust sources, each line split into its code and its comment.

use std::path::Path;
use std::{fs, io};

/// One `.rs` file.
pub(crate) struct Source {
    /// Relative to the workspace, with `/`.
    pub(crate) path: String,
    pub(crate) lines: Vec<Line>,
}

impl Source {
    /// Takes a file's text apart.
    pub(crate) fn new(path: &str, text: &str) -> Source {
        Source { path: path.to_string(), lines: split(text) }
    }
}

/// One line, taken apart.
#[derive(Default)]
pub(crate) struct Line {
    /// The code, with the content of strings and characters left out.
    pub(crate) code: String,
    /// The text of comments and documentation.
    pub(crate) comment: String,
    /// The content of the strings that begin on this line, one after another.
    pub(crate) strings: Vec<String>,
}

/// Reads every `.rs` file of the workspace that is not generated.
pub(crate) fn read_all(root: &Path) -> io::Result<Vec<Source>> {
    let mut sources = Vec::new();
    for folder in ["crates", "tests", "examples", "benches", "xtask", "fuzz"] {
        read_folder(root, &root.join(folder), &mut sources)?;
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn read_folder(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> io::Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                read_folder(root, &path, sources)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)?;
            let path = path.strip_prefix(root).unwrap_or(&path);
            sources.push(Source::new(&path.to_string_lossy().replace('\\', "/"), &text));
        }
    }
    Ok(())
}

enum Inside {
    Code,
    LineComment,
    /// How many `/*` are open.
    BlockComment(usize),
    Str,
    /// How many `#` close it.
    RawStr(usize),
}

fn split(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut line = Line::default();
    let mut inside = Inside::Code;
    let mut rest = text;
    while let Some(next) = rest.chars().next() {
        let mut taken = next.len_utf8();
        match &mut inside {
            _ if next == '\n' => {
                if matches!(inside, Inside::LineComment) {
                    inside = Inside::Code;
                }
                lines.push(std::mem::take(&mut line));
            }
            Inside::LineComment => line.comment.push(next),
            Inside::BlockComment(depth) => {
                if rest.starts_with("/*") {
                    (*depth, taken) = (*depth + 1, 2);
                } else if rest.starts_with("*/") {
                    (*depth, taken) = (*depth - 1, 2);
                    if *depth == 0 {
                        inside = Inside::Code;
                    }
                } else {
                    line.comment.push(next);
                }
            }
            Inside::Str if next == '"' => inside = Inside::Code,
            Inside::Str => {
                let escaped = rest.strip_prefix('\\').and_then(|after| after.chars().next());
                // A backslash at the end of a line joins it with the next one.
                if let Some(escaped) = escaped.filter(|&escaped| escaped != '\n') {
                    taken = 1 + escaped.len_utf8();
                }
                push_string(&mut line, &rest[..taken]);
            }
            Inside::RawStr(hashes) => {
                if rest.strip_prefix('"').is_some_and(|after| leading_hashes(after) >= *hashes) {
                    taken = 1 + *hashes;
                    inside = Inside::Code;
                } else {
                    push_string(&mut line, &rest[..taken]);
                }
            }
            Inside::Code => (inside, taken) = read_code(rest, next, &mut line),
        }
        rest = &rest[taken..];
    }
    if !line.code.is_empty() || !line.comment.is_empty() {
        lines.push(line);
    }
    lines
}

/// Reads one token at most, and says what comes after it and how many bytes it took.
fn read_code(rest: &str, next: char, line: &mut Line) -> (Inside, usize) {
    if rest.starts_with("//") {
        return (Inside::LineComment, 2);
    }
    if rest.starts_with("/*") {
        return (Inside::BlockComment(1), 2);
    }
    if next == '"' {
        line.code.push_str("\"\"");
        line.strings.push(String::new());
        return (Inside::Str, 1);
    }
    let in_word = line.code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
    if let Some(after) = rest.strip_prefix('r').filter(|_| !in_word || raw_bytes(&line.code)) {
        let hashes = leading_hashes(after);
        if after[hashes..].starts_with('"') {
            line.code.push_str("\"\"");
            line.strings.push(String::new());
            return (Inside::RawStr(hashes), hashes + 2);
        }
    }
    if next == '\''
        && let Some(length) = char_literal(rest)
    {
        line.code.push_str("''");
        return (Inside::Code, length);
    }
    line.code.push(next);
    (Inside::Code, next.len_utf8())
}

/// The code so far ends in the `b` or `c` of `br"…"` or `cr"…"`.
fn raw_bytes(code: &str) -> bool {
    let before = code.strip_suffix(['b', 'c']);
    before.is_some_and(|code| !code.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
}

fn leading_hashes(text: &str) -> usize {
    text.len() - text.trim_start_matches('#').len()
}

/// The length of the character literal that `rest` begins with; `None` for a lifetime.
fn char_literal(rest: &str) -> Option<usize> {
    let mut characters = rest.char_indices().skip(1);
    let (_, first) = characters.next()?;
    if first == '\\' {
        // The escaped character itself may be a quote.
        characters.next()?;
        return characters.find(|&(_, c)| c == '\'').map(|(at, _)| at + 1);
    }
    characters.next().filter(|&(_, c)| c == '\'').map(|(at, _)| at + 1)
}

fn push_string(line: &mut Line, text: &str) {
    if line.strings.is_empty() {
        // The string began on a line above.
        line.strings.push(String::new());
    }
    if let Some(last) = line.strings.last_mut() {
        last.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn code_comments_and_strings_are_told_apart() {
        let lines = split(concat!(
            "let a = \"// not a comment\"; // a comment\n",
            "let b = r#\"a \"quoted\" unsafe { }\"#; /* two\n",
            "lines /* nested */ */ let c: &'static str = '\"';\n",
            "let d = ['\\'', b'\\\\', '\\u{1F600}']; // end\n",
            "let e = br\"raw\"; let bar\n",
        ));
        let code: Vec<&str> = lines.iter().map(|line| line.code.trim()).collect();
        assert_eq!(
            code,
            [
                "let a = \"\";",
                "let b = \"\";",
                "let c: &'static str = '';",
                "let d = ['', b'', ''];",
                "let e = b\"\"; let bar"
            ]
        );
        assert_eq!(lines[0].comment, " a comment");
        assert_eq!(lines[0].strings, ["// not a comment"]);
        assert_eq!(lines[1].strings, ["a \"quoted\" unsafe { }"]);
        assert_eq!(lines[2].comment, "lines  nested  ");
    }
}
