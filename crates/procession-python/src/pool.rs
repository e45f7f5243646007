//! `Pool`: tasks and their outcomes. Workers are started by Python (see `crew`).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use procession::engine::{
    BytesPool, CrewSettings, Interrupted, Limits, Many, Order, Outcomes, Run,
};
use procession::{PoolError, PoolStats, TaskError};
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyStopIteration, PyValueError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple, PyType};

use crate::crew::{self, Crew};
use crate::failure::{of_class, raised};
use crate::message::{self, Dumped};
use crate::timeout::deadline;
use crate::worker::{AHEAD, LONG, kind, mode};

/// How many bytes of long items are under way at a time, and how many of them at least.
const UNDER_WAY: usize = 32 << 20;
const FEWEST: usize = 8;

/// Processes that run tasks.
#[pyclass(frozen, module = "procession._procession")]
pub(crate) struct Pool {
    state: Mutex<State>,
    codec: Arc<Codec>,
    /// The function that was named last, and its name.
    known: Mutex<Option<(Py<PyAny>, Vec<u8>)>>,
}

/// A pool that has ended has no handles any more, whoever still has the object.
enum State {
    There(BytesPool, Arc<Crew>),
    /// How it was in the end.
    Gone(PoolStats),
}

/// What reads and writes pickles.
struct Codec {
    loads: Py<PyAny>,
    dumps: Py<PyAny>,
    /// Returns the pickle of a function, and whether that is but its name.
    name: Py<PyAny>,
}

/// The outcomes of tasks that belong together.
#[pyclass(frozen, module = "procession._procession")]
pub(crate) struct Results {
    outcomes: Outcomes,
    codec: Arc<Codec>,
    function: Vec<u8>,
    limits: Limits,
    /// What was taken from `outcomes` and not passed on.
    taken: Mutex<VecDeque<Run>>,
    /// Why some tasks could not be submitted.
    here: Mutex<Vec<Py<PyAny>>>,
    /// What `take` has returned, for a caller that was interrupted as it did.
    settled: Mutex<Option<Settled>>,
}

/// What became of each task, and the first exception among that.
type Settled = (Py<PyList>, Option<Py<PyAny>>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a wait ended early: the handler of a signal has raised.
fn interrupted(Interrupted: Interrupted) -> PyErr {
    raised().unwrap_or_else(|| PyRuntimeError::new_err("the wait was interrupted"))
}

/// What the handler of a signal has raised during a wait that does not end early.
fn raised_meanwhile() -> PyResult<()> {
    raised().map_or(Ok(()), Err)
}

fn pool_exception(error: PoolError) -> PyErr {
    match error {
        PoolError::Invalid { message } => PyValueError::new_err(message),
        PoolError::StillOpen => PyValueError::new_err("Pool is still running"),
        error => PyOSError::new_err(error.to_string()),
    }
}

/// The exception that says what became of a task instead of a value.
fn task_exception<'py>(py: Python<'py>, error: &TaskError) -> Bound<'py, PyAny> {
    static DIED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TIMED_OUT: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static CANCELLED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static TERMINATED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static BROKEN: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let errors = "procession.errors";
    let error = match error {
        TaskError::WorkerDied { pid, exit } => {
            let code = exit.code().or(exit.signal().map(|signal| -signal));
            of_class(py, &DIED, errors, "WorkerDied", (*pid, code))
        }
        TaskError::TimedOut { after } => {
            of_class(py, &TIMED_OUT, errors, "TaskTimedOut", (after.as_secs_f64(),))
        }
        TaskError::Cancelled => of_class(py, &CANCELLED, errors, "TaskCancelled", ()),
        TaskError::Terminated | TaskError::Closed => {
            of_class(py, &TERMINATED, errors, "PoolTerminated", ())
        }
        TaskError::NoWorkers { message } => of_class(py, &BROKEN, errors, "PoolBroken", (message,)),
        error => PyRuntimeError::new_err(error.to_string()),
    };
    error.into_value(py).into_bound(py).into_any()
}

