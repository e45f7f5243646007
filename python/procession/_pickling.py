"""Pickling as `multiprocessing` does it, with everything that was registered for it."""

import copyreg
import io
import pickle
import types
from multiprocessing.reduction import ForkingPickler

__all__ = ["dumps", "dumps_function", "loads"]

loads = pickle.loads


class _Pickler(pickle.Pickler):
    """A `ForkingPickler` with one table instead of a chain of them, which costs a tenth."""

    dispatch_table: dict = {}
    # How many were registered with either when the table was made.
    registered: "tuple[int, int]" = (-1, -1)


def _update():
    """Brings the table up to date with what has been registered."""
    reducers = ForkingPickler._extra_reducers
    registered = len(copyreg.dispatch_table), len(reducers)
    if registered != _Pickler.registered:
        _Pickler.dispatch_table = {**copyreg.dispatch_table, **reducers}
        _Pickler.registered = registered


# Smaller buffers are in the pickle: one more piece of a message costs as much as copying them.
_LARGE = 16 * 1024


def dumps(obj):
    """Returns the pickle of an object; with large buffers in it, a pair of the pickle and those."""
    _update()
    pickled, buffers = io.BytesIO(), []

    def keep_out(buffer):
        try:
            raw = buffer.raw()
        except BufferError:
            return True
        if raw.nbytes < _LARGE:
            return True
        buffers.append(raw)
        return False

    _Pickler(pickled, 5, buffer_callback=keep_out).dump(obj)
    return (pickled.getvalue(), buffers) if buffers else pickled.getvalue()


def dumps_function(function):
    """Returns the pickle of a function, and whether that is but its name, for everybody the same."""
    pickled = ForkingPickler.dumps(function)
    return bytes(pickled), type(function) in (types.FunctionType, types.BuiltinFunctionType, type)
