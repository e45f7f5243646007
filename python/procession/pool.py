"""Pools of worker processes.

The engine is the standard library's for now, over queues that it knows: a worker that is killed in
the middle of a task is replaced, and the task is never done.
"""

from multiprocessing import pool as _std
from multiprocessing.pool import (  # noqa: F401
    CLOSE,
    INIT,
    RUN,
    TERMINATE,
    ApplyResult,
    AsyncResult,
    ExceptionWithTraceback,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
    MaybeEncodingError,
    RemoteTraceback,
    ThreadPool,
    job_counter,
    mapstar,
    rebuild_exc,
    starmapstar,
    worker,
)
from multiprocessing.queues import SimpleQueue

from .context import _default_context

__all__ = ["Pool", "ThreadPool"]


class Pool(_std.Pool):
    """A pool of worker processes."""

    def __init__(
        self, processes=None, initializer=None, initargs=(), maxtasksperchild=None, context=None
    ):
        super().__init__(
            processes, initializer, initargs, maxtasksperchild, context or _default_context
        )

    def _setup_queues(self):
        # Its threads read and write the pipes inside of its queues.
        self._inqueue = SimpleQueue(ctx=self._ctx)
        self._outqueue = SimpleQueue(ctx=self._ctx)
        self._quick_put = self._inqueue._writer.send
        self._quick_get = self._outqueue._reader.recv
