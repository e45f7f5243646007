"""Libraries that do what `multiprocessing` does under other names, in its names as far as they go.

What a library does not have is not made up here: its column has a dash there.
"""

import importlib
import multiprocessing

# Those that a table of all is of, where they are installed.
ALL = [
    "multiprocessing",
    "procession",
    "billiard",
    "concurrent.futures",
    "loky",
    "pebble",
    "mpire",
    "faster_fifo",
]


def load(name):
    """Returns a module like `multiprocessing`."""
    module = importlib.import_module(name)
    adapter = ADAPTERS.get(name)
    return adapter(module) if adapter else module


def installed():
    """Returns the names of those of `ALL` that can be imported."""
    found = []
    for name in ALL:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
        found.append(name)
    return found


def chunk_of(items, chunk):
    """Returns the chunk that `multiprocessing` takes for two workers, if there is no other."""
    return chunk or -(-len(items) // 8)


class Futures:
    """An executor as a pool."""

    def __init__(self, module):
        self.module = module

    def Pool(self, workers):
        return FuturesPool(self.module.ProcessPoolExecutor(workers))


class FuturesPool:
    # Of so many tasks one is measured where each takes as long as many of others'.
    few = 10

    def __init__(self, executor):
        self.executor = executor

    def apply(self, function, arguments):
        return self.executor.submit(function, *arguments).result()

    def apply_async(self, function, arguments):
        future = self.executor.submit(function, *arguments)
        future.get = future.result
        return future

    def map(self, function, items, chunk=None):
        return list(self.executor.map(function, items, chunksize=chunk_of(items, chunk)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.executor.shutdown()


class Pebble:
    def __init__(self, module):
        self.module = module

    def Pool(self, workers):
        return PebblePool(self.module.ProcessPool(workers))


class PebblePool(FuturesPool):
    def apply(self, function, arguments):
        return self.apply_async(function, arguments).result()

    def apply_async(self, function, arguments):
        future = self.executor.schedule(function, args=arguments)
        future.get = future.result
        return future

    def map(self, function, items, chunk=None):
        return list(self.executor.map(function, items, chunksize=chunk_of(items, chunk)).result())

    def __exit__(self, *_):
        self.executor.stop()
        self.executor.join()


class Mpire:
    def __init__(self, module):
        self.module = module

    def Pool(self, workers):
        return MpirePool(self.module.WorkerPool(workers, keep_alive=True))


class MpirePool(FuturesPool):
    def apply(self, function, arguments):
        return self.executor.apply(function, arguments)

    def apply_async(self, function, arguments):
        return self.executor.apply_async(function, arguments)

    def map(self, function, items, chunk=None):
        return self.executor.map(function, items, chunk_size=chunk_of(items, chunk))

    def __exit__(self, *_):
        self.executor.terminate()


class FasterFifo:
    """Its queue, for processes of the standard library."""

    def __init__(self, module):
        self.module = module

    def get_context(self, method=None):
        if method:
            raise AttributeError("it starts no processes")
        return self

    def Queue(self):
        return self.module.Queue(max_size_bytes=16_000_000)

    SimpleQueue = staticmethod(multiprocessing.SimpleQueue)
    Process = staticmethod(multiprocessing.Process)


ADAPTERS = {
    "concurrent.futures": Futures,
    "loky": Futures,
    "pebble": Pebble,
    "mpire": Mpire,
    "faster_fifo": FasterFifo,
}
