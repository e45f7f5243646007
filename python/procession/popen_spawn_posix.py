"""The start by a new interpreter."""

import os
from multiprocessing import spawn, util
from multiprocessing.context import set_spawning_popen

from . import popen_fork
from ._child import Passed, aligned
from ._pickling import dumps

__all__ = ["Popen"]

# Where this package is, for an interpreter that does not know it yet.
_WHERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROGRAM = "import sys; sys.path.append(%r); from procession._child import main; main(%r, %r, %r, %r)"


def pickled(popen, process_obj):
    """Returns a descriptor of memory with all that a child has to know, written by `popen`'s rules.

    It is written before there is a child: what cannot be pickled costs no process, and a child that
    dies early leaves nobody writing. Large buffers are at the start of the memory, where the child
    maps them; what it reads are the pickles behind them, from where the descriptor stands.
    """
    set_spawning_popen(popen)
    try:
        preparation = spawn.get_preparation_data(process_obj._name)
        dumped, buffers = dumps(process_obj, popen.forget), ()
        if type(dumped) is tuple:
            dumped, buffers = dumped
        preparation = dumps((preparation, [buffer.nbytes for buffer in buffers]))
    finally:
        set_spawning_popen(None)
    data = os.memfd_create("procession")
    try:
        with open(data, "wb", closefd=False) as file:
            for buffer in buffers:
                file.seek(aligned(file.tell()))
                file.write(buffer)
            file.seek(start := aligned(file.tell()))
            file.write(preparation)
            file.write(dumped)
        os.lseek(data, start, os.SEEK_SET)
    except BaseException:
        os.close(data)
        raise
    return data


class Popen(popen_fork.Popen):
    """A child in a new interpreter."""

    method = "spawn"
    DupFd = Passed

    def __init__(self, process_obj):
        self._fds = []
        super().__init__(process_obj)

    def duplicate_for_child(self, fd):
        # A copy for each time: what is passed twice is closed twice.
        self._fds.append(os.dup(fd))
        return self._fds[-1]

    def forget(self):
        """Passes nothing of what was to be passed."""
        while self._fds:
            os.close(self._fds.pop())

    def _launch(self, process_obj):
        from multiprocessing import resource_tracker

        tracker = resource_tracker.getfd()
        parent, tether = popen_fork.own_pidfd(), popen_fork.tether_of(process_obj)
        data = None
        try:
            data = pickled(self, process_obj)
            program = _PROGRAM % (_WHERE, data, parent, tracker, tether)
            executable = spawn.get_executable()
            flags = util._args_from_interpreter_flags()
            command = [executable, *flags, "-c", program, "--multiprocessing-fork"]
            passed = [fd for fd in (data, parent, tracker, tether) if fd is not None]
            self.pid = util.spawnv_passfds(executable, command, passed + self._fds)
            self._watch(os.pidfd_open(self.pid))
        finally:
            for fd in [data, *self._fds]:
                if fd is not None:
                    os.close(fd)
            self._fds.clear()
