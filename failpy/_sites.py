"""Where failpoints stand in code: decorated callables, `with` blocks and expressions."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from contextvars import ContextVar
from functools import cache, cached_property, partial
from types import FrameType, FunctionType, TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeGuard, TypeVar, cast, overload

from failpy._activation import Hit
from failpy._config import config
from failpy._context import find
from failpy._grammar import as_terms
from failpy._names import check_name
from failpy._patch import patch_of
from failpy._points import Declared, Site, declare
from failpy._returns import accepted
from failpy._terms import Raise, Term, Terms

__all__ = ["Point", "failpoint", "point"]

T = TypeVar("T")
_BODY = "<body>"
_LOOPS = tuple(os.path.join(*parts) for parts in (("asyncio", "events.py"), ("trio", "_core", "_run.py")))

Fault = str | Term | Terms | BaseException | type[BaseException]


P = ParamSpec("P")
F = TypeVar("F")


class Decorator(Protocol):
    """What `failpoint` gives: it takes a callable and gives its like."""

    def __call__(self, target: F, /) -> F: ...


class ReturningDecorator(Protocol[T]):
    """The same where `returns` is a class: the callable must return it."""

    # They overlap where T itself is a coroutine or an iterator, and then the first one is meant.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, target: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, target: Callable[P, Generator[Any, Any, T]], /
    ) -> Callable[P, Generator[Any, Any, T]]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self, target: Callable[P, AsyncIterator[Any]], /
    ) -> Callable[P, AsyncIterator[Any]]: ...
    @overload
    def __call__(self, target: classmethod[Any, P, T], /) -> classmethod[Any, P, T]: ...
    @overload
    def __call__(self, target: staticmethod[P, T], /) -> staticmethod[P, T]: ...
    @overload
    def __call__(self, target: property, /) -> property: ...
    @overload
    def __call__(self, target: cached_property[T], /) -> cached_property[T]: ...
    @overload
    def __call__(self, target: Callable[P, T], /) -> Callable[P, T]: ...


class _Done:
    """An awaitable that is done at once, in C."""

    __await__ = staticmethod(().__iter__)


# `get` of a variable that is never set: a C function of no arguments that gives its default.
_nothing = ContextVar[None]("failpy nothing", default=None).get
_done = ContextVar[_Done]("failpy done", default=_Done()).get


class Point(Declared[T]):
    """A failpoint: a named place in a program. Made by `failpy.point`, one object for each name.

    It evaluates what is armed in the context it is hit in, in one of four spellings: `with`,
    `async with`, `.hit()` and `await .ahit()`. Each gives the `Hit` when `return` fired, else None.

    Attributes:
        name: The name.
        returns: The type that a `return` must give.
        faults: The catalogue of realistic faults, as chains of terms.
        sites: Where it stands, as `file:line`.

    Example:
        >>> from failpy import fail
        >>> def read(path):
        ...     if hit := fail.point("read.early", returns=str).hit(path=path):
        ...         return hit.value
        ...     return "contents"
        >>> with fail.scope({"read.early": 'return("injected")'}):
        ...     print(read("a.txt"))
        injected
    """

    __slots__ = ()

    if TYPE_CHECKING:

        def __enter__(self) -> Hit[T] | None: ...
        def __exit__(
            self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
        ) -> None: ...
        async def __aenter__(self) -> Hit[T] | None: ...
    else:
        # What an idle point does in a `with` block enters no Python frame: 0.70x of `nullcontext()`.
        __enter__ = staticmethod(_nothing)
        __exit__ = staticmethod("".format)
        __aenter__ = staticmethod(_done)

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    def hit(self, /, **values: Any) -> Hit[T] | None:
        """Evaluate the point, as an expression.

        Args:
            values: What a `when=` predicate or a `call` is to see of the place.

        Raises:
            BaseException: whatever the terms raise here.
        """
        return None

    async def ahit(self, /, **values: Any) -> Hit[T] | None:
        """The same in async code, where waiting leaves the event loop free."""
        return None

    def set_armed(self, armed: bool) -> None:
        """Tell every site."""
        object.__setattr__(self, "__class__", _ArmedPoint if armed else Point)
        super().set_armed(armed)

    def __repr__(self) -> str:
        return f"<failpoint {self.name!r}>"

    def __reduce__(self) -> Any:
        return point, (self.name,)


class _ArmedPoint(Point[T]):
    """A point while it is armed anywhere: the class changes, so that an idle point has nothing to ask."""

    __slots__ = ()

    def __enter__(self) -> Hit[T] | None:
        __tracebackhide__ = True
        activation = find(self.name)
        if activation is None:
            return None
        self._stand_in(sys._getframe(1))
        return _returned(activation.hit())

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        return None

    async def __aenter__(self) -> Hit[T] | None:
        __tracebackhide__ = True
        activation = find(self.name)
        if activation is None:
            return None
        self._stand_in(sys._getframe(1))
        return _returned(await activation.ahit())

    def hit(self, /, **values: Any) -> Hit[T] | None:
        __tracebackhide__ = True
        activation = find(self.name)
        if activation is None:
            return None
        self._stand_in(sys._getframe(1))
        return _returned(activation.hit(values=values))

    async def ahit(self, /, **values: Any) -> Hit[T] | None:
        __tracebackhide__ = True
        activation = find(self.name)
        if activation is None:
            return None
        self._stand_in(sys._getframe(1))
        return _returned(await activation.ahit(values=values))

    def _stand_in(self, frame: FrameType) -> None:
        # A coroutine that is a task of its own was called by its event loop, which is no site.
        if not frame.f_code.co_filename.endswith(_LOOPS):
            self.stand_at(Site(frame.f_code.co_filename, frame.f_lineno, _BODY))


def _returned(hit: Hit[Any] | None) -> Hit[Any] | None:
    __tracebackhide__ = True
    if hit is not None and hit.error is not None:
        raise hit.take_error()
    return hit


def _point(name: str, *, returns: Any = None, faults: tuple[Fault, ...] = ()) -> Point[Any]:
    """The failpoint of this name: the same name gives the same object.

    Args:
        name: Non-empty, without white space, `=`, `;` or control characters.
        returns: The type that a `return` must give: a class, a union, None or `Any`. Left out, the
            call is a mere look-up and says nothing of the type.
        faults: A tuple of realistic faults: exceptions, terms, or texts of terms.

    Raises:
        InvalidName: when no failpoint can have that name.
        FailpointConflict: when the name is declared elsewhere with another `returns`.
        ReturnTypeError: when it is armed with a `return` of another type.
    """
    frame = sys._getframe(1)
    site = Site(frame.f_code.co_filename, frame.f_lineno, _BODY)
    found = _declare(check_name(name), returns, _catalogue(faults), site, claims=returns is not None)
    found.stand_at(site)
    return found


if TYPE_CHECKING:

    @overload
    def point(name: str, *, returns: None = None, faults: tuple[Fault, ...] = ()) -> Point[Any]: ...
    @overload
    def point(name: str, *, returns: type[T], faults: tuple[Fault, ...] = ()) -> Point[T]: ...
    @overload
    def point(name: str, *, returns: object, faults: tuple[Fault, ...] = ()) -> Point[Any]: ...
    def point(name: str, *, returns: Any = None, faults: tuple[Fault, ...] = ()) -> Point[Any]:
        """The failpoint of this name: the same name gives the same object."""
        return _point(name, returns=returns, faults=faults)
else:
    # The look-up of a known name stays in C.
    point = cache(_point)
    point.__name__ = point.__qualname__ = "point"


def _declare(
    name: str, returns: object, faults: tuple[Terms, ...], site: Site, *, claims: bool
) -> Point[Any]:
    return cast("Point[Any]", declare(Point, name, returns, faults, site, claims=claims))


def _catalogue(faults: Iterable[Fault]) -> tuple[Terms, ...]:
    if isinstance(faults, str | Term | BaseException) or not isinstance(faults, Iterable):
        raise TypeError(f"faults must be a tuple of exceptions, terms or texts, not {faults!r}: write ({faults!r},)")
    return tuple(as_terms(Raise(fault) if _is_exception(fault) else fault) for fault in faults)


def _is_exception(fault: object) -> TypeGuard[BaseException | type[BaseException]]:
    return isinstance(fault, BaseException) or (isinstance(fault, type) and issubclass(fault, BaseException))


@overload
def failpoint(name: str, *, returns: None = None, faults: Iterable[Fault] = ()) -> Decorator: ...
@overload
def failpoint(name: str, *, returns: type[T], faults: Iterable[Fault] = ()) -> ReturningDecorator[T]: ...
@overload
def failpoint(name: str, *, returns: Any, faults: Iterable[Fault] = ()) -> Decorator: ...
def failpoint(name: str, *, returns: Any = None, faults: Iterable[Fault] = ()) -> Any:
    """Declare a failpoint on a callable, as a decorator.

    It stands before the first statement of the body. A Python function is returned as it is, the very
    same object, and an idle point costs its calls nothing; other callables get a transparent proxy.

    Args:
        name: The name of the point.
        returns: The type that a `return` must give: a class, a union, None (only a bare `return`) or `Any`.
        faults: The catalogue of realistic faults: exceptions, terms, or texts of terms.

    Raises:
        InvalidName: when no failpoint can have that name.
        TypeError: when the target is a class or no callable.
        FailpointConflict: when the name is declared elsewhere with another `returns`.
        ReturnTypeError: when it is armed already with a `return` of another type.

    Example:
        >>> from failpy import fail, failpoint
        >>> @failpoint("SomeFuncString", returns=str)
        ... def some_func() -> str:
        ...     return "default"
        >>> with fail.scope({"SomeFuncString": 'return("hello")'}):
        ...     some_func()
        'hello'
    """
    check_name(name)
    accepted(returns)
    catalogue = _catalogue(faults)
    frame = sys._getframe(1)
    caller = Site(frame.f_code.co_filename, frame.f_lineno, _BODY)
    if not config.enabled:
        return lambda target: target
    return partial(_decorate, name=name, returns=returns, faults=catalogue, caller=caller)


def _decorate(target: Any, *, name: str, returns: object, faults: tuple[Terms, ...], caller: Site) -> Any:
    again = partial(_decorate, name=name, returns=returns, faults=faults, caller=caller)
    if isinstance(target, FunctionType):
        code = target.__code__
        site = Site(code.co_filename, code.co_firstlineno, target.__qualname__)
        declared = _declare(name, returns, faults, site, claims=True)
        patch = patch_of(target)
        patch.stand(name, declared.drop_switch)
        declared.stand_at(site)
        declared.add_switch(patch)
        return target
    if isinstance(target, classmethod | staticmethod):
        if isinstance(target.__func__, FunctionType):
            again(target.__func__)
            return target
        # A proxy binds otherwise than its target does, where that does not bind at all.
        return type(target)(again(_forwarding(target.__func__)))
    if isinstance(target, property) and target.fget is not None:
        inner = again(target.fget)
        return target if inner is target.fget else target.getter(inner)
    if isinstance(target, cached_property):
        target.func = again(target.func)
        return target
    if isinstance(target, type) or not callable(target):
        what = "the class" if isinstance(target, type) else "what cannot be called:"
        raise TypeError(
            f"failpoint {name!r} cannot stand on {what} {target!r}: decorate a function, a method "
            "(its __init__, say) or another callable, or put `with fail.point(...)` inside the body"
        )
    from failpy._proxy import proxy  # wrapt loads asyncio and more, which most programs never need here

    declared = _declare(name, returns, faults, caller, claims=True)
    result, switch = proxy(target, name, again)
    declared.stand_at(caller)
    declared.add_switch(switch)
    return result


def _forwarding(function: Callable[..., Any]) -> FunctionType:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return cast("FunctionType", forward)
