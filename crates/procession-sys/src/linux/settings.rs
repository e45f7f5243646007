//! What a child changes of itself before it runs its target.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

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
    let maximum = Some(old.maximum.map_or(limit, |m| m.min(limit)));
    Ok(rustix::process::setrlimit(Resource::Data, Rlimit { current: maximum, maximum })?)
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

/// Closes every descriptor from `first` to `last`.
///
/// # Safety
///
/// Nobody uses them afterwards.
unsafe fn close_range(first: u32, last: u32) {
    // The C library's wrapper is younger than some that are in use.
    let (first, last): (libc::c_long, libc::c_long) = (first.into(), last.into());
    let no_flags: libc::c_long = 0;
    // SAFETY: plain numbers; the caller answers for what is closed.
    if unsafe { libc::syscall(libc::SYS_close_range, first, last, no_flags) } == 0 {
        return;
    }
    // PLATFORM: kernels before 5.9 do not have it.
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let open: Vec<i32> =
        open.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for number in open.into_iter().filter(|n| (first..=last).contains(&(*n).into())) {
        // SAFETY: as above. The folder's own descriptor is among them and closed already.
        unsafe { libc::close(number) };
    }
}

/// Closes every descriptor from 3 up but `keep`.
pub fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let close = |first: u32, last: u32| {
        if first <= last {
            // SAFETY: called by a fork server before anything of the program runs: nobody holds
            // these descriptors as Rust values.
            unsafe { close_range(first, last) };
        }
    };
    let mut kept: Vec<u32> = keep.iter().map(|fd| fd.as_raw_fd().cast_unsigned()).collect();
    kept.sort_unstable();
    let mut first = 3;
    for number in kept.into_iter().filter(|n| *n >= 3) {
        close(first, number - 1);
        first = number + 1;
    }
    close(first, u32::MAX);
}
