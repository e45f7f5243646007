//! Workers as Python starts them, and one thread that learns of their ends.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};

use procession::engine::{self, Ended, Hired};
use procession::{ExitStatus, PoolError};
use procession_sys::process::Process;
use procession_sys::ready::Set;
use procession_sys::runtime;
use pyo3::prelude::*;

use crate::worker::Seat;

/// What starts a pool's workers, and knows those that live.
pub(crate) struct Crew {
    /// Starts a process for a seat, and returns it.
    start: Py<PyAny>,
    /// Is told of a process that has ended, and returns its exit code.
    end: Py<PyAny>,
    set: Set,
    state: Mutex<State>,
    /// Why the last start failed.
    failure: Mutex<Option<PyErr>>,
}

#[derive(Default)]
struct State {
    living: HashMap<u64, Arc<Employee>>,
    next: u64,
    watches: bool,
    thread: Option<JoinHandle<()>>,
    is_over: bool,
}

/// A worker's process.
struct Employee {
    name: String,
    process: Process,
    /// Python's object of it, until its end was told. Whoever drops the employee later may hold a lock
    /// of the pool's, under which nothing of Python's may run.
    object: Mutex<Option<Py<PyAny>>>,
    exit: OnceLock<ExitStatus>,
    hook: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    crew: Arc<Crew>,
}

/// How a pool gets workers.
pub(crate) struct Hire(pub(crate) Arc<Crew>);

impl fmt::Debug for Hire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hire")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Crew {
    pub(crate) fn new(start: Py<PyAny>, end: Py<PyAny>) -> PyResult<Arc<Self>> {
        Ok(Arc::new(Self {
            start,
            end,
            set: Set::new()?,
            state: Mutex::default(),
            failure: Mutex::default(),
        }))
    }

    /// Why the last start of a worker failed.
    pub(crate) fn failure(&self) -> Option<PyErr> {
        lock(&self.failure).take()
    }

    /// Waits until all workers have ended, and the thread with them. It runs Python's code, and may
    /// not be met by the interpreter's end.
    pub(crate) fn stop(&self) {
        let thread = {
            let mut state = lock(&self.state);
            state.is_over = true;
            state.thread.take()
        };
        self.set.nudge();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id())
        {
            // It has told of a panic itself.
            let _ = thread.join();
        }
    }

    fn try_start(self: &Arc<Self>, py: Python<'_>, seat: engine::Seat) -> PyResult<Arc<Employee>> {
        let seat = Bound::new(py, Seat::of(seat))?;
        let object = self.start.bind(py).call1((seat,))?;
        let process = Process::open(object.getattr("pid")?.extract()?)?;
        let name = object.getattr("name")?.extract()?;
        let mut state = lock(&self.state);
        state.next += 1;
        let employee = Arc::new(Employee {
            name,
            process,
            object: Mutex::new(Some(object.unbind())),
            exit: OnceLock::new(),
            hook: Mutex::default(),
            crew: Arc::clone(self),
        });
        if !state.watches {
            let crew = Arc::clone(self);
            let thread = std::thread::Builder::new().name("procession-workers".to_owned());
            let thread = runtime::with_signals_blocked(|| thread.spawn(move || crew.watch()))?;
            state.watches = true;
            state.thread = Some(thread);
        }
        let token = state.next;
        state.living.insert(token, Arc::clone(&employee));
        self.set.add(employee.process.handle(), token).inspect_err(|_| {
            state.living.remove(&token);
            employee.kill();
        })?;
        Ok(employee)
    }

    /// The thread: sleeps until a worker ends.
    fn watch(&self) {
        let mut tokens = Vec::new();
        loop {
            tokens.clear();
            if self.set.wait(&mut tokens).is_err() {
                lock(&self.state).watches = false;
                return;
            }
            for token in &tokens {
                let ended = lock(&self.state).living.remove(token);
                if let Some(employee) = ended {
                    self.set.remove(employee.process.handle());
                    employee.bury();
                }
            }
            let mut state = lock(&self.state);
            if state.is_over && state.living.is_empty() {
                state.watches = false;
                return;
            }
        }
    }
}

impl engine::Hire for Hire {
    fn hire(&self, _: String, seat: engine::Seat) -> Result<Arc<dyn Hired>, PoolError> {
        let failed = |message: String| PoolError::Invalid { message };
        Python::try_attach(|py| {
            self.0.try_start(py, seat).map_err(|error| {
                let message = error.to_string();
                // What was there before is dropped without the lock.
                let before = lock(&self.0.failure).replace(error);
                drop(before);
                failed(message)
            })
        })
        .unwrap_or_else(|| Err(failed("the interpreter is ending".to_owned())))
        .map(|employee| employee as Arc<dyn Hired>)
    }
}

impl Employee {
    /// It has ended: learns how, and tells.
    fn bury(&self) {
        let object = lock(&self.object).take();
        let code = Python::try_attach(|py| {
            let code = self.crew.end.bind(py).call1((object,));
            match code.and_then(|code| code.extract::<Option<i32>>()) {
                Ok(code) => code,
                Err(error) => {
                    error.write_unraisable(py, None);
                    None
                }
            }
        });
        let exit = match code.flatten() {
            Some(code) if code < 0 => ExitStatus::from_signal(-code, false),
            Some(code) => ExitStatus::from_code(code),
            // As CPython says it of a status that something else has taken.
            None => ExitStatus::from_code(255),
        };
        let _ = self.exit.set(exit);
        let hook = lock(&self.hook).take();
        if let Some(hook) = hook {
            hook();
        }
    }
}

impl Hired for Employee {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn kill(&self) {
        // If it is dead already, that is told in a moment.
        let _ = self.process.kill();
    }

    fn on_end(&self, hook: Box<dyn FnOnce() + Send>) {
        let mut kept = lock(&self.hook);
        if self.exit.get().is_none() {
            *kept = Some(hook);
            return;
        }
        // Who learned of the end has looked for a hook, or will not find one.
        drop(kept);
        hook();
    }

    fn ended(&self) -> Ended {
        let exit = self.exit.get().copied().unwrap_or_else(|| ExitStatus::from_code(255));
        Ended { exit, error: None, failed: None }
    }

    fn wait(&self) {
        // Without the interpreter's lock; who it is that reaps it is Python's affair.
        let _ = self.process.wait(None);
    }
}
