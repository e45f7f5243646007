"""Pools under every start method, with real kills."""

import asyncio
import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref

import procession
import pytest
from procession import futures
from procession.pool import Pool


def square(number):
    return number * number


def nap(seconds):
    time.sleep(seconds)
    return seconds


def die(number, deadly):
    if number in deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def fail(number):
    if number % 3 == 0:
        raise ValueError(f"{number} is a multiple of 3")
    return number


def leave(code):
    sys.exit(code)


def first_time(path):
    """Dies the first time, and returns the second."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "second"
    os.kill(os.getpid(), signal.SIGKILL)


def identity(value):
    return value


def pid(_):
    return os.getpid()


def use(mebibytes):
    return len(bytearray(mebibytes << 20))


def meet(barrier):
    barrier.wait(20)
    return os.getpid()


@pytest.fixture
def pool(ctx):
    with ctx.Pool(2) as pool:
        yield pool
    pool.join()


def test_calls(pool):
    assert pool.apply(square, (7,)) == 49
    assert pool.apply(int, ("ff",), {"base": 16}) == 255
    assert pool.apply(sum, [[1, 2, 3]]) == 6
    assert pool.map(square, range(1000)) == [n * n for n in range(1000)]
    assert pool.map(square, [], 10) == []
    assert pool.starmap(pow, [(2, 3), [3, 2]]) == [8, 9]
    assert list(pool.imap(square, range(100), 7)) == [n * n for n in range(100)]
    assert sorted(pool.imap_unordered(square, range(100))) == [n * n for n in range(100)]
    result = pool.apply_async(square, (3,))
    assert result.get(60) == 9 and result.ready() and result.successful()
    assert pool.map_async(square, [4, 5]).get() == [16, 25]


def test_values_cross_whole(pool):
    values = [
        None,
        True,
        2**70,
        -1.5,
        "text",
        "\ud800",
        b"\0bytes",
        bytearray(b"more"),
        (),
        (1, ("two", (3.0, (4,)))),
        tuple(range(50)),
        [1, [2, {3: {4}}]],
        b"x" * 1_000_000,
        bytearray(b"y" * 1_000_000),
        "z" * 300_000,
        Exception("said"),
    ]
    back = pool.map(identity, values, 3)
    for value, other in zip(values, back):
        assert type(value) is type(other)
        assert repr(value) == repr(other)


def test_exceptions_say_where(pool):
    with pytest.raises(ValueError, match="3 is a multiple") as caught:
        pool.apply(fail, (3,))
    assert "in fail" in str(caught.value.__cause__)
    outcomes = pool.try_map(fail, range(7), 3)
    assert [isinstance(outcome, ValueError) for outcome in outcomes] == [
        number % 3 == 0 for number in range(7)
    ]
    with pytest.raises(procession.pool.MaybeEncodingError):
        pool.apply(threading.Lock)
    with pytest.raises(Exception, match="pickle"):
        pool.apply(identity, (threading.Lock(),))
    with pytest.raises(Exception, match="pickle"):
        pool.map(threading.Lock().acquire, [1])
    # An item that cannot be pickled fails alone.
    outcomes = pool.try_map(identity, [1, threading.Lock(), 3], 3)
    assert outcomes[::2] == [1, 3] and isinstance(outcomes[1], TypeError)


def test_a_death_hurts_one_task(pool):
    with pytest.raises(procession.WorkerDied) as caught:
        pool.apply(die, (1, {1}))
    assert caught.value.exitcode == -signal.SIGKILL and caught.value.signal == "SIGKILL"
    for chunk in [1, 5, None]:
        deadly = {3, 17, 18}
        items = [(number, deadly) for number in range(40)]
        result = pool.starmap_async(die, items, chunk)
        outcomes = result.get_all()
        for number, outcome in enumerate(outcomes):
            if number in deadly:
                assert isinstance(outcome, procession.WorkerDied)
            else:
                assert outcome == number
        with pytest.raises(procession.WorkerDied):
            result.get()


def test_a_task_that_exits(pool):
    for code, expected in [(0, 0), (3, 3), (None, 0), ("said", 1)]:
        with pytest.raises(procession.WorkerDied) as caught:
            pool.apply(leave, (code,))
        assert caught.value.exitcode == expected
    assert pool.map(square, range(5)) == [0, 1, 4, 9, 16]


def test_kills_at_any_moment(ctx):
    with ctx.Pool(3) as pool:
        chance = random.Random()
        kills, hurt, done = 0, 0, 0
        while kills < 30:
            results = [pool.apply_async(square, (n,)) for n in range(200)]
            time.sleep(chance.random() / 200)
            workers = [worker[0] for worker in pool.stats()["workers"]]
            if workers:
                try:
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    kills += 1
                except ProcessLookupError:
                    pass
            for number, result in enumerate(results):
                try:
                    assert result.get(60) == number * number
                    done += 1
                except procession.WorkerDied:
                    hurt += 1
        assert hurt <= kills
        stats = pool.stats()
        assert (stats["done"], stats["failed"]) == (done, hurt)
    pool.join()


def test_time_limits_and_retries(ctx, tmp_path):
    with ctx.Pool(2, task_timeout=60, retries=1) as pool:
        with pytest.raises(procession.TaskTimedOut) as caught:
            pool.apply(nap, (60,), timeout=0.1, retries=0)
        assert caught.value.after == 0.1
        assert pool.map(nap, [0.0] * 20) == [0.0] * 20
        assert pool.apply(first_time, (str(tmp_path / "once"),)) == "second"
        with pytest.raises(procession.WorkerDied):
            pool.apply(first_time, (str(tmp_path / "other"),), retries=0)
        with pytest.raises(ValueError, match="time limit"):
            pool.apply(nap, (0,), timeout=0)
    pool.join()


def test_memory_limit(ctx):
    with ctx.Pool(1, memory_limit=400 << 20) as pool:
        assert pool.apply(use, (10,)) == 10 << 20
        with pytest.raises(MemoryError):
            pool.apply(use, (1000,))
        assert pool.apply(square, (2,)) == 4
    pool.join()


def initialize(values, number):
    initialize.value = values, number


def initialized(_):
    return initialize.value


def refuse():
    raise RuntimeError("not today")


def test_initializers(ctx):
    with ctx.Pool(2, initialize, ([1], 2)) as pool:
        assert pool.map(initialized, range(4)) == [([1], 2)] * 4
    pool.join()
    with ctx.Pool(1, refuse) as pool:
        with pytest.raises(procession.PoolBroken, match="not today"):
            pool.apply(square, (1,))
    pool.join()


def test_workers_are_replaced(ctx):
    with ctx.Pool(2, maxtasksperchild=3) as pool:
        pids = pool.map(pid, range(30), 1)
        assert all(pids.count(one) <= 3 for one in pids)
        pool.resize(1)
        pool.resize(3)
        assert pool.map(square, range(100)) == [n * n for n in range(100)]
    pool.join()


def deep(number):
    return number and max([number], key=lambda number: deep(number - 1))


def is_deep(number):
    sys.setrecursionlimit(10**6)
    try:
        return deep(number) == number
    except RecursionError:
        return False


def can_be_deep(pool, number):
    try:
        pool.apply(is_deep, (number,))
        return True
    except procession.WorkerDied:
        return False


def test_replaced_workers_have_as_much_stack(ctx):
    # How much a call takes differs from one interpreter to another.
    for number in [6000, 3000, 1500]:
        with ctx.Pool(1) as pool:
            if can_be_deep(pool, number):
                os.kill(pool.apply(os.getpid), signal.SIGKILL)
                assert can_be_deep(pool, number)
                return


def test_threads_of_a_worker(ctx):
    barrier = ctx.Barrier(6)
    with ctx.Pool(2, initialize, (barrier, 0), threads_per_worker=3) as pool:
        pids = pool.map(meet_there, range(6), 1)
        assert len(set(pids)) == 2
    pool.join()


def meet_there(_):
    return meet(initialize.value[0])


def test_callbacks(pool):
    values, errors, threads = [], [], set()

    def keep(value):
        threads.add(threading.get_ident())
        values.append(value)

    result = pool.apply_async(square, (2,), callback=keep, error_callback=errors.append)
    result.wait()
    assert values == [4] and errors == []
    pool.map_async(square, [1, 2], callback=keep).wait()
    assert values == [4, [1, 4]]
    pool.apply_async(fail, (3,), callback=keep, error_callback=errors.append).wait()
    assert [type(error) for error in errors] == [ValueError]
    assert len(threads) == 1 and threading.get_ident() not in threads
    # From a callback, another result.
    seen = []
    pool.apply_async(square, (3,), callback=lambda v: seen.append(pool.apply(square, (v,)))).wait()
    assert seen == [81]


def test_sources(pool):
    def endless():
        number = 0
        while True:
            endless.read = number
            yield number
            number += 1

    values = pool.imap(square, endless())
    assert [next(values) for _ in range(100)] == [n * n for n in range(100)]
    assert endless.read < 1000
    values._end()

    def broken():
        yield 1
        raise OSError("no more")

    values = pool.imap(square, broken())
    assert next(values) == 1
    with pytest.raises(OSError, match="no more"):
        next(values)
    with pytest.raises(StopIteration):
        next(values)
    with pytest.raises(OSError, match="no more"):
        pool.map(square, broken())
    slow = pool.imap(nap, [0.5])
    with pytest.raises(procession.TimeoutError):
        slow.next(timeout=0.01)
    assert slow.next(timeout=60) == 0.5


def test_what_was_begun_ends(ctx, tmp_path):
    pool = ctx.Pool(2)
    paths = (str(tmp_path / str(number)) for number in range(300))
    pool.imap_unordered(make, paths)
    pool.close()
    pool.join()
    assert len(os.listdir(tmp_path)) == 300
    with pytest.raises(ValueError, match="not running"):
        pool.apply(square, (1,))


def make(path):
    os.close(os.open(path, os.O_CREAT))


def test_ends(ctx):
    pool = ctx.Pool(2)
    with pytest.raises(ValueError, match="still running"):
        pool.join()
    result = pool.apply_async(nap, (60,))
    waiting = pool.map_async(nap, [60] * 10)
    pool.terminate()
    for one in (result, waiting):
        with pytest.raises(procession.PoolTerminated):
            one.get()
    pool.join()
    pool = ctx.Pool(2)
    results = [pool.apply_async(nap, (0.01,)) for _ in range(20)]
    pool.close()
    pool.join()
    assert [result.get() for result in results] == [0.01] * 20
    with pytest.warns(ResourceWarning):
        pool = ctx.Pool(1)
        del pool
        gc.collect()


def test_cancel(pool):
    running = pool.apply_async(nap, (60,))
    assert not running.ready()
    assert running.cancel()
    with pytest.raises(procession.TaskCancelled):
        running.get()
    assert not running.cancel()
    assert pool.apply(square, (5,)) == 25


class Held(dict):
    """A dictionary that can be watched."""


def test_nothing_is_kept(pool):
    held = [Held(n=n) for n in range(10)]
    watched = [weakref.ref(one) for one in held]
    assert pool.map(identity, held) == held
    assert pool.apply(identity, (held,)) == held
    assert list(pool.imap(identity, held)) == held
    del held
    gc.collect()
    assert [ref() for ref in watched] == [None] * 10


def test_a_pool_that_cannot_start(ctx):
    """Nothing is left of a pool whose second worker does not start."""

    class Context:
        started = 0

        def Process(self, *args, **settings):
            worker = ctx.Process(*args, **settings)
            self.started += 1
            if self.started == 2:
                worker.start = lambda: os.close(-1)
            return worker

    with pytest.raises(OSError, match="Bad file descriptor"):
        Pool(3, context=Context())


@pytest.mark.parametrize("processes", [0, -1])
def test_bad_settings(ctx, processes):
    with pytest.raises(ValueError, match="at least 1"):
        ctx.Pool(processes)
    with pytest.raises(ValueError):
        ctx.Pool(1, maxtasksperchild=0)
    with pytest.raises(TypeError):
        ctx.Pool(1, initializer=3)
    with pytest.raises(ValueError):
        ctx.Pool(1, threads_per_worker=0)
    with pytest.raises(ValueError):
        ctx.Pool(1, task_timeout=0)
    with pytest.raises(ValueError):
        ctx.Pool(1, retries=-1)
    with pytest.raises(ValueError, match="most is"):
        ctx.Pool(10_000)


def test_large_arrays(pool):
    numpy = pytest.importorskip("numpy")
    array = numpy.arange(1_000_000, dtype="f8").reshape(1000, 1000)
    back = pool.apply(identity, (array,))
    assert (back == array).all() and back.flags.writeable
    back[0, 0] = 7
    assert pool.apply(numpy.sum, (array,)) == array.sum()
    many = pool.map(identity, [array[:100]] * 20)
    assert all((one == array[:100]).all() for one in many)


def test_descriptors_stay_few(pool):
    before = len(os.listdir("/proc/self/fd"))
    results = [pool.apply_async(square, (n,)) for n in range(5000)]
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    assert sum(result.get() for result in results) == sum(n * n for n in range(5000))


def test_futures(ctx):
    with futures.ProcessPoolExecutor(2, mp_context=ctx) as executor:
        assert executor.submit(square, 4).result() == 16
        assert list(executor.map(pow, [2, 3], [3, 2])) == [8, 9]
        assert isinstance(executor.submit(fail, 3).exception(), ValueError)
        with pytest.raises(procession.WorkerDied):
            executor.submit(die, 1, {1}).result()
        slow = executor.submit(nap, 60)
        assert slow.cancel() and slow.cancelled()
        done = executor.submit(square, 2)
        assert done.result() == 4 and not done.cancel()
    with pytest.raises(RuntimeError):
        executor.submit(square, 1)


def test_coroutines(pool):
    async def run():
        assert await pool.apply_aio(square, (6,)) == 36
        assert await pool.map_async(square, [1, 2]) == [1, 4]
        with pytest.raises(ValueError):
            await pool.apply_aio(fail, (3,))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(pool.apply_aio(nap, (60,)), 0.05)
        values = await asyncio.gather(*(pool.apply_aio(square, (n,)) for n in range(50)))
        assert values == [n * n for n in range(50)]

    asyncio.run(run())


def nested(_):
    with procession.get_context("fork").Pool(1) as pool:
        return pool.apply(square, (11,))


def test_a_pool_in_a_task(pool):
    assert pool.map(nested, range(3), 1) == [121] * 3


def test_a_forked_copy_has_no_pool(pool):
    child = os.fork()
    if child == 0:
        code = 1
        try:
            pool.apply(square, (1,))
        except ValueError:
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.apply(square, (2,)) == 4


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_killed_parent_takes_its_workers_along(method, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import os, time, procession
        if __name__ == "__main__":
            pool = procession.get_context({method!r}).Pool(2)
            print(*pool.map(os.getpgid, [0, 0], 1), *(w.pid for w in pool._pool), flush=True)
            pool.map_async(time.sleep, [60, 60], 1)
            time.sleep(60)
        """)
    )
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = [int(word) for word in parent.stdout.readline().split()[2:]]
    assert len(workers) == 2
    parent.kill()
    parent.wait()
    parent.stdout.close()
    while any(os.path.exists(f"/proc/{worker}") for worker in workers):
        time.sleep(0.01)


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_program_ends_with_tasks_in_flight(method, tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(f"""
        import time, procession
        if __name__ == "__main__":
            pool = procession.get_context({method!r}).Pool(2)
            pool.map_async(time.sleep, [60] * 4, 1, callback=print)
            pool.apply_async(print, ("said",)).ready()
        """)
    )
    ended = subprocess.run([sys.executable, "-W", "ignore", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
