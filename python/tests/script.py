"""Programs that are run whole, as their users run them."""

import subprocess
import sys


def run(script, method):
    """Runs a script with a start method, and returns what it has printed; it does not fail."""
    # Python warns of a fork where there are threads, which is the program's affair.
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", script, method],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0), done.stdout
    return done.stdout
