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
//! a child. But `b` is then held by the child or by nobody: a hello on `a` means there is one, and
//! names it; the end of file means there is none, and the start is tried again with a new server.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, PoisonError};

use procession_sys::image::Image;
use procession_sys::process::{self, Process};
use procession_sys::settings;
use procession_sys::start::{self, StreamsSet};
use procession_sys::wire::Wire;

use super::spawn::new_nonce;
use super::{EnvironmentChange, Group, Settings, StartError, Started, encode, tether};
use crate::codec::{self, Carried, EncodeError, Encoded};
use crate::frame::{self, Frame};
use crate::handoff::{ChildHandoff, EnvironmentBytes, Handoff, Reply, Report, Request, Role};
use crate::supervisor::{Record, Supervisor};

type Environment = Vec<(OsString, OsString)>;

/// The server of this process, if it runs. The lock is held for the length of one start.
#[derive(Debug, Default)]
pub(crate) struct ServerSlot(Mutex<Option<Server>>);

/// How often a start is tried again with a new server before it is given up.
const ATTEMPTS: usize = 5;

#[derive(Debug)]
struct Server {
    wire: Wire,
    record: Arc<Record>,
    /// What its copies inherit.
    environment: Environment,
}

/// What became of a request.
enum Requested {
    Process(Process),
    /// The server could not fork.
    Refused(std::io::Error),
    /// The server is dead and has left no child.
    ServerDied(String),
}

/// Starts a child by asking the server for a copy of itself.
pub(super) fn start(
    supervisor: &'static Supervisor,
    settings: Settings,
    mut child: ChildHandoff,
    arguments: impl FnOnce(&mut Encoded) -> Result<(), EncodeError>,
) -> Result<Started, StartError> {
    let resources = StartError::resources;
    child.tether = tether(supervisor, &child)?;
    for (stream, carried) in settings::standard_streams().into_iter().zip(&mut child.streams) {
        let stream = stream.map(|stream| stream.try_clone_to_owned()).transpose();
        *carried = stream.map_err(|e| resources("pass on a stream", e))?.map(Carried::new);
    }
    if child.directory.is_none() {
        let here = settings::open_directory(".".as_ref())
            .map_err(|source| StartError::CurrentDir { path: ".".into(), source })?;
        child.directory = Some(Carried::new(here));
    }
    child.group = Some(match settings.group {
        Group::Inherit => process::current_group(),
        Group::New => 0,
        Group::Join(id) => id,
    });
    let (name, daemon) = (child.identity.name.clone(), child.identity.daemon);
    let wanted = environment(&settings.environment);
    // Before the lock: this runs code of the user's, which may start processes itself.
    let encoded = encode(child, 0, arguments)?;

    let Some(slot) = supervisor.companion::<ServerSlot>() else {
        unreachable!("the fork server is the supervisor's only companion")
    };
    let mut slot = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let server = match &*slot {
            Some(server) if !server.record.is_dead() => server,
            _ => slot.insert(launch(supervisor)?),
        };
        let (ours, theirs) = Wire::pair().map_err(|e| resources("make a wire", e))?;
        frame::send(&ours, [&encoded.bytes, &[]], &encoded.handles)
            .map_err(|e| resources("hand the arguments over", e))?;
        let differs = (wanted != server.environment).then(|| to_bytes(&wanted));
        let starting = supervisor.starting().map_err(|e| resources("start a thread", e))?;
        match server.request(theirs, differs, &ours) {
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
                return Ok(Started::without_streams(record, ours));
            }
            Requested::Refused(error) => return Err(resources("fork the fork server", error)),
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
    /// Asks for one child that reads its hand-off from `theirs`.
    fn request(
        &self,
        theirs: Wire,
        environment: Option<EnvironmentBytes>,
        ours: &Wire,
    ) -> Requested {
        let request = Request { wire: Carried::new(theirs.into_handle()), environment };
        let sent = match codec::encode(&request, "the request") {
            Ok(request) => frame::send(&self.wire, [&request.bytes, &[]], &request.handles),
            Err(error) => Err(std::io::Error::other(error)),
        };
        let reply = match sent {
            Ok(()) => Frame::receive(&self.wire, true).map_err(|error| error.to_string()),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(error.to_string()),
            Err(error) => return Requested::Refused(error),
        };
        let reply = reply.and_then(|mut frame| {
            let handles = frame.take_handles();
            codec::decode::<Reply>(&frame, handles, "the reply").map_err(|error| error.to_string())
        });
        match reply {
            Ok(Reply::Started { pid, handle }) => match handle.into_handle() {
                Some(handle) => Requested::Process(Process::from_handle(pid, handle)),
                None => self.adopt(ours, "it sent no handle".to_owned()),
            },
            Ok(Reply::Failed { code }) => {
                Requested::Refused(std::io::Error::from_raw_os_error(code))
            }
            Err(why) => self.adopt(ours, why),
        }
    }

    /// Finds out whether a server that did not answer has left a child behind.
    fn adopt(&self, ours: &Wire, why: String) -> Requested {
        // It may only have answered nonsense, or an answer that could not be received: it must be
        // dead before the end of file means anything.
        let _ = self.record.process.kill();
        let _ = Supervisor::wait(&self.record, None);
        let hello = Frame::receive(ours, true).ok().and_then(|mut frame| {
            let handles = frame.take_handles();
            codec::decode::<Report>(&frame, handles, "the hello").ok()
        });
        match hello {
            Some(Report::Hello { pid }) => match Process::open(pid) {
                Ok(process) => Requested::Process(process),
                Err(error) => {
                    start::abandon(pid);
                    Requested::Refused(error)
                }
            },
            _ => Requested::ServerDied(why),
        }
    }
}

/// The environment that a child is to have: this process's with the user's changes.
fn environment(changes: &[EnvironmentChange]) -> Environment {
    let mut environment: Environment = std::env::vars_os().collect();
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
    let starting = supervisor.starting().map_err(|e| resources("start a thread", e))?;
    let environment = environment(&[]);
    let (process, _) = start::execute(command, theirs, nonce, set)
        .map_err(|e| resources("start the fork server", e))?;
    let record = starting
        .started_internal(process, "fork server")
        .map_err(|e| resources("watch the fork server", e))?;
    Ok(Server { wire: ours, record, environment })
}
