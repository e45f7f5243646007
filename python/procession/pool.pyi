from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping
from multiprocessing import pool as _std
from multiprocessing.context import BaseContext
from multiprocessing.pool import ThreadPool as ThreadPool
from types import TracebackType
from typing import Any, Generic, TypeVar

from typing_extensions import Self

__all__ = ["Pool", "ThreadPool"]

INIT: str
RUN: str
CLOSE: str
TERMINATE: str

_T = TypeVar("_T")
_S = TypeVar("_S")

class ApplyResult(Generic[_T]):
    def __init__(self, results: Any, callback: Any, error_callback: Any) -> None: ...
    @classmethod
    def __class_getitem__(cls, item: Any, /) -> Any: ...
    def ready(self) -> bool: ...
    def successful(self) -> bool: ...
    def wait(self, timeout: float | None = None) -> None: ...
    def get(self, timeout: float | None = None) -> _T: ...
    def cancel(self) -> bool: ...
    def __await__(self) -> Generator[Any, None, _T]: ...

AsyncResult = ApplyResult

class MapResult(ApplyResult[list[_T]]):
    def get_all(self) -> list[_T | BaseException]: ...

class IMapIterator(Iterator[_T]):
    def __init__(
        self, results: Any, iterable: Any, chunksize: int, ahead: int, unread: set[Any]
    ) -> None: ...
    def __iter__(self) -> Self: ...
    def next(self, timeout: float | None = None) -> _T: ...
    def __next__(self, timeout: float | None = None) -> _T: ...

class IMapUnorderedIterator(IMapIterator[_T]): ...

class Pool:
    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: BaseContext | None = None,
        *,
        task_timeout: float | None = None,
        memory_limit: int | None = None,
        retries: int = 0,
        threads_per_worker: int = 1,
    ) -> None: ...
    def apply(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        *,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> _T: ...
    def apply_async(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[_T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> ApplyResult[_T]: ...
    def apply_aio(
        self,
        func: Callable[..., _T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        *,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> Awaitable[_T]: ...
    def map(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        progress: bool = False,
    ) -> list[_T]: ...
    def starmap(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        progress: bool = False,
    ) -> list[_T]: ...
    def try_map(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: int | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> list[_T | BaseException]: ...
    def map_async(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: int | None = None,
        callback: Callable[[list[_T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> MapResult[_T]: ...
    def starmap_async(
        self,
        func: Callable[..., _T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[_T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        *,
        timeout: float | None = None,
        retries: int | None = None,
    ) -> MapResult[_T]: ...
    def imap(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: int = 1,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        progress: bool = False,
    ) -> IMapIterator[_T]: ...
    def imap_unordered(
        self,
        func: Callable[[_S], _T],
        iterable: Iterable[_S],
        chunksize: int = 1,
        *,
        timeout: float | None = None,
        retries: int | None = None,
        progress: bool = False,
    ) -> IMapIterator[_T]: ...
    def stats(self) -> dict[str, Any]: ...
    def resize(self, processes: int) -> None: ...
    def close(self) -> None: ...
    def terminate(self) -> None: ...
    def join(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None: ...
    def __del__(self, _warn: Callable[..., object] = ..., RUN: str = ...) -> None: ...
    @classmethod
    def __class_getitem__(cls, item: Any) -> Any: ...
