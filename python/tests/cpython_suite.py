#!/usr/bin/env python3
"""Runs the tests that CPython has for `multiprocessing`, on procession.

    python cpython_suite.py spawn|forkserver|fork [-k PATTERN] [--module multiprocessing]

The interpreter's own `test/_test_multiprocessing.py` is read where it is installed; a copy in which
`import multiprocessing` means procession is what runs, in children as well. Each test class has a
process of its own and a time limit. What is expected to fail is listed below with its reason. The
exit status is 0 if nothing else failed.
"""

import argparse
import concurrent.futures
import fnmatch
import os
import pathlib
import re
import subprocess
import sys
import tempfile

LIMIT = 200

# Tests of what is private to the standard library, or of what it cannot do and procession can.
EXPECTED = {
    "_TestImportStar.*": "the standard library's files",
    "TestResourceTracker.*": "names of semaphores; procession's have none",
    "*TestProcess.test_forkserver_sig*": "a private attribute of the fork server",
    "TestStartMethod.test_mixed_startmethod": "wants an error; with procession it works",
    "TestPoolNotLeakOnFailure.*": "a pool on a mock of a context",
    "TestFlags.*": "interpreters without site-packages, where procession is not installed",
    "SemLockTests.*": "a class of the C module `_multiprocessing`",
}


def translated(source):
    """The test file with procession where `multiprocessing` is imported."""
    source = re.sub(
        r"\bimport multiprocessing\.(\w+)",
        r"import procession.\1, procession as multiprocessing",
        source,
    )
    source = re.sub(r"\bimport multiprocessing as\b", "import procession as", source)
    source = re.sub(r"\bimport multiprocessing\b", "import procession as multiprocessing", source)
    source = re.sub(r"\bfrom multiprocessing\b", "from procession", source)
    source = re.sub(r"""(patch(?:\.object)?\(\s*['"])multiprocessing\.""", r"\1procession.", source)
    # Its own name, by which children and the fork server import it.
    return source.replace("test._test_multiprocessing", "_test_multiprocessing").replace(
        "test.test_multiprocessing_", "suite_"
    )


def write(folder, module, method):
    """Writes the suite for one start method."""
    import test

    here = pathlib.Path(test.__file__).parent
    for path in [here / "_test_multiprocessing.py", *here.glob("mp_*.py")]:
        source = path.read_text()
        if module == "procession":
            source = translated(source)
        (folder / path.name).write_text(source)
    (folder / f"suite_{method}.py").write_text(
        "import _test_multiprocessing as suite\n"
        f"suite.install_tests_in_module_dict(globals(), {method!r})\n"
    )


def run(folder, method, name):
    """Runs one class, and once more if something in it fails: some of these tests are a race."""
    outcomes, said = run_once(folder, method, name)
    if not {"FAIL", "ERROR", "timed out"} & set(outcomes.values()):
        return outcomes, said
    return run_once(folder, method, name)


def run_once(folder, method, name):
    """Runs one class; returns the outcome of each of its tests."""
    command = [sys.executable, "-m", "unittest", "-v", f"suite_{method}.{name}"]
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        said = result.stdout
    except subprocess.TimeoutExpired as expired:
        said = (expired.stdout or b"").decode(errors="replace")
        return {f"{name}.(somewhere)": "timed out"}, said
    outcomes = {}
    # What a test prints may come between its name and its outcome.
    pattern = r"^(test\w*) \(.*?\)(?:\n.*?)?? \.\.\. (?:.*?\n)*?.*?\b(ok|FAIL|ERROR|skipped)\b"
    for match in re.finditer(pattern, said, re.MULTILINE):
        outcomes[f"{name}.{match[1]}"] = match[2]
    if result.returncode != 0 and not {"FAIL", "ERROR"} & set(outcomes.values()):
        outcomes[f"{name}.(class)"] = "ERROR"
    return outcomes, said


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("method", choices=["spawn", "forkserver", "fork"])
    parser.add_argument("-k", dest="pattern", default="*", help="classes to run")
    parser.add_argument("--module", default="procession", choices=["procession", "multiprocessing"])
    parser.add_argument("-v", dest="verbose", action="store_true", help="show what failures said")
    arguments = parser.parse_args()
    counts = {"passed": 0, "failed": 0, "skipped": 0, "expected": 0}
    with tempfile.TemporaryDirectory(prefix="suite") as folder:
        folder = pathlib.Path(folder)
        write(folder, arguments.module, arguments.method)
        listing = (
            f"import unittest, suite_{arguments.method} as s\n"
            "print('\\n'.join(n for n, c in vars(s).items() if isinstance(c, type) "
            "and issubclass(c, unittest.TestCase) and unittest.defaultTestLoader.getTestCaseNames(c)))"
        )
        listed = subprocess.run(
            [sys.executable, "-c", listing], cwd=folder, stdout=subprocess.PIPE, text=True, check=True
        )
        names = fnmatch.filter(listed.stdout.split(), arguments.pattern)
        with concurrent.futures.ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as executor:
            runs = executor.map(lambda name: run(folder, arguments.method, name), names)
            for outcomes, said in runs:
                report(outcomes, said, counts, arguments.verbose)
    print(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 1 if counts["failed"] or not counts["passed"] else 0


def report(outcomes, said, counts, verbose):
    failed = False
    for name, outcome in outcomes.items():
        if outcome in ("ok", "skipped"):
            counts["passed" if outcome == "ok" else "skipped"] += 1
        elif any(fnmatch.fnmatch(name, pattern) for pattern in EXPECTED):
            counts["expected"] += 1
        else:
            counts["failed"] += 1
            failed = True
            print(f"{outcome}: {name}", flush=True)
    if failed and verbose:
        print(said, flush=True)


if __name__ == "__main__":
    sys.exit(main())
