//! The fork server: one clean copy of the program that forks on demand.
//!
//! ```text
//! program                          server                     child
//!    │ pair of wires (a, b)           │
//!    ├─ hand-off ─► a (waits in b)    │
//!    ├─ request with b ──────────────►│
//!    │                                ├─ fork as a sibling ─────► reads the hand-off from b
//!    │◄──────────── pid, death handle ┤                           says hello on b
//!    │◄──────────────────────────────────────────────── report ───┤
//! ```
//!
//! The child is the *program's* child, not the server's (`CLONE_PARENT`): the program reaps it
//! itself, and the server's life has nothing to do with it.
//!
//! When the server dies between the request and the reply, the program cannot know whether there is
//! a child. A hello on `a` means there is one, and names it. Otherwise a child of the program's that
//! has no record and the server's title may still say hello; without one, or when the end of file
//! says that it never will, the start is tried again with a new server.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use procession_sys::image::Image;
use procession_sys::inherited::{Inherited, Observer};
use procession_sys::process::{self, Process};
use procession_sys::ready;
use procession_sys::settings;
use procession_sys::start::{self, StreamsSet};
use procession_sys::wire::Wire;

use super::spawn::new_nonce;
use super::{Arguments, EnvironmentChange, Group, Settings, StartError, Started, encode, tether};
use crate::codec::{self, Carried};
use crate::frame::{self, Frame, FrameError};
use crate::handoff::{
    ChildHandoff, EnvironmentBytes, Handoff, Reply, Report, Request, Role, server_title,
};
use crate::supervisor::{Record, Supervisor};

type Environment = Vec<(OsString, OsString)>;

/// The server of this process, if it runs.
#[derive(Debug, Default)]
pub(crate) struct ServerSlot {
    /// The lock is held for the length of one start.
    server: Mutex<Option<Server>>,
    /// Whether one has said that this program can have none.
    unusable: AtomicBool,
}

/// How often a start is tried again with a new server before it is given up.
const ATTEMPTS: usize = 5;

#[derive(Debug)]
struct Server {
    wire: Wire,
    record: Arc<Record>,
    /// What its copies inherit.
    environment: Environment,
    inherited: Inherited,
    observer: Observer,
    title: String,
}

/// What became of a request.
enum Requested {
    Process(Process),
    /// The server could not fork.
    Refused(std::io::Error),
    /// The server is dead and has left no child.
    ServerDied(String),
    /// This program can have no server, now or ever.
    Unusable,
}

/// Starts a child by asking the server for a copy of itself; `None` if this program can have no
/// server.
pub(super) fn start(
    supervisor: &'static Supervisor,
    settings: &Settings,
    mut child: ChildHandoff,
    arguments: Arguments<'_>,
) -> Result<Option<Started>, StartError> {
    let Some(slot) = supervisor.companion::<ServerSlot>() else {
        unreachable!("the fork server is the supervisor's only companion")
    };
    if slot.unusable.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let resources = StartError::resources;
    child.tether = tether(supervisor, &child)?;
    for (stream, carried) in settings::standard_streams().into_iter().zip(&mut child.streams) {
        let stream = stream.map(|stream| stream.try_clone_to_owned()).transpose();
        *carried = stream.map_err(|e| resources("pass on a stream", e))?.map(Carried::new);
    }
    if child.directory.is_none() {
        let here = settings::open_directory(".".as_ref())
            .map_err(|source| StartError::directory(".".into(), source))?;
        child.directory = Some(Carried::new(here));
    }
    child.group = match settings.group {
        // Without a number there is nothing to enter: the server is in it as well.
        Group::Inherit => process::current_group(),
        Group::New => Some(0),
        Group::Join(id) => Some(id),
    };
    let (name, daemon) = (child.identity.name.clone(), child.identity.daemon);
    let wanted = environment(&settings.environment);
    // Before the lock: this runs code of the user's, which may start processes itself.
    let encoded = encode(child, 0, arguments)?;

    let unusable = &slot.unusable;
    let mut slot = slot.server.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let server = match &*slot {
            Some(server) if server.is_like_program() => server,
            _ => {
                // The old one would end with its wire; but a forked copy of this process may hold
                // that, too.
                if let Some(old) = slot.take() {
                    let _ = old.record.process.kill();
                }
                slot.insert(launch(supervisor)?)
            }
        };
        let (ours, theirs) = Wire::pair().map_err(|e| resources("make a wire", e))?;
        frame::send(&ours, [&encoded.bytes, &[]], &encoded.handles)
            .map_err(|e| resources("hand the arguments over", e))?;
        let differs = (wanted != server.environment).then(|| to_bytes(&wanted));
        let starting = supervisor.starting().map_err(StartError::not_starting)?;
        match server.request(supervisor, theirs, differs, &ours) {
            Requested::Process(process) => {
                // The child does this itself, too. Done from both sides it is true when it runs
                // and true when `start` returns.
                let joined = match settings.group {
                    Group::Inherit => Ok(()),
                    Group::New => process::set_group(process.pid(), process.pid()),
                    Group::Join(id) => process::set_group(process.pid(), id),
                };
                let record = starting
                    .started(process, name, daemon)
                    .map_err(|e| resources("watch the child", e))?;
                if let (Group::Join(id), Err(source)) = (settings.group, joined) {
                    let _ = record.process.kill();
                    return Err(StartError::Group { id, source });
                }
                return Ok(Some(Started::without_streams(record, ours)));
            }
            Requested::Refused(error) => return Err(resources("fork the fork server", error)),
            Requested::Unusable => {
                *slot = None;
                // ORDERING: a flag that guards nothing else.
                unusable.store(true, Ordering::Relaxed);
                return Ok(None);
            }
            Requested::ServerDied(message) => {
                *slot = None;
                last = Some(message);
            }
        }
    }
    let message = format!(
        "the fork server died {ATTEMPTS} times in a row while it was asked for a process ({}); use \
         StartMethod::Spawn if something on this machine kills it",
        last.unwrap_or_default()
    );
    Err(StartError::ForkServer { message })
}

