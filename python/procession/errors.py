"""What `multiprocessing` has no exception for: a process that has died."""

import signal
from multiprocessing.context import ProcessError

__all__ = [
    "OwnerDied",
    "PoolBroken",
    "PoolTerminated",
    "TaskCancelled",
    "TaskTimedOut",
    "WorkerDied",
]


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
        pid: The process that died; None if it is not known.
        exitcode: As of a process: negative for a signal; None if it is not known.
        lost: How many tasks died with it.
    """

    def __init__(self, pid: "int | None", exitcode: "int | None" = None, lost: int = 1) -> None:
        super().__init__(pid, exitcode, lost)
        self.pid = pid
        self.exitcode = exitcode
        self.lost = lost

    @property
    def signal(self) -> "str | None":
        """The name of the signal that killed it, or None."""
        if self.exitcode is None or self.exitcode >= 0:
            return None
        try:
            return signal.Signals(-self.exitcode).name
        except ValueError:
            return f"signal {-self.exitcode}"

    def __str__(self) -> str:
        who = "a process" if self.pid is None else f"process {self.pid}"
        if self.signal is not None:
            how = f"was killed by {self.signal}"
        elif self.exitcode is not None:
            how = f"exited with {self.exitcode}"
        else:
            how = "died"
        what = "a task" if self.lost == 1 else f"{self.lost} tasks"
        return f"{who} {how} in the middle of {what}"


class TaskTimedOut(ProcessError):
    """A task took longer than it may; its worker was killed.

    Attributes:
        after: How many seconds it may take.
    """

    def __init__(self, after: float) -> None:
        super().__init__(after)
        self.after = after

    def __str__(self) -> str:
        return f"the task ran longer than {self.after:g} s, and its worker was ended"


class TaskCancelled(ProcessError):
    """A task was cancelled; or it was interrupted in its worker, as Ctrl-C does.

    Attributes:
        how: What happened to it, in words.
    """

    def __init__(self, how: str = "cancelled") -> None:
        super().__init__(how)
        self.how = how

    def __str__(self) -> str:
        return f"the task was {self.how}"


class PoolTerminated(ProcessError):
    """A pool was terminated before a task was done."""

    def __str__(self) -> str:
        return "the pool was terminated before the task was done"


class PoolBroken(ProcessError):
    """A pool cannot have workers any more: they fail before they can begin.

    Attributes:
        reason: How the last one failed.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"the pool has no workers that could run the task: {self.reason}"
