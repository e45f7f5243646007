from collections.abc import Callable, Iterable
from multiprocessing import context as _std, process
from multiprocessing.context import (
    AuthenticationError as AuthenticationError,
    BufferTooShort as BufferTooShort,
    ProcessError as ProcessError,
    TimeoutError as TimeoutError,
    assert_spawning as assert_spawning,
    get_spawning_popen as get_spawning_popen,
    set_spawning_popen as set_spawning_popen,
)
from typing import Any, ClassVar, Literal, TypeVar, overload

from . import pool, queues, synchronize

__all__: tuple[()]

_P = TypeVar("_P", bound=process.BaseProcess)

class BaseContext(_std.BaseContext):
    def Lock(self) -> synchronize.Lock: ...  # type: ignore[override]
    def RLock(self) -> synchronize.RLock: ...  # type: ignore[override]
    def Condition(self, lock: synchronize.Lock | synchronize.RLock | None = None) -> synchronize.Condition: ...  # type: ignore[override]
    def Semaphore(self, value: int = 1) -> synchronize.Semaphore: ...  # type: ignore[override]
    def BoundedSemaphore(self, value: int = 1) -> synchronize.BoundedSemaphore: ...  # type: ignore[override]
    def Event(self) -> synchronize.Event: ...  # type: ignore[override]
    def Barrier(  # type: ignore[override]
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> synchronize.Barrier: ...
    def Queue(self, maxsize: int = 0) -> queues.Queue[Any]: ...  # type: ignore[override]
    def JoinableQueue(self, maxsize: int = 0) -> queues.JoinableQueue[Any]: ...  # type: ignore[override]
    def SimpleQueue(self) -> queues.SimpleQueue[Any]: ...  # type: ignore[override]
    def Pool(  # type: ignore[override]
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        *,
        task_timeout: float | None = None,
        memory_limit: int | None = None,
        retries: int = 0,
        threads_per_worker: int = 1,
    ) -> pool.Pool: ...
    def set_forkserver_preload(self, module_names: list[str]) -> None: ...
    @overload  # type: ignore[override]
    def get_context(self, method: None = None) -> BaseContext: ...
    @overload
    def get_context(self, method: Literal["spawn"]) -> SpawnContext: ...
    @overload
    def get_context(self, method: Literal["fork"]) -> ForkContext: ...
    @overload
    def get_context(self, method: Literal["forkserver"]) -> ForkServerContext: ...
    @overload
    def get_context(self, method: str) -> BaseContext: ...

class Process(process.BaseProcess):
    _start_method: ClassVar[str | None]
    @staticmethod
    def _Popen(process_obj: process.BaseProcess) -> Any: ...

class DefaultContext(BaseContext):
    Process: ClassVar[type[Process]]
    def set_start_method(self, method: str | None, force: bool = False) -> None: ...
    def get_start_method(self, allow_none: bool = False) -> str | None: ...  # type: ignore[override]
    def get_all_start_methods(self) -> list[str]: ...

class ForkProcess(Process): ...
class SpawnProcess(Process): ...
class ForkServerProcess(Process): ...

class ForkContext(BaseContext):
    _name: ClassVar[str]
    Process: ClassVar[type[ForkProcess]]

class SpawnContext(BaseContext):
    _name: ClassVar[str]
    Process: ClassVar[type[SpawnProcess]]

class ForkServerContext(BaseContext):
    _name: ClassVar[str]
    Process: ClassVar[type[ForkServerProcess]]

_default_context: DefaultContext
_concrete_contexts: dict[str, BaseContext]
