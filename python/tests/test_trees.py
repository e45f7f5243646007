"""Whoever kills a program at its root: the whole tree ends, whatever it had started by then."""

import os
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """
import os, sys, time
import procession

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())

def pause(_=None):
    say(os.getpid())
    time.sleep(600)

def kill(_):
    os.kill(os.getpid(), 9)

def branch(method, depth):
    say(os.getpid())
    ctx = procession.get_context(method)
    if depth:
        child = ctx.Process(target=branch, args=(method, depth - 1), daemon=True)
        child.start()
    pool = ctx.Pool(2)
    # Both are replaced, by starts from another thread than this.
    for outcome in pool.try_map(kill, [0, 0], 1):
        assert isinstance(outcome, procession.WorkerDied), outcome
    pool.map(pause, [0, 0], 1)

if __name__ == "__main__":
    branch(sys.argv[1], 2)
"""


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_killed_program_takes_its_tree_along(method, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(PROGRAM))
    with subprocess.Popen([sys.executable, script, method], stdout=subprocess.PIPE) as program:
        # Three branches, each with two workers that are at work.
        tree = {int(program.stdout.readline()) for _ in range(9)}
        assert len(tree) == 9
        assert program.pid in tree
        program.kill()
    # A test that waits for ever is one that fails: see `time_limit`.
    while any(map(is_running, tree)):
        time.sleep(0.01)


MASKED = """
import os, signal, sys
import procession

def blocked(_):
    return sorted(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ())))

def kill(_):
    os.kill(os.getpid(), 9)

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    with procession.get_context(sys.argv[1]).Pool(1) as pool:
        print(*pool.map(blocked, [0]), pool.try_map(kill, [0]), *pool.map(blocked, [0]))
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_workers_block_what_their_program_does(method, tmp_path):
    script = tmp_path / "program.py"
    script.write_text(MASKED)
    done = subprocess.run([sys.executable, script, method], capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    before, *_, after = done.stdout.split()
    assert before == after == "[10]", done.stdout
