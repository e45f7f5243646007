//! A death handle: signal a process, wait for it, reap it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::ExitStatus;
use crate::linux::{off_streams, ready};

/// A process, whichever number it has and whoever gets that number afterwards: a pidfd.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    pidfd: OwnedFd,
}

/// What [`Process::try_reap`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// It runs, or a debugger has not let go of it yet.
    Running,
    /// It is dead, and its status was taken now.
    Dead(ExitStatus),
    /// It is dead, and somebody else (a `wait` for any child in this program, or an ignored
    /// `SIGCHLD`) has taken its status.
    Lost,
}

impl Process {
    /// Opens a handle on `pid`.
    ///
    /// The caller knows that the number still means the process it thinks of: it is a child of
    /// this process that nobody has reaped, or a relation that it checks again afterwards.
    ///
    /// # Errors
    ///
    /// When there is no such process or no descriptor left.
    pub fn open(pid: u32) -> io::Result<Self> {
        let number = raw_pid(pid)?;
        let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty())?;
        Ok(Self { pid, pidfd: off_streams(pidfd)? })
    }

    /// Takes over a pidfd that refers to `pid`.
    #[must_use]
    pub fn from_handle(pid: u32, pidfd: OwnedFd) -> Self {
        Self { pid, pidfd }
    }

    /// Lends the handle: readable once the process is dead.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Gives the handle up.
    #[must_use]
    pub fn into_handle(self) -> OwnedFd {
        self.pidfd
    }

    /// Returns the process's number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the process is dead, or `deadline` passes: `false` then.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn wait(&self, deadline: Option<Instant>) -> io::Result<bool> {
        ready::wait_one(self.pidfd.as_fd(), deadline)
    }

    /// Takes the status of a child of this process if it is dead, without waiting.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn try_reap(&self) -> io::Result<Reaped> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        loop {
            return match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options) {
                Ok(None) => Ok(Reaped::Running),
                Ok(Some(status)) => Ok(Reaped::Dead(exit_status(&status))),
                Err(Errno::INTR) => continue,
                // ECHILD also says "not your child", which callers rule out by the owner's pid.
                Err(Errno::CHILD) if self.wait(Some(Instant::now()))? => Ok(Reaped::Lost),
                Err(Errno::CHILD) => Ok(Reaped::Running),
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Asks the process to end (`SIGTERM`). One that is dead already is no error.
    ///
    /// # Errors
    ///
    /// When this process may not signal it.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(Signal::TERM)
    }

    /// Ends the process at once (`SIGKILL`). One that is dead already is no error.
    ///
    /// # Errors
    ///
    /// When this process may not signal it.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the process and everything below it to end.
    ///
    /// The tree is stopped from the top down first, so that nothing in it can start anything that
    /// would be missed; then all of it gets `SIGTERM` and goes on, to its end.
    ///
    /// # Errors
    ///
    /// When this process may not signal one of them, or `/proc` cannot be read.
    pub fn terminate_tree(&self) -> io::Result<()> {
        self.signal(Signal::STOP)?;
        wait_until_stopped(self.pid);
        let mut stopped: Vec<Self> = Vec::new();
        let collected = self.stop_descendants(&mut stopped);
        let mut result = collected;
        for process in stopped.iter().rev().chain([self]) {
            // Both for every one of them: nothing may stay stopped, whatever fails.
            let ended = process.signal(Signal::TERM).and(process.signal(Signal::CONT));
            result = result.and(ended);
        }
        result
    }

    /// Stops everything below this process, in rounds, until a round finds nothing new.
    fn stop_descendants(&self, stopped: &mut Vec<Self>) -> io::Result<()> {
        loop {
            let mut found_new = false;
            for (pid, parent) in all_processes()? {
                let in_tree = |pid| pid == self.pid || stopped.iter().any(|s| s.pid == pid);
                if !in_tree(parent) || in_tree(pid) {
                    continue;
                }
                // The number may have been given to another between the look and the handle: once
                // the handle is open, its parent is asked for again.
                let Ok(process) = Self::open(pid) else { continue };
                if parent_of(pid) != Some(parent) {
                    continue;
                }
                process.signal(Signal::STOP)?;
                wait_until_stopped(pid);
                stopped.push(process);
                found_new = true;
            }
            if !found_new {
                return Ok(());
            }
        }
    }
}

/// Returns the number of this process.
#[must_use]
pub fn current_pid() -> u32 {
    rustix::process::getpid().as_raw_pid().cast_unsigned()
}

/// Returns the number of this process's parent, 0 if it lies outside of this process's namespace.
#[must_use]
pub fn parent_pid() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_pid().cast_unsigned())
}

/// Returns the children of this process that call themselves `title`, dead ones among them.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn children_titled(title: &str) -> io::Result<Vec<u32>> {
    let me = current_pid();
    let is_titled = |pid: u32| {
        // The title of a process is there as long as the process, also when that is dead.
        let comm = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        comm.strip_suffix(b"\n") == Some(title.as_bytes())
    };
    let children = all_processes()?.into_iter().filter(|(_, parent)| *parent == me);
    Ok(children.map(|(pid, _)| pid).filter(|pid| is_titled(*pid)).collect())
}

/// Returns when a process was started, in the system's clock ticks since the boot; `None` if there is
/// none, or it does not show.
#[must_use]
pub fn start_time(pid: u32) -> Option<u64> {
    stat_field(pid, START)
}

