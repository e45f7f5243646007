"""Processes as easy as threads: ``import procession as multiprocessing``.

Every name of :mod:`multiprocessing` is here, with the same signatures. The objects live in shared
memory, and none of them waits for ever because a process has died.
"""

import multiprocessing as _std

from . import context as _context
from ._procession import __version__
from .errors import (
    OwnerDied,
    PoolBroken,
    PoolTerminated,
    TaskCancelled,
    TaskTimedOut,
    WorkerDied,
)

_default = _context._default_context

__all__ = [
    *_std.__all__,
    "OwnerDied",
    "PoolBroken",
    "PoolTerminated",
    "TaskCancelled",
    "TaskTimedOut",
    "WorkerDied",
]

# As `multiprocessing` itself does it: what the default context offers is what the package offers.
globals().update((name, getattr(_default, name)) for name in _std.__all__)


def __getattr__(name):
    """Imports a submodule when it is first named: `import procession` says nothing of them."""
    import importlib

    if not name.startswith("_"):
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
