//! The memory of `Queue`, `SimpleQueue` and `JoinableQueue`.

use std::cell::Cell;
use std::io;
use std::sync::OnceLock;

use procession_shm::queue::{self, GetError, PutError, Taken, Unfinished};
use pyo3::exceptions::{PyEOFError, PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::failure::{exception, of_class, raised};
use crate::handles::{get, lend, set, take};
use crate::message::{self, Dumped};
use crate::received;
use crate::timeout::Patience;

/// Longer messages are copied without the interpreter's lock.
const SHORT: usize = 16 * 1024;

/// Objects from any process to any process.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Queue {
    shared: OnceLock<queue::Queue>,
}

thread_local! {
    /// Where messages are written and received, with the room of the last one. Who uses it has taken
    /// it, for what is pickled and unpickled meanwhile may use queues as well.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    /// How long the last message was that was received, if it was large.
    static LARGE: Cell<usize> = const { Cell::new(0) };
}

/// Calls `f` with a buffer for about `length` bytes, which keeps its room.
fn with_buffer<R>(length: usize, f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = if length == 0 { BUFFER.take() } else { received::room(length) };
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

fn io_exception(error: io::Error) -> PyErr {
    raised().unwrap_or_else(|| PyOSError::new_err((error.raw_os_error(), error.to_string())))
}

fn of_queue(py: Python<'_>, name: &'static str) -> PyErr {
    static EMPTY: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static FULL: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    of_class(py, if name == "Empty" { &EMPTY } else { &FULL }, "queue", name, ())
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
        let put = with_buffer(0, |buffer| {
            buffer.clear();
            let Some(dumped) = message::write(dumps, object, buffer)? else {
                return self.put_short(py, buffer, patience);
            };
            match &dumped {
                Dumped::Nothing => Ok(true), // `dumps` has said why
                Dumped::Pickle(pickle) if pickle.as_bytes().len() <= SHORT => {
                    self.put_short(py, pickle.as_bytes(), patience)
                }
                dumped => self.put_message(py, &dumped.pieces(py)?, patience),
            }
        })?;
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
        with_buffer(LARGE.get(), |buffer| {
            if self.get_message(py, buffer, patience)?.is_none() {
                return Err(of_queue(py, "Empty"));
            }
            let range = 0..buffer.len();
            LARGE.set(if range.end > SHORT { range.end } else { 0 });
            message::read(loads, buffer, range, true)
        })
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
