//! Waiting for several handles at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll};
use rustix::io::Errno;

use crate::linux::off_streams;

/// Waits until one of `handles` is ready to be read or hung up, or `deadline` passes.
///
/// Returns for each handle whether it is ready; none is when the deadline passed. A handler of a
/// signal that runs meanwhile does not end the wait.
///
/// # Errors
///
/// When the system refuses, for instance because there are more handles than descriptors allowed.
pub fn wait(handles: &[BorrowedFd<'_>], deadline: Option<Instant>) -> io::Result<Vec<bool>> {
    let mut polled: Vec<PollFd<'_>> =
        handles.iter().map(|handle| PollFd::from_borrowed_fd(*handle, PollFlags::IN)).collect();
    poll(&mut polled, deadline)?;
    Ok(polled.iter().map(|p| !p.revents().is_empty()).collect())
}

/// As [`wait`], for one handle and without an allocation.
///
/// # Errors
///
/// When the system refuses.
pub fn wait_one(handle: BorrowedFd<'_>, deadline: Option<Instant>) -> io::Result<bool> {
    let mut polled = [PollFd::from_borrowed_fd(handle, PollFlags::IN)];
    poll(&mut polled, deadline)?;
    Ok(!polled[0].revents().is_empty())
}

fn poll(polled: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<()> {
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        let timeout = left.map(timespec);
        match rustix::event::poll(polled, timeout.as_ref()) {
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: duration.subsec_nanos().into(),
    }
}

/// A handle that is ready while it rings: for what has no handle of its own to be waited for.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// Makes a bell that does not ring.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Self(off_streams(rustix::event::eventfd(0, flags)?)?))
    }

    /// Takes a handle from elsewhere for a bell. What is none never rings.
    #[must_use]
    pub fn from_handle(handle: OwnedFd) -> Self {
        // Whatever it is: no call on it shall wait.
        let _ = rustix::io::ioctl_fionbio(&handle, true);
        Self(handle)
    }

    /// Lends the handle.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Rings.
    pub fn ring(&self) {
        // Fails only when it rings already, 2^64 times.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Stops ringing.
    pub fn silence(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

/// A handle that is ready after each ring of one of several bells that are never silenced, and when
/// the other end of one of several wires is gone.
#[derive(Debug)]
pub struct Rings {
    epoll: OwnedFd,
}

impl Rings {
    /// Makes one for no bells and no wires.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { epoll: off_streams(epoll::create(epoll::CreateFlags::CLOEXEC)?)? })
    }

    /// Adds a bell. One that has rung before counts as a ring.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory or watch left.
    pub fn add_bell(&self, bell: BorrowedFd<'_>) -> io::Result<()> {
        self.add(bell, epoll::EventFlags::IN | epoll::EventFlags::ET)
    }

    /// Adds a wire.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory or watch left.
    pub fn add_wire(&self, wire: BorrowedFd<'_>) -> io::Result<()> {
        self.add(wire, epoll::EventFlags::RDHUP)
    }

    fn add(&self, handle: BorrowedFd<'_>, flags: epoll::EventFlags) -> io::Result<()> {
        match epoll::add(&self.epoll, handle, epoll::EventData::new_u64(0), flags) {
            // The same thing twice is the same thing.
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Lends the handle.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Makes it ready only after the next ring.
    pub fn clear(&self) {
        const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        // If not all were taken, or none could be, it is ready once more.
        let _ = epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), Some(&NOW));
    }
}

/// A set of handles that one thread sleeps on and any thread changes.
#[derive(Debug)]
pub struct Set {
    epoll: OwnedFd,
    nudge: OwnedFd,
}

/// The token that [`Set::wait`] reports after [`Set::nudge`]; not for handles.
pub const NUDGED: u64 = u64::MAX;

impl Set {
    /// Makes an empty set.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let epoll = off_streams(epoll::create(epoll::CreateFlags::CLOEXEC)?)?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let nudge = off_streams(rustix::event::eventfd(0, flags)?)?;
        let set = Self { epoll, nudge };
        set.add(set.nudge.as_fd(), NUDGED)?;
        Ok(set)
    }

    /// Adds `handle`, reported as `token` while it is ready.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory or watch left.
    pub fn add(&self, handle: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        Ok(epoll::add(&self.epoll, handle, data, epoll::EventFlags::IN)?)
    }

    /// Adds `handle`, reported as `token` once, when its other end is gone.
    ///
    /// # Errors
    ///
    /// When the kernel has no memory or watch left.
    pub fn add_hang_up(&self, handle: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        let flags = epoll::EventFlags::RDHUP | epoll::EventFlags::ONESHOT;
        Ok(epoll::add(&self.epoll, handle, data, flags)?)
    }

    /// Takes `handle` out; nothing happens if it is not in the set.
    pub fn remove(&self, handle: BorrowedFd<'_>) {
        // The only failure for a handle that is open is that it is not in the set.
        let _ = epoll::delete(&self.epoll, handle);
    }

    /// Makes the thread in [`Set::wait`] return once.
    pub fn nudge(&self) {
        // Fails only when 2^64 nudges are pending, and then the thread is awake anyway.
        let _ = rustix::io::write(&self.nudge, &1u64.to_ne_bytes());
    }

    /// Sleeps until a handle is ready and appends the tokens of those that are to `tokens`.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn wait(&self, tokens: &mut Vec<u64>) -> io::Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        loop {
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None) {
                Ok(_) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for event in events {
            let token = event.data.u64();
            if token == NUDGED {
                let _ = rustix::io::read(&self.nudge, &mut [0u8; 8]);
            }
            tokens.push(token);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_passes_and_a_hang_up_is_ready() {
        let (read, write) = rustix::pipe::pipe().expect("pipe");
        let soon = Some(Instant::now() + Duration::from_millis(1));
        assert!(!wait_one(read.as_fd(), soon).expect("wait"));
        drop(write);
        assert_eq!(wait(&[read.as_fd()], None).expect("wait"), [true]);
    }

    #[test]
    fn a_bell_rings_until_it_is_silenced() {
        let bell = Bell::new().expect("bell");
        let rings = || wait_one(bell.handle(), Some(Instant::now())).expect("wait");
        assert!(!rings());
        bell.ring();
        bell.ring();
        assert!(rings() && rings());
        bell.silence();
        bell.silence();
        assert!(!rings());
    }

    #[test]
    fn every_ring_is_seen_by_everybody() {
        let bell = Bell::new().expect("bell");
        let (wire, other) = crate::linux::wire::Wire::pair().expect("wire");
        let both = [Rings::new().expect("rings"), Rings::new().expect("rings")];
        for rings in &both {
            rings.add_bell(bell.handle()).expect("add");
            rings.add_bell(bell.handle()).expect("the same again");
            rings.add_wire(wire.handle()).expect("add");
        }
        let ready = |rings: &Rings| wait_one(rings.handle(), Some(Instant::now())).expect("wait");
        for _ in 0..3 {
            bell.ring();
            for rings in &both {
                assert!(ready(rings));
                rings.clear();
                assert!(!ready(rings));
            }
        }
        other.send(&[b"not the end"], &[]).expect("send");
        assert!(!ready(&both[0]));
        drop(other);
        assert!(ready(&both[0]) && ready(&both[1]));
    }

    #[test]
    fn a_set_tells_of_a_hang_up_once() {
        let set = Set::new().expect("set");
        let (wire, other) = crate::linux::wire::Wire::pair().expect("wire");
        set.add_hang_up(wire.handle(), 7).expect("add");
        other.send(&[b"not the end"], &[]).expect("send");
        set.nudge();
        let mut tokens = Vec::new();
        set.wait(&mut tokens).expect("wait");
        assert_eq!(tokens, [NUDGED]);
        drop(other);
        set.wait(&mut tokens).expect("wait");
        set.nudge();
        set.wait(&mut tokens).expect("wait");
        assert_eq!(tokens, [NUDGED, 7, NUDGED]);
    }

    #[test]
    fn a_set_reports_tokens_and_nudges() {
        let set = Set::new().expect("set");
        let (read, write) = rustix::pipe::pipe().expect("pipe");
        set.add(read.as_fd(), 7).expect("add");
        let mut tokens = Vec::new();
        set.nudge();
        set.wait(&mut tokens).expect("wait");
        assert_eq!(tokens, [NUDGED]);
        drop(write);
        tokens.clear();
        set.wait(&mut tokens).expect("wait");
        assert_eq!(tokens, [7]);
        set.remove(read.as_fd());
        set.remove(read.as_fd());
    }
}
