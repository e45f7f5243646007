//! A worker of a pool: takes tasks and runs them, around one unpickle, call and pickle each.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError};

use procession::engine::{self, Plan, Reply, Runner, Task};
use pyo3::exceptions::{PyRuntimeError, PySystemExit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::failure::raised;
use crate::handles::{lend, take};
use crate::message::{self, Dumped};
use crate::received;

/// How a task's function and item go together: the first byte of the function's part.
pub(crate) mod mode {
    /// The item is function, arguments and keywords.
    pub(crate) const CALL: u8 = 0;
    /// The item is the one argument.
    pub(crate) const ONE: u8 = 1;
    /// The item is all arguments.
    pub(crate) const STAR: u8 = 2;
    /// Set if the function is a name, and the same for all who name it.
    pub(crate) const NAMED: u8 = 0x80;
}

/// What an outcome's bytes are.
pub(crate) mod kind {
    /// The value's message.
    pub(crate) const VALUE: u8 = 0;
    /// The exception's pickle.
    pub(crate) const RAISED: u8 = 1;
    /// A value's message behind [`AHEAD`](super::AHEAD) bytes that say nothing.
    pub(crate) const ALIGNED: u8 = 4;
    /// The number of an exception that was raised in the parent.
    pub(crate) const HERE: u8 = 5;
}

/// How many bytes there are before a message whose buffers shall lie well in what is read: with the
/// header of a record they are 64.
pub(crate) const AHEAD: usize = 59;

/// Items that are longer are copied without the interpreter's lock.
pub(crate) const LONG: usize = 64 * 1024;

thread_local! {
    /// Whether this thread is at a task just now, and not before, between or behind them.
    static IS_AT_TASK: Cell<bool> = const { Cell::new(false) };
}

/// Tells the handler of Ctrl-C whether there is a task that it interrupts.
#[pyfunction]
pub(crate) fn is_at_task() -> bool {
    IS_AT_TASK.get()
}

/// What a worker is given at its start; and later the worker itself.
#[derive(Debug, Default)]
#[pyclass(subclass, frozen, module = "procession._procession")]
pub(crate) struct Seat {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    Free(engine::Seat),
    Taken(Box<engine::Worker>),
}

impl Seat {
    pub(crate) fn of(seat: engine::Seat) -> Self {
        Self { state: Mutex::new(State::Free(seat)) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_worker(&self) -> PyResult<Box<engine::Worker>> {
        match std::mem::take(&mut *self.state()) {
            State::Taken(worker) => Ok(worker),
            State::Empty | State::Free(_) => Err(not_there()),
        }
    }
}

fn not_there() -> PyErr {
    PyRuntimeError::new_err("a worker takes its seat once")
}

#[pymethods]
impl Seat {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    fn _handles(&self) -> PyResult<Vec<i32>> {
        match &*self.state() {
            State::Free(seat) => Ok(seat.handles().map(lend).to_vec()),
            _ => Err(not_there()),
        }
    }

    fn _plan(&self) -> PyResult<(usize, usize, Option<u64>)> {
        match &*self.state() {
            State::Free(seat) => {
                let Plan { place, threads, max_tasks } = seat.plan();
                Ok((place, threads, max_tasks))
            }
            _ => Err(not_there()),
        }
    }

    /// Takes over what another object was made with.
    fn _adopt(&self, other: &Self) {
        let state = std::mem::take(&mut *other.state());
        *self.state() = state;
    }

    fn _open(&self, handles: [i32; 4], plan: (usize, usize, Option<u64>)) -> PyResult<()> {
        let [slots, inputs, outputs, wire] = handles.map(take);
        let (place, threads, max_tasks) = plan;
        let plan = Plan { place, threads, max_tasks };
        let seat = engine::Seat::from_parts([slots?, inputs?, outputs?, wire?], plan);
        *self.state() = State::Free(seat);
        Ok(())
    }

    /// Takes the seat, in the worker's process.
    fn _take(&self) -> PyResult<()> {
        // A copy that was made in the middle of a task has this from there.
        IS_AT_TASK.set(false);
        let mut state = self.state();
        let State::Free(seat) = std::mem::take(&mut *state) else { return Err(not_there()) };
        let worker = engine::Worker::new(seat).map_err(PyRuntimeError::new_err)?;
        *state = State::Taken(Box::new(worker));
        Ok(())
    }

    /// Says that the worker cannot begin.
    fn _fail(&self, py: Python<'_>, message: &str) -> PyResult<()> {
        let worker = self.take_worker()?;
        py.detach(|| worker.fail(message));
        Ok(())
    }

    /// Runs tasks until the worker shall leave.
    fn _work(
        &self,
        py: Python<'_>,
        loads: Py<PyAny>,
        dumps: Py<PyAny>,
        failed: Py<PyAny>,
        leave: Py<PyAny>,
    ) -> PyResult<()> {
        let worker = self.take_worker()?;
        let over = Mutex::new(None);
        let calls = Calls { loads, dumps, failed, leave };
        py.detach(|| {
            if worker.begin().is_ok() {
                worker.run(|| Lane { calls: &calls, known: None, buffer: Vec::new(), over: &over });
            }
        });
        let over = over.into_inner().unwrap_or_else(PoisonError::into_inner);
        over.map_or(Ok(()), Err)
    }
}

/// What is called in Python.
struct Calls {
    loads: Py<PyAny>,
    dumps: Py<PyAny>,
    /// Makes the pickle of a task's exception; with a value, of one that could not be pickled.
    failed: Py<PyAny>,
    /// Ends the process as `SystemExit` does.
    leave: Py<PyAny>,
}

/// One thread of a worker.
struct Lane<'a> {
    calls: &'a Calls,
    /// The function that was named last.
    known: Option<(Vec<u8>, Py<PyAny>)>,
    buffer: Vec<u8>,
    /// Why the worker leaves.
    over: &'a Mutex<Option<PyErr>>,
}

impl Lane<'_> {
    /// Does what can be interrupted by Ctrl-C.
    fn try_call<'py>(&mut self, py: Python<'py>, task: Task<'_>) -> PyResult<Bound<'py, PyAny>> {
        // A signal that came before the task is no affair of its.
        py.check_signals()?;
        IS_AT_TASK.set(true);
        let value = self.call(py, task);
        IS_AT_TASK.set(false);
        value
    }

    fn call<'py>(&mut self, py: Python<'py>, task: Task<'_>) -> PyResult<Bound<'py, PyAny>> {
        let Task { input, function, item, is_last, .. } = task;
        let loads = self.calls.loads.bind(py);
        let function = &input[function];
        let (&how, pickle) =
            function.split_first().ok_or_else(|| PyRuntimeError::new_err("a task of nothing"))?;
        let callable = match &self.known {
            _ if how == mode::CALL => None,
            Some((name, callable)) if name == function => Some(callable.bind(py).clone()),
            _ => {
                let callable = loads.call1((pickle,))?;
                if how & mode::NAMED != 0 {
                    self.known = Some((function.to_vec(), callable.clone().unbind()));
                }
                Some(callable)
            }
        };
        let object = message::read(loads, input, item, is_last)?;
        match callable {
            Some(callable) if how & mode::STAR != 0 => match object.cast::<PyTuple>() {
                Ok(arguments) => callable.call1(arguments.clone()),
                Err(_) => {
                    let arguments: Vec<Bound<'_, PyAny>> =
                        object.try_iter()?.collect::<PyResult<_>>()?;
                    callable.call1(PyTuple::new(py, arguments)?)
                }
            },
            Some(callable) => callable.call1((object,)),
            None => {
                let (callable, arguments, keywords): (
                    Bound<'_, PyAny>,
                    Bound<'_, PyTuple>,
                    Bound<'_, PyDict>,
                ) = object.extract()?;
                drop(object);
                callable.call(arguments, Some(&keywords))
            }
        }
    }

    fn answer(
        &mut self,
        py: Python<'_>,
        value: &Bound<'_, PyAny>,
        reply: &mut Reply<'_, '_>,
    ) -> PyResult<()> {
        self.buffer.clear();
        match message::write(self.calls.dumps.bind(py), value, &mut self.buffer)? {
            None => reply.push(kind::VALUE, &[&self.buffer], &[]),
            Some(Dumped::Parts(parts)) => {
                let ahead = [0; AHEAD];
                let mut pieces = vec![&ahead[..]];
                pieces.extend(parts.pieces(py));
                py.detach(|| reply.push(kind::ALIGNED, &pieces, &[]));
            }
            Some(dumped) => {
                let pieces = dumped.pieces(py)?;
                if pieces.iter().any(|piece| piece.len() >= LONG) {
                    py.detach(|| reply.push(kind::VALUE, &pieces, &[]));
                } else {
                    reply.push(kind::VALUE, &pieces, &[]);
                }
            }
        }
        Ok(())
    }

    /// Makes an exception the outcome.
    fn fail(
        &self,
        py: Python<'_>,
        error: PyErr,
        value: Option<&Bound<'_, PyAny>>,
        reply: &mut Reply<'_, '_>,
    ) {
        if error.is_instance_of::<PySystemExit>(py) && value.is_none() {
            // The task ends its process, which hurts it as any other death does.
            let left = self.calls.leave.bind(py).call1((error,));
            if let Err(error) = left {
                error.print(py);
            }
            return reply.leave();
        }
        let pickled = self.calls.failed.bind(py).call1((error, value));
        match pickled.and_then(|pickled| pickled.extract::<Vec<u8>>()) {
            Ok(pickled) => reply.push(kind::RAISED, &[&pickled], &[]),
            Err(error) => error.print(py), // and the item has no outcome, which is told as well
        }
    }
}

impl Runner for Lane<'_> {
    fn make_room(&mut self, input: &mut Vec<u8>, length: usize) {
        if length >= LONG && input.capacity() < length {
            *input = received::room(length);
            input.clear();
        }
    }

    fn around(&mut self, run: &mut dyn FnMut(&mut Self)) {
        // The interpreter's lock is taken once for all items of a piece.
        Python::attach(|_| run(self));
    }

    fn run(&mut self, task: Task<'_>, reply: &mut Reply<'_, '_>) {
        Python::attach(|py| match self.try_call(py, task) {
            Ok(value) => {
                if let Err(error) = self.answer(py, &value, reply) {
                    self.fail(py, error, Some(&value), reply);
                }
            }
            Err(error) => self.fail(py, error, None, reply),
        });
    }

    fn go_on(&mut self) -> bool {
        // Ctrl-C raises nothing here: its handler has seen that there is no task.
        let raised = raised();
        let goes_on = raised.is_none();
        if let Some(error) = raised {
            *self.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
        goes_on
    }
}
