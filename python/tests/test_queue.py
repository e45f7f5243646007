"""Queues under every start method, with real kills."""

import os
import pickle
import queue as pyqueue
import signal
import threading
import time

import procession
import pytest
from procession import connection

VALUES = [
    None,
    True,
    False,
    0,
    -1,
    2**62,
    -(2**63),
    2**63,
    10**40,
    1.5,
    float("inf"),
    "",
    "héllo \N{SNOWMAN}",
    "x" * 100_000,
    "\ud800",
    b"",
    b"bytes" * 10,
    b"y" * 3_000_000,
    bytearray(b"z" * 50_000),
    (),
    (1, "two", None, (3.0, b"four", (True,))),
    (1, (2, (3, (4, (5,))))),
    tuple(range(17)),
    ("x" * 20_000, b"y" * 20_000, 2**64),
    (1, [2], "\ud800"),
    time.gmtime(0),
    [1, "two", {3: 4.0}],
    {"nested": [(1, 2), {3}]},
    Exception("raised"),
]


def same(left, right):
    if isinstance(left, Exception):
        return repr(left) == repr(right)
    return type(left) is type(right) and left == right


def echo(source, target):
    while (value := source.get()) != "end":
        target.put(value)


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_values_come_back_as_they_were(ctx, kind):
    there, back = getattr(ctx, kind)(), getattr(ctx, kind)()
    child = ctx.Process(target=echo, args=(there, back))
    child.start()
    for value in VALUES:
        there.put(value)
        assert same(back.get(), value)
    there.put("end")
    child.join()
    assert child.exitcode == 0
    child.close()


def put_many(queue, who, count):
    for number in range(count):
        queue.put((who, number))


def get_many(queue, count, results):
    results.put([queue.get() for _ in range(count)])


def test_many_to_many(ctx):
    queue, results = ctx.Queue(), ctx.Queue()
    children = [ctx.Process(target=put_many, args=(queue, who, 500)) for who in range(3)]
    children += [ctx.Process(target=get_many, args=(queue, 500, results)) for _ in range(3)]
    for child in children:
        child.start()
    got = [results.get(timeout=60) for _ in range(3)]
    for child in children:
        child.join()
        child.close()
    assert sorted(sum(got, [])) == [(who, number) for who in range(3) for number in range(500)]
    for part in got:
        for who in range(3):
            numbers = [number for source, number in part if source == who]
            assert numbers == sorted(numbers), "the order of each producer"


def test_a_bounded_queue_is_full():
    queue = procession.Queue(2)
    queue.put(1)
    queue.put(2)
    assert queue.full() and queue.qsize() == 2
    for put in (lambda: queue.put(3, False), lambda: queue.put(3, timeout=0.01)):
        with pytest.raises(pyqueue.Full):
            put()
    with pytest.raises(pyqueue.Full):
        queue.put_nowait(3)
    assert [queue.get(), queue.get()] == [1, 2]
    assert queue.empty()
    for get in (lambda: queue.get(False), lambda: queue.get(timeout=0.01), queue.get_nowait):
        with pytest.raises(pyqueue.Empty):
            get()


def test_a_thread_that_waits_lets_others_run():
    queue, turns = procession.Queue(), []
    thread = threading.Thread(target=lambda: turns.append(queue.get()))
    thread.start()
    for _ in range(10):
        time.sleep(0.001)
    queue.put("woken")
    thread.join()
    assert turns == ["woken"]


def put_for_ever(queue):
    number = 0
    while True:
        queue.put((number, "x" * 1000))
        number += 1


def get_for_ever(queue, ready):
    while True:
        queue.get()
        ready.set()


