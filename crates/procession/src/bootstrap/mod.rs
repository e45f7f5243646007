//! How a process that procession has started becomes a child: before `main`, and never reaching it.
//!
//! ```text
//!          no marker                      role: server
//! loader ─► entry ─► (nothing: main runs)   ┌──► serve::serve ──► fork ──┐
//!             └─► marker ─► wire ─► hand-off┤                            │
//!                    │        │        │    └──► run_child ◄── hand-off ◄┘
//!                    └────────┴────────┴─ unusable: message, exit code 70
//! ```
//!
//! Invariants:
//!
//! 1. A process with a marker never reaches `main`, whatever is wrong with the marker.
//! 2. The marker is out of the environment before anything of the program runs, but for constructors
//!    that the loader runs before ours: those can start no process (`context::is_before_target`).
//! 3. The target runs only after every setting has been made and the hand-off has been checked.

mod serve;

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_char, c_int};
use std::panic::{AssertUnwindSafe, PanicHookInfo};

use procession_sys::crash_point;
use procession_sys::image::{Constructor, Image};
use procession_sys::runtime::{self, LastWord};
use procession_sys::settings::{self, Stream};
use procession_sys::start::{self, MARKER};
use procession_sys::tether;
use procession_sys::wire::Wire;

use crate::codec::arguments_sealed::Decoding;
use crate::codec::{self, Carried, Encoded};
use crate::context::{self, Identity, current_process};
use crate::frame::{self, Frame, FrameError};
use crate::handoff::{ChildHandoff, EnvironmentBytes, Handoff, Report, Role};
use crate::target::{CallError, TargetName};
use crate::tell::tell;

/// The exit code of a process that could not become what its marker says.
pub(crate) const UNUSABLE: i32 = 70;

/// The constructor. The loader runs it before `main` in every program that uses the library, and
/// before the program's own constructors: only Rust's, which takes the arguments, has 99.
#[used]
#[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array.00100"))]
static ENTRY: Constructor = entry;

extern "C" fn entry(
    count: c_int,
    arguments: *const *const c_char,
    variables: *const *const c_char,
) {
    let Some(marker) = std::env::var_os(MARKER) else { return };
    // In a library that is loaded the constructor runs as well, under the loader's lock. The marker
    // is not for it: the executable's own constructor has seen it, or there is none.
    if Image::main().offset_of(entry as *const () as usize).is_none() {
        return;
    }
    // CRASH (entry.marked): whoever started it sees the exit: nothing has been done yet.
    crash_point!("entry.marked");
    context::begin_child();
    // SAFETY: before `main` there is one thread, so nobody reads the environment meanwhile. (A
    // library that starts one in its constructor has that thread on its conscience.)
    unsafe { std::env::remove_var(MARKER) };
    if let Err(error) = settings::open_closed_streams() {
        give_up(&format!("a standard stream is closed and /dev/null cannot be opened: {error}"));
    }
    let wire = start::parse_marker(&marker).ok_or_else(|| "it is malformed".to_owned()).and_then(
        |marker| {
            let wire = start::inherited_wire(&marker).map_err(|error| error.to_string())?;
            Ok((wire, marker.nonce))
        },
    );
    // After the wire is out of their reach. The loader would run them after this one, which does not return: registries that are filled
    // before `main`, for instance, are to be full in a child, too.
    for constructor in Image::main().constructors_after(&ENTRY) {
        // PLATFORM: musl's loader passes no arguments.
        if cfg!(target_env = "musl") {
            constructor(0, std::ptr::null(), std::ptr::null());
        } else {
            constructor(count, arguments, variables);
        }
    }
    match wire {
        Ok((wire, nonce)) => enter(wire, Origin::Marker { nonce }),
        Err(why) => give_up(&format!(
            "the variable {MARKER} in the environment does not belong to this process ({why}); \
             it is procession's own: unset it"
        )),
    }
}

/// How a process got here.
pub(crate) enum Origin {
    /// Started anew, with a marker.
    Marker { nonce: u64 },
    /// Forked by a fork server, which has the environment of another moment.
    Forked { environment: Option<EnvironmentBytes> },
}

