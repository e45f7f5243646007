"""The child's side of a start: what happens before its target runs."""

import os
import pickle
import sys
from multiprocessing import process

from . import _procession

# The descriptors that came with a request to the fork server, in their order.
inherited = ()


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


def run(data, parent, tracker):
    """Runs the process that is pickled behind a descriptor, and returns its exit code."""
    from multiprocessing import resource_tracker

    resource_tracker._resource_tracker._fd = tracker
    current = process.current_process()
    with open(data, "rb") as pickled:
        current._inheriting = True
        try:
            prepare(pickle.load(pickled))
            started = pickle.load(pickled)
        finally:
            del current._inheriting
    return started._bootstrap(parent_sentinel=parent)


def prepare(data):
    """Makes this process like its parent, as far as a target and its arguments need it."""
    from multiprocessing import spawn

    path = data.get("init_main_from_path")
    if path is not None and is_script(path):
        del data["init_main_from_path"]
        spawn.prepare(data)
        run_script(path)
    else:
        spawn.prepare(data)


def is_script(path):
    """Tells whether a main module is a plain file of source, and not the one that is loaded."""
    loaded = getattr(sys.modules["__main__"], "__file__", None)
    # IPython's start script has no guard, and nothing that a child could need.
    is_source = path.endswith(".py") and os.path.basename(path) != "ipython.py"
    return is_source and path != loaded and os.path.isfile(path)


def run_script(path):
    """Runs the parent's script as `__mp_main__`, which is the main module here."""
    import io
    import types
    from multiprocessing import spawn

    name = "__mp_main__"
    main = types.ModuleType(name)
    vars(main).update(__file__=path, __cached__=None, __package__="", __builtins__=__builtins__)
    with io.open_code(path) as source:
        code = compile(source.read(), path, "exec")
    spawn.old_main_modules.append(sys.modules["__main__"])
    # While it runs, `__main__` is what it would be in `runpy.run_path`.
    sys.modules[name] = main
    try:
        exec(code, vars(main))
    except BaseException:
        del sys.modules[name]
        raise
    sys.modules["__main__"] = main
