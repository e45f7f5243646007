"""Connections, listeners and `wait`: the standard library's, and `wait` knows queues as well."""

import time
from multiprocessing import connection as _std
from multiprocessing.connection import Client, Listener, Pipe

__all__ = ["Client", "Listener", "Pipe", "wait"]


def wait(object_list, timeout=None):
    """Waits until something in `object_list` is ready, and returns what is."""
    end = None if timeout is None else time.monotonic() + timeout
    object_list = list(object_list)
    while True:
        ready = [found for found in _std.wait(object_list, timeout) if _is_ready(found)]
        if end is not None:
            timeout = max(0.0, end - time.monotonic())
        if ready or timeout == 0.0:
            return ready


def _is_ready(found):
    """Tells whether something is there: a queue's reader may have been woken for nothing."""
    queue = getattr(found, "_queue", None)
    return queue is None or not queue._empty()


def __getattr__(name):
    """All else is the standard library's."""
    return getattr(_std, name)
