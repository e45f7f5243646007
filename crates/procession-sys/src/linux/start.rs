//! New processes: the executable again, a sibling copy, a fork.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::linux::process::Process;
use crate::linux::wire::Wire;
use crate::linux::{runtime, settings};

/// The variable whose presence makes a process a child instead of running its `main`.
pub const MARKER: &str = "PROCESSION_ENTRY";

/// Which standard streams the caller has set on the command itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamsSet {
    /// Standard input is set.
    pub stdin: bool,
    /// Standard output is set.
    pub stdout: bool,
    /// Standard error is set.
    pub stderr: bool,
}

/// The command that starts this very executable anew, even if its file was replaced or deleted.
#[must_use]
pub fn command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    let mut arguments: Vec<OsString> = std::env::args_os().collect();
    if arguments.is_empty() {
        // PLATFORM: musl tells the arguments to `main` alone, which a child does not come to.
        let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
        let line = line.strip_suffix(&[0]).unwrap_or(&line);
        arguments =
            line.split(|byte| *byte == 0).map(|text| OsStr::from_bytes(text).into()).collect();
    }
    let mut arguments = arguments.into_iter();
    command.arg0(arguments.next().unwrap_or_else(|| "procession".into()));
    command.args(arguments);
    command
}

/// Puts the process that `command` will start into a process group; 0 makes a new one.
pub fn set_group(command: &mut Command, group: u32) {
    command.process_group(group.cast_signed());
}

