//! Handles on shared objects as Python passes them: numbers of descriptors.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use procession_sys::{BorrowedHandle, Handle};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use std::sync::OnceLock;

/// The number of a handle that stays ours.
pub(crate) fn lend(handle: BorrowedHandle<'_>) -> i32 {
    handle.as_raw_fd()
}

/// Takes over a descriptor that Python has given up.
pub(crate) fn take(number: i32) -> PyResult<Handle> {
    if number < 0 {
        return Err(PyValueError::new_err("not a descriptor"));
    }
    // SAFETY: the caller in Python has detached the number from whatever had it, as for
    // `socket(fileno=…)`; a number that is not open gives errors, and nothing else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The shared object, once it is made or opened.
pub(crate) fn get<T>(shared: &OnceLock<T>) -> PyResult<&T> {
    shared.get().ok_or_else(|| {
        PyRuntimeError::new_err("the object was not initialised: call `super().__init__` first")
    })
}

/// Sets the shared object, once.
pub(crate) fn set<T>(shared: &OnceLock<T>, made: T) -> PyResult<()> {
    shared.set(made).map_err(|_| PyRuntimeError::new_err("the object is initialised already"))
}
