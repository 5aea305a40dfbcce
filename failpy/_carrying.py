"""What carries the scope of a test where plugins of pytest run it in a context or thread of their own."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext
from functools import update_wrapper, wraps
from types import FunctionType, MethodType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from failpy._context import Layer, inside
from failpy._errors import FailpointPanic, Unwind

if TYPE_CHECKING:
    import pytest

__all__ = [
    "StandIn",
    "carried",
    "carrying",
    "is_async",
    "is_repeated",
    "original",
    "per_thread",
    "standing_in",
]

F = TypeVar("F", bound=Callable[..., Any])
Where = Callable[[], Layer | None]


def is_async(function: object) -> bool:
    """Whether a plugin runs this function on an event loop."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def carried(function: F, where: Where) -> F:
    """The function of a test or a fixture, run so that what it raises ends no more than the test.

    An async one runs in the layer that `where` gives when it begins, and at each step again: the runners
    of anyio keep one task, and so one context, for many tests.
    """
    if isinstance(function, MethodType):
        # Still a method, which pytest and anyio bind to the instance that the test has.
        return cast("F", MethodType(carried(function.__func__, where), function.__self__))
    if inspect.isasyncgenfunction(function):
        return cast("F", _async_generator(function, where))
    if inspect.iscoroutinefunction(function):
        return cast("F", _coroutine(function, where))
    if inspect.isgeneratorfunction(function):

        @wraps(function)
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            __tracebackhide__ = True
            with standing_in():
                return (yield from function(*args, **kwargs))

        return cast("F", generator)

    @wraps(function)
    def plain(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with standing_in():
            return function(*args, **kwargs)

    return cast("F", plain)


def _async_generator(function: Callable[..., Any], where: Where) -> Callable[..., Any]:
    @wraps(function)
    async def steps(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        body = function(*args, **kwargs)
        try:
            while True:
                with _in(where()), standing_in():
                    try:
                        item = await anext(body)
                    except StopAsyncIteration:
                        return
                yield item
        finally:
            with _in(where()):
                await body.aclose()

    return steps


def _coroutine(function: Callable[..., Any], where: Where) -> Callable[..., Any]:
    @wraps(function)
    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with _in(where()), standing_in():
            return await function(*args, **kwargs)

    return coroutine


class StandIn(Exception):  # noqa: N818 - it is another's
    """What a test raises in place of what would end the task, or the thread, that a plugin runs it in.

    anyio runs many tests in one task, pytest-run-parallel lets its threads wait for each other, and
    pytest itself forgets to end what a fixture set up when that raises no `Exception`.
    """

    def __init__(self, original: BaseException) -> None:
        super().__init__(f"{type(original).__name__}: {original}")
        self.original = original


class standing_in:
    """A block that lets out what it raises, or what stands in for it."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        is_ours = isinstance(exc, FailpointPanic | Unwind)
        if isinstance(exc, BaseExceptionGroup) and not isinstance(exc, Exception):
            is_ours = exc.subgroup((FailpointPanic, Unwind)) is not None
        if is_ours and exc is not None:
            raise StandIn(exc) from None


def original(error: BaseException) -> BaseException:
    """What was raised, beneath the one that stands in for it."""
    if isinstance(error, StandIn):
        return error.original
    if isinstance(error, BaseExceptionGroup) and error.subgroup(StandIn) is not None:
        group = BaseExceptionGroup(error.message, [original(each) for each in error.exceptions])
        return group.with_traceback(error.__traceback__)
    return error


def _in(layer: Layer | None) -> inside | nullcontext[None]:
    return nullcontext() if layer is None else inside(layer)


@contextmanager
def carrying(item: pytest.Item, where: Where) -> Iterator[None]:
    """A block in which the function of this test is carried, if it is async."""
    owner: Any = item
    name = "obj"
    function: Any = getattr(item, "obj", None)
    if hasattr(function, "hypothesis"):
        owner, name = function.hypothesis, "inner_test"
        function = owner.inner_test
    if not inspect.iscoroutinefunction(function):
        yield
        return
    setattr(owner, name, carried(function, where))
    try:
        yield
    finally:
        setattr(owner, name, function)


def is_repeated(item: pytest.Function) -> bool:
    """Whether pytest-run-parallel may run the test in several threads."""
    options = item.config.option
    asked = (getattr(options, "parallel_threads", 1), getattr(options, "iterations", 1))
    marked = any(item.get_closest_marker(name) for name in ("parallel_threads", "iterations"))
    return hasattr(options, "parallel_threads") and (marked or asked != (1, 1)) and not is_async(item.obj)


def per_thread(function: F, call: Callable[[Callable[..., Any], Any, Any], Any]) -> F:
    """The function, run through `call(function, args, kwargs)`, with the global names that it has.

    pytest-run-parallel looks into those for what is not safe in threads.
    """

    def through(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return call(function, args, kwargs)

    names: dict[str, Any] = getattr(inspect.unwrap(function), "__globals__", {})
    same = FunctionType(through.__code__, names, through.__name__, None, through.__closure__)
    return cast("F", update_wrapper(same, function))
