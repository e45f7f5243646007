"""Programs as people write them, each run whole, with procession where they had `multiprocessing`.

Each is run with every start method. Those that need a library that is not installed are skipped, with
a line that says so (`pytest -rs`).
"""

import importlib.util
import os

import pytest
from script import run

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "programs")
SQUARES = [n * n for n in range(10)]
NEEDS = {
    "joblib_parallel": ["joblib", "sklearn"],
    "torch_loader": ["torch"],
    "numpy_map_reduce": ["numpy"],
    "pandas_groups": ["pandas"],
}
SAID = {
    "joblib_parallel": f"{SQUARES}\nTrue\n{{'max_depth': 3}}\n",
    "torch_loader": f"{sum(n * n for n in range(64))}\n" * 2,
    "numpy_map_reduce": f"4000000 1999999.5 True\nTrue\n{[100.0 * n for n in range(10)]}\n",
    "pandas_groups": f"{[(n, 9_995_000 + 2000 * n, 2000) for n in range(5)]}\nTrue KEY 4\n",
    "logging_queue": f"{[f'task {n} of ten' for n in range(10)]}\nTrue True\n",
    "producers_consumers": f"{sum(range(1500))} {sum(range(1500))}\n{{0}}\n",
    "asyncio_pool": f"328350\n{SQUARES[:5]}\ntoo slow\n81\n100\n{SQUARES[:5]}\nTrue\n",
    "standard_executor": f"{SQUARES}\n{SQUARES}\nValueError('no 7')\n",
}


def test_each_program_has_what_it_says():
    assert {name + ".py" for name in SAID} == {name for name in os.listdir(HERE) if name[0] != "_"}


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("name", SAID)
def test_a_program(name, method):
    for library in NEEDS.get(name, []):
        if importlib.util.find_spec(library) is None:
            pytest.skip(f"{name} needs {library}, which is not installed")
    script = os.path.join(HERE, name + ".py")
    assert run(script, method) == SAID[name]
