#!/usr/bin/env python3
"""Times what Python programs do with processes, for any module like `multiprocessing`.

    python bench.py [--module procession|multiprocessing|billiard|…] [--quick] [FILTER…]

Each number is the median of several windows. With two modules, `--module a --module b`, their
windows take turns in one run, and the last column is b's number against a's.
"""

import argparse
import importlib
import os
import statistics
import sys
import time

WINDOWS = 7


def nothing():
    pass


def identity(value):
    return value


def total(array):
    return float(array[::4096].sum())


def echo(source, target, count):
    for _ in range(count):
        target.put(source.get())


def put_many(queue, count):
    for number in range(count):
        queue.put(number)


def get_many(queue, count, done):
    for _ in range(count):
        queue.get()
    done.put(None)


def set_back(there, back, count):
    for _ in range(count):
        there.wait()
        there.clear()
        back.set()


def started(ctx, target, *arguments):
    child = ctx.Process(target=target, args=arguments, daemon=True)
    child.start()
    return child


def timed(run):
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


# Each row yields one number for each window: seconds for one step, or steps in a second.


def start_and_join(method, count):
    def row(module, scale):
        ctx = module.get_context(method)

        def run():
            child = ctx.Process(target=nothing)
            child.start()
            child.join()

        run()
        while True:
            yield statistics.median(timed(run) for _ in range(max(3, count // scale)))

    return row


def lock(module, scale):
    lock, count = module.Lock(), 200_000 // scale

    def run():
        acquire, release = lock.acquire, lock.release
        for _ in range(count):
            acquire()
            release()

    while True:
        yield timed(run) / count


def lock_with(module, scale):
    lock, count = module.Lock(), 200_000 // scale

    def run():
        for _ in range(count):
            with lock:
                pass

    while True:
        yield timed(run) / count


def value_add(module, scale):
    value, count = module.Value("i", 0), 50_000 // scale

    def run():
        for _ in range(count):
            with value.get_lock():
                value.value += 1

    while True:
        yield timed(run) / count


def event(module, scale):
    there, back, count = module.Event(), module.Event(), 2000 // scale

    def run():
        child = started(module.get_context(), set_back, there, back, count + 1)
        there.set()
        back.wait()
        back.clear()

        def rounds():
            for _ in range(count):
                there.set()
                back.wait()
                back.clear()

        spent = timed(rounds)
        child.join()
        return spent

    while True:
        yield run() / count / 2


def queue_round_trip(value):
    def row(module, scale):
        ctx, count = module.get_context(), 4000 // scale
        there, back = ctx.Queue(), ctx.Queue()
        while True:
            child = started(ctx, echo, there, back, count + 1)
            there.put(value)
            back.get()

            def rounds():
                for _ in range(count):
                    there.put(value)
                    back.get()

            yield timed(rounds) / count
            child.join()

    return row


def queue_through(sides):
    def row(module, scale):
        ctx, count = module.get_context(), 200_000 // scale // sides
        queue, done = ctx.Queue(), ctx.SimpleQueue()
        while True:

            def run():
                children = [started(ctx, put_many, queue, count) for _ in range(sides)]
                children += [started(ctx, get_many, queue, count, done) for _ in range(sides)]
                for _ in range(sides):
                    done.get()
                for child in children:
                    child.join()

            yield count * sides / timed(run)

    return row


def pool_apply(module, scale):
    with module.Pool(2) as pool:
        count = 2000 // scale
        pool.apply(identity, (0,))

        def run():
            for number in range(count):
                pool.apply(identity, (number,))

        while True:
            yield timed(run) / count


def pool_map(chunk, count):
    def row(module, scale):
        with module.Pool(2) as pool:
            pool.map(identity, range(100))
            while True:
                items = range(count // scale)
                yield len(items) / timed(lambda: pool.map(identity, items, chunk))

    return row


def arrays(count, size):
    def row(module, scale):
        import numpy

        array = numpy.zeros(size, dtype=numpy.uint8)
        with module.Pool(2) as pool:
            pool.apply(total, (array,))

            def run():
                for result in [pool.apply_async(total, (array,)) for _ in range(count // scale or 1)]:
                    result.get()

            while True:
                yield timed(run) * (count / (count // scale or 1))

    return row


def array_queue(module, scale):
    import numpy

    ctx = module.get_context()
    there, back = ctx.Queue(), ctx.Queue()
    array = numpy.zeros(100_000_000, dtype=numpy.uint8)
    while True:
        child = started(ctx, total_of, there, back, 2)
        there.put(array[:4096])
        back.get()

        def run():
            there.put(array)
            back.get()

        yield timed(run)
        child.join()


def total_of(source, target, count):
    for _ in range(count):
        target.put(total(source.get()))


ROWS = [
    ("start + join, fork", "ms", start_and_join("fork", 40)),
    ("start + join, forkserver", "ms", start_and_join("forkserver", 40)),
    ("start + join, spawn", "ms", start_and_join("spawn", 8)),
    ("Lock, acquire and release", "ns", lock),
    ("Lock, with", "ns", lock_with),
    ("Value += 1, locked", "ns", value_add),
    ("Event, one way", "µs", event),
    ("Queue, round trip of an int", "µs", queue_round_trip(7)),
    ("Queue, round trip of a tuple", "µs", queue_round_trip((7, "seven", {}))),
    ("Queue of ints, 1 to 1", "k/s", queue_through(1)),
    ("Queue of ints, 2 to 2", "k/s", queue_through(2)),
    ("Queue, 100 MB array", "ms", array_queue),
    ("Pool.apply", "µs", pool_apply),
    ("Pool.map, chunk 1", "k/s", pool_map(1, 20_000)),
    ("Pool.map, default chunk", "k/s", pool_map(None, 1_000_000)),
    ("Pool, 100 MB array, a number back", "ms", arrays(1, 100_000_000)),
    ("Pool, 1000 arrays of 1 MB", "ms", arrays(1000, 1_000_000)),
]
UNITS = {"ms": 1e3, "µs": 1e6, "ns": 1e9, "k/s": 1e-3}


def measure(row, modules, scale):
    """The median of the windows of each module, which take turns; None where it cannot be had."""
    windows = {name: [] for name in modules}
    running = {name: row(module, scale) for name, module in modules.items()}
    for _ in range(3 if scale > 1 else WINDOWS):
        for name in modules:
            if windows[name] is not None:
                try:
                    windows[name].append(next(running[name]))
                except Exception as error:
                    print(f"  {name}: {type(error).__name__}: {error}", file=sys.stderr)
                    windows[name] = None
    for rows in running.values():
        rows.close()
    return [seen and statistics.median(seen) for seen in windows.values()]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--module", action="append", help="what to measure; may be given again")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows")
    parser.add_argument("filter", nargs="*", help="only rows with this in their name")
    arguments = parser.parse_args()
    names = arguments.module or ["multiprocessing", "procession"]
    modules = {name: importlib.import_module(name) for name in names}
    print(f"CPython {sys.version.split()[0]}, {os.cpu_count()} CPUs\n")
    last = " | × |" if len(names) > 1 else " |"
    print(f"| | {' | '.join(names)}{last}\n|---|" + "---:|" * (len(names) + (len(names) > 1)))
    for name, unit, row in ROWS:
        if arguments.filter and not any(word in name for word in arguments.filter):
            continue
        numbers = measure(row, modules, 10 if arguments.quick else 1)
        shown = [f"{n * UNITS[unit]:.3g}" if n is not None else "–" for n in numbers]
        ratio = ""
        if len(numbers) > 1:
            known = None not in (numbers[0], numbers[-1])
            ratio = f" {numbers[-1] / numbers[0]:.2f}× |" if known else " – |"
        print(f"| {name}, {unit} | {' | '.join(shown)} |{ratio}", flush=True)


if __name__ == "__main__":
    main()
