//! Helper programs: what can only be tried on a process of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A helper program with one of its scenarios.
#[derive(Debug)]
pub struct Program {
    command: Command,
    scenario: String,
}

/// What a helper program that has ended said.
#[derive(Debug)]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output, and its children to theirs.
    pub stdout: String,
    /// The same of standard error.
    pub stderr: String,
}

impl Program {
    /// Describes a run of the executable at `path`.
    pub fn new(path: impl AsRef<OsStr>, scenario: &str) -> Self {
        let mut command = Command::new(path);
        command.arg(scenario).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, scenario: scenario.to_owned() }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(key, value);
        self
    }

    /// The command beneath, for everything else.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    /// Runs it to the end of the last process that holds its output.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn run(mut self) -> Output {
        let output = self.command.output().expect("the helper program starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Output { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs it, and fails if it does.
    ///
    /// # Panics
    ///
    /// When it ends with anything but 0.
    #[expect(clippy::must_use_candidate, reason = "most callers want nothing but its success")]
    pub fn succeed(self) -> Output {
        let scenario = self.scenario.clone();
        let output = self.run();
        assert!(output.status.success(), "{scenario}: {output:#?}");
        if output.stdout.contains("skipped:") {
            println!("{}", output.stdout);
        }
        output
    }

    /// Starts it, to talk with it while it runs.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(self) -> Running {
        self.start_with_stderr(Stdio::inherit())
    }

    /// As [`start`](Self::start), with another standard error.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start_with_stderr(mut self, stderr: Stdio) -> Running {
        self.command.stdin(Stdio::piped()).stderr(stderr);
        let mut child = self.command.spawn().expect("the helper program starts");
        let lines = BufReader::new(child.stdout.take().expect("piped"));
        Running { child, lines }
    }
}

/// A helper program that runs; killed and reaped when it is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Running {
    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its next line, without the end of line; empty at the end of its output.
    ///
    /// # Panics
    ///
    /// When its output is no text.
    #[must_use]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("text");
        line.trim_end().to_owned()
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    ///
    /// When it does not read any more.
    pub fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("piped");
        writeln!(stdin, "{line}").expect("the helper program reads");
    }

    /// Kills it.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it is ours");
    }

    /// Waits for its end, and that of its output.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    #[must_use]
    pub fn finish(mut self) -> (ExitStatus, String) {
        drop(self.child.stdin.take());
        let mut rest = String::new();
        self.lines.read_to_string(&mut rest).expect("text");
        (self.child.wait().expect("it is ours"), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Mostly it has ended already, which is no error here.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder of its own for a test, gone when it is dropped.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// When the system refuses.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("procession-tests-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a folder can be made");
        Self(path)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Copies an executable, by another process: this one must not have it open for writing when
/// another thread forks, or the copy would be busy.
///
/// # Panics
///
/// When the copy fails.
pub fn copy_executable(from: &str, to: &Path) {
    let copied = Command::new("cp").arg(from).arg(to).status().expect("cp is there");
    assert!(copied.success(), "{from} is copied to {}", to.display());
}