#[pymethods]
impl Pool {
    #[new]
    #[pyo3(signature = (workers, threads, max_tasks, start, end, codec))]
    fn new(
        py: Python<'_>,
        workers: usize,
        threads: usize,
        max_tasks: Option<u64>,
        start: Py<PyAny>,
        end: Py<PyAny>,
        codec: (Py<PyAny>, Py<PyAny>, Py<PyAny>),
    ) -> PyResult<Self> {
        let (loads, dumps, name) = codec;
        let crew = Crew::new(start, end)?;
        let settings = CrewSettings { workers, threads, name: "PoolWorker".to_owned(), max_tasks };
        let hire = Arc::clone(&crew);
        let pool = py.detach(|| BytesPool::new(settings, Arc::new(crew::Hire(hire))));
        let pool = pool.map_err(|error| {
            // Those that did start are dead, and so is to be the thread that learned of it.
            py.detach(|| crew.stop());
            crew.failure().unwrap_or_else(|| pool_exception(error))
        })?;
        let codec = Arc::new(Codec { loads, dumps, name });
        Ok(Self { state: Mutex::new(State::There(pool, crew)), codec, known: Mutex::new(None) })
    }

    /// Where the outcomes of tasks come: of some calls of `function`, or of one.
    #[pyo3(signature = (function, star, order, timeout, retries))]
    fn results(
        &self,
        function: &Bound<'_, PyAny>,
        star: bool,
        order: &str,
        timeout: Option<f64>,
        retries: u32,
    ) -> PyResult<Results> {
        let how = if star { mode::STAR } else { mode::ONE };
        match self.name(function, how) {
            Ok(name) => self.new_results(name, order, timeout, retries),
            // A function that cannot be pickled fails each of its tasks.
            Err(error) => {
                let error = error.into_value(function.py()).into_any();
                let results = self.new_results(Vec::new(), order, timeout, retries)?;
                lock(&results.here).push(error);
                Ok(results)
            }
        }
    }

    /// Submits one call.
    #[pyo3(signature = (function, arguments, keywords, timeout, retries))]
    fn apply(
        &self,
        function: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyAny>,
        keywords: &Bound<'_, PyDict>,
        timeout: Option<f64>,
        retries: u32,
    ) -> PyResult<Results> {
        let py = function.py();
        let arguments = match arguments.cast::<PyTuple>() {
            Ok(arguments) => arguments.clone(),
            Err(_) => PyTuple::new(py, arguments.try_iter()?.collect::<PyResult<Vec<_>>>()?)?,
        };
        // What fails to pickle is the task's outcome.
        let name =
            if keywords.is_empty() { self.name(function, mode::STAR) } else { Ok(Vec::new()) };
        let name = name.ok().filter(|name| name.first().is_some_and(|how| how & mode::NAMED != 0));
        let item = match &name {
            Some(_) => arguments.into_any(),
            None => (function, arguments, keywords).into_pyobject(py)?.into_any(),
        };
        let function = name.unwrap_or_else(|| aligned(vec![mode::CALL]));
        let results = self.new_results(function, "all", timeout, retries)?;
        let mut many = results.many(Some(1), 1);
        results.push(&mut many, &item)?;
        many.finish();
        results.outcomes.complete();
        Ok(results)
    }

    fn is_open(&self) -> bool {
        self.there().is_some_and(|(pool, _)| pool.is_open())
    }

    fn width(&self) -> usize {
        // In a forked copy the engine's locks may be held by a thread that is not there.
        self.there().filter(|(pool, _)| pool.is_ours()).map_or(1, |(pool, _)| pool.width())
    }

    fn close(&self) {
        if let Some((pool, _)) = self.there() {
            pool.close();
        }
    }

    fn terminate(&self, py: Python<'_>) -> PyResult<()> {
        let Some((pool, crew)) = self.there() else { return Ok(()) };
        py.detach(move || {
            pool.terminate();
            if pool.is_ours() {
                crew.stop();
                self.forget(&pool);
            }
        });
        raised_meanwhile()
    }

