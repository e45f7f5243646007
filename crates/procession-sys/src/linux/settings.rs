//! What a child changes of itself before it runs its target.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Resource, Rlimit};

/// The standard streams, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    In,
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Returns this process's handles for the standard streams, `None` where one is closed.
///
/// Another file that has come to a closed stream's place is none: it is closed in every program
/// that this one executes, as no stream is.
#[must_use]
pub fn standard_streams() -> [Option<BorrowedFd<'static>>; 3] {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    streams.map(|stream| {
        let flags = rustix::io::fcntl_getfd(stream).ok()?;
        (!flags.contains(rustix::io::FdFlags::CLOEXEC)).then_some(stream)
    })
}

/// Puts `/dev/null` where a standard stream is closed, as Rust's runtime does before `main`.
///
/// # Errors
///
/// When there is no `/dev/null`.
pub fn open_closed_streams() -> io::Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    for stream in streams {
        if rustix::io::fcntl_getfd(stream).is_err() {
            // The lowest free number is this one's, as those below are open.
            let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
            let _ = null.into_raw_fd();
        }
    }
    Ok(())
}

/// Makes `handle` the standard stream `stream` of this process.
///
/// # Errors
///
/// When the system refuses.
pub fn set_stream(stream: Stream, handle: impl AsFd) -> io::Result<()> {
    match stream {
        Stream::In => rustix::stdio::dup2_stdin(handle)?,
        Stream::Out => rustix::stdio::dup2_stdout(handle)?,
        Stream::Err => rustix::stdio::dup2_stderr(handle)?,
    }
    Ok(())
}

/// Opens `/dev/null` for a stream.
///
/// # Errors
///
/// When the system has no descriptor left or no `/dev/null`.
pub fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a directory so that a child can make it its own.
///
/// # Errors
///
/// When it does not exist, is no directory, or may not be searched.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Makes an open directory the current one of this process.
///
/// # Errors
///
/// When it may not be searched.
pub fn enter_directory(directory: impl AsFd) -> io::Result<()> {
    Ok(rustix::process::fchdir(directory)?)
}

/// Moves this process into a process group; 0 makes a new one.
///
/// # Errors
///
/// When there is no such group in this session.
pub fn enter_group(group: u32) -> io::Result<()> {
    let group = rustix::process::Pid::from_raw(group.cast_signed());
    Ok(rustix::process::setpgid(None, group)?)
}

/// Limits the private memory of this process (`RLIMIT_DATA`): heap, stacks of threads, private
/// mappings. Code, and memory shared with others, do not count.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`], with what is needed, if the process has more already.
pub fn limit_memory(limit: u64) -> io::Result<()> {
    /// What a target needs at the very least to start, run and report.
    const HEADROOM: u64 = 1 << 20;
    let needed = private_memory()? + HEADROOM;
    if limit < needed {
        let what = format!(
            "a memory limit of {limit} bytes is below the {needed} bytes that this program's child needs \
             before it does anything; raise the limit"
        );
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let old = rustix::process::getrlimit(Resource::Data);
    let at_most = |most: u64| Some(old.maximum.map_or(most, |maximum| maximum.min(most)));
    let (current, maximum) = (at_most(limit), at_most(limit.saturating_add(RESERVE)));
    rustix::process::setrlimit(Resource::Data, Rlimit { current, maximum })?;
    beyond().limit = current;
    Ok(())
}

/// How much more than its limit a process may have while it says why it has failed.
const RESERVE: u64 = 256 << 20;

/// What [`limit_memory`] has set, and how many threads are beyond it.
#[derive(Default)]
struct Beyond {
    limit: Option<u64>,
    threads: usize,
    /// How much there was before the first of them.
    before: u64,
}

fn beyond() -> MutexGuard<'static, Beyond> {
    static BEYOND: Mutex<Beyond> = Mutex::new(Beyond { limit: None, threads: 0, before: 0 });
    // A few numbers: they are right whoever has panicked.
    BEYOND.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `f`, which may need more memory than [`limit_memory`] has left, but not for long. What it
/// keeps does not count against the limit.
///
/// Rust's trace of a panic waits for itself for ever when it finds no memory.
pub fn beyond_memory_limit<R>(f: impl FnOnce() -> R) -> R {
    /// Is on the way back, however `f` ends.
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            let mut beyond = beyond();
            beyond.threads -= 1;
            if beyond.threads == 0
                && let Some(limit) = beyond.limit
            {
                let kept = private_memory().unwrap_or(0).saturating_sub(beyond.before);
                beyond.limit = Some(limit.saturating_add(kept));
                set_current(beyond.limit);
            }
        }
    }
    let mut state = beyond();
    if state.limit.is_none() {
        drop(state);
        return f();
    }
    if state.threads == 0 {
        set_current(None);
        state.before = private_memory().unwrap_or(u64::MAX);
    }
    state.threads += 1;
    drop(state);
    let _back = Back;
    f()
}

