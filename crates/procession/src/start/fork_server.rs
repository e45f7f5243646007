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
use std::os::unix::ffi::OsStringExt;
use std::sync::{Arc, Mutex, PoisonError};

use procession_sys::image::Image;
use procession_sys::process::{self, Process};
use procession_sys::settings::{self, Stream};
use procession_sys::start::{self, Fork, StreamsSet};
use procession_sys::wire::Wire;
use procession_sys::{Handle, runtime, tether as tethers};

use super::spawn::new_nonce;
use super::{EnvironmentChange, Settings, StartError, Started, encode, tether};
use crate::bootstrap;
use crate::codec::{self, Carried, EncodeError, Encoded};
use crate::crash_point::crash_point;
use crate::frame::{self, Frame};
use crate::handoff::{ChildHandoff, Handoff, Reply, Report, Role};
use crate::process::Group;
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
    child.says_hello = true;
    for (stream, carried) in settings::standard_streams().into_iter().zip(&mut child.streams) {
        let stream = stream.map(|stream| stream.try_clone_to_owned()).transpose();
        *carried = stream.map_err(|e| resources("pass on a stream", e))?.map(Carried);
    }
    if child.directory.is_none() {
        let here = settings::open_directory(".".as_ref()).map_err(|source| StartError::CurrentDir {
            path: ".".into(),
            source,
        })?;
        child.directory = Some(Carried(here));
    }
    child.group = Some(match settings.group {
        Group::Inherit => process::current_group(),
        Group::New => 0,
        Group::Join(id) => id,
    });
    let wanted = environment(&settings.environment);
    let (name, daemon) = (child.identity.name.clone(), child.identity.daemon);

    let mut slot = supervisor.server.0.lock().unwrap_or_else(PoisonError::into_inner);
    let mut last = None;
    let mut encoded = None;
    let mut arguments = Some(arguments);
    let mut child = Some(child);
    for _ in 0..ATTEMPTS {
        let server = match &*slot {
            Some(server) if !server.record.is_dead() => server,
            _ => slot.insert(launch(supervisor)?),
        };
        // The whole environment travels when the server's is not the wanted one. A server that is
        // launched anew inherits what the program has now, so what was encoded for the old one
        // stays right: at worst it says more than needed.
        if let (Some(mut child), Some(arguments)) = (child.take(), arguments.take()) {
            if wanted != server.environment {
                let bytes = |text: &OsString| text.clone().into_vec();
                child.environment = Some(wanted.iter().map(|(k, v)| (bytes(k), bytes(v))).collect());
            }
            encoded = Some(encode(child, 0, arguments)?);
        }
        let Some(encoded) = &encoded else { break };
        let (ours, theirs) = Wire::pair().map_err(|e| resources("make a wire", e))?;
        frame::send(&ours, [&encoded.bytes, &[]], &encoded.handles)
            .map_err(|e| resources("hand the arguments over", e))?;
        let starting = supervisor.starting().map_err(|e| resources("start a thread", e))?;
        match server.request(theirs, &ours) {
            Requested::Process(process) => {
                // The child does this itself, too. Done from both sides it is true when it runs
                // and true when `start` returns.
                let joined = match settings.group {
                    Group::Inherit => Ok(()),
                    Group::New => process::set_group(process.pid(), process.pid()),
                    Group::Join(id) => process::set_group(process.pid(), id),
                };
                let record =
                    starting.started(process, name, daemon).map_err(|e| resources("watch the child", e))?;
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
    fn request(&self, theirs: Wire, ours: &Wire) -> Requested {
        let theirs = [theirs.into_handle()];
        let sent = frame::send(&self.wire, [&[], &[]], &theirs);
        drop(theirs);
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
            Ok(Reply::Started { pid, handle }) => Requested::Process(Process::from_handle(pid, handle.0)),
            Ok(Reply::Failed { code }) => Requested::Refused(std::io::Error::from_raw_os_error(code)),
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

/// Starts a server.
fn launch(supervisor: &'static Supervisor) -> Result<Server, StartError> {
    let resources = StartError::resources;
    let nonce = new_nonce();
    let tether = supervisor.tether().handle().try_clone_to_owned();
    let tether = Carried(tether.map_err(|e| resources("pass on the tether", e))?);
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

/// The server itself: forks for every request, until its program is gone.
pub(crate) fn serve(wire: Wire, tether: Handle) -> ! {
    if let Err(message) = detach(&wire, tether) {
        eprintln!("procession: the fork server cannot start: {message}");
        runtime::exit_now(bootstrap::UNUSABLE);
    }
    crash_point!("server.ready");
    // The image is read once here, and not by every child again.
    let _ = Image::main().identity();
    loop {
        let request = Frame::receive(&wire, true).map(|mut frame| frame.take_handles().pop());
        let theirs = match request {
            Ok(Some(theirs)) => theirs,
            Ok(None) => continue,
            // End of file, or a wire that cannot be used any more: the program launches another.
            Err(_) => runtime::exit_now(0),
        };
        crash_point!("server.requested");
        // SAFETY: the server is single-threaded: it has started no thread, and before `main`
        // nothing else runs.
        let reply = match unsafe { start::fork_sibling() } {
            Ok(Fork::Child) => {
                drop(wire);
                tethers::untie_copy();
                crash_point!("entry.forked");
                match Wire::from_handle(theirs) {
                    Ok(wire) => bootstrap::enter(wire, None),
                    Err(_) => runtime::exit_now(bootstrap::UNUSABLE),
                }
            }
            Ok(Fork::Parent(child)) => {
                crash_point!("server.forked");
                let pid = child.pid();
                Reply::Started { pid, handle: Carried(child.into_handle()) }
            }
            Err(error) => Reply::Failed { code: error.raw_os_error().unwrap_or(0) },
        };
        drop(theirs);
        let sent = codec::encode(&reply, "the reply").is_ok_and(|encoded| {
            frame::send(&wire, [&encoded.bytes, &[]], &encoded.handles).is_ok()
        });
        if !sent {
            runtime::exit_now(bootstrap::UNUSABLE);
        }
        crash_point!("server.replied");
    }
}

/// Lets go of everything of the program's: terminal, files, directory, signals.
fn detach(wire: &Wire, tether: Handle) -> Result<(), String> {
    runtime::block_all_signals();
    settings::close_all_but(&[wire.handle(), procession_sys::borrow(&tether)]);
    tethers::tie(tether).map_err(|e| format!("it cannot be tied to its program's life: {e}"))?;
    let null = settings::null().map_err(|e| format!("there is no /dev/null: {e}"))?;
    for stream in [Stream::In, Stream::Out, Stream::Err] {
        settings::set_stream(stream, procession_sys::borrow(&null)).map_err(|e| e.to_string())?;
    }
    let root = settings::open_directory("/".as_ref()).map_err(|e| e.to_string())?;
    settings::enter_directory(root).map_err(|e| e.to_string())?;
    settings::set_title("fork server");
    Ok(())
}
