//! Fork: a copy of this process, for closures that capture anything.

use std::io::Write;

use procession_sys::start::{self, Fork};
use procession_sys::tether as tethers;
use procession_sys::wire::Wire;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Child;
use crate::bootstrap;
use crate::codec;
use crate::context::Identity;
use crate::start::{StartError, Started, check_moment};
use crate::supervisor::Supervisor;
use crate::target::CallError;

/// Forks this process; the copy runs `target`, which may capture anything, and ends.
///
/// # Across processes
///
/// The child has a copy of all memory and every open descriptor, and one thread: this one. It
/// flushes its standard output when `target` has returned and ends without running exit handlers.
///
/// # Blocking
///
/// While another thread holds standard output: what is in its buffer is flushed first, and a copy
/// made meanwhile could never print.
///
/// # Errors
///
/// [`StartError::Resources`] when the system has no room for another process;
/// [`StartError::BeforeMain`] in a constructor of a child.
///
/// # Safety
///
/// Other threads of this process do not exist in the child, but the locks that they held at this
/// moment do, and stay locked: the allocator of some C libraries, the standard streams, every
/// `Mutex`. In a program with one thread there is no such thing. In others the closure may use only
/// what no other thread can have locked. With glibc and musl, allocating memory is safe, and so is
/// standard output, which this function holds itself at that moment. No other thread may be
/// panicking.
///
/// # Examples
///
/// ```
/// let words = vec!["captured", "by", "reference"];
/// // SAFETY: no other thread of this program holds a lock that the closure needs.
/// let child = unsafe { procession::fork(|| words.len()) }?;
/// assert_eq!(child.join()?, 3);
/// # Ok::<(), procession::Error>(())
/// ```
pub unsafe fn fork<F, R>(target: F) -> Result<Child<R>, StartError>
where
    F: FnOnce() -> R,
    R: Serialize + DeserializeOwned,
{
    check_moment()?;
    let resources = StartError::resources;
    let supervisor = Supervisor::get().map_err(|e| resources("watch children", e))?;
    let identity = Identity::of_child(None, false);
    let tether = supervisor.tether().handle().try_clone_to_owned();
    let tether = tether.map_err(|e| resources("pass on the tether", e))?;
    let (ours, theirs) = Wire::pair().map_err(|e| resources("make a wire", e))?;
    let starting = supervisor.starting().map_err(StartError::not_starting)?;
    // Once the copy is there, its handle must not fail for lack of a descriptor.
    let reserved = start::reserve().map_err(|e| resources("reserve a descriptor", e))?;
    let name = identity.name.clone();
    // What is in the buffer is this process's to print, not the copy's. And while this thread has
    // the lock, the copy does not inherit it from another.
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.flush();
    // SAFETY: the caller's promise; what the child does before and after the target takes no lock
    // of this library that another thread can hold: the supervisor is forgotten in the copy.
    match unsafe { start::fork(reserved) }.map_err(|e| resources("fork", e))? {
        Fork::Parent(process) => {
            let record = starting
                .started(process, name, identity.daemon)
                .map_err(|e| resources("watch the child", e))?;
            Ok(Child::new(Started::without_streams(record, ours)))
        }
        Fork::Child => {
            drop(stdout);
            // It belongs to the original, and its lock may be held there for ever.
            std::mem::forget(starting);
            drop(ours);
            run_copy(identity, tether, theirs, target)
        }
    }
}

fn run_copy<R: Serialize>(
    identity: Identity,
    tether: procession_sys::Handle,
    wire: Wire,
    target: impl FnOnce() -> R,
) -> ! {
    let wire: &'static Wire = Box::leak(Box::new(wire));
    tethers::untie_copy();
    if identity.tethered && tethers::tie(tether).is_err() {
        procession_sys::runtime::exit_now(bootstrap::UNUSABLE);
    }
    procession_sys::settings::set_title(&identity.name);
    identity.become_child();
    let (report, value) = bootstrap::run_reporting(wire, bootstrap::Voice::Program, || {
        codec::encode(&target(), "the result").map_err(CallError::Result)
    });
    let code = bootstrap::send_report(wire, &report, &value);
    let _ = std::io::stdout().flush();
    crate::supervisor::end_children();
    procession_sys::runtime::exit_now(code)
}
