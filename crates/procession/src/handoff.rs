//! What passes between a program and a process that it starts, before and after the target runs.
//!
//! Down, once: a [`Handoff`], followed by the encoded arguments. Up: perhaps a hello, then one
//! [`Report`], followed by the encoded result if there is one.

use procession_sys::image::Identity as ImageIdentity;
use procession_sys::wire::Wire;
use serde::{Deserialize, Serialize};

use crate::codec::{self, Carried, EncodeError, Encoded};
use crate::context::Identity;
use crate::frame;
use crate::target::TargetName;

/// The first message that a new process reads.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Handoff {
    /// The nonce of the marker, or 0 behind a fork server: proof that marker and message belong
    /// together.
    pub(crate) nonce: u64,
    /// Which build of the program wrote this; anything behind it is for that build alone.
    pub(crate) image: ImageIdentity,
    pub(crate) role: Role,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Role {
    /// Keep a clean copy of the program, and fork it on demand.
    Server { tether: Carried },
    /// Run a target.
    Child(Box<ChildHandoff>),
}

/// Everything a child needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChildHandoff {
    pub(crate) target: TargetName,
    pub(crate) identity: Identity,
    pub(crate) tether: Option<Carried>,
    pub(crate) streams: [Option<Carried>; 3],
    pub(crate) directory: Option<Carried>,
    /// The process group to be in; 0 for a new one.
    pub(crate) group: Option<u32>,
    pub(crate) memory_limit: Option<u64>,
}

/// What a child says to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// It exists, and has not run anything yet. Said behind a fork server, which may die between
    /// making a child and telling of it.
    Hello { pid: u32 },
    /// The target returned; its value follows.
    Value,
    /// The target panicked.
    Panicked { message: String, location: String, backtrace: String },
    /// The arguments could not be decoded: what, type, reason.
    Arguments(String, String, String),
    /// The result could not be encoded: what, type, reason.
    Result(String, String, String),
    /// A setting could not be made; the target has not run.
    Bootstrap { message: String },
    /// The main thread's stack was used up.
    StackOverflow,
    /// An allocation failed.
    OutOfMemory { limit: Option<u64> },
}

impl Report {
    pub(crate) fn encode(&self) -> Result<Encoded, EncodeError> {
        codec::encode(self, "the report")
    }

    /// Sends it, followed by `value`. A parent that has dropped its `Child` is not there to read
    /// it: no error.
    pub(crate) fn send(&self, wire: &Wire, value: &Encoded) -> std::io::Result<()> {
        let report = self.encode().map_err(std::io::Error::other)?;
        match frame::send(wire, [&report.bytes, &value.bytes], &value.handles) {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }
}

/// Variables and their values, as bytes.
pub(crate) type EnvironmentBytes = Vec<(Vec<u8>, Vec<u8>)>;

/// What a fork server calls itself, and each of its copies until that has another name.
///
/// Its program finds copies by it, among children that may have any name.
pub(crate) fn server_title(nonce: u64) -> String {
    // The system shows 15 bytes.
    format!("fork server {:03x}", nonce & 0xfff)
}

/// What a fork server is asked, together with the child's end of its wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) wire: Carried,
    /// The child's whole environment, where it is not the server's.
    pub(crate) environment: Option<EnvironmentBytes>,
}

/// What a fork server answers to a request, together with the child's death handle.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Started {
        pid: u32,
        handle: Carried,
    },
    /// It could not fork: the system's error number.
    Failed {
        code: i32,
    },
    /// A library of the program starts threads before `main`: whatever locks those hold would stay
    /// locked in a copy. It has ended.
    Unusable,
}

impl Reply {
    pub(crate) fn send(&self, wire: &Wire) -> std::io::Result<()> {
        let reply = codec::encode(self, "the reply").map_err(std::io::Error::other)?;
        frame::send(wire, [&reply.bytes, &[]], &reply.handles)
    }
}