/// Starts `command` with `wire` as the one handle it inherits, and the marker that names it.
///
/// The wire travels as a standard stream that the caller has not set, so it is never inheritable
/// in this process, where another thread that starts a program would leak it. The child puts the
/// real stream back, from its hand-off.
///
/// # Errors
///
/// When the process cannot be started.
pub fn execute(
    mut command: Command,
    wire: Wire,
    nonce: u64,
    set: StreamsSet,
) -> io::Result<(Process, std::process::Child)> {
    let handle = wire.into_handle();
    let number = handle.as_raw_fd();
    let mut kept = None;
    let at = if !set.stdin {
        command.stdin(Stdio::from(handle));
        0
    } else if !set.stdout {
        command.stdout(Stdio::from(handle));
        1
    } else if !set.stderr {
        command.stderr(Stdio::from(handle));
        2
    } else {
        // All three are the caller's. This is the slow way (a real fork of this process): it makes
        // the wire inheritable in the child alone.
        kept = Some(handle);
        let make_inheritable = move || {
            // SAFETY: the command takes an integer and acts on a descriptor that is open.
            if unsafe { libc::fcntl(number, libc::F_SETFD, 0) } < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        };
        // SAFETY: the closure runs in the forked child and makes one system call; it allocates
        // nothing and takes no lock.
        unsafe { command.pre_exec(make_inheritable) };
        number
    };
    command.env(MARKER, format!("{at}.{nonce:016x}"));
    // Once it runs, its handle must not fail for lack of a descriptor: this is the one it will get.
    let reserved = reserve()?;
    let mut child = command.spawn()?;
    drop((kept, reserved));
    // Nobody but us can reap it while `child` is unwaited, so the number is still its own. When
    // the host ignores SIGCHLD and it is dead already, it is gone: that is an error here.
    match Process::open(child.id()) {
        Ok(process) => Ok((process, child)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

/// Takes a descriptor, to be dropped where one must be had that cannot be refused.
///
/// # Errors
///
/// When no descriptor is left.
pub fn reserve() -> io::Result<OwnedFd> {
    // Any descriptor will do; this one needs no other to be open.
    Ok(rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?)
}

/// The marker's contents: where the wire is, and the nonce that its hand-off must repeat.
#[derive(Debug, PartialEq, Eq)]
pub struct Marker {
    /// The descriptor's number.
    pub number: i32,
    /// The nonce.
    pub nonce: u64,
}

/// Reads a marker; `None` if it is malformed.
#[must_use]
pub fn parse_marker(text: &OsStr) -> Option<Marker> {
    let (number, nonce) = text.to_str()?.split_once('.')?;
    let number = number.parse().ok().filter(|n| (0..1 << 24).contains(n))?;
    Some(Marker { number, nonce: u64::from_str_radix(nonce, 16).ok()? })
}

/// Tells whether this program has more rights than the user who started it: it is setuid, or its
/// file has capabilities.
#[must_use]
pub fn runs_with_more_rights() -> bool {
    // SAFETY: the call takes a number and returns one.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// Takes the wire that a marker names, if the number is an open descriptor that is one.
///
/// Whoever is at its other end says what this process runs. So it must be of the same user, and a
/// program that has more rights than its caller (setuid, file capabilities) listens to nobody.
///
/// # Errors
///
/// When the number is not an open descriptor, or not a wire, or not to be trusted.
pub fn inherited_wire(marker: &Marker) -> io::Result<Wire> {
    if runs_with_more_rights() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "this program runs with more rights than the user who started it",
        ));
    }
    // SAFETY: F_DUPFD_CLOEXEC takes any number and fails on one that is not open.
    let copy = unsafe { libc::fcntl(marker.number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was made by the call above, so nobody else owns it.
    let wire = Wire::from_handle(unsafe { OwnedFd::from_raw_fd(copy) })?;
    let maker = rustix::net::sockopt::socket_peercred(wire.handle())?.uid;
    if maker != rustix::process::geteuid() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("another user, {}, made the wire", maker.as_raw()),
        ));
    }
    let null = settings::null()?;
    match marker.number {
        // A stream is another's to read or write from now on.
        0 => settings::set_stream(settings::Stream::In, &null)?,
        1 => settings::set_stream(settings::Stream::Out, &null)?,
        2 => settings::set_stream(settings::Stream::Err, &null)?,
        // SAFETY: it is proven to be the wire's end that our parent left for us, and nothing of
        // the program has run yet that could own it.
        number => drop(unsafe { OwnedFd::from_raw_fd(number) }),
    }
    Ok(wire)
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Fork {
    /// The one that called, with the new process.
    Parent(Process),
    /// The new process.
    Child,
}

/// Forks this single-threaded process into a *sibling*: a child of this process's parent.
///
/// # Safety
///
/// This process has one thread.
///
/// # Errors
///
/// When the machine has no room for a process, or no descriptor is left.
pub unsafe fn fork_sibling() -> io::Result<Fork> {
    let mut pidfd: i32 = -1;
    let thread = ThreadRecord::read();
    // PLATFORM: glibc's fork cannot make a sibling, so the system call is made directly and does
    // for the one thread what glibc's would: a new thread number in the C library's record, a
    // robust list registered again.
    let flags = libc::CLONE_PARENT | libc::CLONE_PIDFD | thread.clone_flags | libc::SIGCHLD;
    // A system call reads whole registers.
    let flags = libc::c_long::from(flags);
    let same_stack: libc::c_long = 0;
    let no_tls: libc::c_long = 0;
    // SAFETY: without CLONE_VM it is a fork: the child has its own copy of everything. The pidfd
    // goes to a local; `tid_address` is the C library's own word for this thread's number, or null
    // with the flags that would use it unset. The caller promises a single thread, so no lock is
    // held by anyone else.
    #[cfg(target_arch = "x86_64")]
    let pid = unsafe {
        let (pidfd, tid) = (&raw mut pidfd, thread.tid_address);
        libc::syscall(libc::SYS_clone, flags, same_stack, pidfd, tid, no_tls)
    };
    // SAFETY: as above; other machines order the last two arguments the other way round.
    #[cfg(not(target_arch = "x86_64"))]
    let pid = unsafe {
        let (pidfd, tid) = (&raw mut pidfd, thread.tid_address);
        libc::syscall(libc::SYS_clone, flags, same_stack, pidfd, no_tls, tid)
    };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            thread.restore_robust_list();
            runtime::became_copy();
            Ok(Fork::Child)
        }
        pid => {
            // SAFETY: the kernel stored a new descriptor for us there.
            let handle = unsafe { OwnedFd::from_raw_fd(pidfd) };
            let pid = u32::try_from(pid).unwrap_or(0);
            Ok(Fork::Parent(Process::from_handle(pid, handle)))
        }
    }
}

