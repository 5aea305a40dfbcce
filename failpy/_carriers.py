"""What carries a scope into threads, pools and tasks. The stdlib is touched only while a scope needs it."""

from __future__ import annotations

import sys
from asyncio import BaseEventLoop
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import thread as pool
from functools import wraps
from socketserver import BaseServer
from threading import Thread
from typing import Any

from failpy._context import Layer, current, inside
from failpy._errors import Unwind
from failpy._failures import here
from failpy._registry import lock

__all__ = ["Watched", "install", "remove"]


def _carried() -> Any:
    """The innermost open layer of this context that follows work into threads, or None."""
    layer: Layer | None = current()
    while layer is not None:
        if getattr(layer, "follows_threads", False) and not layer.closed:
            return layer
        layer = layer.parent
    return None


class Watched(Future[Any]):
    """A future that remembers whether anybody asked it for its exception.

    Attributes:
        asked: Whether somebody did.
        where: The thread that its work failed in, once it has.
    """

    asked = False
    where: list[str]

    def result(self, timeout: float | None = None) -> Any:
        """As `Future.result`."""
        self.asked = True
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """As `Future.exception`."""
        self.asked = True
        return super().exception(timeout)

    def failure(self) -> BaseException | None:
        """The exception that nobody has asked for, or None."""
        if self.asked or not self.done() or self.cancelled():
            return None
        return super().exception()


def _start(start: Callable[[Thread], None]) -> Callable[[Thread], None]:
    @wraps(start)
    def carrying(self: Thread) -> None:
        layer = None if getattr(self, "_target", None) is pool._worker else _carried()
        started = getattr(self, "_started", None)
        if layer is None or started is None or started.is_set():
            return start(self)
        run, own = self.run, vars(self).get("run")

        def put_back() -> None:
            if own is None:
                del self.run
            else:
                self.run = own  # type: ignore[method-assign]

        def run_inside() -> None:
            put_back()
            with inside(layer):
                try:
                    run()
                except Unwind:
                    pass
                except SystemExit:
                    raise
                except BaseException as exc:
                    layer.failures.died(exc, f"thread {self.name!r}")
                    raise

        self.run = run_inside  # type: ignore[method-assign]
        try:
            return start(self)
        except BaseException:
            put_back()
            raise

    return carrying


def _submit(submit: Callable[..., Future[Any]]) -> Callable[..., Future[Any]]:
    @wraps(submit)
    def carrying(
        self: ThreadPoolExecutor, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        layer = _carried()
        if layer is None:
            return submit(self, fn, *args, **kwargs)

        def run_inside(*args: Any, **kwargs: Any) -> Any:
            with inside(layer):
                try:
                    return fn(*args, **kwargs)
                except BaseException:
                    where.append(here())
                    raise

        where: list[str] = []
        future = submit(self, run_inside, *args, **kwargs)
        if type(future) is Future:
            future.__class__ = Watched
            future.where = where  # type: ignore[attr-defined]
            future.add_done_callback(layer.failures.watch_future)
        return future

    return carrying


def _create_task(create_task: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(create_task)
    def carrying(self: Any, coro: Any, **kwargs: Any) -> Any:
        task = create_task(self, coro, **kwargs)
        layer = _carried()
        if layer is not None:
            task.add_done_callback(layer.failures.watch_task)
        return task

    return carrying


def _handle_error(handle_error: Callable[..., None]) -> Callable[..., None]:
    @wraps(handle_error)
    def carrying(self: Any, request: Any, client_address: Any) -> None:
        # What socketserver does with an exception of a handler is to print it: it is lost.
        layer, error = _carried(), sys.exception()
        if layer is not None and error is not None:
            layer.failures.died(error, f"a request handler in {here()}")
        return handle_error(self, request, client_address)

    return carrying


def _call_exception_handler(call: Callable[..., None]) -> Callable[..., None]:
    @wraps(call)
    def carrying(self: Any, context: dict[str, Any]) -> None:
        # What `scope.fatal` unwinds a callback with was reported where it began.
        if not isinstance(context.get("exception"), Unwind):
            call(self, context)

    return carrying


class _Hook:
    """One attribute of the stdlib, and what stands there meanwhile."""

    __slots__ = ("_inherits", "_make", "_name", "_original", "_ours", "_owner", "_space")

    def __init__(self, owner: type, name: str, make: Callable[[Any], Any]) -> None:
        self._owner, self._name, self._make = owner, name, make
        self._space = vars(owner)
        self._inherits = False
        self._original: Any = None
        self._ours: Any = None

    def put(self) -> None:
        """Put ours in front of what is there; made anew only if that is not what it was before."""
        # What somebody put in place of the class may only inherit it, as gevent's `Thread` does.
        self._inherits = self._name not in self._space
        found = getattr(self._owner, self._name) if self._inherits else self._space[self._name]
        if found is not self._original:
            self._original, self._ours = found, self._make(found)
        setattr(self._owner, self._name, self._ours)

    def take(self) -> None:
        """Put back what was there, unless somebody put something around ours: it carries nothing then."""
        if self._space[self._name] is not self._ours:
            return
        if self._inherits:
            delattr(self._owner, self._name)
        else:
            setattr(self._owner, self._name, self._original)


_users = 0
_hooks = [
    _Hook(Thread, "start", _start),
    _Hook(ThreadPoolExecutor, "submit", _submit),
    _Hook(BaseEventLoop, "create_task", _create_task),
    _Hook(BaseEventLoop, "call_exception_handler", _call_exception_handler),
    _Hook(BaseServer, "handle_error", _handle_error),
]


def install() -> None:
    """Let scopes be carried; counted, so that every call needs its `remove`."""
    global _users  # noqa: PLW0603 - the one count there is
    with lock:
        _users += 1
        if _users == 1:
            for hook in _hooks:
                hook.put()


def remove() -> None:
    """Undo one `install`; with the last one, the stdlib is what it was."""
    global _users  # noqa: PLW0603 - as above
    with lock:
        _users -= 1
        if not _users:
            for hook in _hooks:
                hook.take()
