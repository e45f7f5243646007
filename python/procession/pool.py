"""Pools of worker processes that never hang.

Tasks and outcomes go through shared memory, which says at every instant which worker holds which
task. So a worker that dies hurts the one task that it was at, which is told with
:class:`~procession.WorkerDied`; all others run elsewhere.
"""

import functools
import itertools
import os
import signal
import threading
import time
import types
import warnings
from multiprocessing import util
from multiprocessing.context import TimeoutError

from . import _procession
from ._pickling import dumps, loads
from .context import _default_context

__all__ = ["Pool", "ThreadPool"]

INIT = "INIT"
RUN = "RUN"
CLOSE = "CLOSE"
TERMINATE = "TERMINATE"

# So many items of a source whose length is known are submitted at once.
_MANY = 10_000


def _name(function):
    """Returns the pickle of a function, and whether that is but its name."""
    from ._pickling import dumps_function

    return dumps_function(function)


def _start_worker(ctx, workers, initializer, initargs, memory_limit, mask, seat):
    """Starts a worker for a seat; called by the pool's engine, in whichever thread."""
    from ._worker import Seat, start, work

    mine = Seat()
    mine._adopt(seat)
    worker = ctx.Process(target=work, args=(mine, initializer, initargs, memory_limit, mask))
    worker.name = worker.name.replace("Process", "PoolWorker")
    worker.daemon = True
    try:
        start(worker, mask)
    finally:
        if worker.pid is not None:
            workers.append(worker)
    return worker


def _bury_worker(workers, worker):
    """Takes a worker away that has ended, and returns its exit code; called by the engine."""
    try:
        workers.remove(worker)
    except ValueError:
        pass
    worker.join()
    return worker.exitcode