@pytest.mark.parametrize("round", range(3))
def test_a_killed_producer_leaves_whole_messages(ctx, round):
    queue = ctx.Queue(100)
    child = ctx.Process(target=put_for_ever, args=(queue,))
    child.start()
    numbers = [queue.get(timeout=60)[0] for _ in range(200 + round * 37)]
    child.kill()
    child.join()
    child.close()
    try:
        while True:
            number, text = queue.get(timeout=0.2)
            assert text == "x" * 1000
            numbers.append(number)
    except pyqueue.Empty:
        pass
    assert numbers == list(range(len(numbers)))
    queue.put("still works")
    assert queue.get(timeout=10) == "still works"


@pytest.mark.parametrize("round", range(3))
def test_a_killed_consumer_holds_nobody_up(ctx, round):
    queue, ready = ctx.Queue(10), ctx.Event()
    child = ctx.Process(target=get_for_ever, args=(queue, ready))
    child.start()
    for number in range(200 + round * 37):
        queue.put(number, timeout=60)
    assert ready.wait(60)
    child.kill()
    child.join()
    child.close()
    left = queue.qsize()
    for _ in range(left):
        queue.get(timeout=10)
    queue.put("still works", timeout=10)
    assert queue.get(timeout=10) == "still works"


class Unpicklable:
    def __reduce__(self):
        raise AttributeError("no way")


def test_what_cannot_be_pickled_is_reported_and_not_put(capsys):
    queue = procession.Queue(1)
    queue.put(Unpicklable())
    assert "no way" in capsys.readouterr().err
    assert queue.empty()
    queue.put(1)
    assert queue.get(timeout=10) == 1
    with pytest.raises(AttributeError):
        procession.SimpleQueue().put(Unpicklable())


class Hooked(procession.queues.Queue):
    def __init__(self, seen, **kwargs):
        super().__init__(**kwargs)
        self.seen = seen

    def _on_queue_feeder_error(self, e, obj):
        self.seen.append((type(e), type(obj)))


def test_a_subclass_hears_of_it():
    queue = Hooked([], ctx=procession.get_context())
    queue.put(Unpicklable())
    assert queue.seen == [(AttributeError, Unpicklable)]


class Counting(procession.queues.Queue):
    """As found in many programs: a queue with a size of its own that travels with it."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs, ctx=procession.get_context())
        self.size = procession.Value("i", 0)

    def __getstate__(self):
        return {"parent": super().__getstate__(), "size": self.size}

    def __setstate__(self, state):
        super().__setstate__(state["parent"])
        self.size = state["size"]

    def put(self, *args, **kwargs):
        with self.size.get_lock():
            self.size.value += 1
        super().put(*args, **kwargs)


def put_one(queue):
    queue.put("one")


def test_a_subclass_with_its_own_state_travels(ctx):
    queue = Counting(5)
    child = ctx.Process(target=put_one, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == "one"
    assert queue.size.value == 1
    child.join()
    child.close()


def test_closing_is_this_processs_own_affair():
    queue = procession.Queue()
    with pytest.raises(AssertionError):
        queue.join_thread()
    queue.put(1)
    queue.close()
    queue.join_thread()
    queue.cancel_join_thread()
    for call in (lambda: queue.put(1), queue.get):
        with pytest.raises(ValueError, match="is closed"):
            call()
    with pytest.raises(OSError, match="is closed"):
        queue.empty()
    simple = procession.SimpleQueue()
    simple.close()
    with pytest.raises(OSError, match="is closed"):
        simple.empty()


def put_later(queue, started):
    started.wait()
    queue.put("here")


def test_queues_can_be_waited_for(ctx):
    first, second, started = ctx.Queue(), ctx.Queue(), ctx.Event()
    readers = [first._reader, second._reader]
    assert connection.wait(readers, 0.01) == []
    child = ctx.Process(target=put_later, args=(second, started))
    child.start()
    started.set()
    assert connection.wait(readers, 60) == [readers[1]]
    assert readers[1].poll(0) and readers[1].recv() == "here"
    assert not readers[1].poll(0)
    child.join()
    child.close()


def do_tasks(queue, count):
    for _ in range(count):
        queue.get()
        queue.task_done()


def take_and_die(queue):
    queue.get()
    os.kill(os.getpid(), signal.SIGKILL)


def test_join_waits_for_the_tasks(ctx):
    queue = ctx.JoinableQueue()
    for number in range(50):
        queue.put(number)
    child = ctx.Process(target=do_tasks, args=(queue, 50))
    child.start()
    queue.join()
    with pytest.raises(ValueError):
        queue.task_done()
    child.join()
    child.close()


def test_join_is_told_of_tasks_that_died(ctx):
    queue = ctx.JoinableQueue()
    queue.put("task")
    child = ctx.Process(target=take_and_die, args=(queue,))
    child.start()
    with pytest.raises(procession.WorkerDied) as told:
        queue.join()
    assert told.value.lost == 1
    queue.join()
    child.join()
    child.close()


def test_a_queue_is_passed_to_children_only():
    with pytest.raises(RuntimeError, match="inheritance"):
        pickle.dumps(procession.Queue())


def test_what_is_registered_for_pickling_is_used():
    class Special:
        pass

    procession.reduction.ForkingPickler.register(Special, lambda _: (str, ("special",)))
    queue = procession.Queue()
    queue.put(Special())
    assert queue.get(timeout=10) == "special"
    ours, theirs = procession.Pipe()
    with ours, theirs:
        queue.put([theirs])
        (received,) = queue.get(timeout=10)
        with received:
            ours.send("through the queue")
            assert received.recv() == "through the queue"
    procession.resource_sharer.stop()


def test_deep_recursion_is_an_error_and_no_crash(capsys):
    nested = []
    for _ in range(100_000):
        nested = [nested]
    queue = procession.Queue()
    queue.put(nested)
    assert "RecursionError" in capsys.readouterr().err
    assert queue.empty()


class Buffer:
    """An object with a buffer, as NumPy's arrays are."""

    def __init__(self, data):
        self.data = data

    def __reduce_ex__(self, protocol):
        assert protocol == 5
        return Buffer, (pickle.PickleBuffer(self.data),)


