"""Shared scalars and arrays of `ctypes`: the standard library's, with locks of ours."""

from multiprocessing.sharedctypes import (
    RawArray,
    RawValue,
    Synchronized,
    SynchronizedArray,
    SynchronizedBase,
    SynchronizedString,
    copy,
)
from multiprocessing import sharedctypes as _std

from .context import _default_context

__all__ = ["RawValue", "RawArray", "Value", "Array", "copy", "synchronized"]


def Value(typecode_or_type, *args, lock=True, ctx=None):
    """Returns a shared scalar, with a lock unless `lock` is False."""
    return _std.Value(typecode_or_type, *args, lock=lock, ctx=ctx or _default_context)


def Array(typecode_or_type, size_or_initializer, *, lock=True, ctx=None):
    """Returns a shared array, with a lock unless `lock` is False."""
    return _std.Array(typecode_or_type, size_or_initializer, lock=lock, ctx=ctx or _default_context)


def synchronized(obj, lock=None, ctx=None):
    """Returns a shared object with a lock around it."""
    return _std.synchronized(obj, lock, ctx or _default_context)