class Pool:
    """Worker processes that run tasks.

    The interface is that of :class:`multiprocessing.pool.Pool`, and:

    - a task whose worker dies raises :class:`~procession.WorkerDied` instead of never ending;
    - ``task_timeout``: seconds that a task may take, from when a worker begins with it. Then its
      worker is killed and replaced, and it raises :class:`~procession.TaskTimedOut`;
    - ``memory_limit``: bytes of private memory that a worker may have: beyond it allocations fail,
      with ``MemoryError`` in Python;
    - ``retries``: how often a task runs again whose worker died or that timed out;
    - ``threads_per_worker``: how many threads of each worker run tasks.

    Ctrl-C at a terminal goes to the workers as well. There it interrupts what is running, whose
    outcome is :class:`~procession.TaskCancelled` then (if it runs in the main thread of its worker, and
    does not catch the ``KeyboardInterrupt``); the worker lives on. A ``map``, ``starmap``, ``try_map`` or
    ``apply`` that is interrupted while it waits gives all of its tasks up, of which nobody could ask
    for the values any more: a worker that is at one of them is ended, and replaced. The pool can be
    used as before.

    Args:
        processes: How many workers; as many as the machine has processors by default.
        initializer: Called in each worker first. A pool whose initializers fail fails with
            :class:`~procession.PoolBroken`, instead of starting workers for ever.
        initargs: Its arguments.
        maxtasksperchild: After how many tasks a worker is replaced.
        context: How workers start: see :func:`procession.get_context`.
    """

    _state = INIT

    def __init__(
        self,
        processes=None,
        initializer=None,
        initargs=(),
        maxtasksperchild=None,
        context=None,
        *,
        task_timeout=None,
        memory_limit=None,
        retries=0,
        threads_per_worker=1,
    ):
        if processes is None:
            processes = os.cpu_count() or 1
        if processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None:
            if not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0:
                raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if threads_per_worker < 1:
            raise ValueError("Number of threads per worker must be at least 1")
        if retries < 0:
            raise ValueError("retries must be 0 or more")
        if task_timeout is not None and not task_timeout > 0:
            raise ValueError("task_timeout must be more than 0 seconds, or None")
        self._ctx = context or _default_context.get_context()
        self._processes = processes
        self._timeout = task_timeout
        self._retries = retries
        self._pool = []
        # Sources that were not read to their ends.
        self._unread = set()
        initargs = tuple(initargs)
        # A worker that is replaced has what this thread blocks now, as the first ones have.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        start = functools.partial(
            _start_worker, self._ctx, self._pool, initializer, initargs, memory_limit, mask
        )
        end = functools.partial(_bury_worker, self._pool)
        self._engine = _procession.Pool(
            processes, threads_per_worker, maxtasksperchild, start, end, (loads, dumps, _name)
        )
        self._terminate = util.Finalize(
            self, _terminate, args=(self._engine, self._pool, os.getpid()), exitpriority=15
        )
        self._state = RUN

    def __del__(self, _warn=warnings.warn, RUN=RUN):
        if self._state == RUN:
            _warn(f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self)

    def __repr__(self):
        cls = self.__class__
        return (
            f"<{cls.__module__}.{cls.__qualname__} state={self._state} pool_size={len(self._pool)}>"
        )

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, exc_type, exc_val, exc_tb):
        self.terminate()

    def __reduce__(self):
        raise NotImplementedError("pool objects cannot be passed between processes or pickled")

    def _check_running(self):
        if self._state != RUN:
            raise ValueError("Pool not running")

    def _repopulate_pool(self):
        """Does nothing: dead workers are replaced by the engine as they die."""

    def _limits(self, timeout, retries):
        return (
            self._timeout if timeout is None else timeout,
            self._retries if retries is None else retries,
        )

    def apply(self, func, args=(), kwds={}, *, timeout=None, retries=None):
        """Calls ``func(*args, **kwds)`` in a worker, and returns its value.

        Args:
            timeout: As `task_timeout` of the pool, for this task.
            retries: As `retries` of the pool, for this task.
        """
        self._check_running()
        results = self._engine.apply(func, args, kwds, *self._limits(timeout, retries))
        return ApplyResult(results, None, None)._wait_or_give_up().get()

    def apply_async(
        self,
        func,
        args=(),
        kwds={},
        callback=None,
        error_callback=None,
        *,
        timeout=None,
        retries=None,
    ):
        """As :meth:`apply`, but returns an :class:`AsyncResult` at once."""
        self._check_running()
        results = self._engine.apply(func, args, kwds, *self._limits(timeout, retries))
        return ApplyResult(results, callback, error_callback)

    def apply_aio(self, func, args=(), kwds={}, *, timeout=None, retries=None):
        """As :meth:`apply`, for ``await`` in a coroutine. If that is cancelled, so is the task."""
        return self.apply_async(func, args, kwds, timeout=timeout, retries=retries)._future()

    def map(self, func, iterable, chunksize=None, *, timeout=None, retries=None, progress=False):
        """Calls ``func`` with each item, in workers, and returns the list of all values.

        The exception of the first item that has one is raised, when all are done.

        Args:
            timeout: As `task_timeout` of the pool, for each of these.
            retries: As `retries` of the pool, for each of these.
            progress: Whether to show a bar, by `tqdm`.
        """
        return self._map(func, iterable, False, chunksize, timeout, retries, progress)

    def starmap(
        self, func, iterable, chunksize=None, *, timeout=None, retries=None, progress=False
    ):
        """As :meth:`map`, with all arguments of a call in each item."""
        return self._map(func, iterable, True, chunksize, timeout, retries, progress)

    def _map(self, func, iterable, star, chunksize, timeout, retries, progress):
        if progress:
            items = iterable if hasattr(iterable, "__len__") else list(iterable)
            values = self._stream(func, items, star, chunksize or 1, "tasks", timeout, retries)
            return list(_shown(values, len(items)))
        result = self._map_async(
            func, iterable, star, chunksize, None, None, timeout, retries, patient=True
        )
        return result._wait_or_give_up().get()

    def try_map(self, func, iterable, chunksize=None, *, timeout=None, retries=None):
        """As :meth:`map`, but returns what became of each item: its value, or its exception."""
        result = self._map_async(
            func, iterable, False, chunksize, None, None, timeout, retries, patient=True
        )
        return result._wait_or_give_up().get_all()

    def map_async(
        self,
        func,
        iterable,
        chunksize=None,
        callback=None,
        error_callback=None,
        *,
        timeout=None,
        retries=None,
    ):
        """As :meth:`map`, but returns a :class:`MapResult` at once."""
        return self._map_async(
            func, iterable, False, chunksize, callback, error_callback, timeout, retries
        )

    def starmap_async(
        self,
        func,
        iterable,
        chunksize=None,
        callback=None,
        error_callback=None,
        *,
        timeout=None,
        retries=None,
    ):
        """As :meth:`starmap`, but returns a :class:`MapResult` at once."""
        return self._map_async(
            func, iterable, True, chunksize, callback, error_callback, timeout, retries
        )

    def _map_async(
        self,
        func,
        iterable,
        star,
        chunksize,
        callback,
        error_callback,
        timeout,
        retries,
        patient=False,
    ):
        self._check_running()
        items = iterable if type(iterable) is list else list(iterable)
        if chunksize is None:
            chunksize, extra = divmod(len(items), self._engine.width() * 4)
            chunksize += bool(extra)
        results = self._engine.results(func, star, "all", *self._limits(timeout, retries))
        try:
            results.submit(items, max(chunksize, 1), patient)
        except BaseException:
            results.cancel()
            raise
        finally:
            results.complete()
        return MapResult(results, callback, error_callback)

    def imap(self, func, iterable, chunksize=1, *, timeout=None, retries=None, progress=False):
        """As :meth:`map`, but returns an iterator over the values, in the order of the items.

        A long source is read only a little ahead of what was taken from the iterator.
        """
        values = self._stream(func, iterable, False, chunksize, "tasks", timeout, retries)
        return _shown(values, _length(iterable)) if progress else values

    def imap_unordered(
        self, func, iterable, chunksize=1, *, timeout=None, retries=None, progress=False
    ):
        """As :meth:`imap`, but in the order in which the values come."""
        values = self._stream(func, iterable, False, chunksize, "ends", timeout, retries)
        return _shown(values, _length(iterable)) if progress else values

    def _stream(self, func, iterable, star, chunksize, order, timeout, retries):
        self._check_running()
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        results = self._engine.results(func, star, order, *self._limits(timeout, retries))
        ahead = max(self._engine.width() * 4, 16) * chunksize
        cls = IMapIterator if order == "tasks" else IMapUnorderedIterator
        return cls(results, iterable, chunksize, ahead, self._unread)

    def stats(self):
        """Returns how the pool is: workers (pid, name, tasks done, busy), and numbers of tasks."""
        return self._engine.stats()

    def resize(self, processes):
        """Changes how many workers there are. Those that are too many go after their tasks."""
        self._check_running()
        self._engine.resize(processes)
        self._processes = processes

    def close(self):
        """Takes no more tasks. Those that were submitted are done."""
        util.debug("closing pool")
        if self._state == RUN:
            # An imap goes on that was begun.
            for stream in list(self._unread):
                stream._read_all()
            self._state = CLOSE
            self._engine.close()

    def terminate(self):
        """Ends the workers at once. What was not done raises :class:`~procession.PoolTerminated`."""
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()

    def join(self):
        """Waits for the workers to be gone, after :meth:`close` or :meth:`terminate`."""
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._engine.join()
        _reap(self._pool)

    def __class_getitem__(cls, item):
        return types.GenericAlias(cls, item)


