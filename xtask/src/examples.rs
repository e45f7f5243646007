//! Runs the examples and compares what they print with what they should.

use std::path::Path;
use std::process::Output;
use std::{fs, io};

use crate::run::{Outcome, cargo};

/// The small examples, and lines that each must print.
const TUTORIAL: [(&str, &[&str]); 9] = [
    ("two_processes", &["first ran as Process-1 (", "second ran as Process-2 (", "600 ms of naps"]),
    (
        "custom_process",
        &["adder has started", "the sum is 5050", "panicked with `nothing between 5 and 5` at "],
    ),
    (
        "list_processes",
        &[
            "this is MainProcess on ",
            "children: parser, reader, writer",
            "writer is a child of MainProcess",
            "children left: 0",
        ],
    ),
    (
        "pipe_poll",
        &["reading 1.5", "there was time for other work: true", "the child sent 3 readings"],
    ),
    (
        "terminate_tree",
        &["ended by signal 15", "grandchildren: 2 of them run", "the grandchildren: gone"],
    ),
    (
        "pool_callbacks",
        &[
            "root of 49: 7.000",
            "-1 has no root",
            "12 tasks, at least 4 processes: true",
            "task 4: its worker died of signal 6",
            "task 5: 25",
            "workers left: 0",
        ],
    ),
    ("producer_consumer", &["2000 items were consumed; their sum is 1999000", "queue: 0"]),
    (
        "locks",
        &[
            "4 processes have counted to 4000",
            "never more than 2 sat: true",
            "a third seat: true",
            "the event was seen: true",
            "the lock's holder died: ",
            "and the lock is ours: true",
        ],
    ),
    (
        "processes_and_threads",
        &["3 processes, 30 threads, all at once", "at least 100 of 300: true"],
    ),
];

/// What `wordcount` is run on: folders of text that every clone has.
const TEXTS: [&str; 3] = ["LICENSE-MIT", "LICENSE-APACHE", "crates"];

/// What `thumbnails` says of each file that it makes, and how often it tries.
const THUMBNAILS: [(&str, &str, &str); 16] = [
    ("bomb.png", "wanted more than 96 MiB", "2"),
    ("deep.rle", "crashed: signal 6", "2"),
    ("good.rle", "640x48 to 128x10", "1"),
    ("half.png", "no image: ", "1"),
    ("long.rle", "panicked: range end index 65535", "1"),
    ("loop.rle", "took over 800ms", "2"),
    ("once.rle", "640x48 to 128x10", "2"),
    ("page.jpg", "no image: ", "1"),
    ("photo-1.jpg", PHOTO, "1"),
    ("photo-2.png", PHOTO, "1"),
    ("photo-3.jpg", PHOTO, "1"),
    ("photo-4.png", PHOTO, "1"),
    ("photo-5.jpg", PHOTO, "1"),
    ("photo-6.png", PHOTO, "1"),
    ("photo-7.jpg", PHOTO, "1"),
    ("photo-8.png", PHOTO, "1"),
];
const PHOTO: &str = "1200x900 to 128x96";

/// Runs every example.
pub(crate) fn check() -> Outcome {
    let mut faults = Vec::new();
    for (name, wanted) in TUTORIAL {
        faults.extend(check_tutorial(name, wanted).err());
    }
    for (what, crash) in [("wordcount", None), ("wordcount --crash", Some("LICENSE-MIT"))] {
        faults.extend(check_wordcount(crash).err().map(|why| format!("{what}: {why}")));
    }
    faults.extend(check_thumbnails().err().map(|why| format!("thumbnails: {why}")));
    if faults.is_empty() {
        let count = TUTORIAL.len() + 2;
        Outcome::Passed(format!("{count} examples printed what they should"))
    } else {
        Outcome::Failed(faults.join("\n"))
    }
}

