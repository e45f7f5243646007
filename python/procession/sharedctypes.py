"""Shared scalars and arrays of `ctypes`: the standard library's, with locks of ours."""

import ctypes
from multiprocessing import sharedctypes as _std
from multiprocessing.context import assert_spawning
from multiprocessing.sharedctypes import (
    RawArray,
    RawValue,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    copy,
)

from . import _procession
from .context import _default_context
from .synchronize import RLock

__all__ = ["RawValue", "RawArray", "Value", "Array", "copy", "synchronized"]


class Synchronized(_procession.Synchronized, _std.Synchronized):
    """A scalar in shared memory with a lock around it."""

    def __init__(self, obj, lock=None, ctx=None):
        _std.Synchronized.__init__(self, obj, lock, ctx or _default_context)
        self._bind(self._obj, self._lock)

    def __reduce__(self):
        assert_spawning(self)
        return synchronized, (self._obj, self._lock)


def Value(typecode_or_type, *args, lock=True, ctx=None):
    """Returns a shared scalar, with a lock unless `lock` is False."""
    obj = RawValue(typecode_or_type, *args)
    if lock is False:
        return obj
    if lock is True or lock is None:
        lock = (ctx or _default_context).RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return synchronized(obj, lock, ctx)


def Array(typecode_or_type, size_or_initializer, *, lock=True, ctx=None):
    """Returns a shared array, with a lock unless `lock` is False."""
    return _std.Array(typecode_or_type, size_or_initializer, lock=lock, ctx=ctx or _default_context)


def synchronized(obj, lock=None, ctx=None):
    """Returns a shared object with a lock around it."""
    ctx = ctx or _default_context
    if lock is None:
        lock = ctx.RLock()
    # With any other lock, what its class says of `acquire` counts.
    if isinstance(obj, ctypes._SimpleCData) and type(lock) is RLock:
        return Synchronized(obj, lock, ctx)
    return _std.synchronized(obj, lock, ctx)
