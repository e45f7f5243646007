"""The fork server: a clean interpreter that copies itself on demand.

It talks to nobody but those who have inherited its socket; it has no address. One request is one
message: the descriptors of a start, of which one is where the answer goes. The child answers
itself, with its number and a descriptor of its process, so that the end of the answers without one
says for certain that there is no child. When it has ended, the server says how, in the same place.
"""

import os
import select
import signal
import socket
import struct
import threading
from multiprocessing import resource_tracker, spawn, util

# That of the standard library, which is another server, runs this.
from multiprocessing.forkserver import main  # noqa: F401

__all__ = ["ensure_running", "get_inherited_fds", "set_forkserver_preload"]

# As many descriptors as the kernel lets one message carry.
MAXFDS_TO_SEND = 253

_HELLO = struct.Struct("=cqq")
_WHERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROGRAM = "import sys; sys.path.append(%r); from procession._server import main; main%r"


def program(*arguments):
    """Returns what the interpreter runs that is the server."""
    return _PROGRAM % (_WHERE, arguments)


def whole_messages():
    """Returns the two ends of a socket for whole messages, whose calls wait as long as it takes.

    A program may have chosen a default timeout for its own sockets.
    """
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in ends:
        end.settimeout(None)
    return ends


def taken_over(fd):
    """Returns the socket that a descriptor is on, whose calls wait as long as it takes."""
    taken = socket.socket(fileno=fd)
    taken.settimeout(None)
    return taken


class ForkServer:
    """The fork server as those who use it see it."""

    def __init__(self):
        self._requests = None
        self._forkserver_pid = None
        self._lock = threading.Lock()
        self._preload_modules = ["__main__"]
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self):
        # The server stays, and so does the socket; whose child it is has changed.
        self._lock = threading.Lock()
        self._forkserver_pid = None

    def set_forkserver_preload(self, modules_names):
        """Chooses the modules that the server imports before it makes copies of itself."""
        if not all(type(name) is str for name in modules_names):
            raise TypeError("module_names must be a list of strings")
        self._preload_modules = modules_names

    def get_inherited_fds(self):
        """Returns the descriptors that came with this process; None if no server has made it."""
        from . import _child

        return list(_child.inherited) or None

    def ensure_running(self):
        """Makes sure that there is a server; it may be that of a parent."""
        with self._lock:
            resource_tracker.ensure_running()
            if self._requests is not None and self._is_running():
                return
            self._stop_unlocked()
            self._launch()

    def _is_running(self):
        # The socket of a server that is gone is readable: nobody writes to this end of it.
        poll = select.poll()
        poll.register(self._requests, select.POLLIN)
        return not poll.poll(0)

    def _stop(self):
        with self._lock:
            self._stop_unlocked()

    def _stop_unlocked(self):
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._forkserver_pid is not None:
            try:
                os.waitpid(self._forkserver_pid, 0)
            except ChildProcessError:
                pass
            self._forkserver_pid = None

    def _launch(self):
        data = {}
        if self._preload_modules:
            data = spawn.get_preparation_data("ignore")
            keys = "init_main_from_name", "init_main_from_path", "sys_argv", "sys_path"
            data = {key: data[key] for key in keys if key in data}
        ours, theirs = whole_messages()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            executable = spawn.get_executable()
            flags = util._args_from_interpreter_flags()
            code = program(theirs.fileno(), self._preload_modules, data, sorted(map(int, blocked)))
            command = [executable, *flags, "-c", code]
            passed = [theirs.fileno()]
            self._forkserver_pid = util.spawnv_passfds(executable, command, passed)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._requests = ours

    def start(self, data, parent, tether, fds):
        """Has a child made.

        Returns its number, where its exit code will come, what is readable when it has ended, and
        its exit code if it has already.
        """
        if len(fds) + 6 > MAXFDS_TO_SEND:
            raise ValueError("too many fds")
        # A server that dies in the middle has made no child, or the child answers.
        for _ in range(5):
            self.ensure_running()
            answers, theirs = whole_messages()
            with theirs:
                passed = [theirs.fileno(), data, parent, resource_tracker.getfd()]
                passed += [self._requests.fileno(), tether if tether is not None else data, *fds]
                try:
                    socket.send_fds(self._requests, [b"t" if tether is not None else b"-"], passed)
                except ConnectionError:
                    answers.close()
                    continue
            message, descriptors, _, _ = socket.recv_fds(answers, _HELLO.size, 1)
            if message:
                break
            answers.close()
        else:
            raise OSError("the fork server has died again and again")
        kind, pid, status = _HELLO.unpack(message)
        if kind == b"h":
            return pid, answers, descriptors[0], None
        # It ended before it could answer itself.
        return pid, answers, os.dup(answers.fileno()), status


def read_status(answers):
    """Returns the exit code that a server tells of a child that has ended."""
    # It stays there for who is interrupted here, and asks again.
    message = answers.recv(_HELLO.size, socket.MSG_PEEK)
    if not message:
        # The server is dead, and nobody else can know.
        return 255
    return _HELLO.unpack(message)[2]


_forkserver = ForkServer()
ensure_running = _forkserver.ensure_running
get_inherited_fds = _forkserver.get_inherited_fds
set_forkserver_preload = _forkserver.set_forkserver_preload
