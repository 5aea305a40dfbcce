"""Functions each call of which runs inside a scope of its own, whatever their shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from failpy._context import inside
from failpy._errors import Unwind

if TYPE_CHECKING:
    from failpy._scope import Scope

__all__ = ["bound", "wrap"]

F = TypeVar("F", bound=Callable[..., Any])


def wrap(function: F, make: Callable[[], Scope]) -> F:
    """Let each call of the function open a scope from `make`, and close it when the call ends.

    Raises:
        TypeError: when the function is a class or no callable at all.
    """
    if isinstance(function, type | staticmethod | classmethod) or not callable(function):
        raise TypeError(
            f"scope(...) decorates functions and methods, not {function!r}: "
            "put it on a function, below @staticmethod or @classmethod"
        )
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
        with make() as scope:
            scope.at_home(getattr(function, "__code__", None))
            return function(*args, **kwargs)

    return cast("F", scoped)


def _coroutine(function: Callable[..., Any], make: Callable[[], Scope]) -> Callable[..., Any]:
    @wraps(function)
    async def scoped(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        async with make() as scope:
            scope.at_home(getattr(function, "__code__", None))
            return await function(*args, **kwargs)

    return scoped


def _generator(function: Callable[..., Any], make: Callable[[], Scope]) -> Callable[..., Any]:
    @wraps(function)
    def scoped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        __tracebackhide__ = True
        scope = make()
        scope.open()
        scope.at_home(getattr(function, "__code__", None))
        # In the scope while the body runs, and not in between: there it would be the consumer's.
        body_runs = inside(scope)
        sent: Any = None
        thrown: BaseException | None = None
        try:
            body = function(*args, **kwargs)
            while True:
                try:
                    with body_runs:
                        item = body.send(sent) if thrown is None else body.throw(thrown)
                except StopIteration as stop:
                    result = stop.value
                    break
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    with body_runs:
                        body.close()
                    raise
                except BaseException as exc:
                    thrown = exc
        except BaseException as exc:
            scope.finish(exc)
            raise
        scope.finish(None)
        return result

    return scoped


def _async_generator(function: Callable[..., Any], make: Callable[[], Scope]) -> Callable[..., Any]:
    @wraps(function)
    async def scoped(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        __tracebackhide__ = True
        scope = make()
        scope.open()
        scope.at_home(getattr(function, "__code__", None))
        body_runs = inside(scope)
        sent: Any = None
        thrown: BaseException | None = None
        try:
            body = function(*args, **kwargs)
            while True:
                try:
                    with body_runs:
                        item = await (body.asend(sent) if thrown is None else body.athrow(thrown))
                except StopAsyncIteration:
                    break
                sent = thrown = None
                try:
                    sent = yield item
                except GeneratorExit:
                    with body_runs:
                        await body.aclose()
                    raise
                except BaseException as exc:
                    thrown = exc
        except BaseException as exc:
            scope.finish(exc)
            raise
        scope.finish(None)

    return scoped


def bound(function: F, scope: Scope) -> F:
    """Let each call of the function run in this open scope, in whatever thread or task it comes.

    What `scope.fatal` unwinds with ends at the function, which then returns None.

    Raises:
        TypeError: when it cannot be called, or is a generator function, which is not over when it returns.
    """
    import inspect

    if not callable(function):
        raise TypeError(f"bind takes a function, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"bind cannot carry a generator, which outlives its call: bind what consumes {function!r}"
        )
    if inspect.iscoroutinefunction(function):

        @wraps(function)
        async def abound(*args: Any, **kwargs: Any) -> Any:
            if scope.closed:
                return await function(*args, **kwargs)
            with inside(scope), _ending_here(scope):
                return await function(*args, **kwargs)

        return cast("F", abound)

    @wraps(function)
    def bound(*args: Any, **kwargs: Any) -> Any:
        if scope.closed:
            return function(*args, **kwargs)
        with inside(scope), _ending_here(scope):
            return function(*args, **kwargs)

    return cast("F", bound)


@contextmanager
def _ending_here(scope: Scope) -> Iterator[None]:
    try:
        yield
    except Unwind as unwind:
        if unwind.scope is not scope:
            raise
