//! Errors of the core as exceptions of Python's, and signals that end a wait.

use std::cell::Cell;

use procession_shm::segment::SegmentError;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

thread_local! {
    /// What the handler of a signal has raised in this thread while it waited.
    static RAISED: Cell<Option<PyErr>> = const { Cell::new(None) };
}

/// Has the handlers of Python's run when a signal comes while a call waits.
pub(crate) fn handle_signals() {
    procession_shm::on_interrupt(|| {
        let raised = Python::try_attach(|py| py.check_signals().err()).flatten();
        let give_up = raised.is_some();
        if give_up {
            RAISED.set(raised);
        }
        give_up
    });
}

/// What the handler of a signal has raised during the wait that has just ended.
pub(crate) fn raised() -> Option<PyErr> {
    RAISED.take()
}

/// An error of the core's as an exception; that of a signal's handler if that is what ended the wait.
pub(crate) fn exception(error: SegmentError) -> PyErr {
    raised().unwrap_or_else(|| match error {
        SegmentError::Io(error) => PyOSError::new_err((error.raw_os_error(), error.to_string())),
        error => PyRuntimeError::new_err(error.to_string()),
    })
}

/// An exception of the package's own: a class in `procession.errors`.
pub(crate) fn owner_died(py: Python<'_>, what: &str, pid: u32) -> PyErr {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    of_class(py, &CLASS, "procession.errors", "OwnerDied", (what, pid))
}

/// An exception of a class that another module has.
pub(crate) fn of_class<'py, A>(
    py: Python<'py>,
    class: &PyOnceLock<Py<PyType>>,
    module: &str,
    name: &str,
    arguments: A,
) -> PyErr
where
    A: pyo3::call::PyCallArgs<'py>,
{
    let made = class.import(py, module, name).and_then(|class| class.call1(arguments));
    made.map_or_else(|error| error, PyErr::from_value)
}
