"""Processes: how they start, what they are called, how they end, and what they leave."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from multiprocessing import connection

import procession
import pytest

HERE = os.path.dirname(os.path.abspath(__file__))


def started(ctx, target, *arguments, **settings):
    child = ctx.Process(target=target, args=arguments, **settings)
    child.start()
    return child


def ended(child):
    child.join(60)
    code = child.exitcode
    child.close()
    return code


def tell(queue):
    current, parent = procession.current_process(), procession.parent_process()
    queue.put((current.name, current.daemon, os.getpid(), parent.name, parent.pid, parent.is_alive()))


def test_a_child_knows_who_it_is(ctx):
    queue = ctx.Queue()
    child = started(ctx, tell, queue, name="told", daemon=True)
    assert queue.get(timeout=60) == ("told", True, child.pid, "MainProcess", os.getpid(), True)
    assert ended(child) == 0


def test_names_are_as_in_multiprocessing(ctx):
    name = ctx.Process().name
    assert name.startswith(type(ctx.Process()).__name__ + "-"), name
    assert procession.Process().name.startswith("Process-")


class Worker(procession.Process):
    def __init__(self, queue, value):
        super().__init__()
        self.queue, self.value = queue, value

    def run(self):
        self.queue.put(self.value * 2)


def test_run_can_be_overridden():
    queue = procession.Queue()
    child = Worker(queue, 21)
    child.start()
    assert queue.get(timeout=60) == 42
    assert ended(child) == 0


def leave(how):
    if how == "raise":
        sys.stderr = open(os.devnull, "w")
        raise ValueError
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(how)


@pytest.mark.parametrize(
    "how, code", [(0, 0), (3, 3), (None, 0), ("kill", -signal.SIGKILL), ("raise", 1)]
)
def test_exit_codes(ctx, how, code):
    assert ended(started(ctx, leave, how)) == code


def sleep():
    time.sleep(600)


def test_terminate_kill_and_sentinel(ctx):
    for end, code in (("terminate", -signal.SIGTERM), ("kill", -signal.SIGKILL)):
        child = started(ctx, sleep, daemon=True)
        assert child.is_alive() and child in procession.active_children()
        assert connection.wait([child.sentinel], 0.01) == []
        with pytest.raises(ValueError):
            child.close()
        getattr(child, end)()
        assert connection.wait([child.sentinel], 60) == [child.sentinel]
        assert ended(child) == code
        with pytest.raises(ValueError, match="closed"):
            child.is_alive()


def nest(ctx_name, queue):
    ctx = procession.get_context(ctx_name)
    child = ctx.Process(target=tell, args=(queue,), daemon=True)
    child.start()
    child.join()


def test_a_daemon_may_have_children(ctx):
    queue = ctx.Queue()
    child = started(ctx, nest, ctx._name, queue, daemon=True)
    name, daemon, _, parent_name, parent_pid, _ = queue.get(timeout=60)
    assert daemon and parent_pid == child.pid and parent_name == child.name
    assert ended(child) == 0


def children_then_wait(ctx_name, queue):
    ctx = procession.get_context(ctx_name)
    daemon = ctx.Process(target=sleep, daemon=True)
    daemon.start()
    queue.put(daemon.pid)
    sleep()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def gone(pid, within=10):
    end = time.monotonic() + within
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.01)
    return not is_running(pid)


def test_daemons_do_not_outlive_a_killed_parent(ctx):
    queue = ctx.Queue()
    child = started(ctx, children_then_wait, ctx._name, queue)
    daemon = queue.get(timeout=60)
    assert is_running(daemon)
    child.kill()
    assert ended(child) == -signal.SIGKILL
    assert gone(daemon)


def report_parents_end(queue):
    procession.parent_process().join()
    queue.put("alone")


def start_and_wait(ctx_name, queue):
    procession.get_context(ctx_name).Process(target=report_parents_end, args=(queue,)).start()
    queue.put("started")
    sleep()


def test_a_child_that_is_no_daemon_learns_of_its_parents_end(ctx):
    queue = ctx.Queue()
    child = started(ctx, start_and_wait, ctx._name, queue)
    assert queue.get(timeout=60) == "started"
    child.kill()
    ended(child)
    assert queue.get(timeout=60) == "alone"


def test_arguments_that_cannot_be_pickled_cost_no_process():
    for method in ("spawn", "forkserver"):
        child = procession.get_context(method).Process(target=print, args=((n for n in ()),))
        with pytest.raises(TypeError, match="pickle"):
            child.start()
        assert child.pid is None


def test_many_descriptors(ctx):
    locks = [ctx.Lock() for _ in range(60)]
    assert ended(started(ctx, locks_work, locks)) == 0


def locks_work(locks):
    assert len(locks) == 60
    for lock in locks:
        with lock:
            pass


def test_a_killed_fork_server_is_replaced():
    from procession.forkserver import _forkserver

    ctx = procession.get_context("forkserver")
    first = started(ctx, sleep, daemon=True)
    server = _forkserver._forkserver_pid
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    _forkserver._forkserver_pid = None
    assert first.is_alive(), "it lives on"
    assert ended(started(ctx, leave, 5)) == 5
    assert _forkserver._forkserver_pid != server
    first.kill()
    first.join()
    assert first.exitcode == 255, "only the dead server knew"
    first.close()


def test_a_child_killed_at_once_is_a_child_that_ended():
    ctx = procession.get_context("forkserver")
    for _ in range(20):
        child = started(ctx, sleep, daemon=True)
        child.kill()
        assert ended(child) == -signal.SIGKILL


def test_threads_that_wait_for_the_same_child(ctx):
    for _ in range(10):
        child = started(ctx, leave, 5)
        codes = []

        def wait():
            child.join()
            codes.append(child.exitcode)

        threads = [threading.Thread(target=wait) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == [5] * 4
        child.close()


def test_a_default_timeout_of_sockets_is_not_ours(ctx):
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(0.001)
    try:
        assert ended(started(ctx, leave, 5)) == 5
        assert ended(started(ctx, time.sleep, 0.1)) == 0
    finally:
        socket.setdefaulttimeout(before)


SCRIPT = """
import procession as multiprocessing, sys, os