    fn join(&self, py: Python<'_>) -> PyResult<()> {
        let Some((pool, crew)) = self.there() else { return Ok(()) };
        let joined = py.detach(move || {
            let joined = pool.join();
            if matches!(joined, Ok(Ok(()))) {
                crew.stop();
                self.forget(&pool);
            }
            joined
        });
        joined.map_err(interrupted)?.map_err(pool_exception)?;
        raised_meanwhile()
    }

    fn resize(&self, py: Python<'_>, workers: usize) -> PyResult<()> {
        let there = self.there().filter(|(pool, _)| pool.is_ours());
        let (pool, _) = there.ok_or_else(not_running)?;
        py.detach(|| pool.resize(workers)).map_err(pool_exception)
    }

    /// How the pool is: workers, and how many tasks are in which state.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        // Whoever has the interpreter's lock may wait for the one of `state`: nothing else is done
        // under that.
        let stats = match self.there() {
            Some((pool, _)) => py.detach(|| pool.stats()),
            None => self.last_stats(),
        };
        let workers = stats
            .workers
            .iter()
            .map(|worker| (worker.pid, worker.name.clone(), worker.tasks_done, worker.busy));
        let said = PyDict::new(py);
        said.set_item("workers", PyList::new(py, workers.collect::<Vec<_>>())?)?;
        said.set_item("queued", stats.queued)?;
        said.set_item("running", stats.running)?;
        said.set_item("done", stats.done)?;
        said.set_item("failed", stats.failed)?;
        said.set_item("restarts", stats.restarts)?;
        Ok(said)
    }
}

/// A function's part of a piece, as long as it takes for what follows to lie well.
fn aligned(mut name: Vec<u8>) -> Vec<u8> {
    // Its length goes before it, and that of the item behind: 8 bytes.
    let length = (name.len() + 8).next_multiple_of(64) - 8;
    name.resize(length, 0); // nobody reads behind the end of a pickle
    name
}

fn not_running() -> PyErr {
    PyValueError::new_err("Pool not running")
}

impl Pool {
    fn there(&self) -> Option<(BytesPool, Arc<Crew>)> {
        match &*lock(&self.state) {
            State::There(pool, crew) => Some((pool.clone(), Arc::clone(crew))),
            State::Gone(_) => None,
        }
    }

    fn last_stats(&self) -> PoolStats {
        match &*lock(&self.state) {
            State::There(..) => PoolStats::default(),
            State::Gone(stats) => stats.clone(),
        }
    }

    fn forget(&self, pool: &BytesPool) {
        let stats = pool.stats();
        let before = std::mem::replace(&mut *lock(&self.state), State::Gone(stats));
        drop(before);
    }

    /// A function as pieces of work name it.
    fn name(&self, function: &Bound<'_, PyAny>, how: u8) -> PyResult<Vec<u8>> {
        if let Some((known, name)) = &*lock(&self.known)
            && known.is(function)
        {
            let mut name = name.clone();
            name[0] = how | mode::NAMED;
            return Ok(name);
        }
        let py = function.py();
        let named = self.codec.name.bind(py).call1((function,))?;
        let (pickle, is_name): (Bound<'_, PyBytes>, bool) = named.extract()?;
        let mut name = Vec::with_capacity(120);
        name.push(if is_name { how | mode::NAMED } else { how });
        name.extend_from_slice(pickle.as_bytes());
        let name = aligned(name);
        if is_name {
            // What was known before is dropped without the lock.
            let known = Some((function.clone().unbind(), name.clone()));
            let before = std::mem::replace(&mut *lock(&self.known), known);
            drop(before);
        }
        Ok(name)
    }

    fn new_results(
        &self,
        function: Vec<u8>,
        order: &str,
        timeout: Option<f64>,
        retries: u32,
    ) -> PyResult<Results> {
        let there = self.there().filter(|(pool, _)| pool.is_open());
        let (pool, _) = there.ok_or_else(not_running)?;
        let order = match order {
            "tasks" => Order::OfTasks,
            "ends" => Order::OfEnds,
            _ => Order::All,
        };
        let timeout = timeout.map(|seconds| {
            Duration::try_from_secs_f64(seconds)
                .ok()
                .filter(|timeout| !timeout.is_zero())
                .ok_or_else(|| {
                    PyValueError::new_err(format!(
                        "a time limit of {seconds} s would end every task: leave it out, or allow \
                         some time"
                    ))
                })
        });
        let limits = Limits { timeout: timeout.transpose()?, retries };
        Ok(Results {
            outcomes: pool.outcomes(order),
            codec: Arc::clone(&self.codec),
            function,
            limits,
            taken: Mutex::default(),
            here: Mutex::default(),
            settled: Mutex::default(),
        })
    }
}

impl Results {
    fn many(&self, chunk: Option<u32>, known: usize) -> Many<'_> {
        self.outcomes.submit(&self.function, self.limits, chunk, known)
    }

