//! Messages with large buffers in them, which are received once and not copied again.
//!
//! # Layout
//!
//! ```text
//! tag (1) │ zeros (3) │ count (4) │ length of the pickle (8) │ length of each buffer (8)
//! │ pickle │ … │ each buffer, from a multiple of 64 on
//! ```

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, TryLockError};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBufferError, PyOSError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyMemoryView, PySlice};

/// The first byte of such a message.
pub(crate) const TAG: u8 = 7;
const ALIGNMENT: usize = 64;
/// How much room of messages that are gone is kept for others.
const KEPT: usize = 256 << 20;

/// What `dumps` has returned for an object with buffers.
pub(crate) struct Parts {
    header: Vec<u8>,
    pickled: Py<PyBytes>,
    buffers: Vec<PyBuffer<u8>>,
}

fn padding(length: usize) -> usize {
    length.next_multiple_of(ALIGNMENT) - length
}

impl Parts {
    /// Takes apart what `dumps` has returned: a pickle, and the buffers that belong to it.
    pub(crate) fn new(dumped: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (pickled, buffers): (Bound<'_, PyBytes>, Vec<Bound<'_, PyAny>>) = dumped.extract()?;
        let buffers: Vec<PyBuffer<u8>> =
            buffers.iter().map(PyBuffer::get).collect::<PyResult<_>>()?;
        let count = u32::try_from(buffers.len())
            .map_err(|_| PyBufferError::new_err("more buffers than a message can have"))?;
        let mut header = vec![TAG, 0, 0, 0];
        header.extend(count.to_le_bytes());
        header.extend((pickled.as_bytes().len() as u64).to_le_bytes());
        for buffer in &buffers {
            if !buffer.is_c_contiguous() {
                return Err(PyBufferError::new_err("a buffer is not in one piece"));
            }
            header.extend((buffer.len_bytes() as u64).to_le_bytes());
        }
        Ok(Self { header, pickled: pickled.unbind(), buffers })
    }

    /// The message, in pieces that lie one after the other in it.
    pub(crate) fn pieces<'a>(&'a self, py: Python<'a>) -> Vec<&'a [u8]> {
        const ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];
        let pickled = self.pickled.as_bytes(py);
        let mut pieces: Vec<&[u8]> = vec![&self.header, pickled];
        let mut length = self.header.len() + pickled.len();
        for buffer in &self.buffers {
            let before = padding(length);
            pieces.push(&ZEROS[..before]);
            let bytes: &[u8] = if buffer.len_bytes() == 0 {
                &[] // whose address may be null
            } else {
                // SAFETY: the export keeps the memory there for as long as `self` is, and it is in
                // one piece. Who writes to it meanwhile changes what is copied, as with any sender.
                unsafe {
                    std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes())
                }
            };
            pieces.push(bytes);
            length += before + bytes.len();
        }
        pieces
    }
}

/// A message that was received; its memory is that of the objects that were in it.
#[pyclass(module = "procession._procession")]
pub(crate) struct Received {
    bytes: Vec<u8>,
    /// Where in the bytes the message is.
    range: Range<usize>,
}

static ROOM: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// None while another thread has it: that may be one that a forked copy has not.
fn kept() -> Option<MutexGuard<'static, Vec<Vec<u8>>>> {
    match ROOM.try_lock() {
        Ok(room) => Some(room),
        Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Room for a message of about `length`, which another one has had if there is any.
pub(crate) fn room(length: usize) -> Vec<u8> {
    let Some(mut room) = kept() else { return Vec::new() };
    let fits = |(_, bytes): &(usize, &Vec<u8>)| bytes.capacity() >= length;
    let best = room.iter().enumerate().filter(fits).min_by_key(|(_, bytes)| bytes.capacity());
    let best = best.map(|(index, _)| index);
    best.map_or_else(Vec::new, |index| room.swap_remove(index))
}

/// Keeps room for other messages, if it is not too much altogether.
pub(crate) fn keep(bytes: Vec<u8>) {
    let Some(mut room) = kept() else { return };
    let kept: usize = room.iter().map(Vec::capacity).sum();
    if kept + bytes.capacity() <= KEPT {
        room.push(bytes);
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        keep(std::mem::take(&mut self.bytes));
    }
}

#[pymethods]
impl Received {
    /// Lends the memory, to be written as well: nobody else has it.
    ///
    /// # Safety
    ///
    /// As Python's protocol says: `view` is a buffer to fill in.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut pyo3::ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let (start, length) = {
            let mut this = slf.borrow_mut();
            let range = this.range.clone();
            let bytes = &mut this.bytes[range];
            (bytes.as_mut_ptr().cast::<c_void>(), bytes.len())
        };
        let length = isize::try_from(length).map_err(|_| PyBufferError::new_err("too long"))?;
        // SAFETY: the vector is never changed after this object was made, so the memory stays where
        // it is for as long as the object lives, which the view keeps alive.
        let filled =
            unsafe { pyo3::ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, length, 0, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
    }
}

/// Makes the object of a message with buffers, which is a part of `bytes`.
pub(crate) fn load<'py>(
    loads: &Bound<'py, PyAny>,
    bytes: Vec<u8>,
    range: Range<usize>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = loads.py();
    let (pickled, buffers) = bytes
        .get(range.clone())
        .and_then(ranges)
        .ok_or_else(|| PyOSError::new_err("what has come was no message"))?;
    let received = Bound::new(py, Received { bytes, range })?;
    let whole = PyMemoryView::from(received.as_any())?;
    let part = |(start, end): (isize, isize)| whole.get_item(PySlice::new(py, start, end, 1));
    let parts = buffers.into_iter().map(part).collect::<PyResult<Vec<_>>>()?;
    let arguments = PyDict::new(py);
    arguments.set_item("buffers", PyList::new(py, parts)?)?;
    loads.call((part(pickled)?,), Some(&arguments))
}

type Ends = (isize, isize);

/// Where pickle and buffers are; `None` if they cannot be there.
fn ranges(bytes: &[u8]) -> Option<(Ends, Vec<Ends>)> {
    let count = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?) as usize;
    let lengths = bytes.get(8..)?.get(..count.checked_add(1)?.checked_mul(8)?)?;
    let mut end = 8 + lengths.len();
    let mut ranges = Vec::with_capacity(count);
    for (index, length) in lengths.chunks_exact(8).enumerate() {
        let length = usize::try_from(u64::from_le_bytes(*length.first_chunk()?)).ok()?;
        let start = if index == 0 { end } else { end + padding(end) };
        end = start.checked_add(length).filter(|end| *end <= bytes.len())?;
        ranges.push((isize::try_from(start).ok()?, isize::try_from(end).ok()?));
    }
    let buffers = ranges.split_off(1);
    Some((*ranges.first()?, buffers))
}
