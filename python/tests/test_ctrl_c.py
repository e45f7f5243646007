"""Ctrl-C at a real terminal: one traceback, which is the program's own, and nothing is left."""

import signal
import textwrap
import time

import pytest

from terminal import Terminal

METHODS = ["fork", "forkserver", "spawn"]

HEAD = r"""
import os, signal, sys, time
import procession
from procession import futures

def say(words):
    # In one piece, whoever else speaks.
    os.write(1, words.encode() + b"\n")

def nap(seconds):
    say(f"begun {seconds}")
    time.sleep(seconds)
    return seconds

def spin(_):
    say("begun 600")
    while True:
        pass

def square(number):
    return number * number

def deaf():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    say("begun 600")
    time.sleep(600)

def tidy(path):
    say("begun 605")
    try:
        time.sleep(600)
    finally:
        open(path, "w").close()

if __name__ == "__main__":
    ctx = procession.get_context(sys.argv[1])
"""

# How a program waits, and how many tasks or processes are under way then.
BUSY = {
    "map": ("pool.map(nap, [600] * 2, 1)", 2),
    "map of a loop": ("pool.map(spin, [0] * 2, 1)", 2),
    "map of more than there are workers": ("pool.map(nap, [600] * 50)", 2),
    "map with a callback": ("pool.map_async(nap, [600] * 2, 1, print).get()", 2),
    "apply": ("pool.apply(nap, (600,))", 1),
    "get": ("pool.apply_async(nap, (600,)).get()", 1),
    "get with a time limit": ("pool.apply_async(nap, (600,)).get(600)", 1),
    "imap": ("next(pool.imap(nap, [600] * 2))", 2),
    "imap_unordered": ("next(pool.imap_unordered(nap, [600] * 2))", 2),
    "pool join": ("pool.apply_async(nap, (600,)); pool.close(); pool.join()", 1),
    "future": ("futures.ProcessPoolExecutor(2, ctx).submit(nap, 600).result()", 1),
    "executor": (
        "with futures.ProcessPoolExecutor(2, ctx) as executor: executor.submit(nap, 600).result()",
        1,
    ),
    "executor map": (
        "with futures.ProcessPoolExecutor(2, ctx) as executor: list(executor.map(nap, [600] * 9))",
        2,
    ),
    "queue, busy": ("pool.map_async(nap, [600] * 2, 1); ctx.Queue().get()", 2),
    "join, busy": (
        "pool.apply_async(nap, (600,)); child = ctx.Process(target=deaf, daemon=True); "
        "child.start(); child.join()",
        2,
    ),
}
IDLE = {
    "queue": ("ctx.Queue().get()", 0),
    "lock": ("lock = ctx.Lock(); lock.acquire(); lock.acquire()", 0),
    "join": ("child = ctx.Process(target=deaf, daemon=True); child.start(); child.join()", 1),
}
WAITS = {**BUSY, **IDLE}
CASES = [("forkserver", name) for name in WAITS]
CASES += [(method, name) for method in ("fork", "spawn") for name in ("map", "get", "queue")]


def script(folder, body):
    path = folder / "program.py"
    path.write_text(HEAD + textwrap.indent(textwrap.dedent(body), "    "))
    return str(path)


def begun(terminal, count, which=600):
    """Waits until so many have begun, and the main thread sleeps for a while: it waits for them."""
    for _ in range(count):
        terminal.take(f"begun {which}\n")
    terminal.take("ready\n")
    sleeps = 0
    while sleeps < 10:
        with open(f"/proc/{terminal.pid}/stat") as file:
            state = file.read().rpartition(")")[2].split()[0]
        assert state not in "ZX", terminal.shown
        sleeps = sleeps + 1 if state == "S" else 0
        time.sleep(0.005)


@pytest.mark.parametrize("method, name", CASES)
def test_a_program_ends_with_its_own_traceback(method, name, tmp_path):
    wait, count = WAITS[name]
    body = f"""
    pool = ctx.Pool(2)
    pool.map(square, range(10), 1)
    say("ready")
    {wait}
    """
    with Terminal("-W", "ignore", script(tmp_path, body), method) as terminal:
        begun(terminal, count)
        if terminal.interrupt_for_good():
            assert terminal.wait() == -signal.SIGINT, terminal.shown
            assert terminal.shown.count("Traceback") == 1, terminal.shown
            assert terminal.shown.endswith("\nKeyboardInterrupt\n"), terminal.shown
        terminal.wait_for_nobody()


