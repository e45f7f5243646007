"""Ctrl-C: whatever waits ends at once with a KeyboardInterrupt, and nothing is left."""

import os
import signal
import subprocess
import sys
import time

import pytest

from terminal import Terminal

WAITS = {
    "lock": "l = m.Lock(); l.acquire(); ready(); l.acquire()",
    "lock with a timeout": "l = m.Lock(); l.acquire(); ready(); l.acquire(True, 600)",
    "semaphore": "s = m.Semaphore(0); ready(); s.acquire()",
    "event": "e = m.Event(); ready(); e.wait()",
    "barrier": "b = m.Barrier(2); ready(); b.wait()",
    "queue get": "q = m.Queue(); ready(); q.get()",
    "queue get with a timeout": "q = m.Queue(); ready(); q.get(timeout=600)",
    "queue put": "q = m.Queue(1); q.put(1); ready(); q.put(2)",
    "queue join": "q = m.JoinableQueue(); q.put(1); ready(); q.join()",
}

PROGRAM = """
import procession as m
def ready(): print("ready", flush=True)
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

CONDITION = """
import procession as m
c = m.Condition()
def ready(): print("ready", flush=True)
try:
    with c:
        ready()
        c.wait()
except KeyboardInterrupt:
    print("interrupted", c._lock._count(), flush=True)
"""


def program(code):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def interrupt(running):
    """Sends an interrupt once the program waits, in the kernel: an earlier one is another test."""
    assert running.stdout.readline() == "ready\n", running.stderr.read()
    while True:
        with open(f"/proc/{running.pid}/wchan") as file:
            if "futex" in file.read() or running.poll() is not None:
                break
        time.sleep(0.01)
    os.kill(running.pid, signal.SIGINT)


@pytest.mark.parametrize("name", WAITS)
def test_a_wait_ends(name):
    with program(PROGRAM.format(wait=WAITS[name])) as running:
        interrupt(running)
        assert running.communicate(timeout=60) == ("interrupted\n", "")
    assert running.returncode == 0


def test_a_condition_has_its_lock_again():
    with program(CONDITION) as running:
        interrupt(running)
        assert running.communicate(timeout=60) == ("interrupted 0\n", "")


HANDLED = """
import procession as m, signal, time
signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
e = m.Event()
print("ready", flush=True)
begin = time.monotonic()
print(e.wait(1.5), time.monotonic() - begin >= 1.5, flush=True)
"""


def test_a_handler_that_returns_does_not_end_a_wait():
    with program(HANDLED) as running:
        assert running.stdout.readline() == "ready\n"
        for _ in range(3):
            time.sleep(0.1)
            os.kill(running.pid, signal.SIGUSR1)
            assert running.stdout.readline() == "handled\n"
        assert running.communicate(timeout=60) == ("False True\n", "")


TERMINAL = """
import procession as m, time, sys
def work(queue):
    try:
        queue.put("up")
        time.sleep(600)
    except KeyboardInterrupt:
        sys.exit(9)
if __name__ == "__main__":
    ctx = m.get_context(sys.argv[1])
    queue = ctx.Queue()
    children = [ctx.Process(target=work, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        queue.get()
    try:
        print("ready", flush=True)
        for child in children:
            child.join()
    except KeyboardInterrupt:
        for child in children:
            child.join()
        print("codes", [child.exitcode for child in children], flush=True)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_ctrl_c_at_a_terminal(tmp_path, method):
    script = tmp_path / "script.py"
    script.write_text(TERMINAL)
    with Terminal(str(script), method) as terminal:
        terminal.take("ready\n")
        terminal.interrupt()
        assert terminal.wait() == 0, terminal.shown
        assert terminal.shown == "codes [9, 9]\n"
