"""What a body may leave behind, and what it must not do while it is explored."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from failpy._arming import disable
from failpy._context import Layer, current, process
from failpy._probe import Probe
from failpy._registry import lock
from failpy._scope import Scope

__all__ = ["Exited", "Surroundings", "left_open", "without_exit"]

_GRACE = 0.2  # seconds that threads have to end


class Exited(BaseException):
    """The body called `os._exit`, which would have ended the explorer.

    Args:
        code: The exit status.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return f"the body called os._exit({self.code}), which would have ended this process"


class Surroundings:
    """The threads that run and the points that are armed before a body runs."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._armed = set(process.activations)

    def leaks(self) -> list[str]:
        """What is there now and was not before. What was armed is disarmed."""
        found = []
        until = time.monotonic() + _GRACE
        for thread in threading.enumerate():
            if thread not in self._threads:
                thread.join(max(until - time.monotonic(), 0))
                if thread.is_alive():
                    found.append(f"thread {thread.name!r} still runs")
        for name in sorted(set(process.activations) - self._armed):
            disable(process, name)
            found.append(f"failpoint {name!r} was left armed for the process")
        return found


def left_open(probe: Probe) -> list[str]:
    """Close the scopes that the body has opened in this context and left open, and say which."""
    found = []
    layer: Layer | None = current()
    while layer is not None and layer is not probe:
        if isinstance(layer, Scope) and not layer.closed:
            found.append(f"{layer!r} was left open")
            layer.close()
        layer = layer.parent
    return found


_exit: Callable[[int], NoReturn] | None = None
_users = 0


def _is_explored() -> bool:
    layer: Layer | None = current()
    while layer is not None:
        if isinstance(layer, Probe):
            return True
        layer = layer.behind or layer.parent
    return False


@contextmanager
def without_exit() -> Iterator[None]:
    """While this is open, `os._exit` of explored code raises `Exited`. A forked child still ends."""
    global _exit, _users  # noqa: PLW0603 - the one `os._exit` there is
    pid = os.getpid()

    def refuse(status: int) -> NoReturn:
        original: Any = _exit
        if os.getpid() == pid and _is_explored():
            raise Exited(status)
        original(status)
        raise AssertionError("a process has survived os._exit")  # pragma: no cover

    with lock:
        _users += 1
        if _users == 1:
            _exit, os._exit = os._exit, refuse
    try:
        yield
    finally:
        with lock:
            _users -= 1
            if not _users:
                os._exit, _exit = _exit, None  # type: ignore[assignment]