@pytest.mark.parametrize("method", METHODS)
def test_a_program_goes_on_with_its_pool(method, tmp_path):
    body = """
    with ctx.Pool(2) as pool:
        workers = [worker.pid for worker in pool._pool]
        try:
            say("ready")
            ctx.Event().wait()
        except KeyboardInterrupt:
            print("idle", [worker.pid for worker in pool._pool] == workers, flush=True)
        for number, wait in enumerate((pool.map, pool.starmap, pool.try_map), 600):
            try:
                say("ready")
                wait(nap, [(number,) if wait == pool.starmap else number] * 9, 1)
            except KeyboardInterrupt:
                print("caught", pool.map(square, range(100)) == [n * n for n in range(100)])
        # Those that were replaced hear of it as well.
        waiting = [pool.apply_async(nap, (604,)) for _ in range(2)]
        try:
            say("ready")
            waiting[0].get()
        except KeyboardInterrupt:
            workers = [worker.pid for worker in pool._pool]
            for result in waiting:
                try:
                    result.get()
                except procession.TaskCancelled as error:
                    print(error)
        print(pool.map(square, [3, 4]), [worker.pid for worker in pool._pool] == workers)
        # One that sees to itself.
        waiting = pool.apply_async(tidy, (sys.argv[2],))
        try:
            say("ready")
            waiting.wait()
        except KeyboardInterrupt:
            waiting.wait()
            print("tidy", os.path.exists(sys.argv[2]))
    """
    with Terminal(script(tmp_path, body), method, str(tmp_path / "tidy")) as terminal:
        begun(terminal, 0)
        terminal.interrupt()
        terminal.take("idle True\n")
        for number in range(600, 603):
            begun(terminal, 2, number)
            terminal.interrupt()
            terminal.take("caught True\n")
        begun(terminal, 2, 604)
        terminal.interrupt()
        said = "the task was interrupted in its worker, as by Ctrl-C\n"
        terminal.take(said * 2 + "[9, 16] True\n")
        begun(terminal, 1, 605)
        terminal.interrupt()
        terminal.take("tidy True\n")
        assert terminal.wait() == 0
        # Some may have begun with the next one before they were ended.
        assert set(terminal.shown.split("\n")) <= {"", "begun 600", "begun 601", "begun 602"}
        terminal.wait_for_nobody()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("after", [0, 5, 20, 50, 90])
def test_a_start_that_is_interrupted(method, after, tmp_path):
    body = """
    say("ready")
    with ctx.Pool(4) as pool:
        pool.map(nap, [600] * 4)
    """
    with Terminal(script(tmp_path, body), method) as terminal:
        terminal.take("ready\n")
        time.sleep(after / 1000)
        if terminal.interrupt_for_good():
            assert terminal.wait() == -signal.SIGINT, terminal.shown
            assert terminal.shown.count("Traceback") == 1, terminal.shown
            assert terminal.shown.endswith("\nKeyboardInterrupt\n"), terminal.shown
        terminal.wait_for_nobody()


def test_tasks_without_a_pause_are_interrupted(tmp_path):
    body = """
    pool = ctx.Pool(2)
    pool.map(square, range(10), 1)
    while True:
        say("ready")
        pool.map(square, range(5_000_000), 1)
    """
    with Terminal(script(tmp_path, body), "forkserver") as terminal:
        terminal.take("ready\n")
        time.sleep(0.3)
        terminal.interrupt()
        assert terminal.wait() == -signal.SIGINT, terminal.shown
        # It did not take the end of a map.
        assert terminal.shown.count("Traceback") == 1, terminal.shown
        assert "ready" not in terminal.shown, terminal.shown
        terminal.wait_for_nobody()


INITIALIZER = """
import procession, sys, time
def prepare():
    print("begun", flush=True)
    time.sleep(0.3)
def square(number):
    return number * number
if __name__ == "__main__":
    with procession.get_context(sys.argv[1]).Pool(1, prepare) as pool:
        try:
            time.sleep(600)
        except KeyboardInterrupt:
            print(pool.apply(square, (3,)), pool.stats()["restarts"])
"""


@pytest.mark.parametrize("method", METHODS)
def test_an_initializer_is_not_interrupted(method, tmp_path):
    path = tmp_path / "program.py"
    path.write_text(INITIALIZER)
    with Terminal(str(path), method) as terminal:
        terminal.take("begun\n")
        terminal.interrupt()
        assert (terminal.wait(), terminal.shown) == (0, "9 0\n")
