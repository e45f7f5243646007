//! What the hostile tests share: the sockets under connections, memory that lies, raw messages.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use procession::Connection;
use procession_tests::{proc, raw};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A pipe whose one end is in hostile hands: they write into its memory and along its line.
///
/// Where things lie in the memory is of this build alone, and so is this test.
pub(crate) struct Tapped<M> {
    pub(crate) receiver: Connection<M>,
    /// The hostile end itself.
    pub(crate) sender: Connection<M>,
    /// The number of the socket under `sender`.
    pub(crate) socket: i32,
    /// The number of the socket under `receiver`.
    pub(crate) receiving_socket: i32,
    pub(crate) memory: File,
}

/// Header and roster are before it.
const BODY: u64 = 4224;
const SLOTS: u64 = 256;
const SLOT: u64 = 128;
/// The words of a direction: writers' line, readers' line, slots.
const DIRECTION: u64 = 128 + 64 + SLOTS * SLOT;
/// What the end that was made second sends.
pub(crate) const WORDS: u64 = BODY + 64 + DIRECTION;
pub(crate) const TAIL: u64 = WORDS + 32;
const TICKETS: u64 = WORDS + 40;
pub(crate) const HEAD: u64 = WORDS + 128 + 24;
const AREAS: u64 = (256 << 10) + (16 << 20);
const SHORT_AREA: u64 = BODY + 64 + 2 * DIRECTION + AREAS;
const LONG_AREA: u64 = SHORT_AREA + (256 << 10);

/// Where a message says that it lies.
pub(crate) const IN_SLOT: u64 = 0;
pub(crate) const IN_SHORT_AREA: u64 = 1;
pub(crate) const IN_LONG_AREA: u64 = 2;
pub(crate) const ON_ITS_OWN: u64 = 3;
pub(crate) const HAS_HANDLES: u64 = 1 << 63;

/// What a slot says of its message.
pub(crate) fn what(length: u64, lies: u64) -> u64 {
    length | lies << 40
}

impl<M: Serialize + DeserializeOwned> Tapped<M> {
    pub(crate) fn new() -> Self {
        let (sockets_before, memories_before) = (sockets(), memories());
        let (receiver, sender) = procession::pipe::<M>().expect("a pipe");
        let new: Vec<i32> = sockets().into_iter().filter(|s| !sockets_before.contains(s)).collect();
        let [one, other] = new[..] else { panic!("two new sockets: {new:?}") };
        let new: Vec<i32> =
            memories().into_iter().filter(|m| !memories_before.contains(m)).collect();
        let [memory] = new[..] else { panic!("one new memory: {new:?}") };
        let path = format!("/proc/self/fd/{memory}");
        let memory = File::options().read(true).write(true).open(path).expect("it is ours");
        let mut tapped = Self { receiver, sender, socket: one, receiving_socket: other, memory };
        let names = fs::read_link(format!("/proc/self/fd/{other}")).expect("it is open");
        if names.to_string_lossy() == format!("socket:[{}]", tapped.word(BODY + 8)) {
            std::mem::swap(&mut tapped.socket, &mut tapped.receiving_socket);
        }
        tapped
    }

    /// Sends bytes as one message, well-formed but for what they are.
    pub(crate) fn send(&self, bytes: &[u8], handles: &[i32]) {
        let length = bytes.len() as u64;
        let ticket = self.send_packet(handles);
        if length <= 96 {
            self.send_slot(what(length, IN_SLOT), 0, ticket, bytes);
        } else {
            self.memory.write_all_at(bytes, LONG_AREA).expect("there is memory");
            self.send_slot(what(length, IN_LONG_AREA), 0, ticket, &[]);
        }
    }

    /// Sends handles along the line, with a new ticket; none if there are no handles.
    pub(crate) fn send_packet(&self, handles: &[i32]) -> Option<u64> {
        if handles.is_empty() {
            return None;
        }
        let ticket = self.word(TICKETS);
        self.set_word(TICKETS, ticket + 1);
        raw::send(self.socket, &ticket.to_ne_bytes(), handles).expect("there is room");
        Some(ticket)
    }

    /// Fills the next slot, and says that it is full.
    pub(crate) fn send_slot(&self, mut what: u64, at: u64, ticket: Option<u64>, bytes: &[u8]) {
        let number = self.word(TAIL);
        let slot = WORDS + 192 + number % SLOTS * SLOT;
        if let Some(ticket) = ticket {
            what |= HAS_HANDLES;
            self.set_word(slot + 120, ticket);
        }
        self.set_word(slot + 8, what);
        self.memory.write_all_at(bytes, slot + 16).expect("it is ours");
        self.set_word(slot + 112, at);
        self.set_word(slot, number + 1);
        self.set_word(TAIL, number + 1);
    }

    /// The bytes of the last message that was sent.
    pub(crate) fn last(&self) -> Vec<u8> {
        let slot = WORDS + 192 + (self.word(TAIL) - 1) % SLOTS * SLOT;
        let what = self.word(slot + 8) & !HAS_HANDLES;
        let (lies, length) = (what >> 40, what & ((1 << 40) - 1));
        let at = self.word(slot + 112);
        let place = match lies {
            IN_SLOT => slot + 16,
            IN_SHORT_AREA => SHORT_AREA + at % (256 << 10),
            _ => LONG_AREA + at % (3 << 20),
        };
        let mut bytes = vec![0; usize::try_from(length).expect("it is small")];
        self.memory.read_exact_at(&mut bytes, place).expect("it is there");
        bytes
    }
}

impl<M> Tapped<M> {
    pub(crate) fn word(&self, offset: u64) -> u64 {
        let mut word = [0; 8];
        self.memory.read_exact_at(&mut word, offset).expect("it is ours");
        u64::from_ne_bytes(word)
    }

    pub(crate) fn set_word(&self, offset: u64, value: u64) {
        self.memory.write_all_at(&value.to_ne_bytes(), offset).expect("it is ours");
    }
}

/// The shared memory that this process has, by number.
fn memories() -> Vec<i32> {
    let open = proc::descriptors_of(std::process::id()).into_iter();
    let ours = open.filter(|(_, target)| target.contains("memfd:procession"));
    ours.map(|(number, _)| number).collect()
}

/// The sockets of this process, by number.
pub(crate) fn sockets() -> Vec<i32> {
    let open = proc::descriptors_of(std::process::id()).into_iter();
    open.filter(|(_, target)| target.starts_with("socket:")).map(|(number, _)| number).collect()
}

/// The header of a message on a wire, whose format is of this build alone, and so is this test.
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
