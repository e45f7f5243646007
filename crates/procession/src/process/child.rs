//! What a parent holds of a process that it has started.

use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_sys::wire::Wire;
use procession_sys::{ExitStatus, Handle};
use serde::de::DeserializeOwned;

use super::JoinError;
use crate::codec::{self, DecodeError, EncodeError};
use crate::context::{ProcessInfo, current_process};
use crate::frame::{Frame, FrameError};
use crate::handoff::Report;
use crate::start::Started;
use crate::supervisor::{End, Record, Supervisor};

/// A process that was started, and the value that it will return.
///
/// # Across processes
///
/// Dropping a `Child` detaches it: it runs on, and when it ends, nothing of it is left. When the
/// program exits, by `main` returning or by [`std::process::exit`], daemon children are ended and
/// all others are waited for.
pub struct Child<R> {
    /// The writing end of its standard input, if [`piped`](std::process::Stdio::piped).
    pub stdin: Option<ChildStdin>,
    /// The reading end of its standard output, if piped.
    pub stdout: Option<ChildStdout>,
    /// The reading end of its standard error, if piped.
    pub stderr: Option<ChildStderr>,
    record: Arc<Record>,
    wire: Wire,
    value: PhantomData<fn() -> R>,
}

impl<R> Child<R> {
    pub(crate) fn new(started: Started) -> Self {
        let Started { record, wire, stdin, stdout, stderr } = started;
        Self { stdin, stdout, stderr, record, wire, value: PhantomData }
    }

    pub(crate) fn handle(&self) -> procession_sys::BorrowedHandle<'_> {
        self.record.handle()
    }

    /// What the supervisor knows of it.
    pub(crate) fn record(&self) -> &Arc<Record> {
        &self.record
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.record.name
    }

    /// Returns the process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.record.process.pid()
    }

    /// Tells whether it ends with this process.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.record.daemon
    }

    /// Tells whether the process has not ended yet.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.record.is_dead()
    }

    /// Waits until the process has ended, and returns how.
    ///
    /// Its value stays there for [`join`](Self::join). May be called any number of times, and from
    /// several threads.
    ///
    /// # Blocking
    ///
    /// Until the process has ended, however large its value is.
    ///
    /// # Errors
    ///
    /// [`NotOurChild`](JoinError::NotOurChild) in a forked copy of this process,
    /// [`StatusLost`](JoinError::StatusLost) when something else has taken the status.
    pub fn wait(&self) -> Result<ExitStatus, JoinError> {
        self.wait_until(None)?.ok_or_else(|| JoinError::Io(io::ErrorKind::TimedOut.into()))
    }

    /// Waits until the process has ended, at most for `timeout`; `None` if it still runs then.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<ExitStatus>, JoinError> {
        let now = Instant::now();
        // A time that no clock can show is for ever.
        self.wait_until(now.checked_add(timeout))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<ExitStatus>, JoinError> {
        let pid = self.pid();
        let end = Supervisor::wait(&self.record, deadline);
        match end.map_err(|failed| JoinError::waiting(failed, pid))? {
            None => Ok(None),
            Some(End::Status(status)) => Ok(Some(status)),
            Some(End::Lost) => Err(JoinError::StatusLost { pid }),
        }
    }

    /// Returns how the process has ended, or `None` if it runs, or its status is not to be had.
    #[must_use]
    pub fn exit_status(&self) -> Option<ExitStatus> {
        match self.record.end() {
            Some(End::Status(status)) => Some(status),
            Some(End::Lost) => None,
            None => self.wait_until(Some(Instant::now())).ok().flatten(),
        }
    }

    /// Asks the process to end (`SIGTERM`). What it has started goes on. One that has ended is no
    /// error.
    ///
    /// # Errors
    ///
    /// When this process may not signal it.
    pub fn terminate(&self) -> io::Result<()> {
        self.record.process.terminate()
    }

    /// Ends the process at once (`SIGKILL`). What it has started goes on, but for its daemons. One
    /// that has ended is no error.
    ///
    /// # Errors
    ///
    /// When this process may not signal it.
    pub fn kill(&self) -> io::Result<()> {
        self.record.process.kill()
    }

    /// Asks the process and everything below it to end (`SIGTERM`).
    ///
    /// Nothing below it is missed, also if it is just starting more.
    ///
    /// # Errors
    ///
    /// When this process may not signal one of them.
    pub fn terminate_tree(&self) -> io::Result<()> {
        if self.exit_status().is_some() {
            return Ok(());
        }
        self.record.process.terminate_tree()
    }
}

