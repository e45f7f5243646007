"""A started child, and the start by a copy of this process."""

import os
import signal
import threading
import warnings
from multiprocessing import util

from . import _procession
from ._child import tie

__all__ = ["Popen"]

_own = None


def own_pidfd():
    """Returns a descriptor of this process, by which its children learn of its end."""
    global _own
    if _own is None or _own[0] != os.getpid():
        _own = os.getpid(), os.pidfd_open(os.getpid())
    return _own[1]


def tether_of(process_obj):
    """Returns the descriptor that ties a child to this process, if it is to be tied."""
    return _procession.tether_handle() if process_obj.daemon else None


def _fork():
    """Makes a copy of this process.

    Python warns of threads in the original. Those of procession hold nothing that a copy needs.
    """
    if threading.active_count() > 1:
        return os.fork()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Popen:
    """A child that is a copy of this process.

    Its ``sentinel`` is a descriptor of the process itself: it is readable from the child's end on,
    whatever the child has left open elsewhere.
    """

    method = "fork"

    def __init__(self, process_obj):
        util._flush_std_streams()
        self.returncode = None
        self.finalizer = None
        self._launch(process_obj)

    def duplicate_for_child(self, fd):
        return fd

    def _launch(self, process_obj):
        parent, tether = own_pidfd(), tether_of(process_obj)
        self.pid = _fork()
        if self.pid == 0:
            _run_copy(process_obj, parent, tether)
        self._watch(os.pidfd_open(self.pid))

    def _watch(self, sentinel):
        self.sentinel = sentinel
        self.finalizer = util.Finalize(self, util.close_fds, (sentinel,))

    def poll(self, flag=os.WNOHANG):
        """Returns the exit code of a child that has ended, and None of one that has not."""
        if self.returncode is None:
            # Looked at before it is taken away: the handler of a signal may raise in between.
            look = os.WEXITED | os.WNOWAIT | (os.WNOHANG if flag == os.WNOHANG else 0)
            try:
                ended = os.waitid(os.P_PIDFD, self.sentinel, look)
                if ended is not None:
                    exited = ended.si_code == os.CLD_EXITED
                    self.returncode = ended.si_status if exited else -ended.si_status
                    os.waitid(os.P_PIDFD, self.sentinel, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                pass  # somebody else has reaped it, or it is not a child of this process
        return self.returncode

    def wait(self, timeout=None):
        """Waits for the end of the child, and returns its exit code, or None after `timeout`."""
        if self.returncode is None:
            if timeout is not None:
                # Only here: it brings much else, all of which a copy of this process has to copy.
                from multiprocessing.connection import wait

                if not wait([self.sentinel], timeout):
                    return None
            return self.poll(os.WNOHANG if timeout == 0.0 else 0)
        return self.returncode

    def _send_signal(self, number):
        if self.returncode is None:
            try:
                signal.pidfd_send_signal(self.sentinel, number)
            except ProcessLookupError:
                pass

    def terminate(self):
        self._send_signal(signal.SIGTERM)

    def kill(self):
        self._send_signal(signal.SIGKILL)

    def close(self):
        if self.finalizer is not None:
            self.finalizer()


def _run_copy(process_obj, parent, tether):
    """Runs the target in a copy, which never returns from here."""
    import atexit

    code = 1
    try:
        if tether is not None:
            tie(os.dup(tether))
        atexit._clear()
        atexit.register(util._exit_function)
        code = process_obj._bootstrap(parent_sentinel=parent)
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()
        os._exit(code)