/// Opens a handle on the process that has the number `pid` and was started at a time that
/// `is_start` knows; `None` if that process is dead.
///
/// # Errors
///
/// When no descriptor is left.
pub fn find(pid: u32, is_start: impl FnOnce(u64) -> bool) -> io::Result<Option<Process>> {
    let process = match Process::open(pid) {
        Ok(process) => process,
        // ESRCH: there is none. EINVAL: the number is a thread's now, so not that process's.
        // PLATFORM: Linux says ENOENT for the latter from 6.16 on.
        Err(error)
            if matches!(
                error.raw_os_error(),
                None | Some(libc::ESRCH | libc::EINVAL | libc::ENOENT)
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    // The handle is on whoever has the number now, and keeps it for that one while we look.
    let is_it = start_time(pid).is_none_or(is_start);
    Ok((is_it && !process.wait(Some(Instant::now()))?).then_some(process))
}

/// Returns how many processors the machine has that run, whoever may use them; at least 1.
#[must_use]
pub fn online_processors() -> usize {
    // SAFETY: the call takes a number and returns one.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1).max(1)
}

/// Returns a number that all processes share that know each other by number.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn namespace() -> io::Result<u64> {
    Ok(rustix::fs::stat("/proc/self/ns/pid")?.st_ino)
}

/// Returns how many threads this process has.
///
/// # Errors
///
/// When `/proc` cannot be read.
pub fn count_threads() -> io::Result<usize> {
    Ok(std::fs::read_dir("/proc/self/task")?.count())
}

/// Returns the number of this process's process group, `None` if it lies outside of this process's
/// namespace and has no number here.
#[must_use]
pub fn current_group() -> Option<u32> {
    // SAFETY: no arguments; it cannot fail. (rustix takes the number for one that is never 0.)
    let group = unsafe { libc::getpgrp() };
    u32::try_from(group).ok().filter(|group| *group != 0)
}

/// Puts a child that has not executed another program into a process group, if it is not in it.
///
/// # Errors
///
/// When there is no such group in this session.
pub fn set_group(pid: u32, group: u32) -> io::Result<()> {
    let (pid, group) = (raw_pid(pid)?, raw_pid(group)?);
    match rustix::process::setpgid(Some(pid), Some(group)) {
        // It has done so itself, and executed another program since.
        Err(_) if rustix::process::getpgid(Some(pid)) == Ok(group) => Ok(()),
        result => Ok(result?),
    }
}

/// Waits until a process that was told to stop does nothing any more: it may be in the middle of a
/// fork, which it ends first.
fn wait_until_stopped(pid: u32) {
    /// One that waits for a device may take any time, and starts nothing meanwhile.
    const MOST: Duration = Duration::from_secs(1);
    let begin = Instant::now();
    while begin.elapsed() < MOST {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.iter().rposition(|b| *b == b')').map_or(0, |place| place + 2);
        if matches!(stat.get(after_name), None | Some(b'T' | b't' | b'Z' | b'X')) {
            return;
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn raw_pid(pid: u32) -> io::Result<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is not the number of a process"))
    })
}

fn exit_status(status: &rustix::process::WaitIdStatus) -> ExitStatus {
    match status.exit_status() {
        Some(code) => ExitStatus::from_code(code),
        None => ExitStatus::from_signal(status.terminating_signal().unwrap_or(0), status.dumped()),
    }
}

/// Every process on the machine with its parent.
fn all_processes() -> io::Result<Vec<(u32, u32)>> {
    let numbers = std::fs::read_dir("/proc")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    Ok(numbers.filter_map(|pid| Some((pid, parent_of(pid)?))).collect())
}

fn parent_of(pid: u32) -> Option<u32> {
    u32::try_from(stat_field(pid, PARENT)?).ok()
}

/// Places in `/proc/<pid>/stat`, counted behind the name.
const PARENT: usize = 1;
const START: usize = 19;

fn stat_field(pid: u32, place: usize) -> Option<u64> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may contain anything, also parentheses: the last one ends it.
    let after_name = stat.iter().rposition(|b| *b == b')')? + 1;
    std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().nth(place)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_parent_is_in_proc() {
        let parent = rustix::process::getppid().map(|p| p.as_raw_pid().cast_unsigned());
        assert_eq!(parent_of(current_pid()), parent);
    }

    #[test]
    fn a_process_is_told_from_others_with_its_number() {
        let me = current_pid();
        let start = start_time(me).expect("proc");
        assert!(find(me, |time| time == start).expect("handle").is_some());
        assert!(find(me, |time| time != start).expect("handle").is_none());
        let mut child = std::process::Command::new("/bin/true").spawn().expect("true");
        let pid = child.id();
        child.wait().expect("it ends");
        assert!(find(pid, |_| true).expect("handle").is_none());
    }

    #[test]
    fn a_thread_is_no_process() {
        let (tell, told) = std::sync::mpsc::channel();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            // SAFETY: the call takes nothing and returns a number.
            let number = unsafe { libc::gettid() };
            tell.send(number.cast_unsigned()).expect("it is awaited");
            let _ = stopped.recv();
        });
        let number = told.recv().expect("the thread tells");
        assert!(find(number, |_| true).expect("no error").is_none());
        drop(stop);
        thread.join().expect("it ends");
    }

    #[test]
    fn pid_zero_is_no_process() {
        assert_eq!(Process::open(0).expect_err("zero").kind(), io::ErrorKind::InvalidInput);
        assert_eq!(Process::open(u32::MAX).expect_err("max").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_childs_status_is_taken_once() {
        let mut child =
            std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().expect("sh");
        let process = Process::open(child.id()).expect("pidfd");
        assert!(process.wait(None).expect("wait"));
        assert_eq!(process.try_reap().expect("reap"), Reaped::Dead(ExitStatus::from_code(3)));
        assert_eq!(process.try_reap().expect("reap"), Reaped::Lost);
        process.kill().expect("killing the dead is no error");
        assert!(child.wait().is_err(), "its status has been taken");
    }
}
