//! Workers that are processes of this program, and run its functions.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use procession_sys::{ExitStatus, Handle};
use serde::{Deserialize, Serialize};

use super::local::{Ended, Hire, Hired, Passed, Reply, Runner, Seat, Task, Worker};
use super::record::{Kind, Panicked};
use super::{PoolError, TaskError};
use crate::bootstrap;
use crate::codec::Encoded;
use crate::codec::arguments_sealed::Decoding;
use crate::context::StartMethod;
use crate::process::{Child, JoinError, Process};
use crate::start::StartError;
use crate::supervisor::{Record, Supervisor};
use crate::target::{CallError, Entry, TargetName};

/// How many bytes of its buffers a lane keeps for the next task.
const KEPT: usize = 16 << 20;

/// Starts this program anew for each worker.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) memory_limit: Option<u64>,
    pub(super) start_method: Option<StartMethod>,
    pub(super) initializer: Option<Initializer>,
}

/// What each worker runs before its first task.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Initializer {
    pub(super) target: TargetName,
    pub(super) arguments: Vec<u8>,
    pub(super) handles: Vec<Passed>,
}

/// What a worker is told at its start.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    seat: Seat,
    initializer: Option<Initializer>,
}

impl Hire for Own {
    fn hire(&self, name: String, seat: Seat) -> Result<Arc<dyn Hired>, PoolError> {
        let initializer = self.initializer.as_ref().map(Initializer::try_clone).transpose();
        let initializer = initializer
            .map_err(|error| PoolError::Start(StartError::resources("pass on a handle", error)))?;
        let orders = Orders { seat, initializer };
        let mut process = Process::new(work, (orders,)).name(name).daemon(true);
        if let Some(limit) = self.memory_limit {
            process = process.memory_limit(limit);
        }
        if let Some(method) = self.start_method {
            process = process.start_method(method);
        }
        let child = process.start().map_err(PoolError::Start)?;
        let record = Arc::clone(child.record());
        Ok(Arc::new(OwnChild { record, child: Mutex::new(Some(child)) }))
    }
}

/// A worker's process.
struct OwnChild {
    record: Arc<Record>,
    child: Mutex<Option<Child<()>>>,
}

impl Hired for OwnChild {
    fn pid(&self) -> u32 {
        self.record.process.pid()
    }

    fn name(&self) -> &str {
        &self.record.name
    }

    fn kill(&self) {
        // If it is dead already, that is told in a moment.
        let _ = self.record.process.kill();
    }

    fn on_end(&self, hook: Box<dyn FnOnce() + Send>) {
        self.record.on_end(hook);
    }

    fn ended(&self) -> Ended {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let exit = child.as_ref().and_then(Child::exit_status);
        let exit = exit.unwrap_or_else(|| ExitStatus::from_code(0));
        let pid = self.pid();
        let (error, failed) = match child.map(Child::join) {
            Some(Err(JoinError::OutOfMemory { limit })) => {
                (Some(TaskError::MemoryLimit { pid, limit }), None)
            }
            // The program aborts on panics.
            Some(Err(JoinError::Panicked { message, location, backtrace })) => {
                (Some(TaskError::Panicked { message, location, backtrace, worker: pid }), None)
            }
            Some(Err(error @ JoinError::Bootstrap { .. })) => (None, Some(error.to_string())),
            Some(Ok(()) | Err(_)) | None => (None, None),
        };
        Ended { exit, error, failed }
    }

    fn wait(&self) {
        // It can only fail in a forked copy, whose child this is not.
        let _ = Supervisor::wait(&self.record, None);
    }
}

impl Initializer {
    fn try_clone(&self) -> io::Result<Self> {
        let handles = self.handles.iter().map(|handle| handle.0.try_clone().map(Passed));
        Ok(Self {
            target: self.target,
            arguments: self.arguments.clone(),
            handles: handles.collect::<io::Result<_>>()?,
        })
    }

    fn run(self) -> Result<(), String> {
        let entry = self.target.find().map_err(|error| error.to_string())?;
        let handles = self.handles.into_iter().map(|handle| Some(handle.0)).collect();
        let mut decoding = Decoding { bytes: &self.arguments, handles };
        match bootstrap::catch(|| entry.call(&mut decoding)) {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(CallError::Arguments(error))) => {
                Err(format!("the initializer could not be called: {error}"))
            }
            Ok(Err(CallError::Result(error))) => Err(format!("the initializer: {error}")),
            Err(panic) => {
                Err(format!("the initializer panicked at {}: {}", panic.location, panic.message))
            }
        }
    }
}

/// The target of a worker's process.
fn work(orders: Orders) {
    let Orders { seat, initializer } = orders;
    // If the seat is not one, nobody can be told; the parent sees a worker that was never ready.
    let Ok(worker) = Worker::new(seat) else { return };
    let initialized = initializer.map_or(Ok(()), Initializer::run);
    match initialized {
        Ok(()) => {
            if worker.begin().is_ok() {
                worker.run(Caller::new);
            }
        }
        Err(message) => worker.fail(&message),
    }
}

/// Calls functions of this program.
struct Caller {
    /// The function of the last piece.
    known: Option<(Vec<u8>, &'static Entry)>,
    /// The last value's bytes, whose memory the next one's use.
    spare: Vec<u8>,
}

impl Caller {
    fn new() -> Self {
        bootstrap::remember_panics();
        Self { known: None, spare: Vec::new() }
    }

    /// Finds the function that a piece names; most of the time it is that of the last one.
    fn entry(&mut self, function: &[u8]) -> Result<&'static Entry, String> {
        if let Some((known, entry)) = &self.known
            && known == function
        {
            return Ok(entry);
        }
        let name = TargetName::from_bytes(function).ok_or("its name is cut off")?;
        let entry = name.find().map_err(|error| error.to_string())?;
        self.known = Some((function.to_vec(), entry));
        Ok(entry)
    }
}

impl Runner for Caller {
    fn run(&mut self, task: Task<'_>, reply: &mut Reply<'_, '_>) {
        let Task { input, function, item, handles, .. } = task;
        let entry = match self.entry(&input[function]) {
            Ok(entry) => entry,
            Err(reason) => {
                return reply.refuse(Kind::Arguments, "the function", "a task's", reason);
            }
        };
        let handles = handles.into_iter().map(Some).collect();
        let mut decoding = Decoding { bytes: &input[item], handles };
        let mut spare = std::mem::take(&mut self.spare);
        spare.clear();
        let mut value = Encoded { bytes: spare, handles: Vec::<Handle>::new() };
        match bootstrap::catch(|| entry.call_into(&mut decoding, &mut value)) {
            Ok(Ok(())) => {
                reply.push(Kind::Value as u8, &[&value.bytes], &value.handles);
                value.bytes.shrink_to(KEPT);
                self.spare = value.bytes;
            }
            Ok(Err(CallError::Arguments(error))) => {
                let (what, type_name, reason) = error.into_parts();
                reply.refuse(Kind::Arguments, &what, &type_name, reason);
            }
            Ok(Err(CallError::Result(error))) => {
                let (what, type_name, reason) = error.into_parts();
                reply.refuse(Kind::Result, &what, &type_name, reason);
            }
            Err(panic) => {
                let bootstrap::Caught { message, location, backtrace } = panic;
                reply.push_encoded(Kind::Panicked, &Panicked { message, location, backtrace });
            }
        }
    }
}