/// Becomes what the first message on `wire` says.
pub(crate) fn enter(wire: Wire, origin: Origin) -> ! {
    // CRASH (entry.wired): as above; what was sent to it is gone with its end of the wire.
    crash_point!("entry.wired");
    let mut frame = match Frame::receive(&wire, false) {
        Ok(frame) => frame,
        Err(FrameError::Closed) => runtime::exit_now(UNUSABLE), // the parent has died
        Err(error) => give_up(&format!("no hand-off from the parent: {error}")),
    };
    let mut handles = frame.take_handles().into_iter().map(Some).collect();
    let mut bytes: &[u8] = &frame;
    let handoff = match codec::decode_from::<Handoff>(&mut bytes, &mut handles, "the hand-off") {
        Ok(handoff) => handoff,
        Err(error) => give_up(&format!("corrupt hand-off from the parent: {error}")),
    };
    let (nonce, environment, forked) = match origin {
        Origin::Marker { nonce } => (nonce, None, false),
        Origin::Forked { environment } => (0, environment, true),
    };
    if handoff.nonce != nonce {
        give_up("the hand-off from the parent is meant for another process");
    }
    if handoff.image != Image::main().identity() {
        let message = crate::target::NameError::OtherBuild.to_string();
        fail(&wire, message);
    }
    // CRASH (entry.handed-off): as above; the handles that came are closed with it.
    crash_point!("entry.handed-off");
    match handoff.role {
        Role::Server { tether } => {
            drop(frame);
            match tether.into_handle() {
                Some(tether) => serve::serve(wire, tether, nonce),
                None => give_up("the hand-off from the parent lacks a handle"),
            }
        }
        Role::Child(child) => {
            let (settings, task) = split(*child, environment);
            run_child(settings, task, forked, Decoding { bytes, handles }, wire)
        }
    }
}

/// Ends a process for which nobody waits at the other end of a wire.
fn give_up(why: &str) -> ! {
    tell(format_args!("procession: this process cannot become a child: {why}"));
    runtime::exit_now(UNUSABLE)
}

/// Ends a child that could not be set up; its parent gets the reason.
fn fail(wire: &Wire, message: String) -> ! {
    let report = Report::Bootstrap { message: message.clone() };
    if report.send(wire, &Encoded::default()).is_err() {
        give_up(&message);
    }
    runtime::exit_now(UNUSABLE)
}

/// What a child runs, and as whom.
struct Task {
    target: TargetName,
    identity: Identity,
    memory_limit: Option<u64>,
}

fn split(child: ChildHandoff, environment: Option<EnvironmentBytes>) -> (Settings, Task) {
    let ChildHandoff { target, identity, tether, streams, directory, group, memory_limit } = child;
    let settings = Settings {
        tether: tether.and_then(Carried::into_handle),
        streams: streams.map(|stream| stream.and_then(Carried::into_handle)),
        directory: directory.and_then(Carried::into_handle),
        group,
        environment,
    };
    (settings, Task { target, identity, memory_limit })
}