    /// Submits one item. One that cannot be pickled has its exception for an outcome. Returns the
    /// length of a long one.
    fn push(&self, many: &mut Many<'_>, item: &Bound<'_, PyAny>) -> PyResult<usize> {
        let py = item.py();
        if self.function.is_empty() {
            many.settle(kind::HERE, &0_u64.to_le_bytes());
            return Ok(0);
        }
        let dumps = self.codec.dumps.bind(py);
        let mut long = None;
        let written = many.push_bytes::<PyErr>(|out| match message::write(dumps, item, out)? {
            None => Ok(true),
            Some(dumped @ Dumped::Parts(_)) => {
                long = Some(dumped);
                Ok(false)
            }
            Some(dumped) => {
                let pieces = dumped.pieces(py)?;
                let is_short = pieces.iter().map(|piece| piece.len()).sum::<usize>() < LONG;
                if is_short {
                    pieces.iter().for_each(|piece| out.extend_from_slice(piece));
                } else {
                    long = Some(dumped);
                }
                Ok(is_short)
            }
        });
        match written {
            Ok(()) => {}
            Err(error) => {
                let number = {
                    let mut here = lock(&self.here);
                    here.push(error.into_value(py).into_any());
                    here.len() - 1
                };
                many.settle(kind::HERE, &(number as u64).to_le_bytes());
            }
        }
        let Some(long) = long else { return Ok(0) };
        let pieces = long.pieces(py)?;
        py.detach(|| many.push_long(&pieces));
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    /// Turns what has become of a task into its value, or into the exception that it has raised.
    fn read<'py>(
        &self,
        py: Python<'py>,
        ran: Result<procession::engine::Ran<'_>, &TaskError>,
    ) -> Result<Bound<'py, PyAny>, Bound<'py, PyAny>> {
        let ran = match ran {
            Ok(ran) => ran,
            Err(error) => return Err(task_exception(py, error)),
        };
        let raised = |error: PyErr| error.into_value(py).into_bound(py).into_any();
        let loads = self.codec.loads.bind(py);
        let mut range = ran.range;
        if ran.kind == kind::HERE {
            let number = ran.records[range].first_chunk().map_or(0, |n| u64::from_le_bytes(*n));
            let error = lock(&self.here).get(number as usize).map(|error| error.clone_ref(py));
            return Err(error.map_or_else(
                || raised(PyRuntimeError::new_err("a worker has written what is no outcome")),
                |error| error.into_bound(py),
            ));
        }
        if ran.kind == kind::ALIGNED {
            range.start = range.end.min(range.start + AHEAD);
        }
        let may_take = ran.is_last;
        let read = message::read(loads, ran.records, range, may_take).map_err(raised)?;
        if ran.kind == kind::RAISED { Err(read) } else { Ok(read) }
    }
}

