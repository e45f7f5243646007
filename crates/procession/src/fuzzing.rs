//! What parses bytes of other processes, for the fuzzer. Not a part of the public API.

use procession_sys::wire::{MAX_BYTES, Wire};
use procession_sys::{Handle, borrow, memory, settings, shared};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{self, Arguments, arguments_sealed};
use crate::frame::Frame;
use crate::handoff::{Handoff, Reply, Report, Request, Role};

/// A few handles of different kinds.
fn handles(count: usize, first: u8) -> Vec<Handle> {
    let one = |kind: usize| match kind % 4 {
        0 => memory::sealed(&[b"\x03\0\0\0\0\0\0\0abc"]),
        1 => settings::null(),
        2 => shared::create(5000),
        _ => Wire::pair().map(|(wire, _)| wire.into_handle()),
    };
    (0..count).map(|i| one(i + usize::from(first)).expect("a descriptor")).collect()
}

/// Sends bytes and handles over a wire, and receives them as a message.
///
/// # Panics
///
/// When this process has no descriptors left, or a received message is longer than what came.
pub fn frame(bytes: &[u8], count: usize, first: u8) {
    let (to, from) = Wire::pair().expect("a wire");
    let sent = handles(count, first);
    let sent: Vec<_> = sent.iter().map(borrow).collect();
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    if to.send(&[bytes], &sent).is_err() {
        return; // an empty message with handles
    }
    if let Ok(mut frame) = Frame::receive(&from, false) {
        assert!(frame.len() <= MAX_BYTES && frame.handles.len() <= count);
        let handles = frame.take_handles();
        let _ = codec::decode::<(String, Vec<u32>)>(&frame, handles, "the message");
    }
    // The next one is not hurt.
    crate::frame::send(&to, [b"well", b""], &[]).expect("it fits");
    assert_eq!(&*Frame::receive(&from, false).expect("it was sent"), b"well");
}

/// Decodes bytes as a value, with some handles beside them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], count: usize) -> Option<T> {
    codec::decode(bytes, handles(count, bytes.len() as u8), "the message").ok()
}

/// Encodes a value without handles.
pub fn encode<T: Serialize>(value: &T) -> Option<Vec<u8>> {
    Some(codec::encode(value, "the message").ok()?.bytes)
}

/// Decodes bytes as the arguments of a target.
pub fn arguments<A: Arguments>(bytes: &[u8], count: usize) -> Option<A> {
    let handles = handles(count, 2).into_iter().map(Some).collect();
    A::decode(&mut arguments_sealed::Decoding { bytes, handles }).ok()
}

/// Decodes bytes as each of the library's own messages, and looks for the target that one names.
pub fn own_messages(bytes: &[u8], count: usize) {
    let table = || handles(count, 3);
    let _ = codec::decode::<Report>(bytes, table(), "the report");
    let _ = codec::decode::<Request>(bytes, table(), "the request");
    let _ = codec::decode::<Reply>(bytes, table(), "the reply");
    let (mut rest, mut handles) = (bytes, table().into_iter().map(Some).collect());
    let handoff = codec::decode_from::<Handoff>(&mut rest, &mut handles, "the hand-off");
    if let Ok(Handoff { role: Role::Child(child), .. }) = handoff {
        let _ = child.target.find();
    }
}
