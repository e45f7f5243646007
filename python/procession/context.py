"""Contexts: how processes start, and the objects that go with it.

The start method is one thing for a whole program, also for libraries in it that use the standard
library: it is the one that :mod:`multiprocessing` knows.
"""

import multiprocessing.context as _std
import os
from multiprocessing import process, reduction
from multiprocessing.context import (
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)

__all__ = ()


class BaseContext(_std.BaseContext):
    """What every context offers."""

    def Manager(self):
        """Returns a manager of lists, dictionaries, locks and queues, which has been started."""
        from .managers import SyncManager

        manager = SyncManager(ctx=self.get_context())
        manager.start()
        return manager

    def Lock(self):
        """Returns a lock that one thread of one process holds at a time."""
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self):
        """Returns a lock that its holder can take again."""
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock=None):
        """Returns a condition, with a lock of its own if none is given."""
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value=1):
        """Returns a semaphore with `value` permits."""
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value=1):
        """Returns a semaphore that never has more than `value` permits."""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self):
        """Returns a flag that processes wait for."""
        from .synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(self, parties, action=None, timeout=None):
        """Returns a barrier for `parties` processes or threads."""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize=0):
        """Returns a queue of at most `maxsize` objects, or of any number."""
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize=0):
        """Returns a queue whose objects are tasks that can be waited for."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self):
        """Returns a queue with nothing but put, get and empty."""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pool(
        self,
        processes=None,
        initializer=None,
        initargs=(),
        maxtasksperchild=None,
        *,
        task_timeout=None,
        memory_limit=None,
        retries=0,
        threads_per_worker=1,
    ):
        """Returns a pool of worker processes: see :class:`procession.pool.Pool`."""
        from .pool import Pool

        return Pool(
            processes,
            initializer,
            initargs,
            maxtasksperchild,
            context=self.get_context(),
            task_timeout=task_timeout,
            memory_limit=memory_limit,
            retries=retries,
            threads_per_worker=threads_per_worker,
        )

    def Value(self, typecode_or_type, *args, lock=True):
        """Returns a scalar in shared memory, with a lock unless `lock` is False."""
        from .sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock, ctx=self.get_context())

    def set_forkserver_preload(self, module_names):
        """Chooses the modules that the fork server imports before it forks."""
        from .forkserver import set_forkserver_preload

        set_forkserver_preload(module_names)

    def get_context(self, method=None):
        """Returns the context of a start method, or this one."""
        if method is None:
            return self
        try:
            return _concrete_contexts[method]
        except KeyError:
            raise ValueError("cannot find context for %r" % method) from None


class Process(process.BaseProcess):
    """A process that runs a function, or `run` of a subclass.

    As `multiprocessing.Process`, and: a daemonic process may have children of its own.
    """

    _start_method = None

    @staticmethod
    def _Popen(process_obj):
        return _default_context.get_context().Process._Popen(process_obj)

    def start(self):
        """Starts the process."""
        self._check_closed()
        assert self._popen is None, "cannot start a process twice"
        assert self._parent_pid == os.getpid(), (
            "can only start a process object created by current process"
        )
        process._cleanup()
        self._popen = self._Popen(self)
        self._sentinel = self._popen.sentinel
        # The target may have a reference to this object, and nobody needs it here any more.
        del self._target, self._args, self._kwargs
        process._children.add(self)


class DefaultContext(BaseContext):
    """The context of the start method that the program has chosen."""

    Process = Process

    def get_context(self, method=None):
        if method is None:
            method = _std._default_context.get_start_method()
        return super().get_context(method)

    def set_start_method(self, method, force=False):
        """Chooses how processes start, once; None for the system's default."""
        if method is not None and method not in _concrete_contexts:
            raise ValueError("cannot find context for %r" % method)
        _std._default_context.set_start_method(method, force)

    def get_start_method(self, allow_none=False):
        """Returns how processes start; with `allow_none`, None if nobody has chosen yet."""
        return _std._default_context.get_start_method(allow_none)

    def get_all_start_methods(self):
        """Returns the start methods of this system, the default one first."""
        return _std._default_context.get_all_start_methods()


class ForkProcess(Process):
    """A process that is a copy of this one."""

    _start_method = "fork"

    @staticmethod
    def _Popen(process_obj):
        from .popen_fork import Popen

        return Popen(process_obj)


class SpawnProcess(Process):
    """A process in a new interpreter."""

    _start_method = "spawn"

    @staticmethod
    def _Popen(process_obj):
        from .popen_spawn_posix import Popen

        return Popen(process_obj)


class ForkServerProcess(Process):
    """A process that is a copy of a clean interpreter."""

    _start_method = "forkserver"

    @staticmethod
    def _Popen(process_obj):
        from .popen_forkserver import Popen

        return Popen(process_obj)


class ForkContext(BaseContext):
    """Processes are copies of this one."""

    _name = "fork"
    Process = ForkProcess


class SpawnContext(BaseContext):
    """Processes are new interpreters."""

    _name = "spawn"
    Process = SpawnProcess


class ForkServerContext(BaseContext):
    """Processes are copies of a clean interpreter."""

    _name = "forkserver"
    Process = ForkServerProcess


_concrete_contexts = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}
_default_context = DefaultContext()