def _terminate(engine, workers, owner):
    """Ends a pool, of which nothing else may be left."""
    if os.getpid() == owner:
        engine.terminate()
        _reap(workers)


def _reap(workers):
    """Has no zombie be left of workers that have ended."""
    while workers:
        try:
            worker = workers.pop()
        except IndexError:
            return
        worker.join()


def _length(iterable):
    return len(iterable) if hasattr(iterable, "__len__") else None


def _shown(values, total):
    """Shows a bar that grows with what is taken from `values`."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        raise ImportError("a progress bar needs tqdm: pip install 'procession[tqdm]'") from None
    return tqdm(values, total=total)


class ApplyResult:
    """The value of a task, when it will be there.

    It can be awaited in a coroutine as well.
    """

    def __init__(self, results, callback, error_callback):
        self._results = results
        self._lock = threading.Lock()
        self._called = None
        if callback is not None or error_callback is not None:
            self._called = threading.Event()
            results.on_end(functools.partial(self._call, callback, error_callback))

    def _settle(self):
        """Takes the outcome in: all tasks are over."""
        with self._lock:
            if not hasattr(self, "_success"):
                values, first = self._results.take()
                self._success = first is None
                self._keep(values, first)

    def _keep(self, values, first):
        self._value = values[0] if first is None else first

    def _call(self, callback, error_callback):
        try:
            self._settle()
            if self._success:
                if callback is not None:
                    callback(self._value)
            elif error_callback is not None:
                error_callback(self._value)
        finally:
            self._called.set()

    def ready(self):
        """Tells whether the task is over."""
        return self._results.ready() and (self._called is None or self._called.is_set())

    def successful(self):
        """Tells whether the task has a value.

        Raises:
            ValueError: It is not over.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        self._settle()
        return self._success

    def wait(self, timeout=None):
        """Waits until the task is over, at most for `timeout` seconds."""
        self._wait(timeout)

    def _wait_or_give_up(self):
        """Waits; who is interrupted gives the tasks up, since nobody can ask for them any more."""
        try:
            self._results.wait()
        except BaseException:
            self._results.cancel()
            raise
        return self

    def _wait(self, timeout):
        if self._called is None:
            return self._results.wait(timeout)
        if timeout is None:
            return self._results.wait() and self._called.wait()
        end = time.monotonic() + timeout
        return self._results.wait(timeout) and self._called.wait(max(end - time.monotonic(), 0))

    def get(self, timeout=None):
        """Waits for the value, at most for `timeout` seconds, and returns it.

        Raises:
            TimeoutError: It was not there in time.
            WorkerDied: The worker died at the task.
            TaskTimedOut: The task took longer than it may.
            PoolTerminated: The pool was terminated before.
        """
        if not self._wait(timeout):
            raise TimeoutError
        self._settle()
        if self._success:
            return self._value
        try:
            raise self._value
        finally:
            # No cycle of an exception, its traceback, and this frame.
            self = None

    def cancel(self):
        """Gives the task up: it is not run, or its worker is ended. False if it was over already."""
        if self.ready():
            return False
        self._results.cancel()
        return True

    def _future(self):
        import asyncio

        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def settle():
            if future.done():
                return
            self._settle()
            if self._success:
                future.set_result(self._value)
            else:
                future.set_exception(self._value)

        def tell():
            try:
                loop.call_soon_threadsafe(settle)
            except RuntimeError:
                pass  # the loop is closed

        def cancel(future):
            if future.cancelled():
                self._results.cancel()

        future.add_done_callback(cancel)
        self._results.on_end(tell)
        return future

    def __await__(self):
        return self._future().__await__()

    __class_getitem__ = classmethod(types.GenericAlias)


