"""Locks, semaphores, conditions, events and barriers in shared memory.

What a process holds when it dies is free again, and the next one to acquire it is told by an
:class:`~procession.OwnerDied`.
"""

import sys
import threading
import time
from multiprocessing import process

from . import _procession
from ._share import carry, receive

__all__ = ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Condition", "Event"]

RECURSIVE_MUTEX, SEMAPHORE = range(2)
SEM_VALUE_MAX = 2**31 - 1


class _Shared:
    """What all objects here have: they are pickled for a child, and only for one."""

    def __getstate__(self):
        return carry(self)

    def __setstate__(self, state):
        receive(self, state)

    def __reduce__(self):
        return _rebuild, (type(self), self.__getstate__())


def _rebuild(cls, state):
    shared = cls.__new__(cls)
    shared.__setstate__(state)
    return shared


class SemLock(_Shared):
    """What locks and semaphores have in common, by the name that it has in `multiprocessing`."""

    @property
    def _semlock(self):
        return self

    def _owner(self):
        """Who holds the lock, in words."""
        if self._is_mine():
            name = process.current_process().name
            if threading.current_thread().name != "MainThread":
                name += "|" + threading.current_thread().name
            return name
        if not self.locked():
            return "None"
        return "SomeOtherThread" if self._count() else "SomeOtherProcess"


class Lock(SemLock, _procession.Lock):
    """A lock that one thread of one process holds at a time, and that anybody may release."""

    def __init__(self, *, ctx=None):
        self._init()

    def __repr__(self):
        return f"<{type(self).__name__}(owner={self._owner()})>"


class RLock(SemLock, _procession.RLock):
    """A lock that the thread that holds it can acquire again."""

    def __init__(self, *, ctx=None):
        self._init()

    def __repr__(self):
        owner = self._owner()
        count = self._count() if self._is_mine() else 0 if owner == "None" else "nonzero"
        return f"<{type(self).__name__}({owner}, {count})>"


class Semaphore(SemLock, _procession.Semaphore):
    """A number of permits, which come back when the process that has acquired them dies."""

    def __init__(self, value=1, *, ctx=None):
        self._start(value, SEM_VALUE_MAX)

    def _start(self, value, limit):
        if not 0 <= value <= SEM_VALUE_MAX:
            raise ValueError(f"a semaphore cannot begin with {value} permits")
        self._init(value, limit)

    def __repr__(self):
        return f"<{type(self).__name__}(value={self.get_value()})>"


class BoundedSemaphore(Semaphore):
    """A semaphore that never has more permits than at the beginning."""

    def __init__(self, value=1, *, ctx=None):
        self._start(value, value)
        self._limit = value

    def __getstate__(self):
        return (super().__getstate__(), self._limit)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self._limit = state[1]

    def __repr__(self):
        return f"<{type(self).__name__}(value={self.get_value()}, maxvalue={self._limit})>"


class Condition(_Shared, _procession.Condition):
    """What processes that hold its lock wait for, until another notifies them."""

    def __init__(self, lock=None, *, ctx=None):
        self._init()
        self._with(lock or RLock())

    def _with(self, lock):
        self._lock = lock
        self.acquire = lock.acquire
        self.release = lock.release

    def __getstate__(self):
        return (super().__getstate__(), self._lock)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self._with(state[1])

    def __enter__(self):
        return self._lock.__enter__()

    def __exit__(self, *args):
        return self._lock.__exit__(*args)

    def __repr__(self):
        return f"<{type(self).__name__}({self._lock}, {self._waiting()})>"

    def wait(self, timeout=None):
        """Releases the lock, waits to be notified, and acquires the lock again.

        Returns whether it was notified before `timeout` had passed.
        """
        assert self._lock._is_mine(), "must acquire() condition before using wait()"
        return self._wait(self._lock, timeout)

    def notify(self, n=1):
        """Wakes at most `n` of those who wait."""
        assert self._lock._is_mine(), "lock is not owned"
        self._notify(n)

    def notify_all(self):
        """Wakes all who wait."""
        self.notify(sys.maxsize)

    def wait_for(self, predicate, timeout=None):
        """Waits until `predicate` returns something true, and returns that."""
        end = None if timeout is None else time.monotonic() + timeout
        while not (result := predicate()):
            left = None if end is None else end - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result


class Event(_Shared, _procession.Event):
    """A flag that processes wait for."""

    def __init__(self, *, ctx=None):
        self._init()

    def __repr__(self):
        status = "set" if self.is_set() else "unset"
        return f"<{type(self).__qualname__} at {id(self):#x} {status}>"


class Barrier(_Shared, _procession.Barrier):
    """Where processes wait until as many as it is for have come."""

    def __init__(self, parties, action=None, timeout=None, *, ctx=None):
        if parties < 1:
            raise ValueError("parties must be > 0")
        self._init(parties)
        self._action, self._timeout = action, timeout

    def __getstate__(self):
        return (super().__getstate__(), self._action, self._timeout)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self._action, self._timeout = state[1:]

    def __repr__(self):
        name, parties = type(self).__qualname__, self.parties
        if self.broken:
            return f"<{name} at {id(self):#x}: broken>"
        return f"<{name} at {id(self):#x}: waiters={self.n_waiting}/{parties}>"

    def wait(self, timeout=None):
        """Waits until all have come, and returns which of them this one is.

        Raises:
            BrokenBarrierError: It was aborted or reset, somebody waited too long, or one of those
                who waited has died.
        """
        return self._wait(self._action, self._timeout if timeout is None else timeout)
