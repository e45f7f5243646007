"""The programs of the tutorial, as they are written for `multiprocessing` and with another import line.

Nothing but the lines that import it is replaced, and what they print is the same.
"""

import os
import re

import pytest
from script import run

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tutorial")
PROGRAMS = sorted(name[:-3] for name in os.listdir(HERE) if name.endswith(".py"))


def test_there_are_ten():
    assert len(PROGRAMS) == 10


def replaced(source):
    """The program with procession where it imports `multiprocessing`."""
    source, lines = re.subn(
        r"(?m)^import multiprocessing$", "import procession as multiprocessing", source
    )
    assert lines == 1
    return re.sub(r"(?m)^import multiprocessing\.(\w+)$", r"import procession.\1", source)


def said_by(script, method):
    # What two processes print comes in any order.
    return sorted(run(script, method).splitlines())


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_says_the_same(name, method, tmp_path):
    script = os.path.join(HERE, name + ".py")
    with open(script) as file:
        source = file.read()
    ours = tmp_path / (name + ".py")
    ours.write_text(replaced(source))
    said = said_by(str(ours), method)
    assert len(said) >= 1
    assert said == said_by(script, method)
