"""What runs in a worker of a pool.

Ctrl-C at a terminal goes to all processes of a program. In a worker it interrupts the task that is
running, which is told as :class:`~procession.TaskCancelled`, and nothing else: not the start, not an
initializer, not the wait for a task. What becomes of the workers is for the parent to say.
"""

import os
import signal
import sys

from . import _procession
from ._pickling import dumps_by_name, loads
from ._share import carry, receive
from .errors import TaskCancelled

__all__ = ["work"]


class Seat(_procession.Seat):
    """What a worker is given at its start, passed as every shared object is."""

    def __getstate__(self):
        return carry(self), self._plan()

    def __setstate__(self, state):
        self._received = state

    def _arrive(self):
        """Opens what has come by pickle; after a fork it is all there."""
        if hasattr(self, "_received"):
            carried, plan = self._received
            self._open([handle.detach() for handle in carried], plan)


def start(worker, mask):
    """Starts the process of a worker, who is deaf to Ctrl-C until `work` has a handler for it."""
    worker._holds_interrupts = True
    if worker._start_method == "spawn":
        # Its start would take away what is blocked here.
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()
    # This thread may block all signals, which is not for a worker to inherit. Nor is it for a fork
    # server, which sees to interrupts itself.
    held = mask if worker._start_method == "forkserver" else mask | {signal.SIGINT}
    before = signal.pthread_sigmask(signal.SIG_SETMASK, held)
    try:
        worker.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interrupt(number, frame):
    """Handles Ctrl-C in a worker."""
    if _procession.is_at_task():
        raise KeyboardInterrupt


def work(seat, initializer, initargs, memory_limit, mask):
    """Runs tasks until the pool says that it is enough."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    seat._arrive()
    seat._take()
    try:
        if memory_limit is not None:
            limit_memory(memory_limit)
        if initializer is not None:
            initializer(*initargs)
    except BaseException as error:
        seat._fail(f"the initializer raised {type(error).__name__}: {error}")
        raise
    seat._work(loads, dumps_by_name, failed, leave)


def limit_memory(limit):
    """Has allocations fail beyond `limit` bytes of private memory."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def failed(error, value):
    """Returns the pickle of what a task has raised; with a value, of why that cannot be pickled."""
    from multiprocessing.pool import ExceptionWithTraceback, MaybeEncodingError
    from multiprocessing.reduction import ForkingPickler

    if isinstance(error, KeyboardInterrupt):
        # As an exception of its own: the parent's own interrupt is its own affair.
        return bytes(ForkingPickler.dumps(TaskCancelled("interrupted in its worker, as by Ctrl-C")))
    if value is None:
        try:
            return bytes(ForkingPickler.dumps(ExceptionWithTraceback(error, error.__traceback__)))
        except Exception as reason:
            error, value = reason, error
    return bytes(ForkingPickler.dumps(MaybeEncodingError(error, value)))


def leave(error):
    """Ends this process as a `SystemExit` does, in the middle of a task."""
    code = error.code
    if code is None:
        code = 0
    elif not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, ValueError, OSError):
            pass
    os._exit(code & 0xFF)
