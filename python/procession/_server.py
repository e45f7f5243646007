"""The fork server's own process: it waits for requests, and for the ends of its children."""

import os
import select
import socket
import sys
import threading
from multiprocessing import process, util

from . import _child, forkserver

# What a child would import first thing.
from . import context, queues, synchronize  # noqa: F401  isort: skip
from multiprocessing import popen_fork, resource_tracker, spawn  # noqa: F401  isort: skip


def main(requests, preload, data, blocked):
    """Runs the server until nobody is left who could ask for a child.

    It was started with Ctrl-C blocked, which is for those who know what they are doing: a copy blocks
    what is `blocked`, from when its target begins.
    """
    if preload and not _preload(preload, data):
        _begin_again(requests, blocked)
    util._flush_std_streams()
    util._close_stdin()
    requests = forkserver.taken_over(requests)
    children = {}
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    while True:
        for fd, _ in poll.poll():
            if fd != requests.fileno():
                poll.unregister(fd)
                _reap(fd, *children.pop(fd))
                continue
            flags, fds, _, _ = socket.recv_fds(requests, 1, forkserver.MAXFDS_TO_SEND)
            if not flags:
                return
            pid = os.fork()
            if pid == 0:
                for child, (_, answers) in children.items():
                    os.close(child)
                    os.close(answers)
                requests.close()
                _run(flags, fds, blocked)
            try:
                child = os.pidfd_open(pid)
            except OSError:
                # No descriptor is left to watch it with: it is watched by waiting for it.
                _reap(None, pid, fds[0])
            else:
                children[child] = pid, fds[0]
                poll.register(child, select.POLLIN)
            for fd in fds[1:]:
                os.close(fd)


def _preload(names, data):
    """Imports what was chosen; false if that has left what no copy should begin with."""
    sys.path[:] = data["sys_path"]
    sys.argv[:] = data["sys_argv"]
    if "__main__" in names:
        # What is wrong with the main module is said by the children, who run it themselves then.
        current = process.current_process()
        current._inheriting = True
        try:
            if "init_main_from_name" in data:
                spawn._fixup_main_from_name(data["init_main_from_name"])
            elif "init_main_from_path" in data:
                spawn.import_main_path(data["init_main_from_path"])
        except BaseException:
            return False
        finally:
            del current._inheriting
    for name in names:
        try:
            __import__(name)
        except ImportError:
            pass
    return threading.active_count() == 1


def _begin_again(requests, blocked):
    """Becomes a server that has imported nothing of the program's."""
    os.set_inheritable(requests, True)
    os.execv(sys.executable, [*sys.orig_argv[:-1], forkserver.program(requests, [], {}, blocked)])


def _reap(child, pid, answers):
    """Says to whoever has asked for a child how it has ended."""
    _, status = os.waitpid(pid, 0)
    message = forkserver._HELLO.pack(b"s", pid, os.waitstatus_to_exitcode(status))
    try:
        os.write(answers, message)
    except OSError:
        pass  # nobody wants to know any more
    os.close(answers)
    if child is not None:
        os.close(child)


def _run(flags, fds, blocked):
    """Runs the target in a copy of the server, which never returns from here."""
    import atexit

    code = 1
    try:
        answers, data, parent, tracker, requests, tether, *_child.inherited = fds
        with forkserver.taken_over(answers) as answers:
            own = os.pidfd_open(os.getpid())
            hello = forkserver._HELLO.pack(b"h", os.getpid(), 0)
            try:
                socket.send_fds(answers, [hello], [own])
            except ConnectionError:
                os._exit(1)  # whoever has asked for it was interrupted, and does not want it any more
            os.close(own)
        if flags == b"t":
            _child.tie(tether)
        else:
            os.close(tether)
        forkserver._forkserver._requests = forkserver.taken_over(requests)
        forkserver._forkserver._forkserver_pid = None
        atexit._clear()
        atexit.register(util._exit_function)
        code = _child.run(data, parent, tracker, blocked)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()
        os._exit(code)
