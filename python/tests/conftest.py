"""What every test has: a context for each start method, a time limit, and a look at what it left."""

import faulthandler
import gc
import os
import threading
import time

import procession
import pytest
from procession.forkserver import _forkserver

METHODS = ["fork", "forkserver", "spawn"]
LIMIT = 120


@pytest.fixture(params=METHODS)
def ctx(request):
    """The context of each start method in turn."""
    return procession.get_context(request.param)


@pytest.fixture(autouse=True)
def time_limit():
    """Ends a test that hangs, and says where."""
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()


def descriptors():
    """The open descriptors of this process, with what they are on."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # the directory's own
        # The heap of `sharedctypes` keeps what it has got.
        if "/pym-" not in target:
            found.add((int(name), target))
    requests = _forkserver._requests
    # There is one fork server, which may be another one after a test.
    return {entry for entry in found if requests is None or entry[0] != requests.fileno()}


def leftovers():
    """What a test may not leave behind: descriptors, threads, children, files in memory."""
    gc.collect()
    threads = {thread.name for thread in threading.enumerate()}
    # Semaphores with names are another program's: ours have none.
    others = "pym-", "sem."
    files = {name for name in os.listdir("/dev/shm") if not name.startswith(others)}
    return descriptors() | threads | set(procession.active_children()) | files


@pytest.fixture(autouse=True)
def nothing_left():
    """Fails a test that has left something behind."""
    warm_up()
    before = leftovers()
    yield
    end = time.monotonic() + 10
    while (left := leftovers() - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert left == set()


def warm_up():
    """Makes what a process keeps for good: its fork server, its tracker, its own descriptors."""
    if not warm_up.done:
        warm_up.done = True
        for method in METHODS:
            lock = procession.get_context(method).Lock()
            child = procession.get_context(method).Process(target=lock.acquire, daemon=True)
            child.start()
            child.join()
            child.close()


warm_up.done = False
