"""How an object in shared memory gets into a child: by its descriptors, while it is spawned."""

from multiprocessing import reduction
from multiprocessing.context import assert_spawning


def carry(shared):
    """Returns what `shared` is pickled as: its descriptors, for the child that is being spawned."""
    assert_spawning(shared)
    return tuple(reduction.DupFd(handle) for handle in shared._handles())


def receive(shared, carried):
    """Opens `shared` with the descriptors that have come into this child."""
    shared._open([handle.detach() for handle in carried])