impl<R: DeserializeOwned> Child<R> {
    /// Waits until the process has ended, and returns what its target returned.
    ///
    /// # Blocking
    ///
    /// Until the process has ended, whatever ends it.
    ///
    /// # Errors
    ///
    /// A [`JoinError`] that says how it ended instead.
    pub fn join(self) -> Result<R, JoinError> {
        let status = self.wait();
        self.value(status)
    }

    /// Joins, but waits at most for `timeout`.
    ///
    /// # Errors
    ///
    /// The `Child` itself, if the process still runs then.
    pub fn join_timeout(self, timeout: Duration) -> Result<Result<R, JoinError>, Self> {
        match self.wait_timeout(timeout) {
            Ok(None) => Err(self),
            Ok(Some(status)) => Ok(self.value(Ok(status))),
            Err(error) => Ok(self.value(Err(error))),
        }
    }

    /// Brings together how the process ended and what it said last.
    fn value(&self, status: Result<ExitStatus, JoinError>) -> Result<R, JoinError> {
        let (status, lost) = match status {
            Ok(status) => (status, None),
            // If there is a value, it says enough.
            Err(lost @ JoinError::StatusLost { .. }) => (ExitStatus::from_code(0), Some(lost)),
            // A forked copy, for one, leaves the value to the parent.
            Err(error) => return Err(error),
        };
        let Some((report, frame, rest, handles)) = self.report() else {
            return Err(lost.unwrap_or_else(|| JoinError::ended(status)));
        };
        let rest = &frame[frame.len() - rest..];
        Err(match report {
            Report::Value if status.success() => {
                let mut rest = rest;
                let mut handles = handles;
                return codec::decode_from(&mut rest, &mut handles, "the result")
                    .map_err(JoinError::Decode);
            }
            // It crashed on its way out, or called `exit` in a destructor.
            Report::Value | Report::Hello { .. } => JoinError::ended(status),
            Report::Panicked { message, location, backtrace } => {
                JoinError::Panicked { message, location, backtrace }
            }
            Report::Arguments(what, type_name, reason) => {
                JoinError::Decode(DecodeError::from_parts(what, type_name, reason))
            }
            Report::Result(what, type_name, reason) => {
                let type_name = if type_name == "its type" {
                    std::any::type_name::<R>().to_owned()
                } else {
                    type_name
                };
                JoinError::Encode(EncodeError::from_parts(what, type_name, reason))
            }
            Report::Bootstrap { message } => JoinError::Bootstrap { message },
            // Said on the way to an abort that a handler of the program's own may have survived.
            // Without a status it is believed.
            Report::StackOverflow if status.signal().is_some() || lost.is_some() => {
                JoinError::StackOverflow
            }
            Report::OutOfMemory { limit } if status.signal().is_some() || lost.is_some() => {
                JoinError::OutOfMemory { limit }
            }
            Report::StackOverflow | Report::OutOfMemory { .. } => JoinError::ended(status),
        })
    }

    /// Takes what the dead child has said: the report, its frame, and how many of the frame's
    /// bytes follow the report.
    fn report(&self) -> Option<(Report, Frame, usize, Vec<Option<Handle>>)> {
        /// More than a wire holds: who sends more is no child, but something that it has left
        /// behind and that goes on.
        const MOST: usize = 10_000;
        // What is no report comes from a target that has scribbled over its descriptors: only what
        // can be read counts.
        for _ in 0..MOST {
            let mut frame = match Frame::receive(&self.wire, false) {
                Ok(frame) => frame,
                Err(FrameError::Garbage(_)) => continue,
                Err(_) => return None,
            };
            let mut handles = frame.take_handles().into_iter().map(Some).collect();
            let mut bytes: &[u8] = &frame;
            match codec::decode_from(&mut bytes, &mut handles, "the report") {
                Ok(Report::Hello { .. }) | Err(_) => {}
                Ok(report) => {
                    let rest = bytes.len();
                    return Some((report, frame, rest, handles));
                }
            }
        }
        None
    }
}

impl<R> fmt::Debug for Child<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Child")
            .field("name", &self.name())
            .field("pid", &self.pid())
            .field("daemon", &self.is_daemon())
            .field("exit_status", &self.exit_status())
            .finish_non_exhaustive()
    }
}

/// Returns the children of this process that have not ended, in the order of their starts.
///
/// Children whose [`Child`] was dropped are among them.
#[must_use]
pub fn active_children() -> Vec<ProcessInfo> {
    let Some(supervisor) = Supervisor::existing() else { return Vec::new() };
    let parent_pid = current_process().pid();
    let info = |record: &Arc<Record>| ProcessInfo {
        name: record.name.clone(),
        pid: record.process.pid(),
        parent_pid,
        daemon: record.daemon,
    };
    supervisor.children().iter().map(info).collect()
}