/// Makes the settings, runs the target, reports, exits.
fn run_child(
    settings: Settings,
    task: Task,
    forked: bool,
    mut decoding: Decoding<'_>,
    wire: Wire,
) -> ! {
    let wire: &'static Wire = Box::leak(Box::new(wire));
    let Task { target, identity, memory_limit } = task;
    if forked {
        let hello = Report::Hello { pid: procession_sys::process::current_pid() };
        if let Err(error) = hello.send(wire, &Encoded::default()) {
            give_up(&format!("its parent cannot be told of it: {error}"));
        }
        // CRASH (child.said-hello): it is the parent's child, known by its number; `join` tells how it ended.
        crash_point!("child.said-hello");
    }
    if let Err(message) = settings.apply() {
        fail(wire, message);
    }
    // CRASH (child.settings-made): as above.
    crash_point!("child.settings-made");
    let entry = match target.find() {
        Ok(entry) => entry,
        Err(error) => fail(wire, error.to_string()),
    };
    settings::set_title(&identity.name);
    identity.become_child();
    prepare();
    runtime::enter_child(wire.handle());
    if let Some(limit) = memory_limit {
        let word = prepared(&Report::OutOfMemory { limit: memory_limit });
        runtime::set_last_word(LastWord::OutOfMemory, word);
        if let Err(error) = settings::limit_memory(limit) {
            fail(wire, error.to_string());
        }
    }
    let run = move || {
        // CRASH (child.ready): as above; the target has not run.
        crash_point!("child.ready");
        let (report, value) = run_reporting(wire, Voice::Own, || entry.call(&mut decoding));
        // CRASH (child.returned): the value is lost: `join` tells the signal, not the value.
        crash_point!("child.returned");
        (report, value)
    };
    let (report, value) = on_main_thread(run);
    let code = send_report(wire, &report, &value);
    // CRASH (child.reported): the value is there, but the end was a signal: `join` tells the signal.
    crash_point!("child.reported");
    std::process::exit(code)
}

/// Does for this process what is the same for every child; a fork server does it for its own.
pub(crate) fn prepare() {
    runtime::prepare(|| {
        runtime::set_last_word(LastWord::StackOverflow, prepared(&Report::StackOverflow));
        let no_limit = Report::OutOfMemory { limit: None };
        runtime::set_last_word(LastWord::OutOfMemory, prepared(&no_limit));
    });
}

fn prepared(report: &Report) -> Vec<u8> {
    report.encode().map(|encoded| frame::prepared(&encoded.bytes)).unwrap_or_default()
}

/// Runs `f` on the thread that is to be the child's main thread.
fn on_main_thread<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    if runtime::TARGET_ON_MAIN_THREAD {
        return f();
    }
    const STACK: usize = 8 << 20;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("main".to_owned()).stack_size(STACK);
        let running = thread.spawn_scoped(scope, || {
            runtime::install_altstack();
            f()
        });
        match running.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(result)) => result,
            // A destructor of a thread-local panicked: Rust has reported it and aborts itself.
            Ok(Err(_)) => std::process::abort(),
            Err(error) => give_up(&format!("its main thread cannot be started: {error}")),
        }
    })
}

thread_local! {
    /// Where the last panic of the target was; `None` on threads that are not the target's.
    static PANIC: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

type Hook = Box<dyn Fn(&PanicHookInfo<'_>) + Sync + Send + 'static>;

/// Who speaks of a panic of the target.
pub(crate) enum Voice {
    /// Procession, in words of its own.
    Own,
    /// The hook that the program had.
    Program,
}

/// Has panics of the target remembered, for its report, and told.
fn install_hook(wire: &'static Wire, voice: Voice) {
    if std::thread::panicking() {
        return; // forked while it unwinds: no hook may be changed, and a location goes untold
    }
    let fallback: Hook = std::panic::take_hook();
    let own = procession_sys::process::current_pid();
    std::panic::set_hook(Box::new(move |info| {
        let location = info.location().map(ToString::to_string).unwrap_or_default();
        let backtrace = settings::beyond_memory_limit(|| {
            let backtrace = std::backtrace::Backtrace::capture();
            let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
            if captured { backtrace.to_string() } else { String::new() }
        });
        let is_target = PANIC.with_borrow_mut(|panic| {
            panic.as_mut().map(|panic| *panic = (location.clone(), backtrace.clone())).is_some()
        });
        match voice {
            Voice::Own if is_target => {
                let (process, message) = (current_process(), message_of(info.payload()));
                let (name, pid) = (process.name(), process.pid());
                tell(format_args!(
                    "\nprocess '{name}' ({pid}) panicked at {location}:\n{message}\n{backtrace}"
                ));
            }
            _ => settings::beyond_memory_limit(|| fallback(info)),
        }
        // A process that the target has forked by itself has this hook, too, and is not the child.
        let is_child = procession_sys::process::current_pid() == own;
        if cfg!(panic = "abort") && is_target && is_child {
            let message = message_of(info.payload());
            let _ =
                Report::Panicked { message, location, backtrace }.send(wire, &Encoded::default());
        }
    }));
}

/// A panic that was caught.
#[derive(Debug)]
pub(crate) struct Caught {
    pub(crate) message: String,
    pub(crate) location: String,
    pub(crate) backtrace: String,
}

/// Has panics of this thread, in a child whose target runs, remembered as the target's are.
pub(crate) fn remember_panics() {
    PANIC.set(Some(Default::default()));
}

/// Runs `f` on a thread whose panics are remembered, and catches its panic, with where that was.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Caught> {
    std::panic::catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let message = message_of(&*payload);
        let (location, backtrace) = PANIC.take().unwrap_or_default();
        remember_panics();
        Caught { message, location, backtrace }
    })
}

