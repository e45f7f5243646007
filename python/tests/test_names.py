"""Every name of `multiprocessing` is there."""

import importlib
import multiprocessing
import pkgutil
import subprocess
import sys

import procession
import pytest

SUBMODULES = [module.name for module in pkgutil.iter_modules(multiprocessing.__path__)]


def test_every_name_of_the_package_is_there():
    assert set(multiprocessing.__all__) <= set(procession.__all__)
    for name in procession.__all__:
        assert getattr(procession, name) is not None, name


@pytest.mark.parametrize("name", [name for name in SUBMODULES if "win32" not in name])
def test_every_submodule_has_the_public_names(name):
    ours = importlib.import_module(f"procession.{name}")
    theirs = importlib.import_module(f"multiprocessing.{name}")
    missing = [public for public in getattr(theirs, "__all__", []) if not hasattr(ours, public)]
    if name == "forkserver":
        # A part of how a start works; ours works otherwise.
        missing.remove("connect_to_new_process")
    assert missing == []


def test_the_dummy_has_its_submodule():
    import procession.dummy.connection

    assert procession.dummy.connection.Pipe


def test_contexts_are_contexts():
    for method in procession.get_all_start_methods():
        context = procession.get_context(method)
        assert isinstance(context, multiprocessing.context.BaseContext)
        assert context.get_start_method() == method
        assert context.get_context() is context
        assert context.Process.__name__ == {
            "fork": "ForkProcess",
            "spawn": "SpawnProcess",
            "forkserver": "ForkServerProcess",
        }[method]
    with pytest.raises(ValueError, match="cannot find context"):
        procession.get_context("no such method")
    with pytest.raises(ValueError):
        procession.get_context("spawn").set_start_method("fork")


def run(code):
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_start_method_is_chosen_once():
    code = (
        "import procession as m, multiprocessing as s\n"
        "print(m.get_start_method(allow_none=True), m.get_start_method() == s.get_start_method())\n"
        "m.set_start_method('spawn', force=True); print(m.get_start_method(), s.get_start_method())\n"
        "try: m.set_start_method('fork')\n"
        "except RuntimeError as e: print('refused')\n"
        "print(type(m.Process(target=print)).__name__, m.get_context()._name)\n"
    )
    assert run(code) == ["None", "True", "spawn", "spawn", "refused", "Process", "spawn"]


def test_submodules_can_be_imported_by_from():
    code = (
        "from procession.connection import Client, Listener, wait\n"
        "from procession.managers import BaseManager\n"
        "from procession.shared_memory import SharedMemory, ShareableList\n"
        "from procession import connection, managers, synchronize\n"
        "import procession.queues, procession.synchronize\n"
        "print(procession.queues.Queue is procession.get_context().Queue().__class__)\n"
    )
    assert run(code) == ["True"]
