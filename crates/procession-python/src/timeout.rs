//! `block` and `timeout` as Python gives them.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// How long a call may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It may not.
    None,
    /// Until then; for ever without a time.
    Until(Option<Instant>),
}

impl Patience {
    /// Reads the arguments of a call: `block` is true if it is left out.
    pub(crate) fn new(
        block: Option<&Bound<'_, PyAny>>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let block = block.map_or(Ok(true), |block| block.is_truthy())?;
        if block { Ok(Self::Until(deadline(timeout)?)) } else { Ok(Self::None) }
    }
}

/// The end of a timeout in seconds; none for `None`, and for one that nobody will see.
pub(crate) fn deadline(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Instant>> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else { return Ok(None) };
    let seconds: f64 = timeout.extract()?;
    if seconds.is_nan() {
        return Err(PyValueError::new_err("timeout is not a number"));
    }
    let left = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX);
    Ok(Instant::now().checked_add(left))
}
