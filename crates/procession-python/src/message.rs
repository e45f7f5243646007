//! Objects as bytes: plain ones as they are, others as a pickle, large buffers beside it.
//!
//! ```text
//! tag │ …        none, true, false: nothing; int, float: 8 bytes; str, bytes: theirs
//! 8   │ count (1) │ for each: length (4), message          a tuple of short plain objects
//! 7   │ …        a pickle and its buffers (see `received`)
//! 0x80 …         a pickle
//! ```

use std::ops::Range;

use pyo3::exceptions::PyEOFError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyFloat, PyInt, PyNone, PyString, PyTuple};

use crate::received::{self, Parts};

/// The first byte of a message whose value needs no pickle. A pickle begins with 0x80.
mod tag {
    pub(super) const NONE: u8 = 0;
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const INT: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const STR: u8 = 5;
    pub(super) const BYTES: u8 = 6;
    pub(super) const TUPLE: u8 = 8;
}

/// Longer `str` and `bytes` are not copied into a message, but one piece of it.
const SHORT: usize = 16 * 1024;
/// How many parts a tuple may have, and how deep they may lie.
const FEW: usize = 16;
const DEEP: usize = 2;

/// An object that is no short plain one.
pub(crate) enum Dumped<'py> {
    /// `dumps` has said why there is no pickle.
    Nothing,
    Pickle(Bound<'py, PyBytes>),
    Parts(Parts),
    Text(Bound<'py, PyString>),
    Bytes(Bound<'py, PyBytes>),
}

impl<'py> Dumped<'py> {
    fn new(dumps: &Bound<'py, PyAny>, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            return Ok(Self::Bytes(bytes.clone()));
        }
        if let Ok(text) = object.cast_exact::<PyString>()
            && text.to_str().is_ok()
        {
            return Ok(Self::Text(text.clone()));
        }
        let dumped = dumps.call1((object,))?;
        if dumped.is_none() {
            return Ok(Self::Nothing);
        }
        Ok(match dumped.cast_into::<PyBytes>() {
            Ok(pickle) => Self::Pickle(pickle),
            Err(parts) => Self::Parts(Parts::new(&parts.into_inner())?),
        })
    }

    /// The message, in pieces that lie one after the other in it.
    pub(crate) fn pieces<'a>(&'a self, py: Python<'a>) -> PyResult<Vec<&'a [u8]>> {
        Ok(match self {
            Self::Nothing => Vec::new(),
            Self::Pickle(pickle) => vec![pickle.as_bytes()],
            Self::Parts(parts) => parts.pieces(py),
            Self::Text(text) => vec![&[tag::STR], text.to_str()?.as_bytes()],
            Self::Bytes(bytes) => vec![&[tag::BYTES], bytes.as_bytes()],
        })
    }
}

/// Writes an object behind `out` if it is a plain one.
fn write_plain(object: &Bound<'_, PyAny>, out: &mut Vec<u8>, depth: usize) -> bool {
    if let Ok(int) = object.cast_exact::<PyInt>() {
        let Ok(int) = int.extract::<i64>() else { return false };
        out.push(tag::INT);
        out.extend(int.to_le_bytes());
    } else if let Ok(text) = object.cast_exact::<PyString>() {
        let Ok(text) = text.to_str() else { return false };
        if text.len() > SHORT {
            return false;
        }
        out.push(tag::STR);
        out.extend(text.as_bytes());
    } else if let Ok(float) = object.cast_exact::<PyFloat>() {
        out.push(tag::FLOAT);
        out.extend(float.value().to_le_bytes());
    } else if object.is_none() {
        out.push(tag::NONE);
    } else if let Ok(truth) = object.cast_exact::<PyBool>() {
        out.push(if truth.is_true() { tag::TRUE } else { tag::FALSE });
    } else if let Ok(bytes) = object.cast_exact::<PyBytes>() {
        if bytes.as_bytes().len() > SHORT {
            return false;
        }
        out.push(tag::BYTES);
        out.extend(bytes.as_bytes());
    } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
        if depth == 0 || tuple.len() > FEW {
            return false;
        }
        let start = out.len();
        out.extend([tag::TUPLE, tuple.len() as u8]);
        for part in tuple.iter_borrowed() {
            let at = out.len();
            out.extend([0; 4]);
            if !write_plain(&part, out, depth - 1) {
                out.truncate(start);
                return false;
            }
            let length = (out.len() - at - 4) as u32; // a few times SHORT at the most
            out[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
    } else {
        return false;
    }
    true
}

/// Writes an object behind `out` if it is a short plain one; returns what it is otherwise.
pub(crate) fn write<'py>(
    dumps: &Bound<'py, PyAny>,
    object: &Bound<'py, PyAny>,
    out: &mut Vec<u8>,
) -> PyResult<Option<Dumped<'py>>> {
    if write_plain(object, out, DEEP) {
        return Ok(None);
    }
    Dumped::new(dumps, object).map(Some)
}

/// Reads a plain object; `None` if it is no plain one, or a tuple that lies deeper than any.
fn read_plain<'py>(
    py: Python<'py>,
    message: &[u8],
    depth: usize,
) -> PyResult<Option<Bound<'py, PyAny>>> {
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
        // Deeper than anybody writes them is garbage, and would be too deep for the stack.
        tag::TUPLE if depth > 0 => read_tuple(py, rest, depth - 1)?.into_any(),
        _ => return Ok(None),
    }))
}

fn read_tuple<'py>(py: Python<'py>, bytes: &[u8], depth: usize) -> PyResult<Bound<'py, PyTuple>> {
    let broken = || PyEOFError::new_err("a message that is cut off or none");
    let (&count, mut rest) = bytes.split_first().ok_or_else(broken)?;
    let mut parts = Vec::with_capacity(usize::from(count).min(FEW));
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (part, after) = after.split_at_checked(length).ok_or_else(broken)?;
        parts.push(read_plain(py, part, depth)?.ok_or_else(broken)?);
        rest = after;
    }
    PyTuple::new(py, parts)
}

/// Reads the message that is in `range` of `bytes`. `may_take`: nothing else in `bytes` is needed, and
/// they may become the memory of the object.
pub(crate) fn read<'py>(
    loads: &Bound<'py, PyAny>,
    bytes: &mut Vec<u8>,
    range: Range<usize>,
    may_take: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let py = loads.py();
    let message = &bytes[range.clone()];
    if message.first() == Some(&received::TAG) {
        let (bytes, range) = if may_take {
            (std::mem::take(bytes), range)
        } else {
            (message.to_vec(), 0..message.len())
        };
        return received::load(loads, bytes, range);
    }
    match read_plain(py, message, DEEP)? {
        Some(object) => Ok(object),
        None => loads.call1((PyBytes::new(py, message),)),
    }
}
