//! Frames: what one message looks like on a wire.
//!
//! ```text
//! 0        4      6        8                16
//! | "PRC1" | kind | handles | length, native |  bytes (kind 0)
//! ```
//!
//! Kind 0 carries its bytes behind the header. Kind 1 carries them in sealed memory, whose handle
//! comes first; so a large message, too, is there whole or not at all, and costs nothing but the
//! memory it needs. Whatever a frame claims is checked against what came before it is believed.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::ops::Deref;

use procession_sys::memory::{self, View};
use procession_sys::wire::{MAX_BYTES, MAX_HANDLES, ReceiveError, Wire};
use procession_sys::{BorrowedHandle, Handle, borrow};

const MAGIC: [u8; 4] = *b"PRC1";
const HEADER: usize = 16;
const INLINE: u16 = 0;
const IN_MEMORY: u16 = 1;

/// The most handles that one frame can carry, beside the memory of a large one.
pub(crate) const MAX_FRAME_HANDLES: usize = MAX_HANDLES - 1;

/// Sends the concatenation of two parts as one frame.
pub(crate) fn send(wire: &Wire, parts: [&[u8]; 2], handles: &[Handle]) -> io::Result<()> {
    let length = parts[0].len() + parts[1].len();
    if handles.len() > MAX_FRAME_HANDLES {
        let what =
            format!("{} handles in one message; the most is {MAX_FRAME_HANDLES}", handles.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let borrowed = handles.iter().map(borrow);
    if length <= MAX_BYTES - HEADER {
        let borrowed: Vec<BorrowedHandle<'_>> = borrowed.collect();
        wire.send(&[&header(INLINE, handles.len(), length), parts[0], parts[1]], &borrowed)
    } else {
        let memory = memory::sealed(&parts)?;
        let with_memory: Vec<_> = [borrow(&memory)].into_iter().chain(borrowed).collect();
        wire.send(&[&header(IN_MEMORY, handles.len(), length)], &with_memory)
    }
}

fn header(kind: u16, handles: usize, length: usize) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(&MAGIC);
    header[4..6].copy_from_slice(&kind.to_ne_bytes());
    header[6..8].copy_from_slice(&(handles as u16).to_ne_bytes());
    header[8..].copy_from_slice(&(length as u64).to_ne_bytes());
    header
}

/// A short frame as one piece of bytes, for who can do nothing but write it.
pub(crate) fn prepared(bytes: &[u8]) -> Vec<u8> {
    let mut frame = header(INLINE, 0, bytes.len()).to_vec();
    frame.extend_from_slice(bytes);
    frame
}

/// Why no frame could be received.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// No frame is there, and the caller did not want to wait.
    Empty,
    /// Every other end is gone.
    Closed,
    /// Something came that is not a frame.
    Garbage(String),
    /// The system refused.
    Io(io::Error),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no message is there"),
            Self::Closed => f.write_str("the other end is gone"),
            Self::Garbage(what) => f.write_str(what),
            Self::Io(error) => write!(f, "the system refused: {error}"),
        }
    }
}