impl Server {
    /// Tells whether a child of the server would be like one of this process, beside what the
    /// hand-off sets.
    fn is_like_program(&self) -> bool {
        !self.record.is_dead() && self.observer.look().is_ok_and(|now| now == self.inherited)
    }

    /// Asks for one child that reads its hand-off from `theirs`.
    fn request(
        &self,
        supervisor: &Supervisor,
        theirs: Wire,
        environment: Option<EnvironmentBytes>,
        ours: &Wire,
    ) -> Requested {
        // Once the child is there, its handle must not fail for lack of a descriptor: this is the
        // one it will get.
        let reserved = match start::reserve() {
            Ok(reserved) => reserved,
            Err(error) => return Requested::Refused(error),
        };
        let request = Request { wire: Carried::new(theirs.into_handle()), environment };
        let sent = match codec::encode(&request, "the request") {
            Ok(request) => frame::send(&self.wire, [&request.bytes, &[]], &request.handles),
            Err(error) => Err(std::io::Error::other(error)),
        };
        match sent {
            Ok(()) => {}
            // It has said why, perhaps.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                drop(reserved);
                return match self.received() {
                    Ok(Reply::Unusable) => Requested::Unusable,
                    _ => self.adopt(supervisor, ours, error.to_string()),
                };
            }
            Err(error) => return Requested::Refused(error),
        }
        drop(request);
        match self.reply(reserved) {
            Ok(Reply::Started { pid, handle }) => match handle.into_handle() {
                Some(handle) => Requested::Process(Process::from_handle(pid, handle)),
                None => self.adopt(supervisor, ours, "it sent no handle".to_owned()),
            },
            Ok(Reply::Failed { code }) => {
                Requested::Refused(std::io::Error::from_raw_os_error(code))
            }
            Ok(Reply::Unusable) => Requested::Unusable,
            Err(why) => self.adopt(supervisor, ours, why),
        }
    }

    /// Waits for the reply, or for the server's death.
    fn reply(&self, reserved: procession_sys::Handle) -> Result<Reply, String> {
        // The end of file alone would not do: another thread may have forked this process, by its
        // own means, while the server's end was open here, and its copy holds that end.
        let handles = [self.wire.handle(), self.record.handle()];
        ready::wait(&handles, None).map_err(|error| error.to_string())?;
        drop(reserved);
        self.received()
    }

    fn received(&self) -> Result<Reply, String> {
        let mut frame = Frame::receive(&self.wire, false).map_err(|error| error.to_string())?;
        let handles = frame.take_handles();
        codec::decode(&frame, handles, "the reply").map_err(|error| error.to_string())
    }

    /// Finds out whether a server that did not answer has left a child behind.
    fn adopt(&self, supervisor: &Supervisor, ours: &Wire, why: String) -> Requested {
        // It may only have answered nonsense, or an answer that could not be received: it must be
        // dead before what is not there means anything.
        let _ = self.record.process.kill();
        let _ = Supervisor::wait(&self.record, None);
        let mut is_last_look = false;
        loop {
            let soon = Instant::now() + Duration::from_millis(10);
            let said = match ready::wait_one(ours.handle(), Some(soon)) {
                Ok(true) => Frame::receive(ours, false),
                Ok(false) => Err(FrameError::Empty),
                Err(error) => Err(FrameError::Io(error)),
            };
            let hello = said.map(|mut frame| {
                let handles = frame.take_handles();
                codec::decode::<Report>(&frame, handles, "the hello")
            });
            match hello {
                Ok(Ok(Report::Hello { pid })) => {
                    return Process::open(pid).map_or_else(
                        |error| {
                            // Without such a process it is dead and forgotten: SIGCHLD is ignored.
                            if !is_gone(&error) {
                                start::abandon(pid);
                            }
                            Requested::Refused(error)
                        },
                        Requested::Process,
                    );
                }
                // Nothing yet. A copy that is there, or may be, can still say it. One that says it
                // right now has another title then: so without a copy there is one more look.
                Err(FrameError::Empty) if !is_last_look => {
                    is_last_look =
                        matches!(self.lost_copies(supervisor), Ok(none) if none.is_empty());
                }
                // It is dead, or will be at once: it could not say hello.
                _ => {
                    let lost = self.lost_copies(supervisor).unwrap_or_default();
                    lost.into_iter().for_each(start::abandon);
                    return Requested::ServerDied(why);
                }
            }
        }
    }

    /// The copies of this server, children of this process, of which nobody knows.
    ///
    /// Called under the slot's lock: of every other copy there is a record.
    fn lost_copies(&self, supervisor: &Supervisor) -> std::io::Result<Vec<u32>> {
        let copies = process::children_titled(&self.title)?;
        Ok(copies.into_iter().filter(|pid| !supervisor.knows(*pid)).collect())
    }
}

