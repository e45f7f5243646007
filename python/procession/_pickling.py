"""Pickling as `multiprocessing` does it, with everything that was registered for it.

Functions and classes without a name that others could import them by, as lambdas and closures, are
pickled by `cloudpickle` where it is installed.
"""

import copyreg
import pickle
import types
from multiprocessing.reduction import ForkingPickler

__all__ = ["dumps", "dumps_by_name", "dumps_function", "loads"]

loads = pickle.loads

_for_all = copyreg.dispatch_table
_reducers = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
_PROTOCOL = 5

# Smaller buffers are in the pickle: one more piece of a message costs as much as copying them.
_LARGE = 16 * 1024


class _Pickler(pickle.Pickler):
    """A `ForkingPickler` with one table instead of a chain of them, which costs a tenth."""

    dispatch_table: dict = {}


# How many were registered with either when the table was filled.
_of_all = _of_processes = -1


def _update():
    """Brings the table up to date with what has been registered."""
    global _of_all, _of_processes
    _of_all, _of_processes = len(_for_all), len(_reducers)
    # A table that is never replaced: picklers are kept that know it.
    _Pickler.dispatch_table.clear()
    _Pickler.dispatch_table.update(_for_all)
    _Pickler.dispatch_table.update(_reducers)


class _Sink:
    """A file that keeps the pieces of a pickle."""

    def __init__(self):
        self.pieces, self.buffers = [], []
        self.write = self.pieces.append

    def keep_out(self, buffer):
        """Keeps a large buffer beside the pickle; says whether it shall be in it."""
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < _LARGE:
            return True
        self.buffers.append(raw)
        return False

    def take(self):
        """Returns what was dumped, and forgets it."""
        pieces, buffers = self.pieces, self.buffers
        # A large piece is the object's own memory.
        pickled = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if not buffers:
            return pickled
        dumped = pickled, buffers.copy()
        buffers.clear()
        return dumped


# Picklers that nobody uses now. To make one costs more than a small pickle.
_free: list = []


def dumps(obj, again=None):
    """Returns the pickle of an object; with large buffers in it, a pair of the pickle and those.

    `again` is called before another attempt.
    """
    try:
        return dumps_by_name(obj)
    except Exception as error:
        return _dumps_by_value(obj, error, again)


def dumps_by_name(obj):
    """As `dumps`, but functions and classes need a name of their module, as in the results of tasks:
    with `multiprocessing`, a program may count on an error for those that have none."""
    if len(_for_all) != _of_all or len(_reducers) != _of_processes:
        _update()
    try:
        pickler, sink = _free.pop()
    except IndexError:
        sink = _Sink()
        pickler = _Pickler(sink, _PROTOCOL, buffer_callback=sink.keep_out)
    pickler.dump(obj)  # One that fails is not used again.
    dumped = sink.take()
    # One that has seen much has tables for as much, which would be cleared each time.
    if type(dumped) is bytes and len(dumped) < _LARGE:
        pickler.clear_memo()
        _free.append((pickler, sink))
    return dumped


def dumps_function(function):
    """Returns the pickle of a function, and whether it is the same function each time it is read."""
    try:
        pickled = bytes(ForkingPickler.dumps(function))
    except Exception as error:
        sink = _Sink()
        _by_value(function, sink, error)
        plain = type(function) is types.FunctionType and function.__closure__ is None
        return b"".join(sink.pieces), plain
    return pickled, type(function) in (types.FunctionType, types.BuiltinFunctionType, type)


def _dumps_by_value(obj, error, again):
    sink = _Sink()
    _by_value(obj, sink, error, again, buffer_callback=sink.keep_out)
    return sink.take()


def _by_value(obj, file, error, again=None, **settings):
    """Pickles an object with functions in it that have no name, which has failed with `error`.

    Raises `error` if it is not one that `cloudpickle` can help with, or if that is not there.
    """
    if not _is_nameless(error):
        raise error
    try:
        import cloudpickle  # type: ignore[import-not-found,import-untyped]
    except ImportError:
        error.args = (
            f"{error}; functions and classes without a name of their module, as lambdas, need "
            "cloudpickle: pip install 'procession[cloudpickle]'",
        )
        raise error from None
    if again is not None:
        again()
    _pickler_by_value(cloudpickle)(file, _PROTOCOL, **settings).dump(obj)


def _is_nameless(error):
    """Tells whether pickling has failed at a function or a class that cannot be imported."""
    said = str(error)
    return isinstance(error, (AttributeError, pickle.PicklingError)) and (
        "<lambda>" in said or "<locals>" in said
    )


def _pickler_by_value(cloudpickle):
    """The pickler of `cloudpickle`, with what was registered for processes."""
    table = {**cloudpickle.Pickler.dispatch_table, **_for_all, **_reducers}
    return type("Pickler", (cloudpickle.Pickler,), {"dispatch_table": table})
