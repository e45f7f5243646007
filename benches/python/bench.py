#!/usr/bin/env python3
"""Times what Python programs do with processes, for any module like `multiprocessing`.

    python bench.py [--module NAME…] [--peers] [--quick] [--into FILE] [FILTER…]

Each number is the median of several windows. With several modules their windows take turns in one
run. With two, the last column is the second's number against the first's. `--peers` is all of
`peers.py` that are installed. `--into README.md` puts the table where that file has its marks.
"""

import argparse
import os
import pathlib
import select
import signal
import statistics
import subprocess
import sys
import time

import peers

WINDOWS = 7
# A window that takes longer is taken for one that hangs.
PATIENCE = 60
MARKS = "<!-- bench python -->\n", "<!-- /bench python -->"


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
        count //= getattr(pool, "few", 1)
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
                items = range(count // scale // (getattr(pool, "few", 1) if chunk == 1 else 1))
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


def serve(module, number, scale):
    """Measures one row of one module: a window for each line that is read, a number for each said."""
    row = ROWS[number][2](peers.load(module), scale)
    said, sys.stdout = sys.stdout, sys.stderr
    for _ in sys.stdin:
        try:
            print(next(row), file=said, flush=True)
        except AttributeError:
            return  # what a library does not have is no news
        except Exception as error:
            print(f"  {module}: {type(error).__name__}: {error}", file=sys.stderr)
            return
    row.close()


class Measured:
    """A row of a module, in a process of its own: none disturbs another's."""

    def __init__(self, module, number, scale):
        command = [sys.executable, __file__, "--serve", module, str(number), str(scale)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, text=True, start_new_session=True
        )
        self.module = module
        self.windows = []

    def measure(self):
        if self.windows is None:
            return
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        readable, _, _ = select.select([self.process.stdout], [], [], PATIENCE)
        if not readable:
            print(f"  {self.module}: not done after {PATIENCE} s", file=sys.stderr)
        said = self.process.stdout.readline() if readable else ""
        if said:
            self.windows.append(float(said))
        else:
            self.windows = None
            self.end()

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()


def measure(number, modules, scale):
    """The median of the windows of each module, which take turns; None where it cannot be had."""
    running = [Measured(module, number, scale) for module in modules]
    for _ in range(3 if scale > 1 else WINDOWS):
        for one in running:
            one.measure()
    for one in running:
        one.end()
    return [one.windows and statistics.median(one.windows) for one in running]


def table(modules, rows, scale):
    """Yields the lines of a table, as they are measured."""
    two = len(modules) == 2
    yield f"| | {' | '.join(modules)} |{' × |' if two else ''}"
    yield "|---|" + "---:|" * (len(modules) + two)
    for row in rows:
        name, unit, _ = ROWS[row]
        numbers = measure(row, modules, scale)
        if not any(numbers):
            continue
        shown = [rounded(n * UNITS[unit]) if n else "–" for n in numbers]
        ratio = ""
        if two:
            ratio = f" {numbers[1] / numbers[0]:.2f}× |" if all(numbers) else " – |"
        yield f"| {name}, {unit} | {' | '.join(shown)} |{ratio}"


def rounded(number):
    """Three digits that say something."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def put_into(path, text):
    """Puts a table where a file has marks for it."""
    begin, end = MARKS
    file = pathlib.Path(path)
    before, found, rest = file.read_text().partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        sys.exit(f"{path} has no place for a table, between {begin.strip()} and {end}")
    file.write_text(before + begin + text + end + after)


def main():
    if sys.argv[1:2] == ["--serve"]:
        module, number, scale = sys.argv[2:]
        return serve(module, int(number), int(scale))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--module", action="append", help="what to measure; may be given again")
    parser.add_argument("--peers", action="store_true", help="measure all that are installed")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter windows")
    parser.add_argument("--into", metavar="FILE", help="put the table into this file, too")
    parser.add_argument("filter", nargs="*", help="only rows with this in their name")
    arguments = parser.parse_args()
    names = arguments.module or ["multiprocessing", "procession"]
    if arguments.peers:
        names = peers.installed()
    wanted = arguments.filter or [""]
    rows = [n for n, row in enumerate(ROWS) if any(word in row[0] for word in wanted)]
    lines = [f"CPython {sys.version.split()[0]}, {os.cpu_count()} CPUs, {os.uname().release}", ""]
    print(*lines, sep="\n")
    for line in table(names, rows, 10 if arguments.quick else 1):
        print(line, flush=True)
        lines.append(line)
    if arguments.into:
        put_into(arguments.into, "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