/// Tells whether the system has said that there is no such process.
fn is_gone(error: &std::io::Error) -> bool {
    const ESRCH: i32 = 3;
    error.raw_os_error() == Some(ESRCH)
}

/// The environment that a child is to have: this process's with the user's changes.
fn environment(changes: &[EnvironmentChange]) -> Environment {
    let mut environment: Environment = std::env::vars_os().collect();
    // An environment may have what nobody can set.
    environment.retain(|(key, _)| {
        let key = key.as_encoded_bytes();
        !key.is_empty() && !key.contains(&b'=')
    });
    for change in changes {
        match change {
            EnvironmentChange::Clear => environment.clear(),
            EnvironmentChange::Remove(key) => environment.retain(|(k, _)| k != key),
            EnvironmentChange::Set(key, value) => {
                environment.retain(|(k, _)| k != key);
                environment.push((key.clone(), value.clone()));
            }
        }
    }
    environment
}

fn to_bytes(environment: &Environment) -> EnvironmentBytes {
    let bytes = |text: &OsString| text.clone().into_encoded_bytes();
    environment.iter().map(|(key, value)| (bytes(key), bytes(value))).collect()
}

/// Starts a server.
fn launch(supervisor: &'static Supervisor) -> Result<Server, StartError> {
    let resources = StartError::resources;
    let nonce = new_nonce();
    let tether = supervisor.tether().handle().try_clone_to_owned();
    let tether = Carried::new(tether.map_err(|e| resources("pass on the tether", e))?);
    let handoff = Handoff { nonce, image: Image::main().identity(), role: Role::Server { tether } };
    let encoded = codec::encode(&handoff, "the hand-off").map_err(StartError::Encode)?;
    let (ours, theirs) = Wire::pair().map_err(|e| resources("make a wire", e))?;
    frame::send(&ours, [&encoded.bytes, &[]], &encoded.handles)
        .map_err(|e| resources("hand over to the fork server", e))?;
    let mut command = start::command();
    command.stdout(std::process::Stdio::null());
    let set = StreamsSet { stdin: false, stdout: true, stderr: false };
    let starting = supervisor.starting().map_err(StartError::not_starting)?;
    // Another thread may change the environment at any time: the server has what this says.
    let environment = environment(&[]);
    command.env_clear().envs(environment.iter().map(|(key, value)| (key, value)));
    let observer = Observer::new().map_err(|e| resources("look at this process", e))?;
    let inherited = observer.look().map_err(|e| resources("look at this process", e))?;
    let (process, _) = start::execute(command, theirs, nonce, set)
        .map_err(|e| resources("start the fork server", e))?;
    let record = starting
        .started_internal(process, "fork server")
        .map_err(|e| resources("watch the fork server", e))?;
    let title = server_title(nonce);
    Ok(Server { wire: ours, record, environment, inherited, observer, title })
}
