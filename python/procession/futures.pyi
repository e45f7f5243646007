import concurrent.futures as _std
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool as BrokenProcessPool
from multiprocessing.context import BaseContext
from typing import Any, TypeVar

__all__ = ["BrokenProcessPool", "Future", "ProcessPoolExecutor"]

_T = TypeVar("_T")


class Future(_std.Future[_T]): ...

class ProcessPoolExecutor(_std.Executor):
    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: BaseContext | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        task_timeout: float | None = None,
        memory_limit: int | None = None,
        retries: int = 0,
        threads_per_worker: int = 1,
    ) -> None: ...
    def submit(self, fn: Callable[..., _T], /, *args: Any, **kwargs: Any) -> Future[_T]: ...  # type: ignore[override]
    def map(  # type: ignore[override]
        self,
        fn: Callable[..., _T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        retries: int | None = None,
    ) -> Iterator[_T]: ...
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None: ...
