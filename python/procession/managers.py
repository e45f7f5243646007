"""Managers: the standard library's, whose servers are processes of ours.

So a server that is a daemon does not outlive the process that has started it.
"""

from multiprocessing import managers as _std
from multiprocessing.managers import BaseProxy, Namespace, Token

from .context import _default_context

__all__ = ["BaseManager", "SyncManager", "BaseProxy", "Token", "SharedMemoryManager"]


class BaseManager(_std.BaseManager):
    """A server process with objects in it, and proxies for them."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # The fourth argument is a context, if one is chosen.
        if len(args) < 4 and kwargs.get("ctx") is None:
            self._ctx = _default_context.get_context()


class SyncManager(BaseManager, _std.SyncManager):
    """A manager of lists, dictionaries, locks and queues."""


class SharedMemoryManager(BaseManager, _std.SharedMemoryManager):
    """A manager of blocks of shared memory, which go when it goes."""


def __getattr__(name):
    """All else is the standard library's."""
    return getattr(_std, name)
