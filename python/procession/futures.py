"""``concurrent.futures`` on a pool that never hangs: :class:`ProcessPoolExecutor`."""

import os
import threading
from concurrent import futures as _std
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import util

from .errors import PoolBroken, PoolTerminated, TaskCancelled
from .pool import Pool

__all__ = ["BrokenProcessPool", "Future", "ProcessPoolExecutor"]


class Future(_std.Future):
    """A call in a worker.

    As :class:`concurrent.futures.Future`, but it can be cancelled also while it runs: then its worker
    is ended and replaced.
    """

    _result_of_pool = None

    def cancel(self):
        """Gives the call up; false if it was over already."""
        with self._condition:
            if self._state in (_std._base.FINISHED,):
                return False
            if self._state in (_std._base.CANCELLED, _std._base.CANCELLED_AND_NOTIFIED):
                return True
            self._state = _std._base.CANCELLED
            self._condition.notify_all()
        self._invoke_callbacks()
        result = self._result_of_pool
        if result is not None:
            result.cancel()
        return True


class ProcessPoolExecutor(_std.Executor):
    """Runs calls in worker processes, as :class:`concurrent.futures.ProcessPoolExecutor`.

    A worker that dies fails the one call that it was at, with :class:`~procession.WorkerDied`; the
    executor goes on. ``task_timeout``, ``memory_limit``, ``retries`` and ``threads_per_worker`` are
    those of :class:`procession.pool.Pool`.
    """

    def __init__(
        self,
        max_workers=None,
        mp_context=None,
        initializer=None,
        initargs=(),
        *,
        max_tasks_per_child=None,
        task_timeout=None,
        memory_limit=None,
        retries=0,
        threads_per_worker=1,
    ):
        if max_workers is None:
            max_workers = os.cpu_count() or 1
        elif max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
        self._max_workers = max_workers
        self._pool = Pool(
            max_workers,
            initializer,
            initargs,
            max_tasks_per_child,
            mp_context,
            task_timeout=task_timeout,
            memory_limit=memory_limit,
            retries=retries,
            threads_per_worker=threads_per_worker,
        )
        self._lock = threading.Lock()
        self._is_over = False
        self._pending = set()
        # Who forgets to shut it down has all calls done, as with the standard library's: before the
        # pool, whose own end they would not live to see.
        self._end = util.Finalize(self, _end, args=(self._pool,), exitpriority=16)

    def submit(self, fn, /, *args, **kwargs):
        """Has ``fn(*args, **kwargs)`` called in a worker, and returns its :class:`Future`."""
        with self._lock:
            if self._is_over:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future = Future()
            result = self._pool.apply_async(fn, args, kwargs)
            future._result_of_pool = result
            self._pending.add(future)
        pending = self._pending

        def settle():
            pending.discard(future)
            future._result_of_pool = None
            if not future.set_running_or_notify_cancel():
                return
            result._settle()
            if result._success:
                future.set_result(result._value)
            else:
                future.set_exception(_as_futures_say(result._value))

        result._results.on_end(settle)
        return future

    def map(self, fn, *iterables, timeout=None, chunksize=1, retries=None):
        """Returns an iterator over ``fn(*items)`` for the items of all iterables together."""
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if self._is_over:
            raise RuntimeError("cannot schedule new futures after shutdown")
        items = list(zip(*iterables))
        return _values(self._pool.starmap_async(fn, items, chunksize, retries=retries), timeout)

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Takes no more calls; ends the workers when all is done, and waits for that if `wait`.

        Args:
            cancel_futures: Whether to give up what is not done.
        """
        with self._lock:
            is_first, self._is_over = not self._is_over, True
        if cancel_futures:
            for future in list(self._pending):
                future.cancel()
        self._end.cancel()
        if is_first:
            self._pool.close()
        if wait:
            self._pool.join()
        elif is_first:
            _join_later(self._pool)


def _end(pool):
    """What is submitted is done, whoever has forgotten the executor."""
    pool.close()
    if util.is_exiting():
        pool.join()
    else:
        _join_later(pool)


def _join_later(pool):
    threading.Thread(target=pool.join, name="procession-shutdown").start()


def _as_futures_say(error):
    """Exceptions of ours by the names that `concurrent.futures` has for them."""
    if isinstance(error, TaskCancelled):
        return _std.CancelledError()
    if isinstance(error, (PoolBroken, PoolTerminated)):
        broken = BrokenProcessPool(str(error))
        broken.__cause__ = error
        return broken
    return error


def _values(result, timeout):
    # The tasks are under way, whether or not anybody asks.
    def take():
        try:
            values = result.get(timeout)
        finally:
            # Who was interrupted, or has lost patience, does not ask again.
            result.cancel()
        for value in values:
            yield value

    return take()
