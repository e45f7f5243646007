"""The child's side of a start: what happens before its target runs."""

import io
import os
import pickle
import signal
import sys
from _frozen_importlib_external import PathFinder
from multiprocessing import context, process, util

from . import _procession

# The descriptors that came with a request to the fork server, in their order.
inherited = ()

# A main module that was replaced lives on: what it has defined may be in use.
_old_main_modules: list = []


class Passed:
    """A descriptor that a spawned child has under the same number."""

    def __init__(self, fd):
        self.fd = fd

    def detach(self):
        return self.fd


class Inherited:
    """A descriptor that has come to a child of the fork server with the request for it."""

    def __init__(self, index):
        self.index = index

    def detach(self):
        return inherited[self.index]


def tie(tether):
    """Has this process killed when its parent is gone, which it may be already."""
    try:
        _procession.tie(tether)
    except BrokenPipeError:
        os._exit(1)


def main(data, parent, tracker, tether):
    """Runs a spawned child: the arguments are numbers of descriptors."""
    if tether is not None:
        tie(tether)
    sys.exit(run(data, parent, tracker))


def run(data, parent, tracker, blocked=None):
    """Runs the process that is pickled behind a descriptor, and returns its exit code.

    What it is to block is `blocked` from then on; a worker of a pool sees to that itself.
    """
    use_tracker(tracker)
    current = process.current_process()
    with open(data, "rb") as pickled:
        current._inheriting = True
        try:
            preparation, lengths = pickle.load(pickled)
            prepare(preparation)
            started = pickle.load(pickled, buffers=mapped(data, lengths))
        finally:
            del current._inheriting
    if blocked is not None and not hasattr(started, "_holds_interrupts"):
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return started._bootstrap(parent_sentinel=parent)


def aligned(position):
    """Returns where the next large buffer begins."""
    return (position + 63) & ~63


def mapped(data, lengths):
    """Returns the large buffers at the start of a descriptor's memory, as memory of this process."""
    if not lengths:
        return None
    import mmap

    ends = []
    for length in lengths:
        ends.append(aligned(ends[-1] if ends else 0) + length)
    # A page is copied when it is written to, and not before.
    memory = memoryview(mmap.mmap(data, ends[-1], flags=mmap.MAP_PRIVATE))
    return [memory[end - length : end] for end, length in zip(ends, lengths)]


def use_tracker(fd):
    """Has this process use its parent's resource tracker, if it ever needs one."""
    tracker = sys.modules.get(_TRACKER)
    if tracker is not None:
        tracker._resource_tracker._fd = fd
    else:
        sys.meta_path.insert(0, _TrackerFinder(fd))


_TRACKER = "multiprocessing.resource_tracker"


class _TrackerFinder:
    """Imports the resource tracker's module as usual, and tells it which tracker there is.

    Most children never need it, and it brings along much that costs milliseconds to import.
    """

    def __init__(self, fd):
        self.fd = fd

    def find_spec(self, name, path=None, target=None):
        if name != _TRACKER:
            return None
        sys.meta_path.remove(self)
        spec = PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            module._resource_tracker._fd = self.fd

        spec.loader.exec_module = exec_module
        return spec


def prepare(data):
    """Makes this process like its parent, as far as a target and its arguments need it.

    As `multiprocessing.spawn.prepare`, which is imported only where it is needed.
    """
    current = process.current_process()
    current.name = data["name"]
    current.authkey = data["authkey"]
    if data["log_to_stderr"]:
        util.log_to_stderr()
    if "log_level" in data:
        util.get_logger().setLevel(data["log_level"])
    sys.path = data["sys_path"]
    sys.argv = data["sys_argv"]
    os.chdir(data["dir"])
    process.ORIGINAL_DIR = data["orig_dir"]
    context._default_context.set_start_method(data["start_method"], force=True)
    path = data.get("init_main_from_path")
    if "init_main_from_name" in data:
        from multiprocessing import spawn

        spawn._fixup_main_from_name(data["init_main_from_name"])
    elif path is not None:
        if is_script(path):
            run_script(path)
        else:
            from multiprocessing import spawn

            spawn._fixup_main_from_path(path)


def is_script(path):
    """Tells whether a main module is a plain file of source, and not the one that is loaded."""
    loaded = getattr(sys.modules["__main__"], "__file__", None)
    # IPython's start script has no guard, and nothing that a child could need.
    is_source = path.endswith(".py") and os.path.basename(path) != "ipython.py"
    return is_source and path != loaded and os.path.isfile(path)


def run_script(path):
    """Runs the parent's script as `__mp_main__`, which is the main module here."""
    name = "__mp_main__"
    main = type(sys)(name)
    vars(main).update(__file__=path, __cached__=None, __package__="", __builtins__=__builtins__)
    with io.open_code(path) as source:
        code = compile(source.read(), path, "exec")
    _old_main_modules.append(sys.modules["__main__"])
    # While it runs, `__main__` is what it would be in `runpy.run_path`.
    sys.modules[name] = main
    try:
        exec(code, vars(main))
    except BaseException:
        del sys.modules[name]
        raise
    sys.modules["__main__"] = main
