//! The memory of `Queue`, `SimpleQueue` and `JoinableQueue`.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

use procession_shm::queue::{self, GetError, PutError, Taken, Unfinished};
use pyo3::exceptions::{PyEOFError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyNone, PyString, PyTuple, PyType};

use crate::failure::{exception, of_class, raised};
use crate::handles::{get, lend, set, take};
use crate::received::{self, Parts};
use crate::timeout::Patience;

/// The first byte of a message whose value needs no pickle. A pickle begins with 0x80.
mod tag {
    pub(super) const NONE: u8 = 0;
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const STR: u8 = 5;
    pub(super) const BYTES: u8 = 6;
}

/// Longer messages are copied without the interpreter's lock.
const SHORT: usize = 16 * 1024;

/// Objects from any process to any process.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Queue {
    shared: OnceLock<queue::Queue>,
}

thread_local! {
    /// Where messages are received, with the room of the last one.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// How long the last message was that was received, if it was large.
    static LARGE: Cell<usize> = const { Cell::new(0) };
}

/// Calls `f` with a buffer that keeps its room unless that was large. Where the last message was
/// large, the next one is likely to be.
fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = match LARGE.get() {
        0 => BUFFER.take(),
        large => received::room(large),
    };
    let result = f(&mut buffer);
    if buffer.capacity() <= SHORT * 4 {
        BUFFER.set(buffer);
    } else {
        received::keep(buffer);
    }
    result
}

impl Queue {
    fn put_message(&self, py: Python<'_>, parts: &[&[u8]], patience: Patience) -> PyResult<bool> {
        let shared = get(&self.shared)?;
        let (wait, deadline) = match patience {
            Patience::None => (false, None),
            Patience::Until(deadline) => (true, deadline),
        };
        match py.detach(|| shared.put_parts(parts, &[], wait, deadline)) {
            Ok(()) => Ok(true),
            Err(PutError::Full) => Ok(false),
            Err(PutError::Closed) => Err(PyOSError::new_err("handle is closed")),
            Err(PutError::Io(error)) => Err(io_exception(error)),
            Err(_) => Err(PyValueError::new_err(format!(
                "the pickled object is longer than a queue can hold: {} bytes",
                queue::LONGEST
            ))),
        }
    }

    fn put_short(&self, py: Python<'_>, bytes: &[u8], patience: Patience) -> PyResult<bool> {
        if get(&self.shared)?.put_at_once(bytes) {
            return Ok(true);
        }
        self.put_message(py, &[bytes], patience)
    }

    fn get_message(
        &self,
        py: Python<'_>,
        buffer: &mut Vec<u8>,
        patience: Patience,
    ) -> PyResult<Option<Taken>> {
        let shared = get(&self.shared)?;
        if let Some(taken) = shared.get_at_once(buffer) {
            return Ok(Some(taken));
        }
        let (wait, deadline) = match patience {
            Patience::None => (false, None),
            Patience::Until(deadline) => (true, deadline),
        };
        match py.detach(|| shared.get(buffer, wait, deadline)) {
            Ok(taken) => Ok(Some(taken)),
            Err(GetError::Empty) => Ok(None),
            Err(GetError::Closed) => Err(PyEOFError::new_err("the queue is closed")),
            Err(GetError::Io(error)) => Err(io_exception(error)),
            Err(_) => {
                Err(PyOSError::new_err("what was in the queue was no message; it was thrown away"))
            }
        }
    }
}

/// A message, as far as it is one without its pickle.
enum Got<'py> {
    Value(Bound<'py, PyAny>),
    Pickle(Bound<'py, PyBytes>),
    Parts(Vec<u8>),
}

fn io_exception(error: io::Error) -> PyErr {
    raised().unwrap_or_else(|| PyOSError::new_err((error.raw_os_error(), error.to_string())))
}

fn of_queue(py: Python<'_>, name: &'static str) -> PyErr {
    static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static FULL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    of_class(py, if name == "Empty" { &EMPTY } else { &FULL }, "queue", name, ())
}

/// The value of a message that is no pickle; `None` if it is one.
fn decode<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Option<Bound<'py, PyAny>>> {
    let (&first, rest) =
        message.split_first().ok_or_else(|| PyEOFError::new_err("an empty message"))?;
    let number = || rest.first_chunk().copied().unwrap_or_default();
    Ok(Some(match first {
        tag::NONE => PyNone::get(py).to_owned().into_any(),
        tag::TRUE => PyBool::new(py, true).to_owned().into_any(),
        tag::FALSE => PyBool::new(py, false).to_owned().into_any(),
        tag::INT => i64::from_le_bytes(number()).into_pyobject(py)?.into_any(),
        tag::FLOAT => PyFloat::new(py, f64::from_le_bytes(number())).into_any(),
        tag::STR => PyString::from_bytes(py, rest)?.into_any(),
        tag::BYTES => PyBytes::new(py, rest).into_any(),
        _ => return Ok(None),
    }))
}

