"""Main modules that are no file: code on the command line, an interactive interpreter, a notebook."""

import subprocess
import sys
import textwrap

import pytest

from terminal import Terminal

METHODS = ["fork", "forkserver", "spawn"]

# Only a copy has what a main module without a file has defined. The others can say so, and have what
# comes from elsewhere.
DEFINED = """
import procession
def square(number):
    return number * number

"""
USED = """
pool = procession.get_context({method!r}).Pool(2)
print("=", pool.map(abs, [-3, 4]))
try:
    print("= squares", pool.map(square, [3, 4]))
except AttributeError as error:
    print("= none:", error)

print("=", pool.map(abs, [-5]))
pool.close(); pool.join()
queue = procession.get_context({method!r}).Queue()
child = procession.get_context({method!r}).Process(target=print, args=("= child",))
child.start(); child.join(); print("= code", child.exitcode)
"""


def expected(method, shown):
    """Checks what a program shows that has the code above for its main module."""
    said = [line[2:] for line in shown.splitlines() if line.startswith("= ")]
    first, second, *rest = said
    assert first == "[3, 4]", shown
    if method == "fork":
        assert second == "squares [9, 16]", shown
    else:
        # With cloudpickle they travel by themselves.
        assert second == "squares [9, 16]" or "'square'" in second, shown
    assert rest == ["[5]", "child", "code 0"], shown


def run(*arguments):
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("method", METHODS)
def test_code_on_the_command_line(method):
    expected(method, run("-c", DEFINED + USED.format(method=method)))


@pytest.mark.parametrize("method", METHODS)
def test_a_notebook(method, tmp_path):
    # As a kernel does: a launcher whose main module is made anew, without a file, and threads.
    launcher = tmp_path / "launcher.py"
    launcher.write_text(
        textwrap.dedent(
            f"""
            import sys, threading, types
            main = types.ModuleType("__main__")
            vars(main).update(__builtins__=__builtins__, __spec__=None)
            sys.modules["__main__"] = main
            threading.Thread(target=threading.Event().wait, daemon=True).start()
            for number, cell in enumerate([{DEFINED!r}, {USED.format(method=method)!r}]):
                exec(compile(cell, f"<cell {{number}}>", "exec"), vars(main))
            """
        )
    )
    expected(method, run("-W", "ignore", str(launcher)))


@pytest.mark.parametrize("method", METHODS)
def test_an_interactive_interpreter(method):
    prompts = "import sys; sys.ps1 = '<1>'; sys.ps2 = '<2>'; del sys.__interactivehook__"
    with Terminal("-q", "-i", "-c", prompts, PYTHON_BASIC_REPL="1") as terminal:
        terminal.answer("<1>")
        shown = ""
        for line in (DEFINED + USED.format(method=method)).split("\n"):
            terminal.type(line + "\n")
            shown += terminal.answer("<1>", "<2>")
        terminal.type("exit()\n")
        assert terminal.wait() == 0
        expected(method, shown)
        terminal.wait_for_nobody()
