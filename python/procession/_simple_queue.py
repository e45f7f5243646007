"""`SimpleQueue`, by itself: what it is made of costs a child milliseconds to import."""

from multiprocessing import queues as _std

from .context import _default_context


class SimpleQueue(_std.SimpleQueue):
    """A queue with nothing but put, get and empty: the standard library's pipe, with locks of ours.

    Others wait for its reader with a selector, and count on finding an object then: a pipe says
    nothing else.
    """

    def __init__(self, *, ctx=None):
        super().__init__(ctx=ctx or _default_context)
