"""Locks, semaphores, conditions, events and barriers, under every start method, with real kills."""

import os
import pickle
import signal
import threading
import time

import procession
import pytest


def started(ctx, target, *arguments):
    child = ctx.Process(target=target, args=arguments, daemon=True)
    child.start()
    return child


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def acquire_and_die(lock, ready):
    lock.acquire()
    ready.set()
    die()


def add(lock, value, times):
    for _ in range(times):
        with lock:
            value.value += 1


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_one_at_a_time(ctx, kind):
    lock, value = getattr(ctx, kind)(), ctx.RawValue("i", 0)
    children = [started(ctx, add, lock, value, 2000) for _ in range(3)]
    for child in children:
        child.join()
        assert child.exitcode == 0
        child.close()
    assert value.value == 6000


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_the_next_one_is_told_of_a_killed_holder(ctx, kind):
    lock, ready = getattr(ctx, kind)(), ctx.Event()
    child = started(ctx, acquire_and_die, lock, ready)
    ready.wait()
    with pytest.raises(procession.OwnerDied) as told:
        lock.acquire()
    assert told.value.pid == child.pid
    assert str(child.pid) in str(told.value)
    assert lock.acquire(timeout=10), "told once, and free"
    lock.release()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    child.close()


def test_permits_of_a_killed_process_come_back(ctx):
    semaphore, ready = ctx.Semaphore(1), ctx.Event()
    child = started(ctx, acquire_and_die, semaphore, ready)
    ready.wait()
    with pytest.raises(procession.OwnerDied):
        semaphore.acquire()
    assert semaphore.acquire(timeout=10)
    child.join()
    child.close()


def wait_for_ever(condition, ready):
    with condition:
        ready.release()
        condition.wait()


def test_a_killed_waiter_takes_no_notification_away(ctx):
    condition, ready, done = ctx.Condition(), ctx.Semaphore(0), ctx.Event()
    victim = started(ctx, wait_for_ever, condition, ready)
    ready.acquire()
    with condition:
        pass
    victim.kill()
    victim.join()
    victim.close()
    survivor = started(ctx, wait_for_ever, condition, ready)
    ready.acquire()
    while survivor.is_alive():
        with condition:
            condition.notify(1)
        done.wait(0.01)
    survivor.join()
    assert survivor.exitcode == 0
    survivor.close()


def wait_at(barrier, ready):
    ready.release()
    barrier.wait()


def test_a_barrier_breaks_when_a_waiting_party_is_killed(ctx):
    barrier, ready = ctx.Barrier(3), ctx.Semaphore(0)
    child = started(ctx, wait_at, barrier, ready)
    ready.acquire()

    def kill():
        while barrier.n_waiting != 2:
            time.sleep(0.01)
        child.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    with pytest.raises(threading.BrokenBarrierError, match=str(child.pid)):
        barrier.wait()
    killer.join()
    child.join()
    child.close()
    assert barrier.broken
    barrier.reset()
    assert not barrier.broken


def all_of(barrier, actions, queue):
    for turn in range(20):
        queue.put((barrier.wait(), turn, actions.value))


def test_a_barrier_acts_before_anybody_goes_on(ctx):
    actions, queue = ctx.Value("i", 0), ctx.Queue()
    barrier = ctx.Barrier(3, action=Increment(actions))
    children = [started(ctx, all_of, barrier, actions, queue) for _ in range(3)]
    seen = [queue.get(timeout=60) for _ in range(60)]
    for child in children:
        child.join()
        child.close()
    assert sorted(index for index, _, _ in seen) == sorted([0, 1, 2] * 20)
    # Who has passed for the nth time sees n actions, or those of later turns.
    assert all(count >= turn + 1 for _, turn, count in seen)
    assert actions.value == 20


class Increment:
    def __init__(self, value):
        self.value = value

    def __call__(self):
        with self.value.get_lock():
            self.value.value += 1


def test_an_action_that_raises_breaks_the_barrier():
    def action():
        raise ZeroDivisionError

    barrier = procession.Barrier(1, action=action)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert barrier.broken


def set_it(event):
    event.set()


def test_an_event_wakes_those_who_wait(ctx):
    event = ctx.Event()
    assert not event.wait(0.01)
    child = started(ctx, set_it, event)
    assert event.wait(60)
    assert event.is_set()
    event.clear()
    assert not event.is_set()
    child.join()
    child.close()


def test_a_condition_with_each_kind_of_lock():
    for lock in (None, procession.Lock(), procession.RLock()):
        condition, notified = procession.Condition(lock), []

        def wait(condition=condition, notified=notified):
            with condition:
                notified.append(condition.wait(30))

        thread = threading.Thread(target=wait)
        thread.start()
        while condition._waiting() != 1:
            time.sleep(0.001)
        with condition:
            condition.notify()
        thread.join()
        assert notified == [True]
        with condition:
            assert condition.wait(0.01) is False
            assert condition.wait_for(lambda: 5) == 5
        with pytest.raises(AssertionError):
            condition.wait()
        with pytest.raises(AssertionError):
            condition.notify()


def test_a_reentrant_lock_is_as_deep_after_a_wait_as_before():
    condition = procession.Condition()
    with condition, condition, condition:
        condition.wait(0.01)
        assert condition._lock._count() == 3
    assert condition._lock._count() == 0


def test_what_is_not_held_cannot_be_released():
    with pytest.raises(ValueError):
        procession.Lock().release()
    with pytest.raises(AssertionError):
        procession.RLock().release()
    bounded = procession.BoundedSemaphore(2)
    with pytest.raises(ValueError):
        bounded.release()
    semaphore = procession.Semaphore(2)
    semaphore.release()
    assert semaphore.get_value() == 3
    with pytest.raises(ValueError):
        procession.Semaphore(-1)


def test_timeouts_and_non_blocking_calls():
    lock = procession.Lock()
    assert lock.acquire(False) and not lock.acquire(False)
    assert not lock.acquire(True, 0.01) and not lock.acquire(timeout=-1)
    lock.release()
    assert lock.acquire(block=True, timeout=None)
    with pytest.raises(TypeError):
        lock.acquire(True, "soon")
    with pytest.raises(ValueError):
        lock.acquire(True, float("nan"))


def test_a_lock_is_passed_to_children_only():
    for shared in (procession.Lock(), procession.Condition(), procession.Event()):
        with pytest.raises(RuntimeError, match="inheritance"):
            pickle.dumps(shared)


class MyLock(procession.synchronize.Lock):
    def __init__(self, label, *, ctx):
        super().__init__(ctx=ctx)
        self.label = label


def test_a_subclass_has_its_own_arguments():
    lock = MyLock("mine", ctx=procession.get_context())
    assert lock.label == "mine" and lock.acquire()


def test_an_object_that_was_not_initialised_says_so():
    class Forgetful(procession.synchronize.Lock):
        def __init__(self):
            pass

    with pytest.raises(RuntimeError, match="super"):
        Forgetful().acquire()


def test_repr_says_who_holds_it():
    lock = procession.Lock()
    assert repr(lock) == "<Lock(owner=None)>"
    with lock:
        assert repr(lock) == "<Lock(owner=MainProcess)>"
    lock = procession.RLock()
    with lock, lock:
        assert repr(lock) == "<RLock(MainProcess, 2)>"
    assert repr(procession.BoundedSemaphore(3)) == "<BoundedSemaphore(value=3, maxvalue=3)>"