/// Sets the current limit, or makes it what it may be at the most.
fn set_current(limit: Option<u64>) {
    let maximum = rustix::process::getrlimit(Resource::Data).maximum;
    let current = match (limit, maximum) {
        (Some(limit), Some(maximum)) => Some(limit.min(maximum)),
        (limit, maximum) => limit.or(maximum),
    };
    // It can only be refused above the maximum.
    let _ = rustix::process::setrlimit(Resource::Data, Rlimit { current, maximum });
}

/// The bytes that count against the limit now.
fn private_memory() -> io::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let data = status.lines().find_map(|line| line.strip_prefix("VmData:"));
    let kib: Option<u64> = data.and_then(|d| d.trim().strip_suffix(" kB")?.trim().parse().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "/proc/self/status has no line VmData")
    })
}

/// Sets the name that `ps` and `top` show for this process (its first 15 bytes).
pub fn set_title(name: &str) {
    let mut bytes: Vec<u8> = name.bytes().filter(|b| *b != 0).take(15).collect();
    bytes.push(0);
    if let Ok(name) = std::ffi::CString::from_vec_with_nul(bytes) {
        // A title is a courtesy: without it the child runs as well.
        let _ = rustix::thread::set_name(&name);
    }
}

/// Replaces the whole environment. Every name is fit for one: neither empty nor with a `=`.
///
/// # Safety
///
/// No other thread reads or changes the environment meanwhile.
pub unsafe fn set_environment(variables: Vec<(Vec<u8>, Vec<u8>)>) {
    // SAFETY: the caller's promise.
    unsafe { libc::clearenv() };
    for (key, value) in variables {
        let (key, value) = (OsString::from_vec(key), OsString::from_vec(value));
        // SAFETY: the caller's promise.
        unsafe { std::env::set_var(key, value) };
    }
}

/// Closes every descriptor from 3 up that this program was started with, but `keep`.
///
/// What has come through an `exec` is not to be closed by one. What this program's constructors have
/// opened is, as Rust opens everything so, and is theirs: it stays.
pub fn close_inherited(keep: &[BorrowedFd<'_>]) {
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> =
        open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let is_kept = |number: &i32| *number < 3 || keep.iter().any(|fd| fd.as_raw_fd() == *number);
    for number in open.into_iter().filter(|number| !is_kept(number)) {
        // SAFETY: the command takes any number, and fails on one that is not open.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: inherited through `exec`, so no Rust value of this program owns it.
            unsafe { libc::close(number) };
        }
    }
}

/// Lets this process run where the main thread of process `pid` may.
///
/// # Errors
///
/// When there is no such process, or the system refuses.
pub fn take_affinity_of(pid: u32) -> io::Result<()> {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed());
    let processors = rustix::thread::sched_getaffinity(pid)?;
    Ok(rustix::thread::sched_setaffinity(None, &processors)?)
}
