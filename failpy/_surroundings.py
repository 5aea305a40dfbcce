"""What a body may leave behind, and what it must not do while it is explored."""

from __future__ import annotations

import os
import signal
import sys
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

__all__ = ["Exited", "Surroundings", "end_fork", "left_open", "without_exit"]

_GRACE = 0.2  # seconds that threads have to end
_NAMES = ("SIGCHLD", "SIGHUP", "SIGINT", "SIGTERM", "SIGUSR1", "SIGUSR2")
_HANDLED = tuple(number for number in signal.Signals if number.name in _NAMES)


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
    """What a body finds, and is to leave as it was.

    Args:
        whole: Whether that is the state of the process as well as threads and armed points. Where a test is
            explored, its fixtures may put that back later.
    """

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole
        self._threads = set(threading.enumerate())
        self._armed = set(process.activations)
        self._folder = _folder()
        self._variables = _variables()
        self._handlers = _handlers()
        self._tracing = sys.gettrace()

    def leaks(self) -> list[str]:
        """What is not as it was. It is put back, but for threads and what traces."""
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
        return [*found, *self._changes()] if self._whole else found

    def _changes(self) -> list[str]:
        found = []
        if (folder := _folder()) != self._folder:
            found.append(f"the current folder was left at {folder}")
            if self._folder is not None:
                os.chdir(self._folder)
        if (variables := _variables()) != self._variables:
            found.append(f"the environment was left changed: {', '.join(self._put_back(variables))}")
        for number, handler in _handlers().items():
            if handler is not self._handlers[number]:
                found.append(f"the handler of {number.name} was left changed")
                signal.signal(number, self._handlers[number])
        # It is left alone, since it may be the debugger of somebody who looks on.
        is_traced = sys.gettrace() is not self._tracing
        return found + ["a trace function was left behind, by sys.settrace"] * is_traced

    def _put_back(self, now: dict[Any, Any]) -> list[str]:
        before, changed = self._variables, []
        for each in {*before, *now}:
            if before.get(each) == now.get(each):
                continue
            name = os.fsdecode(each)
            changed.append(name)
            if each in before:
                os.environ[name] = os.fsdecode(before[each])
            else:
                del os.environ[name]
        return sorted(changed)


def _variables() -> dict[Any, Any]:
    # As the system has them: to decode them all would take longer than a small body.
    return dict(getattr(os.environ, "_data", os.environ))


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a Path would cost more than all the rest
    except OSError:  # it has been removed
        return None


def _handlers() -> dict[signal.Signals, Any]:
    """The handlers that Python knows, of the signals that programs handle."""
    found = {number: signal.getsignal(number) for number in _HANDLED}
    return {number: handler for number, handler in found.items() if handler is not None}


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


def end_fork() -> None:  # pragma: no cover
    """End this process, a fork that has come out of the body: it would explore on beside its parent."""
    sys.stderr.write(
        "failpy: a process that an explored body has forked came back out of it, so it ends here: let a "
        "forked child end with os._exit\n"
    )
    sys.stderr.flush()
    os._exit(1)
