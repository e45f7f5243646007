from collections.abc import Callable, Iterable
from multiprocessing import pool as _std
from multiprocessing.context import BaseContext
from multiprocessing.pool import ThreadPool as ThreadPool
from typing import Any

__all__ = ["Pool", "ThreadPool"]

class Pool(_std.Pool):
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
    ) -> None: ...
