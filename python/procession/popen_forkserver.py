"""The start by a copy of a clean interpreter."""

import os
import threading
from multiprocessing import connection

from . import forkserver, popen_fork
from ._child import Inherited
from .popen_spawn_posix import pickled

__all__ = ["Popen"]


class Popen(popen_fork.Popen):
    """A child that the fork server has made."""

    method = "forkserver"
    DupFd = Inherited

    def __init__(self, process_obj):
        self._fds = []
        # Whoever starts a process looks after all others, in whichever thread.
        self._lock = threading.Lock()
        super().__init__(process_obj)

    def duplicate_for_child(self, fd):
        self._fds.append(fd)
        return len(self._fds) - 1

    def forget(self):
        """Passes nothing of what was to be passed."""
        self._fds.clear()

    def _launch(self, process_obj):
        data = pickled(self, process_obj)
        try:
            tether = popen_fork.tether_of(process_obj)
            started = forkserver._forkserver.start(
                data, popen_fork.own_pidfd(), tether, self._fds
            )
        finally:
            os.close(data)
        self.pid, self._status, sentinel, self.returncode = started
        self._watch(sentinel)

    def poll(self, flag=os.WNOHANG):
        if self.returncode is None:
            timeout = 0 if flag == os.WNOHANG else None
            if not connection.wait([self.sentinel], timeout):
                return None
            # The server has seen its end, too, and says how it was, once; unless it is dead itself.
            with self._lock:
                if self.returncode is None:
                    self.returncode = forkserver.read_status(self._status)
                    self._status.close()
        return self.returncode
