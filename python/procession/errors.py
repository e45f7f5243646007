"""What `multiprocessing` has no exception for: a process that has died."""

import signal
from multiprocessing.context import ProcessError

__all__ = ["OwnerDied", "WorkerDied"]


class OwnerDied(ProcessError):
    """A process died while it held what was just acquired.

    It is told to one acquirer, who does not hold it then: what it guards may be half-changed. The
    next ``acquire`` takes it as if nothing had happened.

    Attributes:
        pid: The process that died.
    """

    def __init__(self, what: str, pid: int) -> None:
        super().__init__(what, pid)
        self.what = what
        self.pid = pid

    def __str__(self) -> str:
        return (
            f"process {self.pid} died while it held the {self.what}: what that guards may be "
            "half-changed; acquire again to go on"
        )


class WorkerDied(ProcessError):
    """A process died in the middle of a task.

    Attributes:
        pid: The process that died.
        exitcode: As of a process: negative for a signal.
        signal: The name of the signal that killed it, or None.
    """

    def __init__(self, pid: int, exitcode: "int | None" = None) -> None:
        super().__init__(pid, exitcode)
        self.pid = pid
        self.exitcode = exitcode

    @property
    def signal(self) -> "str | None":
        if self.exitcode is None or self.exitcode >= 0:
            return None
        try:
            return signal.Signals(-self.exitcode).name
        except ValueError:
            return f"signal {-self.exitcode}"

    def __str__(self) -> str:
        if self.signal is not None:
            return f"process {self.pid} was killed by {self.signal} in the middle of a task"
        if self.exitcode is not None:
            return f"process {self.pid} exited with {self.exitcode} in the middle of a task"
        return f"process {self.pid} died in the middle of a task"