#[pymethods]
impl Results {
    /// An exception's traceback may lead back to these results.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Whoever has the lock now holds the results, and is found otherwise.
        if let Ok(here) = self.here.try_lock() {
            here.iter().try_for_each(|error| visit.call(error))?;
        }
        match self.settled.try_lock() {
            Ok(settled) => settled.iter().try_for_each(|(values, first)| {
                visit.call(values)?;
                first.iter().try_for_each(|first| visit.call(first))
            }),
            Err(_) => Ok(()),
        }
    }

    fn __clear__(&self) {
        let here = std::mem::take(&mut *lock(&self.here));
        let settled = std::mem::take(&mut *lock(&self.settled));
        drop((here, settled));
    }

    /// Submits the items of a list, `chunk` to a piece, or as many as seems right. If they are long
    /// and the caller is `patient`, it does not get far ahead of the workers: so memory is used again.
    #[pyo3(signature = (items, chunk, patient))]
    fn submit(&self, items: &Bound<'_, PyList>, chunk: Option<u32>, patient: bool) -> PyResult<()> {
        let py = items.py();
        let mut many = self.many(chunk, items.len());
        for (number, item) in items.iter().enumerate() {
            if number % 1024 == 1023 {
                py.check_signals()?;
            }
            let length = self.push(&mut many, &item)?;
            if length > 0 && patient {
                let most = (UNDER_WAY / length).max(FEWEST);
                py.detach(|| self.outcomes.wait_for_room(most)).map_err(interrupted)?;
            }
        }
        many.finish();
        Ok(())
    }

    /// Says that no more will be submitted.
    fn complete(&self) {
        self.outcomes.complete();
    }

    fn ready(&self) -> bool {
        self.outcomes.are_over()
    }

    /// Waits until all are there; false if they are not in time.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let deadline = deadline(timeout)?;
        py.detach(|| self.outcomes.wait(deadline)).map_err(interrupted)
    }

    /// When all are there: what came of each task, and the first exception, if there is one among
    /// them. Whoever calls again gets the same.
    fn take<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, PyList>, Option<Bound<'py, PyAny>>)> {
        if let Some((values, first)) = &*lock(&self.settled) {
            return Ok((
                values.bind(py).clone(),
                first.as_ref().map(|first| first.bind(py).clone()),
            ));
        }
        let mut values = Vec::new();
        let mut first = None;
        for mut run in self.outcomes.take() {
            while let Some(value) = run.next(|ran| self.read(py, ran)) {
                values.push(value.unwrap_or_else(|error| {
                    first.get_or_insert_with(|| error.clone());
                    error
                }));
            }
        }
        let values = PyList::new(py, values)?;
        let settled = (values.clone().unbind(), first.clone().map(Bound::unbind));
        let before = lock(&self.settled).replace(settled);
        drop(before);
        Ok((values, first))
    }

    /// Takes the next one away: returns its value, or raises its exception. `None` for the value if
    /// there is none in time: then the second part is false.
    #[pyo3(signature = (timeout=None))]
    fn next<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(Option<Bound<'py, PyAny>>, bool)> {
        let deadline = deadline(timeout)?;
        loop {
            // Taken out while it is read: reading runs what others have written.
            let run = lock(&self.taken).pop_front();
            if let Some(mut run) = run {
                let value = run.next(|ran| self.read(py, ran));
                let Some(value) = value else { continue };
                lock(&self.taken).push_front(run);
                return match value {
                    Ok(value) => Ok((Some(value), true)),
                    Err(error) => Err(PyErr::from_value(error)),
                };
            }
            let runs = self.outcomes.take();
            if !runs.is_empty() {
                lock(&self.taken).extend(runs);
                continue;
            }
            if self.outcomes.are_over() && !self.outcomes.has_next() {
                return Err(PyStopIteration::new_err(()));
            }
            if !py.detach(|| self.outcomes.wait_next(deadline)).map_err(interrupted)? {
                return Ok((None, false));
            }
        }
    }

    /// Has `function` called when all are there, on a thread of the pool's.
    fn on_end(&self, function: Py<PyAny>) {
        self.outcomes.on_end(Box::new(move || {
            // Without an interpreter there is nobody to be told any more.
            let _ = Python::try_attach(|py| {
                if let Err(error) = function.call0(py) {
                    error.write_unraisable(py, Some(function.bind(py)));
                }
                drop(function);
            });
        }));
    }

    /// Gives up what is not done.
    fn cancel(&self, py: Python<'_>) {
        py.detach(|| self.outcomes.cancel());
    }
}
