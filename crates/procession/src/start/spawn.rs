//! Spawn: the executable is started anew.

use std::hash::{BuildHasher, RandomState};
use std::process::Command;

use procession_sys::settings;
use procession_sys::start::{StreamsSet, command, execute, set_group};
use procession_sys::wire::Wire;

use super::{Arguments, EnvironmentChange, Group, Settings, StartError, Started, encode, tether};
use crate::codec::Carried;
use crate::frame;
use crate::handoff::ChildHandoff;
use crate::supervisor::Supervisor;

/// Starts a child by executing the program again.
pub(super) fn start(
    supervisor: &'static Supervisor,
    mut child: ChildHandoff,
    mut settings: Settings,
    arguments: Arguments<'_>,
) -> Result<Started, StartError> {
    let resources = StartError::resources;
    child.tether = tether(supervisor, &child)?;
    let mut command = command();
    change_environment(&mut command, &settings.environment);
    match settings.group {
        Group::Inherit => {}
        Group::New => set_group(&mut command, 0),
        Group::Join(id) => set_group(&mut command, id),
    }
    let set = StreamsSet {
        stdin: settings.stdin.is_some(),
        stdout: settings.stdout.is_some(),
        stderr: settings.stderr.is_some(),
    };
    // The first stream that the user has not set carries the wire; the child puts it back.
    if let Some(place) = [set.stdin, set.stdout, set.stderr].iter().position(|set| !set) {
        let stream = match settings::standard_streams()[place] {
            Some(stream) => stream.try_clone_to_owned(),
            None => settings::null(),
        };
        child.streams[place] =
            Some(Carried::new(stream.map_err(|e| resources("pass on a stream", e))?));
    }
    settings.stdin.take().map(|stdio| command.stdin(stdio));
    settings.stdout.take().map(|stdio| command.stdout(stdio));
    settings.stderr.take().map(|stdio| command.stderr(stdio));

    let nonce = new_nonce();
    let (name, daemon) = (child.identity.name.clone(), child.identity.daemon);
    let encoded = encode(child, nonce, arguments)?;
    let (ours, theirs) = Wire::pair().map_err(|e| resources("make a wire", e))?;
    frame::send(&ours, [&encoded.bytes, &[]], &encoded.handles)
        .map_err(|e| resources("hand the arguments over", e))?;
    drop(encoded);
    let starting = supervisor.starting().map_err(StartError::not_starting)?;
    let (process, mut std_child) = execute(command, theirs, nonce, set).map_err(|source| {
        // The only one of the command's settings that can fail by itself.
        match settings.group {
            Group::Join(id) if source.kind() == std::io::ErrorKind::PermissionDenied => {
                StartError::Group { id, source }
            }
            _ => resources("start the program anew", source),
        }
    })?;
    let record =
        starting.started(process, name, daemon).map_err(|e| resources("watch the child", e))?;
    Ok(Started {
        record,
        wire: ours,
        stdin: std_child.stdin.take(),
        stdout: std_child.stdout.take(),
        stderr: std_child.stderr.take(),
    })
}

/// A number that an accidental marker will not have.
pub(super) fn new_nonce() -> u64 {
    RandomState::new().hash_one(std::time::Instant::now())
}

fn change_environment(command: &mut Command, changes: &[EnvironmentChange]) {
    for change in changes {
        match change {
            EnvironmentChange::Set(key, value) => command.env(key, value),
            EnvironmentChange::Remove(key) => command.env_remove(key),
            EnvironmentChange::Clear => command.env_clear(),
        };
    }
}
