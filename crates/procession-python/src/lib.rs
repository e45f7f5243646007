//! The native half of the Python package `procession`: one class per object of the core.
//!
//! The classes are the bases of those that users see (`python/procession`). Each makes its shared
//! object in `_init`, lends the handles on it with `_handles`, and opens those of another process
//! with `_open`; what a Python subclass does in `__new__` and `__init__` is its own affair.
//!
//! No call waits with the interpreter's lock. A signal that comes while one waits is handled as in
//! any other code of Python's; if its handler raises, the call ends with that.

mod barrier;
mod condition;
mod crew;
mod event;
mod failure;
mod handles;
mod lock;
mod message;
mod pool;
mod queue;
mod received;
mod rlock;
mod semaphore;
mod synchronized;
mod tether;
mod timeout;
mod worker;

use pyo3::prelude::*;

/// The module `procession._procession`.
// Without the GIL it was not tried: an interpreter that has none switches it on for this.
#[pymodule(gil_used = true)]
fn _procession(module: &Bound<'_, PyModule>) -> PyResult<()> {
    failure::handle_signals();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<lock::Lock>()?;
    module.add_class::<rlock::RLock>()?;
    module.add_class::<semaphore::Semaphore>()?;
    module.add_class::<synchronized::Synchronized>()?;
    module.add_class::<condition::Condition>()?;
    module.add_class::<event::Event>()?;
    module.add_class::<barrier::Barrier>()?;
    module.add_class::<queue::Queue>()?;
    module.add_class::<pool::Pool>()?;
    module.add_class::<pool::Results>()?;
    module.add_class::<worker::Seat>()?;
    module.add_function(wrap_pyfunction!(worker::is_at_task, module)?)?;
    module.add_function(wrap_pyfunction!(tether::tether_handle, module)?)?;
    module.add_function(wrap_pyfunction!(tether::tie, module)?)
}
