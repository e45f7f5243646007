//! Starting a process, by each of the start methods.

mod error;
pub(crate) mod fork_server;
mod spawn;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use procession_sys::image::Image;
use procession_sys::settings;
use procession_sys::wire::Wire;

use crate::codec::{self, Carried, Encoded};
use crate::context::{Identity, StartMethod, is_before_target, start_method};
use crate::frame::MAX_FRAME_HANDLES;
use crate::handoff::{ChildHandoff, Handoff, Role};
use crate::supervisor::{Record, Supervisor};
use crate::target::TargetName;

pub use error::StartError;

/// Which process group a child is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Group {
    /// This process's.
    #[default]
    Inherit,
    /// A new one of its own, whose number is its pid.
    New,
    /// An existing one, of the same session.
    Join(u32),
}

/// What the user has chosen for one process.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    pub(crate) name: Option<String>,
    pub(crate) daemon: bool,
    pub(crate) method: Option<StartMethod>,
    pub(crate) group: Group,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) environment: Vec<EnvironmentChange>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) stdin: Option<Stdio>,
    pub(crate) stdout: Option<Stdio>,
    pub(crate) stderr: Option<Stdio>,
}

#[derive(Debug)]
pub(crate) enum EnvironmentChange {
    Set(OsString, OsString),
    Remove(OsString),
    Clear,
}

/// A process that runs.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) record: Arc<Record>,
    pub(crate) wire: Wire,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

impl Started {
    pub(crate) fn without_streams(record: Arc<Record>, wire: Wire) -> Self {
        Self { record, wire, stdin: None, stdout: None, stderr: None }
    }
}

/// Encodes the arguments behind a hand-off.
pub(crate) type Arguments<'a> = &'a dyn Fn(&mut Encoded) -> Result<(), codec::EncodeError>;

/// Starts a process that runs `target` with `arguments`.
pub(crate) fn start(
    settings: Settings,
    target: TargetName,
    arguments: Arguments<'_>,
) -> Result<Started, StartError> {
    check(&settings)?;
    let supervisor = Supervisor::get().map_err(|e| StartError::resources("watch children", e))?;
    let identity = Identity::of_child(settings.name.clone(), settings.daemon);
    let opened = |directory: &PathBuf| match settings::open_directory(directory) {
        Ok(handle) => Ok(Carried::new(handle)),
        Err(source) => Err(StartError::directory(directory.clone(), source)),
    };
    let child = || -> Result<ChildHandoff, StartError> {
        Ok(ChildHandoff {
            target,
            tether: None,
            streams: [None, None, None],
            directory: settings.directory.as_ref().map(opened).transpose()?,
            group: None,
            memory_limit: settings.memory_limit,
            identity: identity.clone(),
        })
    };
    // std's Stdio tells nobody what it is but std's Command, which starts programs: a process with
    // streams of its own is always started anew.
    let own_streams =
        settings.stdin.is_some() || settings.stdout.is_some() || settings.stderr.is_some();
    if settings.method.unwrap_or_else(start_method) == StartMethod::ForkServer && !own_streams {
        let server = fork_server::start(supervisor, &settings, child()?, arguments)?;
        if let Some(started) = server {
            return Ok(started);
        }
    }
    spawn::start(supervisor, child()?, settings, arguments)
}

/// Refuses a start that would repeat itself in the child.
pub(crate) fn check_moment() -> Result<(), StartError> {
    if is_before_target() { Err(StartError::BeforeMain) } else { Ok(()) }
}

/// Refuses to start this program again where its children listen to nobody.
fn check_rights() -> Result<(), StartError> {
    if procession_sys::start::runs_with_more_rights() {
        return Err(StartError::Privileged);
    }
    if !is_executable() {
        let message = "this program was started as the argument of a loader or an emulator, and \
                       the system's name for its executable means that one: start it directly";
        return Err(StartError::Target { message: message.to_owned() });
    }
    Ok(())
}

/// Tells whether to execute this process's executable again would run this program; looked up once.
fn is_executable() -> bool {
    const YES: u8 = 1;
    const NO: u8 = 2;
    // Not a `OnceLock`: a copy forked while another thread fills one waits for that thread for ever.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    // ORDERING: an answer that guards nothing, and that every thread finds alike.
    match KNOWN.load(Ordering::Relaxed) {
        YES => true,
        NO => false,
        _ => {
            let is_executable = Image::main().is_executable();
            KNOWN.store(if is_executable { YES } else { NO }, Ordering::Relaxed);
            is_executable
        }
    }
}

/// Refuses what no start method can make work.
fn check(settings: &Settings) -> Result<(), StartError> {
    check_moment()?;
    check_rights()?;
    if let Some(name) = settings.name.as_ref().filter(|name| name.contains('\0')) {
        return Err(StartError::Name { name: name.clone() });
    }
    if let Group::Join(id) = settings.group
        && (id == 0 || i32::try_from(id).is_err())
    {
        let source = std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "it is not the number of a group",
        );
        return Err(StartError::Group { id, source });
    }
    for change in &settings.environment {
        let (key, value) = match change {
            EnvironmentChange::Set(key, value) => (key, Some(value)),
            EnvironmentChange::Remove(key) => (key, None),
            EnvironmentChange::Clear => continue,
        };
        let bytes = key.as_encoded_bytes();
        let bad_value = value.is_some_and(|v| v.as_encoded_bytes().contains(&0));
        if bytes.is_empty() || bytes.contains(&b'=') || bytes.contains(&0) || bad_value {
            return Err(StartError::Environment { key: key.clone() });
        }
    }
    Ok(())
}

/// Turns a hand-off and what follows it into bytes and handles.
fn encode(
    child: ChildHandoff,
    nonce: u64,
    arguments: Arguments<'_>,
) -> Result<Encoded, StartError> {
    let image = Image::main().identity();
    let handoff = Handoff { nonce, image, role: Role::Child(Box::new(child)) };
    let mut encoded = codec::encode(&handoff, "the hand-off").map_err(StartError::Encode)?;
    arguments(&mut encoded).map_err(StartError::Encode)?;
    if encoded.handles.len() > MAX_FRAME_HANDLES {
        let reason = format!("they carry too many handles; the most is about {MAX_FRAME_HANDLES}");
        return Err(StartError::Encode(codec::EncodeError::new::<()>("the arguments", reason)));
    }
    Ok(encoded)
}

/// The end of the program's tether that a child needs, if it shall not outlive the program.
fn tether(supervisor: &Supervisor, child: &ChildHandoff) -> Result<Option<Carried>, StartError> {
    if !child.identity.tethered {
        return Ok(None);
    }
    let handle = supervisor.tether().handle().try_clone_to_owned();
    handle
        .map(|handle| Some(Carried::new(handle)))
        .map_err(|e| StartError::resources("pass on the tether", e))
}
