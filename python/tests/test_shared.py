"""Values and arrays in shared memory, under every start method."""

import ctypes
import os
import signal
from multiprocessing import sharedctypes

import procession
import pytest


def add(value, times):
    assert isinstance(value, procession.sharedctypes.SynchronizedBase)
    for _ in range(times):
        with value.get_lock():
            value.value += 1


def hold_and_die(value):
    value.acquire()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["i", "q", "d", ctypes.c_ushort])
def test_no_addition_is_lost(ctx, kind):
    value = ctx.Value(kind, 5)
    children = [ctx.Process(target=add, args=(value, 500)) for _ in range(3)]
    for child in children:
        child.start()
    add(value, 500)
    for child in children:
        child.join()
    assert value.value == value.get_obj().value == 2005
    assert [child.exitcode for child in children] == [0] * 3


def test_a_value_is_the_standard_librarys_in_all_but_speed(ctx):
    value = ctx.Value("i", 3)
    assert type(value) is procession.sharedctypes.Synchronized
    assert isinstance(value, sharedctypes.Synchronized)
    assert value.acquire() and value.value == 3  # by the thread that has the lock already
    value.release()
    assert value.get_lock().locked() is False
    with value as entered:
        assert entered is True and value.get_lock().locked()
    with pytest.raises(TypeError):
        value.value = "three"
    assert value.get_lock().locked() is False and value.value == 3
    assert "wrapper for c_int(3)" in repr(value)
    assert type(ctx.Value("i", 3, lock=False)) is ctypes.c_int
    value.of_the_users = 1
    with pytest.raises(RuntimeError, match="inheritance"):
        procession.reduction.ForkingPickler.dumps(value)
    with pytest.raises(AttributeError, match="acquire"):
        ctx.Value("i", lock="a lock")


def test_any_lock_will_do(ctx):
    class Counting(procession.synchronize.RLock):
        acquired = 0

        def acquire(self, *arguments):
            self.acquired += 1
            return super().acquire(*arguments)

    own = Counting(ctx=ctx)
    value = ctx.Value("i", 1, lock=own)
    value.value += 1
    assert (value.value, own.acquired) == (2, 3)
    lock = ctx.Lock()
    assert ctx.Value("d", 1.5, lock=lock).get_lock() is lock
    assert ctx.Value("d", 1.5, lock=lock).value == 1.5


def test_a_holders_death_is_told(ctx):
    value = ctx.Value("i", 7)
    child = ctx.Process(target=hold_and_die, args=(value,))
    child.start()
    child.join()
    with pytest.raises(procession.OwnerDied):
        value.value = 8
    value.value = 9
    assert value.value == 9


def test_what_is_not_made_yet_is_an_error():
    value = procession.sharedctypes.Synchronized.__new__(procession.sharedctypes.Synchronized)
    with pytest.raises(ValueError, match="__init__"):
        value.value
    with pytest.raises(ValueError, match="__init__"):
        value.get_lock()