fn check_tutorial(name: &str, wanted: &[&str]) -> Result<(), String> {
    println!("example {name}");
    let package = ["run", "--quiet", "--package", "procession-examples", "--example", name];
    let output = cargo(&package).output().map_err(|error| format!("{name}: {error}"))?;
    let (text, all) = said(&output);
    if !output.status.success() {
        return Err(format!("{name}: {}\n{all}", output.status));
    }
    match wanted.iter().find(|line| !text.contains(*line)) {
        Some(missing) => Err(format!("{name}: `{missing}` is not in what it printed:\n{all}")),
        None => Ok(()),
    }
}

/// Runs it as the README does, and counts with our own simple loop.
fn check_wordcount(crash: Option<&str>) -> Result<(), String> {
    println!("example wordcount {}", crash.map(|_| "--crash").unwrap_or_default());
    let arguments = ["run", "--release", "--example", "wordcount", "--", "--processes", "2"];
    let mut command = cargo(&arguments);
    if let Some(part) = crash {
        command.args(["--crash", part]);
    }
    let output = command.args(TEXTS).output().map_err(|error| error.to_string())?;
    let (text, all) = said(&output);

    let mut counts = Counts::default();
    for path in TEXTS.iter().filter(|path| Some(**path) != crash) {
        counts.add(&crate::root().join(path)).map_err(|error| format!("{path}: {error}"))?;
    }
    let Counts { files, bytes, lines, words } = counts;
    let wanted = format!("total: {files} files {bytes} bytes {lines} lines {words} words");
    if !text.replace(',', "").contains(&wanted) {
        return Err(format!("`{wanted}` is not in what it printed, commas aside:\n{all}"));
    }
    let failed: Vec<&str> = text.lines().filter(|line| line.starts_with("failed: ")).collect();
    match crash {
        None if output.status.success() && failed.is_empty() => Ok(()),
        Some(part) if output.status.code() == Some(1) => match failed[..] {
            [line] if line.contains(part) && line.contains("signal") => Ok(()),
            _ => Err(format!("one line about {part} and a signal is missing:\n{all}")),
        },
        _ => Err(format!("{}\n{all}", output.status)),
    }
}

/// Runs it on the files that it makes.
fn check_thumbnails() -> Result<(), String> {
    println!("example thumbnails");
    let mut command = cargo(&["run", "--release", "--example", "thumbnails"]);
    let output = command.output().map_err(|error| error.to_string())?;
    let (text, all) = said(&output);
    if !output.status.success() {
        return Err(format!("{}\n{all}", output.status));
    }
    let rows: Vec<&str> = text.lines().skip(1).take_while(|line| !line.is_empty()).collect();
    let is_right = |(row, (name, outcome, tries)): (&&str, (&str, &str, &str))| {
        let mut words = row.split_whitespace();
        words.next() == Some(name) && row.contains(outcome) && words.rev().nth(1) == Some(tries)
    };
    let sum = "total: 16 files, 10 thumbnails, 2 unreadable, 4 harmful";
    if rows.len() == THUMBNAILS.len()
        && rows.iter().zip(THUMBNAILS).all(is_right)
        && text.contains(sum)
    {
        Ok(())
    } else {
        Err(format!("the table is not\n{THUMBNAILS:#?}\n{sum}\nbut\n{all}"))
    }
}

/// What a program printed to stdout, and that with stderr before it.
fn said(output: &Output) -> (String, String) {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let all = format!("{}{text}", String::from_utf8_lossy(&output.stderr));
    (text, all)
}

#[derive(Default)]
struct Counts {
    files: usize,
    bytes: usize,
    lines: usize,
    words: usize,
}

impl Counts {
    fn add(&mut self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return fs::read_dir(path)?.try_for_each(|entry| self.add(&entry?.path()));
        }
        let text = fs::read(path)?;
        self.files += 1;
        self.bytes += text.len();
        self.lines += text.iter().filter(|&&byte| byte == b'\n').count();
        let is_space = |byte: &u8| byte.is_ascii_whitespace();
        self.words += text.split(is_space).filter(|word| !word.is_empty()).count();
        Ok(())
    }
}