def total(there, back):
    while (objects := there.get()) is not None:
        for held in objects:
            memoryview(held.data)[0:1] = b"!"
        back.put([bytes(memoryview(held.data)) for held in objects])


def test_large_buffers_travel_beside_the_pickle(ctx):
    there, back = ctx.Queue(), ctx.Queue()
    child = ctx.Process(target=total, args=(there, back))
    child.start()
    sizes = [1, 100, 20_000, 0, 16_384, 1_000_003, 5_000_000]
    for turn in range(3):
        objects = [Buffer(bytearray([turn]) * size) for size in sizes]
        there.put([held for held in objects if held.data])
        got = back.get(timeout=60)
        assert got == [b"!" + bytes([turn]) * (size - 1) for size in sizes if size]
        assert all(set(held.data) <= {turn} for held in objects), "the sender's own is unchanged"
    there.put(None)
    child.join()
    child.close()


def test_what_was_received_lives_as_long_as_it_is_used():
    queue = procession.Queue()
    held = []
    for turn in range(20):
        queue.put(Buffer(bytearray([turn]) * 100_000))
        held.append(queue.get(timeout=10))
        if turn % 3 == 0:
            held.pop(0)
    assert {bytes(buffer.data)[0] for buffer in held} == {bytes(b.data)[-1] for b in held}
    assert len({bytes(buffer.data)[0] for buffer in held}) == len(held)


def test_arrays():
    numpy = pytest.importorskip("numpy")
    queue = procession.Queue()
    array = numpy.arange(100_000, dtype=numpy.float64).reshape(100, 1000)
    queue.put({"whole": array, "part": array[::2, ::3], "turned": array.T})
    got = queue.get(timeout=10)
    assert (got["whole"] == array).all() and got["whole"].flags.writeable
    assert (got["part"] == array[::2, ::3]).all() and (got["turned"] == array.T).all()
    got["whole"][0, 0] = 5
    assert array[0, 0] == 0
