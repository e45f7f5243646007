//! What the system shows of processes, in `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// What a process holds: compared before and after a test.
#[derive(Debug)]
pub struct Snapshot {
    descriptors: BTreeMap<String, usize>,
    children: usize,
    threads: usize,
}

impl Snapshot {
    /// Looks at this process.
    #[must_use]
    pub fn take() -> Self {
        let mut descriptors = BTreeMap::new();
        for (_, target) in descriptors_of(std::process::id()) {
            *descriptors.entry(kind(&target)).or_default() += 1;
        }
        let children = children_of(std::process::id()).len();
        Self { descriptors, children, threads: supervisors() }
    }

    /// Fails if this process holds more than then; gives what is just ending a while to do so.
    ///
    /// # Panics
    ///
    /// When something is left.
    pub fn assert_nothing_left(&self) {
        let begin = Instant::now();
        loop {
            let now = Self::take();
            let fewer = |(kind, count): (&String, &usize)| {
                *count <= self.descriptors.get(kind).copied().unwrap_or(0)
            };
            let same_descriptors = now.descriptors.iter().all(fewer);
            if same_descriptors && now.children <= self.children && now.threads <= self.threads {
                return;
            }
            if begin.elapsed() > Duration::from_secs(30) {
                let open = descriptors_of(std::process::id());
                let children = children_of(std::process::id());
                panic!("left behind: before {self:#?}, now {now:#?}\n{open:?}\n{children:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What a descriptor is, without the number of the very one.
fn kind(target: &str) -> String {
    target.split(":[").next().unwrap_or_default().to_owned()
}

/// How many threads of procession's own this process has.
pub(crate) fn supervisors() -> usize {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim() == "procession").count()
}

/// The open descriptors of a process, with what they refer to.
#[must_use]
pub fn descriptors_of(pid: u32) -> Vec<(i32, String)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut open: Vec<_> = entries
        .filter_map(|entry| {
            let target = fs::read_link(entry.path()).ok()?.display().to_string();
            let number = entry.file_name().to_str()?.parse().ok()?;
            // The folder itself, open while it is read.
            (!target.ends_with("/fd")).then_some((number, target))
        })
        .collect();
    open.sort();
    open
}

/// A process as `/proc` shows it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its state: `R`, `S`, `Z`…
    pub state: char,
    /// What `ps` shows, at most 15 bytes.
    pub name: String,
}

/// What is known of a process, if there is one of that number.
#[must_use]
pub fn entry(pid: u32) -> Option<Entry> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let (head, tail) = stat.rsplit_once(") ")?;
    let name = head.split_once('(')?.1.to_owned();
    let mut fields = tail.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    Some(Entry { pid, parent, state, name })
}

/// Every process on the machine.
#[must_use]
pub fn all() -> Vec<Entry> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(entry).collect()
}

/// The children of a process, zombies among them.
#[must_use]
pub fn children_of(pid: u32) -> Vec<Entry> {
    all().into_iter().filter(|entry| entry.parent == pid).collect()
}

/// Tells whether a process runs; a zombie does not.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    entry(pid).is_some_and(|entry| !matches!(entry.state, 'Z' | 'X'))
}

/// The fork server of a process.
#[must_use]
pub fn fork_server_of(pid: u32) -> Option<u32> {
    let mut children = children_of(pid).into_iter();
    children
        .find(|child| child.name.starts_with("fork server") && child.state != 'Z')
        .map(|child| child.pid)
}

/// The running processes that were started with `variable` in their environment.
#[must_use]
pub fn with_variable(variable: &str) -> Vec<Entry> {
    let has = |entry: &Entry| {
        let environment = fs::read(format!("/proc/{}/environ", entry.pid)).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|text| text == variable.as_bytes())
    };
    all().into_iter().filter(|entry| entry.state != 'Z' && has(entry)).collect()
}

/// A line of a process's status: `field("VmRSS", pid)`, without its unit.
#[must_use]
pub fn field(name: &str, status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// The private memory of this process, in KiB.
#[must_use]
pub fn memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    field("RssAnon", &status).unwrap_or(0)
}

/// How often the threads of a process have stopped running: of their own, and to make room.
#[must_use]
pub fn switches(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let count = field("voluntary_ctxt_switches", &status)?
                + field("nonvoluntary_ctxt_switches", &status)?;
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            Some((format!("{} {}", name.trim(), task.file_name().display()), count))
        })
        .collect()
}

/// Waits until something is so; the test's watchdog is the only limit.
pub fn wait_until(mut so: impl FnMut() -> bool) {
    while !so() {
        std::thread::sleep(Duration::from_millis(1));
    }
}
