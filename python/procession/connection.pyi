from multiprocessing.connection import Client as Client, Listener as Listener, Pipe as Pipe
from collections.abc import Iterable
from multiprocessing.connection import Connection
from socket import socket
from typing import Any

__all__ = ["Client", "Listener", "Pipe", "wait"]

def wait(
    object_list: Iterable[Connection[Any, Any] | socket | int | Any], timeout: float | None = None
) -> list[Any]: ...
def __getattr__(name: str) -> Any: ...
