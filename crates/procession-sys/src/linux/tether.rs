//! A child that the kernel kills when its parent is gone.
//!
//! Each program keeps one pipe whose writing end it alone holds. A tethered child opens the
//! reading end anew, for a file description of its own, and asks the kernel for `SIGKILL` when
//! something happens to it (`O_ASYNC`, `F_SETSIG`). Nothing is ever written, so the only thing
//! that can happen is that the last writing end closes: the program is gone, whatever ended it.
//!
//! No thread waits and nothing is polled, and a child cannot block, ignore or outrun the signal.
//! `PR_SET_PDEATHSIG` would fire when the starting *thread* ends, which may be long before.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;

use crate::linux::{off_streams, process, ready};

/// Chooses the signal of `O_ASYNC`; asm-generic's number, which every Linux that Rust knows as a
/// tier 1 or 2 target uses. The libc crate does not have it.
const F_SETSIG: i32 = 10;

/// The writing end, by number, for the fork handler; -1 while there is none.
static WRITING_END: AtomicI32 = AtomicI32::new(-1);

/// The reading end that the kernel watches for this process, by number, kept open for good; -1
/// while it is tied to nobody.
static TIED: AtomicI32 = AtomicI32::new(-1);

/// The parent's side: what is passed to the children that shall not outlive it.
#[derive(Debug)]
pub struct Tether {
    reading_end: OwnedFd,
}

impl Tether {
    /// Makes the tether of this program.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let (reading_end, writing_end) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        let (reading_end, writing_end) = (off_streams(reading_end)?, off_streams(writing_end)?);
        // A child opens it anew, perhaps after this program has given up its privileges. Nobody
        // comes near it but through `/proc`, which asks for more than this.
        rustix::fs::fchmod(&reading_end, Mode::RUSR | Mode::RGRP | Mode::ROTH)?;
        // Never closed by us: the end of this process closes it, and `cut_in_fork_copy` in a copy.
        WRITING_END.store(writing_end.into_raw_fd(), SeqCst);
        Ok(Self { reading_end })
    }

    /// Lends the end that a tethered child needs.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.reading_end.as_fd()
    }
}

/// Closes a forked copy's writing end, which would hide the death of the original.
pub(crate) fn cut_in_fork_copy() {
    let writing_end = WRITING_END.swap(-1, SeqCst);
    if writing_end >= 0 {
        // SAFETY: the number was given up by `into_raw_fd` in `new` and nobody else closes it; this
        // is the copy's own table of descriptors.
        unsafe { libc::close(writing_end) };
    }
}

/// Ties this process to the program whose tether `reading_end` is: it dies with it.
///
/// # Errors
///
/// When the program is gone already, `/proc` is not there, or the system refuses.
pub fn tie(reading_end: OwnedFd) -> io::Result<()> {
    let path = format!("/proc/self/fd/{}", reading_end.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let own = loop {
        match rustix::fs::open(&path, flags, Mode::empty()) {
            Ok(own) => break own,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    drop(reading_end);
    let (number, pid) = (own.as_raw_fd(), process::current_pid().cast_signed());
    // SAFETY: these commands take an integer and act on a descriptor that is ours and open.
    let signal_set = unsafe { libc::fcntl(number, F_SETSIG, libc::SIGKILL) };
    // SAFETY: as above.
    let owner_set = unsafe { libc::fcntl(number, libc::F_SETOWN, pid) };
    if signal_set < 0 || owner_set < 0 {
        return Err(io::Error::last_os_error());
    }
    rustix::fs::fcntl_setfl(
        &own,
        OFlags::NONBLOCK | OFlags::from_bits_retain(libc::O_ASYNC.cast_unsigned()),
    )?;
    // The program may have died before the kernel was asked: then nothing more will happen to the
    // pipe, and its end is seen here.
    if ready::wait_one(own.as_fd(), Some(std::time::Instant::now()))? {
        return Err(io::Error::new(io::ErrorKind::BrokenPipe, "the parent has died"));
    }
    TIED.store(own.into_raw_fd(), SeqCst);
    Ok(())
}

/// Closes a forked copy's handle on the tether of the process that it was copied from. What the
/// kernel was asked for concerns that process alone.
pub fn untie_copy() {
    let tied = TIED.swap(-1, SeqCst);
    if tied >= 0 {
        // SAFETY: the number was given up by `into_raw_fd` in `tie`, and nobody else closes it.
        unsafe { libc::close(tied) };
    }
}
