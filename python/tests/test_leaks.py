"""Many messages and many tasks: descriptors, threads and memory stay what they were."""

import gc
import os
import threading

import procession
from procession import futures

ROUNDS = 8
EACH = 25_000
# Memory goes up and down with what happens to be under way. What is left of each message or task
# shows, if it is an object of Python's: in half of the rounds they are more than this.
SLACK_KIB = ROUNDS // 2 * EACH * 64 // 1024


def resident():
    """The private memory of this process that is there, in KiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon"))


def footprint(_=None):
    gc.collect()
    return os.getpid(), len(os.listdir("/proc/self/fd")), threading.active_count(), resident()


def check(seen):
    """Checks the footprints of one process after each round."""
    _, descriptors, threads, memory = zip(*seen)
    half = len(seen) // 2
    assert max(descriptors[half:]) <= max(descriptors[:half]), descriptors
    assert max(threads[half:]) <= max(threads[:half]), threads
    assert min(memory[half:]) < max(memory[:half]) + SLACK_KIB, memory


def same(value):
    return value


def take(queue, back):
    for _ in range(ROUNDS):
        while queue.get() is not None:
            pass
        back.put(footprint())


def test_messages(ctx):
    queue, back = ctx.Queue(1000), ctx.Queue()
    child = ctx.Process(target=take, args=(queue, back))
    child.start()
    here, there = [], []
    for _ in range(ROUNDS):
        # Of both kinds: as they are, and pickled.
        for number in range(EACH // 2):
            queue.put(number)
            queue.put((number, "text"))
        queue.put(None)
        there.append(back.get())
        here.append(footprint())
    check(here)
    check(there)
    child.join()
    child.close()


def test_tasks(ctx):
    with ctx.Pool(2) as pool:
        here, there = [], {}
        for _ in range(ROUNDS):
            assert sum(pool.map(same, range(EACH), 1)) == sum(range(EACH))
            assert sum(pool.imap_unordered(same, range(EACH // 10), 16)) == sum(range(EACH // 10))
            results = [pool.apply_async(same, ((n, "text"),)) for n in range(EACH // 100)]
            assert [result.get()[0] for result in results] == list(range(EACH // 100))
            del results
            here.append(footprint())
            for seen in pool.map(footprint, range(8), 1):
                there.setdefault(seen[0], []).append(seen)
        check(here)
        for seen in there.values():
            check(seen)


def fail(number):
    raise ValueError(number)


def test_errors_workers_and_executors():
    """What goes wrong, and what comes and goes, leaves nothing either."""
    ctx, seen = procession.get_context("forkserver"), []
    for _ in range(ROUNDS):
        for _ in range(4):
            with futures.ProcessPoolExecutor(2, ctx, max_tasks_per_child=5) as executor:
                for future in [executor.submit(fail, n) for n in range(20)]:
                    assert isinstance(future.exception(), ValueError)
                dead = executor.submit(os._exit, 3)
                assert isinstance(dead.exception(), procession.WorkerDied)
        seen.append(footprint())
    check(seen)
