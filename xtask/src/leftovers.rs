//! Law 4 seen from outside: what the tests left on the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::run::Outcome;

/// Orphans have a second to end by law 4; a busy machine gets a few more.
const PATIENCE: Duration = Duration::from_secs(5);

/// The processes of this build and the shared memory files that were there before the tests.
pub(crate) struct Snapshot {
    target: PathBuf,
    processes: BTreeSet<Process>,
    files: BTreeSet<PathBuf>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Process {
    pid: u32,
    /// With the pid it names a process for good: a pid alone may come again.
    started: u64,
    state: String,
    program: PathBuf,
}

impl Snapshot {
    /// Looks at the machine as it is now.
    pub(crate) fn take() -> Snapshot {
        let target = target_folder();
        Snapshot { processes: processes_below(&target), files: shared_memory_files(), target }
    }

    /// Waits until what has come since is gone, and fails if something stays.
    pub(crate) fn compare(&self) -> Outcome {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let left = self.left();
            if left.is_empty() {
                return Outcome::Passed("no process, no file in /dev/shm".to_string());
            }
            if Instant::now() > give_up {
                return Outcome::Failed(format!("left behind by the tests: {}", left.join("\n")));
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// What is there now and was not then.
    fn left(&self) -> Vec<String> {
        let processes = processes_below(&self.target);
        let processes = processes.difference(&self.processes).map(|process| {
            let Process { pid, state, program, .. } = process;
            format!("process {pid} (state {state}): {}", program.display())
        });
        let files = shared_memory_files();
        let files = files.difference(&self.files).map(|file| format!("file {}", file.display()));
        processes.chain(files).collect()
    }
}

/// We lie in the target folder ourselves: target/debug/xtask.
fn target_folder() -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.ancestors().nth(2).map(PathBuf::from).unwrap_or_default()
}

fn processes_below(target: &Path) -> BTreeSet<Process> {
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else {
        return BTreeSet::new();
    };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid: &u32| pid != own)
        .filter_map(look_at)
        .filter(|process| process.program.starts_with(target))
        .collect()
}

/// `None` if the process is gone, belongs to somebody else, or has no program (a kernel thread; a
/// zombie, which is seen as its parent's leftover as long as that one lives).
fn look_at(pid: u32) -> Option<Process> {
    let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses that may itself hold spaces and parentheses.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.to_string();
    let started = fields.nth(18)?.parse().ok()?;
    Some(Process { pid, started, state, program })
}

/// Every name that is ours has `procession` in it.
fn shared_memory_files() -> BTreeSet<PathBuf> {
    let Ok(entries) = fs::read_dir("/dev/shm") else {
        return BTreeSet::new();
    };
    let ours = |path: &PathBuf| path.to_string_lossy().contains("procession");
    entries.flatten().map(|entry| entry.path()).filter(ours).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::{self, BufRead, BufReader, Read};
    use std::process::{Command, Stdio};

    use super::*;

    /// Not a test: what the one below starts, and ends by closing its stdin.
    #[test]
    #[ignore = "waits for the end of its stdin"]
    fn linger() {
        println!("lingering");
        io::stdin().read_to_end(&mut Vec::new()).expect("stdin can be read");
    }

    #[test]
    fn a_process_and_a_file_are_seen_until_they_go() {
        let before = Snapshot::take();
        let path = PathBuf::from(format!("/dev/shm/procession-xtask-{}", std::process::id()));
        fs::write(&path, "").expect("a file in /dev/shm");
        let mut process = Command::new(std::env::current_exe().expect("our own path"))
            .args(["leftovers::tests::linger", "--exact", "--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("our own program starts");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        while !lines.next().expect("it lingers").expect("text").contains("lingering") {}

        // Other tests may leave things for a moment, so only ours are looked for.
        let ours = [path.display().to_string(), format!("process {} ", process.id())];
        let left = before.left().join("\n");
        assert!(ours.iter().all(|mine| left.contains(mine)), "{left}");

        fs::remove_file(&path).expect("our own file");
        drop(process.stdin.take());
        process.wait().expect("it ends");
        let left = before.left().join("\n");
        assert!(!ours.iter().any(|mine| left.contains(mine)), "{left}");
    }
}