def work(queue, value):
    queue.put((value * 2, __name__, os.path.basename(sys.argv[0]), sys.argv[1:]))

if __name__ == "__main__":
    multiprocessing.set_start_method(sys.argv[1])
    queue = multiprocessing.Queue()
    child = multiprocessing.Process(target=work, args=(queue, 21))
    child.start()
    print(queue.get(timeout=60))
    child.join()
    print(child.exitcode)
"""


def run(arguments, folder):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("way", ["script", "module", "package", "elsewhere"])
def test_main_modules(tmp_path, method, way):
    (tmp_path / "script.py").write_text(SCRIPT)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "inner.py").write_text(SCRIPT)
    arguments, folder = {
        "script": (["script.py"], tmp_path),
        "module": (["-m", "script"], tmp_path),
        "package": (["-m", "package.inner"], tmp_path),
        "elsewhere": ([str(tmp_path / "script.py")], HERE),
    }[way]
    result = run([*arguments, method], folder)
    assert result.stderr == ""
    name = "__main__" if method == "fork" else "__mp_main__"
    script = "inner.py" if way == "package" else "script.py"
    assert result.stdout == f"(42, '{name}', '{script}', ['{method}'])\n0\n"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_script_without_a_guard_gets_an_error_and_no_endless_processes(tmp_path, method):
    (tmp_path / "script.py").write_text(
        "import procession as multiprocessing\n"
        f"child = multiprocessing.get_context('{method}').Process(target=print, args=('once',))\n"
        "child.start()\nchild.join()\nprint('exit code', child.exitcode)\n"
    )
    result = run(["script.py"], tmp_path)
    assert "exit code 1" in result.stdout and "once" not in result.stdout
    assert "freeze_support" in result.stderr


def test_a_main_that_starts_threads_is_not_copied_with_them(tmp_path):
    (tmp_path / "script.py").write_text(
        "import procession as multiprocessing, threading, time\n"
        "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n"
        "def work(): print('threads', threading.active_count(), flush=True)\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('forkserver').Process(target=work)\n"
        "    child.start(); child.join(); print(child.exitcode)\n"
    )
    result = run(["script.py"], tmp_path)
    # The child has run the module itself: main thread, and the one that the module starts.
    assert result.stdout == "threads 2\n0\n", result.stderr


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_code_from_the_command_line(method):
    code = (
        "import procession as m\n"
        f"c = m.get_context('{method}'); q = c.Queue()\n"
        "p = c.Process(target=q.put, args=(5,)) if c._name == 'fork' else None\n"
        "import operator\n"
        "p = p or c.Process(target=operator.methodcaller('put', 5), args=(q,))\n"
        "p.start(); print(q.get(timeout=60)); p.join()"
    )
    result = run(["-c", code], HERE)
    assert result.stdout == "5\n", result.stderr


def test_standard_output_is_flushed_and_not_doubled(tmp_path):
    (tmp_path / "script.py").write_text(
        "import procession as multiprocessing, sys\n"
        "print('imported')\n"
        "def work(): print('worked')\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context(sys.argv[1]).Process(target=work)\n"
        "    child.start(); child.join()\n"
    )
    for method, imports in (("fork", 1), ("forkserver", 2), ("spawn", 2)):
        lines = run(["script.py", method], tmp_path).stdout.split()
        assert lines.count("worked") == 1 and lines.count("imported") == imports, method


def count_logged(queue):
    import logging
    import logging.handlers

    logger = logging.getLogger("across")
    logger.addHandler(logging.handlers.QueueHandler(queue))
    logger.warning("from %s", procession.current_process().name)


def test_logging_across_processes(ctx):
    queue = ctx.Queue()
    child = started(ctx, count_logged, queue, name="logger")
    record = queue.get(timeout=60)
    assert record.getMessage() == "from logger" and record.processName == "logger"
    assert ended(child) == 0


def square(value):
    return value * value


def test_executors_of_the_standard_library(ctx):
    from concurrent.futures import ProcessPoolExecutor

    with ProcessPoolExecutor(2, mp_context=ctx) as executor:
        assert list(executor.map(square, range(20))) == [n * n for n in range(20)]


def test_pools_and_managers(ctx):
    with ctx.Pool(2) as pool:
        assert pool.map(square, range(20)) == [n * n for n in range(20)]
        pool.close()
        pool.join()
    with ctx.Manager() as manager:
        shared = manager.list([1, 2])
        assert ended(started(ctx, shared.append, 3)) == 0
        assert list(shared) == [1, 2, 3]
