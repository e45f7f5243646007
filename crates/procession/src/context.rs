//! Who this process is: its name, its parent, what it passes on.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, Ordering};

use procession_sys::process::current_pid;
use serde::{Deserialize, Serialize};

/// What a process is called and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessInfo {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) parent_pid: u32,
    pub(crate) daemon: bool,
}

impl ProcessInfo {
    /// Returns the name: "MainProcess", "Process-1", "Process-1:2", or what its parent chose.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Returns the process number of its parent.
    #[must_use]
    pub fn parent_pid(&self) -> u32 {
        self.parent_pid
    }

    /// Tells whether it ends with its parent.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

/// How a child comes into being.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StartMethod {
    /// The executable is started anew. The child has nothing of this process but what it is given.
    Spawn,
    /// One clean copy of the program, started at first use and kept waiting before `main`, forks on
    /// demand: as clean as [`Spawn`](Self::Spawn), as fast as a fork, however large this process is.
    ///
    /// A program that cannot be copied safely, because a library of its starts threads before
    /// `main`, spawns instead. So does a process with standard streams of its own.
    ForkServer,
}

impl Default for StartMethod {
    /// [`ForkServer`](Self::ForkServer) where the system can fork, else [`Spawn`](Self::Spawn).
    fn default() -> Self {
        if cfg!(target_os = "linux") { Self::ForkServer } else { Self::Spawn }
    }
}

/// Why the start method could not be set: it was set already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetStartMethodError {
    current: StartMethod,
}

impl fmt::Display for SetStartMethodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the start method is set to {:?} already, and it can be set only once; choose one for a single \
             process with `Process::start_method`",
            self.current
        )
    }
}

impl std::error::Error for SetStartMethodError {}

/// 0 while nobody has chosen, then the method's place in [`METHODS`] plus one.
static CHOSEN_METHOD: AtomicU8 = AtomicU8::new(0);
const METHODS: [StartMethod; 2] = [StartMethod::Spawn, StartMethod::ForkServer];

/// Chooses the start method of every process that is started from here on without its own choice.
///
/// It can be chosen once in a program; children start with the same choice.
///
/// # Errors
///
/// When it was chosen before.
///
/// # Examples
///
/// ```
/// use procession::StartMethod;
///
/// procession::set_start_method(StartMethod::Spawn)?;
/// assert!(procession::set_start_method(StartMethod::ForkServer).is_err());
/// # Ok::<(), procession::Error>(())
/// ```
pub fn set_start_method(method: StartMethod) -> Result<(), SetStartMethodError> {
    let place = METHODS.iter().position(|m| *m == method).unwrap_or(0) as u8 + 1;
    // ORDERING: a number that guards nothing else.
    match CHOSEN_METHOD.compare_exchange(0, place, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => Ok(()),
        Err(_) => Err(SetStartMethodError { current: start_method() }),
    }
}

/// The start method of a process that has no choice of its own.
pub(crate) fn start_method() -> StartMethod {
    chosen_method().unwrap_or_default()
}

fn chosen_method() -> Option<StartMethod> {
    let place = CHOSEN_METHOD.load(Ordering::Relaxed);
    usize::from(place).checked_sub(1).map(|place| METHODS[place])
}

/// Whether this process is to be a child, and not one yet.
static BECOMING: AtomicBool = AtomicBool::new(false);

/// Says that this process is to be a child, or a fork server.
pub(crate) fn begin_child() {
    BECOMING.store(true, Ordering::Relaxed);
}

/// Tells whether code that runs now runs before `main` of a process that is to be a child: in a
/// constructor that every child of the program runs, and the children of that.
pub(crate) fn is_before_target() -> bool {
    // A constructor that the loader runs before ours sees the marker still.
    BECOMING.load(Ordering::Relaxed)
        || (identity().is_none() && std::env::var_os(procession_sys::start::MARKER).is_some())
}

/// What a child is told of itself, and passes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) daemon: bool,
    /// Whether it ends with its parent: it is a daemon, or below one.
    pub(crate) tethered: bool,
    /// The place among its parent's children, and that of each process above: "Process-1:2".
    places: Vec<u32>,
    parent: Option<Parent>,
    method: u8,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Parent {
    name: String,
    pid: u32,
    parent_pid: u32,
    daemon: bool,
}

/// The identity of this process; null in a program that nobody of ours started.
static IDENTITY: AtomicPtr<Identity> = AtomicPtr::new(std::ptr::null_mut());
/// How many children were given a place.
static PLACES: AtomicU32 = AtomicU32::new(0);

fn identity() -> Option<&'static Identity> {
    // ORDERING: Acquire pairs with the Release in `become_child`.
    let identity = IDENTITY.load(Ordering::Acquire);
    // SAFETY: null, or leaked by `become_child` and never changed.
    unsafe { identity.as_ref() }
}

impl Identity {
    /// The identity of a new child of this process.
    pub(crate) fn of_child(name: Option<String>, daemon: bool) -> Self {
        let place = PLACES.fetch_add(1, Ordering::Relaxed) + 1;
        let mut places = identity().map(|i| i.places.clone()).unwrap_or_default();
        places.push(place);
        let name = name.unwrap_or_else(|| {
            let places: Vec<String> = places.iter().map(u32::to_string).collect();
            format!("Process-{}", places.join(":"))
        });
        let me = current_process();
        let parent =
            Parent { name: me.name, pid: me.pid, parent_pid: me.parent_pid, daemon: me.daemon };
        let tethered = daemon || identity().is_some_and(|i| i.tethered);
        let method = CHOSEN_METHOD.load(Ordering::Relaxed);
        Self { name, daemon, tethered, places, parent: Some(parent), method }
    }

    /// Makes it the identity of this process, which has just become a child.
    pub(crate) fn become_child(self) {
        let known = usize::from(self.method) <= METHODS.len();
        CHOSEN_METHOD.store(if known { self.method } else { 0 }, Ordering::Relaxed);
        PLACES.store(0, Ordering::Relaxed);
        BECOMING.store(false, Ordering::Relaxed);
        // ORDERING: Release publishes the identity's fields to the Acquire in `identity`.
        IDENTITY.store(Box::into_raw(Box::new(self)), Ordering::Release);
    }
}

/// Returns what is known of this process.
///
/// # Examples
///
/// ```
/// assert_eq!(procession::current_process().name(), "MainProcess");
///
/// fn name() -> String {
///     procession::current_process().name().to_owned()
/// }
/// assert_eq!(procession::spawn(name, ())?.join()?, "Process-1");
/// # Ok::<(), procession::Error>(())
/// ```
#[must_use]
pub fn current_process() -> ProcessInfo {
    let identity = identity();
    let parent_pid = match identity.and_then(|i| i.parent.as_ref()) {
        Some(parent) => parent.pid,
        None => procession_sys::process::parent_pid(),
    };
    ProcessInfo {
        name: identity.map_or_else(|| "MainProcess".to_owned(), |i| i.name.clone()),
        pid: current_pid(),
        parent_pid,
        daemon: identity.is_some_and(|i| i.daemon),
    }
}

/// Returns what is known of the process that started this one with procession, or `None` in a
/// program that was started by something else.
#[must_use]
pub fn parent_process() -> Option<ProcessInfo> {
    identity()?.parent.as_ref().map(|parent| ProcessInfo {
        name: parent.name.clone(),
        pid: parent.pid,
        parent_pid: parent.parent_pid,
        daemon: parent.daemon,
    })
}

/// Returns how many processors this process may use, at least 1.
#[must_use]
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