AsyncResult = ApplyResult


class MapResult(ApplyResult):
    """The values of many tasks, when all of them will be there."""

    def _keep(self, values, first):
        self._all = values
        self._value = values if first is None else first

    def get_all(self):
        """Waits for all tasks, and returns what became of each: its value, or its exception."""
        self._wait(None)
        self._settle()
        return self._all


class IMapIterator:
    """The values of tasks as they come, in the order of the items."""

    def __init__(self, results, iterable, chunksize, ahead, unread):
        self._results = results
        self._source = iter(iterable)
        self._chunksize = chunksize
        self._ahead = ahead
        self._unread = unread
        self._under_way = 0
        self._error = None
        self._lock = threading.RLock()
        unread.add(self)
        known = _length(iterable)
        self._read(ahead if known is None or known > _MANY else known)

    def _read(self, count):
        """Submits items until `count` are under way, or there are no more."""
        while self._source is not None and self._under_way < max(count, 1):
            wanted = max(count - self._under_way, self._chunksize)
            wanted -= wanted % self._chunksize
            items = []
            try:
                items.extend(itertools.islice(self._source, wanted))
            except Exception as error:
                self._error = error
            except BaseException:
                self._end()
                raise
            if self._error is not None:
                # What is left of a chunk is not submitted.
                del items[len(items) - len(items) % self._chunksize :]
            self._under_way += len(items)
            self._results.submit(items, self._chunksize, False)
            if self._error is not None or len(items) < wanted:
                self._end()

    def _end(self):
        self._source = None
        self._unread.discard(self)
        self._results.complete()

    def _read_all(self):
        with self._lock:
            while self._source is not None:
                self._read(self._under_way + self._ahead)

    def __iter__(self):
        return self

    def next(self, timeout=None):
        """Returns the next value, for which it waits at most `timeout` seconds.

        Raises:
            StopIteration: There are no more.
            TimeoutError: It was not there in time.
        """
        with self._lock:
            if self._source is not None and self._under_way <= self._ahead // 2:
                self._read(self._ahead)
            if self._under_way == 0:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                raise StopIteration
            self._under_way -= 1
        try:
            value, is_there = self._results.next(timeout)
        except KeyboardInterrupt:
            self._under_way += 1
            raise
        if is_there:
            return value
        with self._lock:
            self._under_way += 1
        raise TimeoutError

    __next__ = next


class IMapUnorderedIterator(IMapIterator):
    """The values of tasks as they come."""


def __getattr__(name):
    """All else is the standard library's: pools of threads, and what a pool's parts are called."""
    from multiprocessing import pool

    return getattr(pool, name)