/// Runs a target, and turns whatever it does into a report.
pub(crate) fn run_reporting(
    wire: &'static Wire,
    voice: Voice,
    f: impl FnOnce() -> Result<Encoded, CallError>,
) -> (Report, Encoded) {
    PANIC.set(Some(Default::default()));
    install_hook(wire, voice);
    match std::panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => (Report::Value, value),
        Ok(Err(CallError::Arguments(error))) => {
            let (what, type_name, reason) = error.into_parts();
            (Report::Arguments(what, type_name, reason), Encoded::default())
        }
        Ok(Err(CallError::Result(error))) => {
            let (what, type_name, reason) = error.into_parts();
            (Report::Result(what, type_name, reason), Encoded::default())
        }
        Err(payload) => {
            let message = message_of(&*payload);
            let (location, backtrace) = PANIC.take().unwrap_or_default();
            (Report::Panicked { message, location, backtrace }, Encoded::default())
        }
    }
}

fn message_of(payload: &dyn Any) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic with a payload that is no text".to_owned())
}

/// Sends the report and returns the exit code that goes with it: 0, or 1 as CPython's.
pub(crate) fn send_report(wire: &Wire, report: &Report, value: &Encoded) -> i32 {
    let code = i32::from(!matches!(report, Report::Value));
    match report.send(wire, value) {
        Ok(()) => code,
        Err(error) => {
            // The value is there, but cannot be sent: no memory, no descriptor.
            let type_name = "its type".to_owned();
            let failed = Report::Result("the result".to_owned(), type_name, error.to_string());
            if failed.send(wire, &Encoded::default()).is_err() {
                tell(format_args!("procession: the result cannot be sent to the parent: {error}"));
            }
            1
        }
    }
}

/// What a child changes of itself.
struct Settings {
    tether: Option<procession_sys::Handle>,
    streams: [Option<procession_sys::Handle>; 3],
    directory: Option<procession_sys::Handle>,
    group: Option<u32>,
    environment: Option<EnvironmentBytes>,
}

impl Settings {
    fn apply(self) -> Result<(), String> {
        if let Some(tether) = self.tether {
            tether::tie(tether)
                .map_err(|e| format!("it cannot be tied to its parent's life: {e}"))?;
        }
        // CRASH (child.tied): as above; the kernel forgets the tie with the process.
        crash_point!("child.tied");
        for (stream, handle) in [Stream::In, Stream::Out, Stream::Err].into_iter().zip(self.streams)
        {
            if let Some(handle) = handle {
                settings::set_stream(stream, handle)
                    .map_err(|e| format!("a standard stream cannot be set: {e}"))?;
            }
        }
        if let Some(group) = self.group
            && (group == 0 || procession_sys::process::current_group() != Some(group))
        {
            settings::enter_group(group)
                .map_err(|e| format!("process group {group} cannot be entered: {e}"))?;
        }
        if let Some(directory) = self.directory {
            settings::enter_directory(directory)
                .map_err(|e| format!("the current directory cannot be entered: {e}"))?;
        }
        if let Some(environment) = self.environment {
            // SAFETY: a forked child has one thread.
            unsafe { settings::set_environment(environment) };
        }
        Ok(())
    }
}
