//! What ties a child to its parent: it is killed when the parent is gone.

use std::os::fd::AsRawFd;
use std::sync::Mutex;

use procession_sys::tether::{self, Tether};
use pyo3::prelude::*;

use crate::handles::take;

/// This process's tether, and which process that is.
static TETHER: Mutex<Option<(u32, Tether)>> = Mutex::new(None);

/// Returns the descriptor that the children of this process need to be tied to it.
#[pyfunction]
pub(crate) fn tether_handle() -> PyResult<i32> {
    let mut tether = TETHER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let me = std::process::id();
    match tether.as_ref() {
        Some((of, tether)) if *of == me => Ok(tether.handle().as_raw_fd()),
        _ => {
            procession_sys::runtime::in_fork_copy(no_hook)?;
            // A copy forgets its original's: its own children are tied to itself.
            let (_, new) = tether.insert((me, Tether::new()?));
            Ok(new.handle().as_raw_fd())
        }
    }
}

/// A copy has nothing to do but to let go of its original's tether, which is done for it.
extern "C" fn no_hook() {}

/// Has this process killed when the one is gone whose tether the descriptor is; takes it over.
#[pyfunction]
pub(crate) fn tie(handle: i32) -> PyResult<()> {
    Ok(tether::tie(take(handle)?)?)
}