/// What the C library keeps about the calling thread that a raw clone must carry over.
struct ThreadRecord {
    tid_address: *mut i32,
    clone_flags: i32,
    robust_list: (*mut libc::c_void, usize),
}

impl ThreadRecord {
    fn read() -> Self {
        let mut tid_address: *mut i32 = std::ptr::null_mut();
        // SAFETY: the call stores one pointer into the local, or fails.
        let known = unsafe { libc::prctl(libc::PR_GET_TID_ADDRESS, &raw mut tid_address) } == 0;
        // SAFETY: gettid has no arguments and cannot fail.
        let tid = unsafe { libc::gettid() };
        // PLATFORM: glibc registers the thread's own number there; musl another word, and there
        // the target runs on a new thread, which has the right number.
        // SAFETY: the address that the C library registered for this live thread is readable.
        let is_number = known && !tid_address.is_null() && unsafe { tid_address.read() } == tid;
        let clone_flags =
            if is_number { libc::CLONE_CHILD_SETTID | libc::CLONE_CHILD_CLEARTID } else { 0 };
        if !is_number {
            tid_address = std::ptr::null_mut();
        }
        let mut robust_list = (std::ptr::null_mut(), 0usize);
        let this_thread: libc::c_long = 0;
        // SAFETY: the call stores a pointer and a length into the locals, or fails.
        unsafe {
            libc::syscall(
                libc::SYS_get_robust_list,
                this_thread,
                &raw mut robust_list.0,
                &raw mut robust_list.1,
            )
        };
        Self { tid_address, clone_flags, robust_list }
    }

    fn restore_robust_list(&self) {
        if !self.robust_list.0.is_null() {
            // SAFETY: head and length are what the C library had registered for this same thread.
            unsafe {
                libc::syscall(libc::SYS_set_robust_list, self.robust_list.0, self.robust_list.1)
            };
        }
    }
}

/// Forks this process. `reserved` is the descriptor that the handle on the copy gets.
///
/// # Safety
///
/// In the child only this thread exists: locks that other threads held stay locked for ever, so
/// the child may only do what is sound then.
///
/// # Errors
///
/// When the machine has no room for a process, or no descriptor is left.
pub unsafe fn fork(reserved: OwnedFd) -> io::Result<Fork> {
    // SAFETY: the caller answers for what the child does.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => match opened(pid.cast_unsigned(), reserved) {
            Ok(process) => Ok(Fork::Parent(process)),
            Err(error) => {
                // Without such a process (SIGCHLD ignored: it is dead and forgotten) the number may
                // be another's by now.
                if error.raw_os_error() != Some(libc::ESRCH) {
                    abandon(pid.cast_unsigned());
                }
                Err(error)
            }
        },
    }
}

fn opened(pid: u32, reserved: OwnedFd) -> io::Result<Process> {
    drop(reserved);
    Process::open(pid)
}

/// Kills and reaps a child of this process for which no handle could be had.
///
/// Only for a child that is known to be unreaped, so that the number is still its own.
pub fn abandon(pid: u32) {
    let pid = pid.cast_signed();
    // SAFETY: plain numbers.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    loop {
        // SAFETY: plain numbers; no status is wanted.
        let reaped = unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) };
        if reaped >= 0 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read_strictly() {
        let ok = Marker { number: 0, nonce: 0xab };
        assert_eq!(parse_marker(OsStr::new("0.00000000000000ab")), Some(ok));
        for bad in ["", ".", "1", "x.1", "-1.1", "1.x", "99999999999.1", "1.11111111111111111"] {
            assert_eq!(parse_marker(OsStr::new(bad)), None, "{bad}");
        }
    }

    #[test]
    fn a_number_that_is_no_wire_is_refused() {
        assert!(inherited_wire(&Marker { number: 9999, nonce: 0 }).is_err());
        let file = std::fs::File::open("/dev/null").expect("null");
        assert!(inherited_wire(&Marker { number: file.as_raw_fd(), nonce: 0 }).is_err());
    }
}
