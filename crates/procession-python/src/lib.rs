//! The native half of the Python package `procession`: one class per object of the core.

use pyo3::prelude::*;

/// The module `procession._procession`.
#[pymodule]
fn _procession(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))
}
