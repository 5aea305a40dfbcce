"""Functions each call of which runs inside a scope of its own, whatever their shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from failpy._context import Layer, current, set_current

if TYPE_CHECKING:
    from failpy._scope import Scope

__all__ = ["wrap"]

F = TypeVar("F", bound=Callable[..., Any])


def wrap(function: F, make: Callable[[], Scope]) -> F:
    """Let each call of the function open a scope from `make`, and close it when the call ends.

    Raises:
        TypeError: when the function is a class or no callable at all.
    """
    if isinstance(function, type) or not callable(function):
        raise TypeError(f"scope(...) decorates functions and methods, not {function!r}")
    import inspect  # not at the top: it takes as long as the whole of failpy

    if inspect.isasyncgenfunction(function):
        return cast("F", _async_generator(function, make))
    if inspect.isgeneratorfunction(function):
        return cast("F", _generator(function, make))
    if inspect.iscoroutinefunction(function):
        return cast("F", _coroutine(function, make))

    @wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with make():
            return function(*args, **kwargs)

    return cast("F", scoped)


def _coroutine(function: Callable[..., Any], make: Callable[[], Scope]) -> Callable[..., Any]:
    @wraps(function)
    async def scoped(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        async with make():
            return await function(*args, **kwargs)

    return scoped


class _Inside:
    """Makes an open scope the current one while a generator's body runs, and not in between."""

    __slots__ = ("_layer", "_outside")

    def __init__(self, scope: Scope) -> None:
        self._layer: Layer = scope

    def __enter__(self) -> None:
        self._outside = current()
        set_current(self._layer)

    def __exit__(self, *exc: object) -> None:
        self._layer = current()  # the body may be inside a scope that it opened itself
        set_current(self._outside)


def _generator(function: Callable[..., Any], make: Callable[[], Scope]) -> Callable[..., Any]:
    @wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        __tracebackhide__ = True
        scope = make()
        scope.open()
        inside = _Inside(scope)
        failed = True
        try:
            body = function(*args, **kwargs)
            sent: Any = None
            thrown: BaseException | None = None
            while True:
                try:
                    with inside:
                        item = body.send(sent) if thrown is None else body.throw(thrown)
                except StopIteration as stop:
                    failed = False
                    return stop.value
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    with inside:
                        body.close()
                    raise
                except BaseException as exc:
                    thrown = exc
        finally:
            scope.finish(failed)

    return scoped


def _async_generator(function: Callable[..., Any], make: Callable[[], Scope]) -> Callable[..., Any]:
    @wraps(function)
    async def scoped(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        __tracebackhide__ = True
        scope = make()
        scope.open()
        inside = _Inside(scope)
        failed = True
        try:
            body = function(*args, **kwargs)
            sent: Any = None
            thrown: BaseException | None = None
            while True:
                try:
                    with inside:
                        item = await (body.asend(sent) if thrown is None else body.athrow(thrown))
                except StopAsyncIteration:
                    failed = False
                    return
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    with inside:
                        await body.aclose()
                    raise
                except BaseException as exc:
                    thrown = exc
        finally:
            scope.finish(failed)

    return scoped
