"""Programs at a terminal of their own, and Ctrl-C pressed there."""

import os
import pty
import re
import select
import signal
import sys
import termios
import time

# How long a program may say nothing before it counts as hanging.
PATIENCE = 100

FORGOTTEN = re.compile(r"Exception ignored in.*?\nKeyboardInterrupt:? ?\n", re.DOTALL)


class Terminal:
    """A program in a session of its own, with a terminal that it is controlled by."""

    def __init__(self, *arguments, **environment):
        self.pid, self._master = pty.fork()
        if self.pid == 0:
            environment = {**os.environ, "NO_COLOR": "1", **environment}
            os.execve(sys.executable, [sys.executable, *arguments], environment)
        self.shown = ""
        self._status = None

    def take(self, words):
        """Reads what is shown until `words` are there, and takes them away."""
        self._read_until(lambda: words in self.shown)
        assert words in self.shown, f"{words!r} was not shown, but:\n{self.shown}"
        self.shown = self.shown.replace(words, "", 1)

    def answer(self, *prompts):
        """Reads what is shown until one of `prompts` is its end, and returns it, without that."""
        self._read_until(lambda: self.shown.endswith(prompts))
        assert self.shown.endswith(prompts), self.shown
        shown, self.shown = self.shown, ""
        return shown[: -len(prompts[0])]

    def _read_until(self, is_enough):
        while not is_enough():
            readable, _, _ = select.select([self._master], [], [], PATIENCE)
            assert readable, f"nothing more is shown after:\n{self.shown}"
            try:
                more = os.read(self._master, 65536)
            except OSError:
                return  # the end of what a terminal shows
            self.shown += more.decode().replace("\r\n", "\n")

    def type(self, keys):
        os.write(self._master, keys.encode())

    def interrupt(self):
        """Presses Ctrl-C, without having that shown."""
        settings = termios.tcgetattr(self._master)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(self._master, termios.TCSANOW, settings)
        self.type("\x03")

    def interrupt_for_good(self):
        """Presses Ctrl-C until that has an effect, and tells whether the first time had.

        Python shows and forgets an interrupt that comes to the callback of a weak reference.
        """
        times = 0
        while True:
            self.interrupt()
            times += 1
            self._read_until(lambda: FORGOTTEN.search(self.shown))
            self.shown, forgotten = FORGOTTEN.subn("", self.shown)
            if not forgotten:
                return times == 1

    def wait(self):
        """Reads all that is shown to the end, and returns the exit code."""
        self._read_until(lambda: False)
        _, status = os.waitpid(self.pid, 0)
        self._status = os.waitstatus_to_exitcode(status)
        return self._status

    def members(self):
        """The processes of the session that there still are."""
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.pid and fields[0] not in "ZX":
                found.append(int(name))
        return found

    def wait_for_nobody(self):
        """Waits until nothing of the program is left."""
        while self.members():
            time.sleep(0.01)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for member in self.members():
            try:
                os.kill(member, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self._status is None:
            os.waitpid(self.pid, 0)
        os.close(self._master)
