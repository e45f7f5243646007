//! What the hostile tests share: the sockets under connections, memory that lies, raw messages.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use procession::Connection;
use procession_tests::{proc, raw};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A pipe whose one end is in hostile hands: what is sent through `socket` arrives at `receiver`.
pub(crate) struct Tapped<M> {
    pub(crate) receiver: Connection<M>,
    /// The hostile end itself.
    pub(crate) sender: Connection<M>,
    /// The number of the socket under `sender`.
    pub(crate) socket: i32,
    /// The number of the socket under `receiver`.
    pub(crate) receiving_socket: i32,
}

impl<M: Serialize + DeserializeOwned> Tapped<M> {
    pub(crate) fn new(any: &M) -> Self {
        let before = sockets();
        let (receiver, sender) = procession::pipe::<M>().expect("a pipe");
        let new: Vec<i32> = sockets().into_iter().filter(|s| !before.contains(s)).collect();
        let [one, other] = new[..] else { panic!("two new sockets: {new:?}") };
        sender.send(any).expect("there is room");
        let one_receives = raw::has_message(one);
        assert_ne!(one_receives, raw::has_message(other), "one of them has the message");
        receiver.recv().expect("it is there");
        let (receiving_socket, socket) = if one_receives { (one, other) } else { (other, one) };
        Self { receiver, sender, socket, receiving_socket }
    }

    /// Sends bytes as one message.
    pub(crate) fn send(&self, bytes: &[u8], handles: &[i32]) {
        raw::send(self.socket, bytes, handles).expect("there is room");
    }
}

/// The sockets of this process, by number.
pub(crate) fn sockets() -> Vec<i32> {
    let open = proc::descriptors_of(std::process::id()).into_iter();
    open.filter(|(_, target)| target.starts_with("socket:")).map(|(number, _)| number).collect()
}

/// The header of a message: the wire's format is of this build alone, and so is this test.
pub(crate) fn header(kind: u16, handles: u16, length: u64) -> Vec<u8> {
    let mut header = b"PRC1".to_vec();
    header.extend(kind.to_ne_bytes());
    header.extend(handles.to_ne_bytes());
    header.extend(length.to_ne_bytes());
    header
}

/// The kind of a message that carries its bytes behind its header.
pub(crate) const INLINE: u16 = 0;
/// The kind of a message whose bytes are in memory of their own.
pub(crate) const IN_MEMORY: u16 = 1;

/// The seals that the memory of a message needs.
pub(crate) const ALL_SEALS: i32 =
    libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Memory that begins with `content`, is `size` bytes long, empty in between, and has `seals`.
pub(crate) fn memory(content: &[u8], size: u64, seals: i32) -> File {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a text with its end.
    let number = unsafe { libc::memfd_create(c"hostile".as_ptr(), flags) };
    assert!(number >= 0, "{}", io::Error::last_os_error());
    // SAFETY: it was made by the call above, and nobody else owns it.
    let mut file = File::from(unsafe { OwnedFd::from_raw_fd(number) });
    file.write_all(content).expect("there is memory");
    file.set_len(size).expect("it is not sealed yet");
    // The kernel may hold freshly written pages for a moment.
    // SAFETY: the command takes a number and acts on a descriptor that is open.
    while unsafe { libc::fcntl(number, libc::F_ADD_SEALS, seals) } < 0 {
        let error = io::Error::last_os_error();
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY), "{error}");
        std::thread::yield_now();
    }
    file
}

/// Receives one message from a socket that belongs to somebody else; with `MSG_PEEK` among the
/// flags it stays there.
pub(crate) fn receive(socket: i32, flags: i32) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0u8; 256 * 1024];
    let mut space = [0u64; 256];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zeros are a message without parts.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = space.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&space);
    let flags = flags | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: everything that the message points to lives until the call returns.
    let length = unsafe { libc::recvmsg(socket, &raw mut message, flags) };
    if length < 0 {
        return Err(io::Error::last_os_error());
    }
    bytes.truncate(length.cast_unsigned());
    let mut handles = Vec::new();
    // SAFETY: the message was filled in by the call above.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    // SAFETY: null, or a header in the space, which nothing else refers to.
    while let Some(header) = unsafe { next.as_ref() } {
        // SAFETY: plain numbers.
        let size = header.cmsg_len - unsafe { libc::CMSG_LEN(0) } as usize;
        // SAFETY: the header is one of the message's.
        let data = unsafe { libc::CMSG_DATA(next) }.cast::<i32>();
        for place in 0..size / size_of::<i32>() {
            // SAFETY: the header says that so many numbers follow it.
            let at = unsafe { data.add(place) };
            // SAFETY: as above; they may lie anywhere.
            let number = unsafe { at.read_unaligned() };
            // SAFETY: the kernel has made it for this process just now.
            handles.push(unsafe { OwnedFd::from_raw_fd(number) });
        }
        // SAFETY: both belong to the message above.
        next = unsafe { libc::CMSG_NXTHDR(&raw const message, next) };
    }
    Ok((bytes, handles))
}

/// The numbers of some descriptors.
pub(crate) fn numbers(handles: &[OwnedFd]) -> Vec<i32> {
    handles.iter().map(AsRawFd::as_raw_fd).collect()
}
