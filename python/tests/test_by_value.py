"""Functions and classes that have no name others could import them by."""

import sys
from multiprocessing.pool import MaybeEncodingError

import procession
import pytest


@pytest.fixture
def without_cloudpickle(monkeypatch):
    """As if it were not installed."""
    monkeypatch.setitem(sys.modules, "cloudpickle", None)


def test_a_pool_runs_closures(ctx):
    pytest.importorskip("cloudpickle")
    added = 5
    with ctx.Pool(2) as pool:
        assert pool.map(lambda number: number + added, range(50)) == list(range(5, 55))
        assert pool.map(lambda number: -number, range(50)) == [-n for n in range(50)]
        assert pool.apply(lambda *values, plus: sum(values) + plus, (1, 2), {"plus": 3}) == 6
        # Results do not: that they are refused is what `multiprocessing` promises.
        with pytest.raises(MaybeEncodingError, match="<lambda>"):
            pool.apply(lambda: lambda: added)


def test_a_closure_has_its_own_state_in_each_chunk_at_the_most(ctx):
    pytest.importorskip("cloudpickle")
    seen = []
    with ctx.Pool(1) as pool:
        lengths = pool.map(lambda number: seen.append(number) or len(seen), range(4), 1)
    assert lengths == [1, 1, 1, 1]
    assert seen == []


def test_a_process_runs_a_closure_with_queues_in_it(ctx):
    pytest.importorskip("cloudpickle")
    queue, lock = ctx.Queue(), ctx.Lock()

    def work():
        with lock:
            queue.put("done")

    child = ctx.Process(target=work)
    child.start()
    assert queue.get() == "done"
    child.join()
    assert child.exitcode == 0
    child.close()


def test_objects_of_local_classes_travel_through_queues():
    pytest.importorskip("cloudpickle")

    class Point:
        def __init__(self, x):
            self.x = x

    queue = procession.Queue()
    queue.put([Point(3), lambda: 4])
    point, function = queue.get()
    assert point.x == 3 and function() == 4


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_without_cloudpickle_it_is_an_error_that_names_it(method, without_cloudpickle):
    ctx = procession.get_context(method)
    with pytest.raises(Exception, match="cloudpickle") as raised:
        ctx.Process(target=lambda: None, args=(ctx.Lock(),)).start()
    assert raised.type.__name__ in ("AttributeError", "PicklingError")
    with ctx.Pool(1) as pool, pytest.raises(Exception, match="cloudpickle"):
        pool.map(lambda number: number, [1, 2])


def test_a_queue_reports_it_without_cloudpickle(without_cloudpickle, capsys):
    queue = procession.Queue()
    queue.put(lambda: None)
    assert "procession[cloudpickle]" in capsys.readouterr().err
    assert queue.empty()


def test_other_errors_of_pickling_stay_what_they_are():
    with pytest.raises(TypeError, match="generator"):
        procession.get_context("spawn").Process(target=print, args=((i for i in "a"),)).start()