#[pymethods]
impl Queue {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self::default()
    }

    fn _init(&self, limit: u32) -> PyResult<()> {
        set(&self.shared, queue::Queue::new(limit).map_err(exception)?)
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        Ok(get(&self.shared)?.handles().map(lend).to_vec())
    }

    fn _open(&self, handles: [i32; queue::HANDLES]) -> PyResult<()> {
        let handles = handles.map(take);
        let [segment, packets_in, packets_out, bell] = handles;
        let handles = [segment?, packets_in?, packets_out?, bell?];
        set(&self.shared, queue::Queue::open(handles).map_err(exception)?)
    }

    /// Puts an object in, pickled by `dumps` if it is not a plain one; false if there is no room.
    #[pyo3(signature = (dumps, object, block=None, timeout=None))]
    fn _put(
        &self,
        dumps: &Bound<'_, PyAny>,
        object: &Bound<'_, PyAny>,
        block: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let py = object.py();
        let patience = Patience::new(block, timeout)?;
        let mut short = [0; 9];
        let put = if let Ok(int) = object.cast_exact::<PyInt>()
            && let Ok(int) = int.extract::<i64>()
        {
            short[0] = tag::INT;
            short[1..].copy_from_slice(&int.to_le_bytes());
            self.put_short(py, &short, patience)?
        } else if let Ok(text) = object.cast_exact::<PyString>()
            && let Ok(text) = text.to_str()
        {
            self.put_tagged(py, tag::STR, text.as_bytes(), patience)?
        } else if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            self.put_tagged(py, tag::BYTES, bytes.as_bytes(), patience)?
        } else if object.is_none() {
            self.put_short(py, &[tag::NONE], patience)?
        } else if let Ok(float) = object.cast_exact::<PyFloat>() {
            short[0] = tag::FLOAT;
            short[1..].copy_from_slice(&float.value().to_le_bytes());
            self.put_short(py, &short, patience)?
        } else if let Ok(truth) = object.cast_exact::<PyBool>() {
            let truth = if truth.is_true() { tag::TRUE } else { tag::FALSE };
            self.put_short(py, &[truth], patience)?
        } else {
            let pickled = dumps.call1((object,))?;
            if pickled.is_none() {
                return Ok(()); // `dumps` has said why
            }
            let Ok(pickled) = pickled.cast::<PyBytes>() else {
                let parts = Parts::new(&pickled)?;
                let put = self.put_message(py, &parts.pieces(py), patience)?;
                return if put { Ok(()) } else { Err(of_queue(py, "Full")) };
            };
            let pickled = pickled.as_bytes();
            if pickled.len() <= SHORT {
                self.put_short(py, pickled, patience)?
            } else {
                self.put_message(py, &[pickled], patience)?
            }
        };
        if put { Ok(()) } else { Err(of_queue(py, "Full")) }
    }

    /// Takes an object out; one that is a pickle is read by `loads`.
    #[pyo3(signature = (loads, block=None, timeout=None))]
    fn _get<'py>(
        &self,
        loads: &Bound<'py, PyAny>,
        block: Option<&Bound<'py, PyAny>>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = loads.py();
        let patience = Patience::new(block, timeout)?;
        let got = with_buffer(|buffer| {
            if self.get_message(py, buffer, patience)?.is_none() {
                return Err(of_queue(py, "Empty"));
            }
            LARGE.set(if buffer.len() > SHORT { buffer.len() } else { 0 });
            if buffer.first() == Some(&received::TAG) {
                return Ok(Got::Parts(std::mem::take(buffer)));
            }
            Ok(decode(py, buffer)?
                .map_or_else(|| Got::Pickle(PyBytes::new(py, buffer)), Got::Value))
        })?;
        // Without the buffer: `loads` runs what others have written.
        match got {
            Got::Value(value) => Ok(value),
            Got::Pickle(pickled) => loads.call1((pickled,)),
            Got::Parts(bytes) => {
                let range = 0..bytes.len();
                received::load(loads, bytes, range)
            }
        }
    }

    fn _qsize(&self) -> PyResult<usize> {
        Ok(get(&self.shared)?.len())
    }

    fn _empty(&self) -> PyResult<bool> {
        Ok(get(&self.shared)?.is_empty())
    }

    fn _full(&self) -> PyResult<bool> {
        Ok(get(&self.shared)?.is_full())
    }

    /// Returns a descriptor that becomes readable when something is there, from this call on.
    fn _fileno(&self) -> PyResult<i32> {
        let shared = get(&self.shared)?;
        // It rings if something is there already.
        let _ = shared.prepare_wait();
        Ok(lend(shared.bell()))
    }

    /// Marks one object as done; false if there is none that was not.
    fn _task_done(&self) -> PyResult<bool> {
        Ok(get(&self.shared)?.task_done())
    }

    /// Waits until all objects have been marked as done, and returns how many were lost.
    fn _join(&self, py: Python<'_>) -> PyResult<u64> {
        let shared = get(&self.shared)?;
        match py.detach(|| shared.join(None)).map_err(exception)? {
            Err(Unfinished::Lost(lost)) => Ok(lost),
            Ok(()) | Err(Unfinished::TimedOut) => Ok(0),
        }
    }
}

impl Queue {
    fn put_tagged(
        &self,
        py: Python<'_>,
        tag: u8,
        bytes: &[u8],
        patience: Patience,
    ) -> PyResult<bool> {
        let mut short = [0; 256];
        match short.get_mut(1..=bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                short[0] = tag;
                self.put_short(py, &short[..=bytes.len()], patience)
            }
            None => self.put_message(py, &[&[tag], bytes], patience),
        }
    }
}
