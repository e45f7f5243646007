//! A buffer for a message, kept between calls.

use std::cell::Cell;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// What is kept of a buffer that one long message has made large.
const KEPT: usize = 4 << 20;

/// Takes this thread's buffer, with whatever was in it; another one at the end of a thread.
pub(crate) fn take() -> Vec<u8> {
    BUFFER.try_with(Cell::take).unwrap_or_default()
}

/// Keeps a buffer for the next message.
pub(crate) fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() > KEPT {
        buffer = Vec::new();
    }
    // At the end of a thread there is nowhere to keep it.
    let _ = BUFFER.try_with(|kept| kept.set(buffer));
}
