//! A socket pair that carries whole messages, and handles with them.
//!
//! `SOCK_SEQPACKET` keeps messages apart: one that its sender had not handed over completely when
//! it died was never there, and two senders never mix theirs.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::linux::off_streams;

/// How many handles one message can carry: the kernel's `SCM_MAX_FD`.
pub const MAX_HANDLES: usize = 253;

/// How many bytes one message can carry. It fits into an empty socket's buffer (212,992 bytes by
/// default) with room to spare, so one message never blocks on a peer that does not read.
pub const MAX_BYTES: usize = 64 * 1024;

const CONTROL_SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_HANDLES));

/// One end of a wire.
#[derive(Debug)]
pub struct Wire {
    socket: OwnedFd,
}

/// Why nothing could be received.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// No message is there, and the caller did not want to wait.
    Empty,
    /// Every other end is gone, and everything it sent has been taken.
    Closed,
    /// A message came, but this process has no free descriptor for the handles in it. Its first
    /// `length` bytes are in the buffer.
    HandlesLost {
        /// How many bytes came.
        length: usize,
    },
    /// The system refused.
    Io(io::Error),
}

impl Wire {
    /// Makes both ends of a new wire.
    ///
    /// # Errors
    ///
    /// When the system has no descriptor or no memory left.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (a, b) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        Ok((Self { socket: off_streams(a)? }, Self { socket: off_streams(b)? }))
    }

    /// Takes a handle that came from elsewhere for a wire, if it is one.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidData`] when the handle is something else.
    pub fn from_handle(handle: OwnedFd) -> io::Result<Self> {
        let domain = rustix::net::sockopt::socket_domain(&handle);
        let kind = rustix::net::sockopt::socket_type(&handle);
        if (domain, kind) == (Ok(AddressFamily::UNIX), Ok(SocketType::SEQPACKET)) {
            Ok(Self { socket: handle })
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, "the handle is not one end of a wire"))
        }
    }

    /// Gives the handle under this end.
    #[must_use]
    pub fn into_handle(self) -> OwnedFd {
        self.socket
    }

    /// Lends the handle under this end: readable when a message or the end can be received.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends one message made of `parts`, with `handles`, whole or not at all.
    ///
    /// Waits for room when the peer has not read what is there.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::BrokenPipe`] when every other end is gone;
    /// [`io::ErrorKind::InvalidInput`] for more than [`MAX_BYTES`] or [`MAX_HANDLES`].
    pub fn send(&self, parts: &[&[u8]], handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(parts, handles, SendFlags::NOSIGNAL)
    }

    /// As [`send`](Self::send), but does not wait for room.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`io::ErrorKind::WouldBlock`] when there is no room.
    pub fn try_send(&self, parts: &[&[u8]], handles: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.send_with(parts, handles, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
    }

    fn send_with(
        &self,
        parts: &[&[u8]],
        handles: &[BorrowedFd<'_>],
        flags: SendFlags,
    ) -> io::Result<()> {
        let length: usize = parts.iter().map(|p| p.len()).sum();
        if length > MAX_BYTES || handles.len() > MAX_HANDLES {
            let what = format!(
                "a message of {length} bytes and {} handles; a wire carries {MAX_BYTES} and {MAX_HANDLES}",
                handles.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut slices = [IoSlice::new(&[]); 4];
        debug_assert!(parts.len() <= slices.len(), "a message of more parts than slices");
        for (slice, part) in slices.iter_mut().zip(parts) {
            *slice = IoSlice::new(part);
        }
        let slices = &slices[..parts.len()];
        if handles.is_empty() {
            return self.send_raw(slices, &mut SendAncillaryBuffer::default(), flags);
        }
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let fits = control.push(SendAncillaryMessage::ScmRights(handles));
        debug_assert!(fits, "the space is for MAX_HANDLES");
        self.send_raw(slices, &mut control, flags)
    }

    fn send_raw(
        &self,
        parts: &[IoSlice<'_>],
        control: &mut SendAncillaryBuffer<'_, '_, '_>,
        flags: SendFlags,
    ) -> io::Result<()> {
        loop {
            return match rustix::net::sendmsg(&self.socket, parts, control, flags) {
                Ok(_) => Ok(()),
                Err(Errno::INTR) => continue,
                // The peer died with messages of ours unread; for the sender that is the same end.
                Err(Errno::CONNRESET) => Err(Errno::PIPE.into()),
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Receives one message into `buffer` and its handles into `handles`; returns its length.
    ///
    /// # Errors
    ///
    /// As [`ReceiveError`] says.
    pub fn receive(
        &self,
        buffer: &mut [u8],
        handles: &mut Vec<OwnedFd>,
        wait: bool,
    ) -> Result<usize, ReceiveError> {
        let flags = if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
        self.receive_with(buffer, handles, flags)
    }

    /// As [`receive`](Self::receive) without waiting, but leaves the message where it is; the
    /// handles are duplicates.
    ///
    /// # Errors
    ///
    /// As [`ReceiveError`] says.
    pub fn peek(
        &self,
        buffer: &mut [u8],
        handles: &mut Vec<OwnedFd>,
    ) -> Result<usize, ReceiveError> {
        self.receive_with(buffer, handles, RecvFlags::DONTWAIT | RecvFlags::PEEK)
    }

    fn receive_with(
        &self,
        buffer: &mut [u8],
        handles: &mut Vec<OwnedFd>,
        flags: RecvFlags,
    ) -> Result<usize, ReceiveError> {
        let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(buffer)];
            let flags = flags | RecvFlags::CMSG_CLOEXEC;
            match rustix::net::recvmsg(&self.socket, &mut parts, &mut control, flags) {
                Ok(received) => break received,
                // A reset says, once, that the peer died with messages of ours unread. What it had
                // sent itself is still there.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                Err(Errno::AGAIN) => return Err(ReceiveError::Empty),
                Err(error) => return Err(ReceiveError::Io(error.into())),
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = message {
                handles.extend(received);
            }
        }
        if received.flags.contains(ReturnFlags::CTRUNC) {
            handles.clear();
            return Err(ReceiveError::HandlesLost { length: received.bytes });
        }
        // A peer can send nothing at all and live; only a hang-up beside it makes it the end.
        if received.bytes == 0 && handles.is_empty() && self.is_hung_up() {
            return Err(ReceiveError::Closed);
        }
        if received.flags.contains(ReturnFlags::TRUNC) {
            let what = "a message longer than any that procession sends";
            return Err(ReceiveError::Io(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        Ok(received.bytes)
    }

    /// Tells whether every other end is gone, or will send nothing more.
    #[must_use]
    pub fn is_hung_up(&self) -> bool {
        let mut polled = [PollFd::new(&self.socket, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        loop {
            match rustix::event::poll(&mut polled, Some(&now)) {
                Ok(_) => return !polled[0].revents().is_empty(),
                // Even a question that does not wait can be interrupted.
                Err(Errno::INTR) => {}
                // With no memory for the question the answer is the usual one.
                Err(_) => return true,
            }
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_their_handles() {
        let (a, b) = Wire::pair().expect("pair");
        let (read, write) = rustix::pipe::pipe().expect("pipe");
        a.send(&[b"one", b"!"], &[]).expect("send");
        a.send(&[b"two"], &[read.as_fd(), write.as_fd()]).expect("send");
        let (mut buffer, mut handles) = ([0; 16], Vec::new());
        assert_eq!(b.receive(&mut buffer, &mut handles, true).expect("first"), 4);
        assert_eq!((&buffer[..4], handles.len()), (&b"one!"[..], 0));
        assert_eq!(b.receive(&mut buffer, &mut handles, true).expect("second"), 3);
        assert_eq!((&buffer[..3], handles.len()), (&b"two"[..], 2));
        let empty = b.receive(&mut buffer, &mut handles, false);
        assert!(matches!(empty, Err(ReceiveError::Empty)), "{empty:?}");
    }

    #[test]
    fn a_look_takes_nothing() {
        let (a, b) = Wire::pair().expect("pair");
        let (read, _write) = rustix::pipe::pipe().expect("pipe");
        a.try_send(&[b"one"], &[read.as_fd()]).expect("send");
        let (mut buffer, mut handles) = ([0; 16], Vec::new());
        assert_eq!(b.peek(&mut buffer, &mut handles).expect("look"), 3);
        assert_eq!(b.receive(&mut buffer, &mut handles, false).expect("take"), 3);
        assert_eq!(handles.len(), 2, "a duplicate, and the one that came");
        let full = (0..100_000).find_map(|_| a.try_send(&[&[0; 1000]], &[]).err());
        assert_eq!(full.expect("no room").kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn the_end_is_told_to_both_sides() {
        let (a, b) = Wire::pair().expect("pair");
        a.send(&[b"last"], &[]).expect("send");
        drop(a);
        let (mut buffer, mut handles) = ([0; 16], Vec::new());
        assert_eq!(b.receive(&mut buffer, &mut handles, true).expect("what was sent"), 4);
        let end = b.receive(&mut buffer, &mut handles, true);
        assert!(matches!(end, Err(ReceiveError::Closed)), "{end:?}");
        assert_eq!(b.send(&[b"x"], &[]).expect_err("closed").kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_was_sent_before_a_death_with_unread_mail_still_arrives() {
        let (a, b) = Wire::pair().expect("pair");
        b.send(&[b"never read"], &[]).expect("send");
        a.send(&[b"sent"], &[]).expect("send");
        drop(a);
        let (mut buffer, mut handles) = ([0; 16], Vec::new());
        assert_eq!(b.receive(&mut buffer, &mut handles, true).expect("what was sent"), 4);
        let end = b.receive(&mut buffer, &mut handles, true);
        assert!(matches!(end, Err(ReceiveError::Closed)), "{end:?}");
    }

    #[test]
    fn nothing_from_a_living_peer_is_not_the_end() {
        let (a, b) = Wire::pair().expect("pair");
        a.send(&[], &[]).expect("send");
        let (mut buffer, mut handles) = ([0; 16], Vec::new());
        assert_eq!(b.receive(&mut buffer, &mut handles, true).expect("nothing, but it came"), 0);
        drop(a);
        let end = b.receive(&mut buffer, &mut handles, true);
        assert!(matches!(end, Err(ReceiveError::Closed)), "{end:?}");
    }

    #[test]
    fn too_much_is_refused_whole() {
        let (a, _b) = Wire::pair().expect("pair");
        let long = vec![0; MAX_BYTES + 1];
        assert_eq!(a.send(&[&long], &[]).expect_err("long").kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn only_a_wire_is_taken_for_one() {
        let file = std::fs::File::open("/dev/null").expect("null");
        assert!(Wire::from_handle(file.into()).is_err());
    }
}
