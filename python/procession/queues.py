"""Queues in shared memory: an object is there for everybody when ``put`` returns.

There is no thread behind a queue and no lock that a killed process could keep: an object is in the
queue or it is not, whoever is killed when.
"""

import traceback
import types
from multiprocessing import queues as _std
from queue import Empty, Full

from . import _procession
from ._pickling import dumps, loads
from ._share import carry, receive
from .connection import wait
from .context import _default_context
from .errors import WorkerDied
from .synchronize import SEM_VALUE_MAX, _rebuild

__all__ = ["Queue", "SimpleQueue", "JoinableQueue"]


class _Queue(_procession.Queue):
    """What all queues have in common."""

    _closed = False
    _used = False

    def __getstate__(self):
        return carry(self)

    def __setstate__(self, state):
        receive(self, state)

    def __reduce__(self):
        return _rebuild, (type(self), self.__getstate__())

    # What waits for several things waits for a queue by its reader.
    @property
    def _reader(self):
        return _Reader(self)

    @property
    def _writer(self):
        return _Writer(self)

    __class_getitem__ = classmethod(types.GenericAlias)


class Queue(_Queue):
    """Objects from any number of processes to any number of processes.

    ``put`` pickles and copies at once, in the caller: what happens to the object afterwards is not
    seen by who gets it. An object that cannot be pickled is reported on standard error and not put,
    as with `multiprocessing`.
    """

    def __init__(self, maxsize=0, *, ctx=None):
        self._init(maxsize if 0 < maxsize < SEM_VALUE_MAX else 0)
        self._maxsize = maxsize if maxsize > 0 else SEM_VALUE_MAX

    def __getstate__(self):
        return (super().__getstate__(), self._maxsize)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self._maxsize = state[1]

    def put(self, obj, block=True, timeout=None):
        """Puts an object in.

        Raises:
            Full: There was no room in time.
            ValueError: This process has closed the queue.
        """
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        self._used = True
        self._put(self._dumps, obj, block, timeout)

    def _dumps(self, obj):
        try:
            return dumps(obj)
        except Exception as error:
            self._on_queue_feeder_error(error, obj)
            return None

    @staticmethod
    def _on_queue_feeder_error(e, obj):
        """Says that an object could not be pickled; `multiprocessing` has a hook of this name."""
        traceback.print_exc()

    def get(self, block=True, timeout=None):
        """Takes an object out.

        Raises:
            Empty: None came in time.
            ValueError: This process has closed the queue.
        """
        if self._closed:
            raise ValueError(f"Queue {self!r} is closed")
        return self._get(loads, block, timeout)

    def put_nowait(self, obj):
        """Puts an object in if there is room now."""
        return self.put(obj, False)

    def get_nowait(self):
        """Takes an object out if one is there now."""
        return self.get(False)

    def qsize(self):
        """Returns how many objects are there."""
        return self._qsize()

    def empty(self):
        """Tells whether no object is there."""
        if self._closed and self._used:
            raise OSError("handle is closed")
        return self._empty()

    def full(self):
        """Tells whether as many objects are there as may be."""
        return self._full()

    def close(self):
        """Says that this process puts and gets no more."""
        self._closed = True

    def join_thread(self):
        """Does nothing: what was put is there."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self):
        """Does nothing: no process waits at its end for what it has put."""


class JoinableQueue(Queue):
    """A queue whose objects are tasks: ``join`` waits until all that were put are done."""

    def task_done(self):
        """Says that one object that was taken out is done.

        Raises:
            ValueError: There is none that is not.
        """
        if not self._task_done():
            raise ValueError("task_done() called too many times")

    def join(self):
        """Waits until every object that was put is done.

        Raises:
            WorkerDied: Processes have died that had taken objects out which were not done. It is
                told once.
        """
        if lost := self._join():
            raise WorkerDied(None, lost=lost)


class SimpleQueue(_std.SimpleQueue):
    """A queue with nothing but put, get and empty: the standard library's pipe, with locks of ours.

    Others wait for its reader with a selector, and count on finding an object then: a pipe says
    nothing else.
    """

    def __init__(self, *, ctx=None):
        super().__init__(ctx=ctx or _default_context)


class _End:
    """An end of a queue, for code that knows queues as pipes."""

    def __init__(self, queue):
        self._queue = queue

    @property
    def closed(self):
        return self._queue._closed

    def close(self):
        self._queue._closed = True


class _Reader(_End):
    """What `connection.wait` and selectors wait for."""

    def fileno(self):
        """Returns a descriptor that is readable once an object is there.

        It tells of what comes after this call, or is there already: ask anew before each wait. It
        may be readable for nothing, as when a process has died; `procession.connection.wait` looks.
        """
        if self._queue._closed:
            raise OSError("handle is closed")
        return self._queue._fileno()

    def poll(self, timeout=0.0):
        return bool(wait([self], timeout))

    def recv(self):
        return self._queue._get(loads)


class _Writer(_End):
    """What is sent is put."""

    def send(self, obj):
        self._queue._put(dumps, obj)