thread_local! {
    /// A buffer for a frame, kept between calls.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A frame as it came.
#[derive(Debug)]
pub(crate) struct Frame {
    body: Body,
    pub(crate) handles: Vec<Handle>,
}

#[derive(Debug)]
enum Body {
    Inline { buffer: Vec<u8>, end: usize },
    InMemory(View),
}

impl Frame {
    /// Receives the next frame.
    pub(crate) fn receive(wire: &Wire, wait: bool) -> Result<Self, FrameError> {
        let mut buffer = BUFFER.take();
        buffer.resize(MAX_BYTES, 0);
        let mut handles = Vec::new();
        match wire.receive(&mut buffer, &mut handles, wait) {
            Ok(length) => Self::check(buffer, length, handles),
            Err(error) => {
                BUFFER.set(buffer);
                Err(match error {
                    ReceiveError::Empty => FrameError::Empty,
                    ReceiveError::Closed => FrameError::Closed,
                    ReceiveError::Io(error) => FrameError::Io(error),
                    ReceiveError::HandlesLost { .. } => FrameError::Io(io::Error::other(
                        "a message with handles came, and this process has no free descriptor for \
                         them: raise its limit of open files; the message is lost",
                    )),
                    other => FrameError::Io(io::Error::other(format!("{other:?}"))),
                })
            }
        }
    }

    /// Believes what the header says only where it agrees with what came.
    fn check(buffer: Vec<u8>, end: usize, mut handles: Vec<Handle>) -> Result<Self, FrameError> {
        let garbage = |what: String| Err(FrameError::Garbage(what));
        let Some(header) = buffer[..end].first_chunk::<HEADER>() else {
            return garbage(format!("{end} bytes came that are no message of procession"));
        };
        let number = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let (kind, claimed) = (number(4), usize::from(number(6)));
        let mut length = [0; 8];
        length.copy_from_slice(&header[8..]);
        let length = u64::from_ne_bytes(length);
        if header[..4] != MAGIC || kind > IN_MEMORY {
            return garbage("something came that is no message of procession".to_owned());
        }
        let in_memory = usize::from(kind == IN_MEMORY);
        if handles.len() != claimed + in_memory {
            let came = handles.len();
            return garbage(format!("a message claims {claimed} handles, but {came} came"));
        }
        let behind = end - HEADER;
        let body = if kind == INLINE {
            if length != behind as u64 {
                return garbage(format!("a message claims {length} bytes, but {behind} came"));
            }
            Body::Inline { buffer, end }
        } else {
            let memory = handles.remove(0);
            let mapped = usize::try_from(length)
                .map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
                .and_then(|length| View::map(borrow(&memory), length));
            match mapped {
                Ok(view) if behind == 0 => Body::InMemory(view),
                Err(error) if error.kind() != io::ErrorKind::InvalidData => {
                    return Err(FrameError::Io(error));
                }
                Err(error) => return garbage(error.to_string()),
                Ok(_) => return garbage("a large message has bytes of its own".to_owned()),
            }
        };
        Ok(Self { body, handles })
    }

    /// Takes the handles out.
    pub(crate) fn take_handles(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.handles)
    }
}

impl Deref for Frame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.body {
            Body::Inline { buffer, end } => &buffer[HEADER..*end],
            Body::InMemory(view) => view,
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        if let Body::Inline { buffer, .. } = &mut self.body {
            // At the end of a thread there is nowhere to keep it.
            let _ = BUFFER.try_with(|kept| kept.set(std::mem::take(buffer)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(wire: &Wire) -> Result<Vec<u8>, FrameError> {
        Frame::receive(wire, false).map(|frame| frame.to_vec())
    }

    #[test]
    fn frames_of_every_size_come_back() {
        let (a, b) = Wire::pair().expect("pair");
        for size in [0, 1, 1000, MAX_BYTES - HEADER, MAX_BYTES - HEADER + 1, 1 << 20] {
            let bytes: Vec<u8> = (0..size).map(|i| i as u8).collect();
            let (left, right) = bytes.split_at(size / 3);
            send(&a, [left, right], &[]).expect("send");
            assert_eq!(receive(&b).expect("receive"), bytes, "{size}");
        }
        assert!(matches!(receive(&b), Err(FrameError::Empty)));
    }

    #[test]
    fn garbage_is_told_from_frames() {
        let (a, b) = Wire::pair().expect("pair");
        let header = |kind: u8, handles: u8, length: u64| {
            let mut header = vec![b'P', b'R', b'C', b'1', kind, 0, handles, 0];
            header.extend(length.to_ne_bytes());
            header
        };
        let bad = [
            vec![1],
            b"PRC2............".to_vec(),
            header(0, 0, 1),
            header(0, 0, u64::MAX),
            header(0, 1, 0),
            header(1, 0, u64::MAX),
            header(2, 0, 0),
        ];
        for bytes in bad {
            a.send(&[&bytes], &[]).expect("send");
            let result = receive(&b);
            assert!(matches!(result, Err(FrameError::Garbage(_))), "{bytes:?}: {result:?}");
        }
        // A large message whose memory is not one, or is too small.
        let null = procession_sys::settings::null().expect("null");
        let small = memory::sealed(&[b"abc"]).expect("memory");
        for handle in [&null, &small] {
            a.send(&[&header(1, 0, 1 << 40)], &[borrow(handle)]).expect("send");
            let result = receive(&b);
            assert!(matches!(result, Err(FrameError::Garbage(_))), "{result:?}");
        }
    }
}
