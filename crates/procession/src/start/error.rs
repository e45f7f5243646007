//! Why a process could not be started.

use std::ffi::OsString;
use std::path::PathBuf;
use std::{fmt, io};

use crate::codec::EncodeError;
use crate::supervisor::NotStarting;
use crate::target::NameError;

/// Why a process could not be started. Nothing is left of the attempt.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An argument could not be turned into bytes.
    Encode(EncodeError),
    /// The target is not in the program's executable.
    Target {
        /// What is wrong with it.
        message: String,
    },
    /// The name contains a NUL.
    Name {
        /// The name.
        name: String,
    },
    /// A variable of the environment has an impossible name or value.
    Environment {
        /// The variable's name.
        key: OsString,
    },
    /// The directory that was to be the child's current one cannot be used.
    CurrentDir {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The process group cannot be joined.
    Group {
        /// The group.
        id: u32,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no room: no more processes, descriptors or memory are allowed.
    Resources {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The fork server died again and again.
    ForkServer {
        /// What was seen last.
        message: String,
    },
    /// A child of this program was to start a process before it runs its target: a constructor
    /// that runs before `main` does so in every child, and would for ever.
    BeforeMain,
    /// The program is exiting: it waits for the children that it has, and starts no more.
    Exiting,
    /// This program has more rights than the user who started it, by its file's set-user-ID bit or
    /// capabilities; its children would be anybody's to command.
    Privileged,
}

impl StartError {
    pub(crate) fn not_starting(why: NotStarting) -> Self {
        match why {
            NotStarting::Exiting => Self::Exiting,
            NotStarting::Io(error) => Self::resources("start a thread", error),
        }
    }

    /// The directory at `path` could not be opened: because of what it is, or for want of room.
    pub(crate) fn directory(path: PathBuf, source: io::Error) -> Self {
        // ENOMEM, ENFILE, EMFILE
        if matches!(source.raw_os_error(), Some(12 | 23 | 24)) {
            return Self::resources("open the child's current directory", source);
        }
        Self::CurrentDir { path, source }
    }

    pub(crate) fn resources(doing: &'static str, source: io::Error) -> Self {
        Self::Resources { doing, source }
    }
}

impl From<NameError> for StartError {
    fn from(error: NameError) -> Self {
        Self::Target { message: error.to_string() }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Encode(error) => error.fmt(f),
            Self::Target { message } | Self::ForkServer { message } => f.write_str(message),
            Self::BeforeMain => f.write_str(
                "this process is a child and has not come to its target: a constructor that runs \
                 before `main` runs in every child as well and would start processes for ever; \
                 start them from `main`",
            ),
            Self::Exiting => f.write_str(
                "the program is exiting and starts no more processes; join the threads that start \
                 some before `main` returns",
            ),
            Self::Privileged => f.write_str(
                "this program runs with more rights than the user who started it (set-user-ID, or \
                 file capabilities), and any user could pose as its parent; use \
                 `procession::fork`, or start a program without those rights",
            ),
            Self::Name { name } => {
                write!(f, "the process name {name:?} contains a NUL; leave it out")
            }
            Self::Environment { key } => write!(
                f,
                "the environment variable {key:?} is empty, or its name contains '=' or it contains a NUL"
            ),
            Self::CurrentDir { path, source } => {
                write!(f, "the current directory {} cannot be used: {source}", path.display())
            }
            Self::Group { id, source } => {
                write!(f, "the process group {id} cannot be joined: {source}")
            }
            Self::Resources { doing, source } => {
                write!(f, "a process cannot be started: the system refused to {doing}: {source}")?;
                // EAGAIN: as many processes as are allowed; EMFILE and ENFILE: as many files.
                match source.kind() {
                    io::ErrorKind::WouldBlock => {
                        f.write_str("; no more processes are allowed (see ulimit -u)")
                    }
                    _ if matches!(source.raw_os_error(), Some(23 | 24)) => {
                        f.write_str("; no more open files are allowed (see ulimit -n)")
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Encode(error) => Some(error),
            Self::CurrentDir { source, .. }
            | Self::Group { source, .. }
            | Self::Resources { source, .. } => Some(source),
            _ => None,
        }
    }
}
