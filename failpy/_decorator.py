"""The decorator: failpoints on functions, methods and whatever else can be called."""

from __future__ import annotations

import sys
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable
from functools import cached_property, partial
from types import FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast, overload

from failpy._config import config
from failpy._names import check_name
from failpy._patch import Patch, patch_of
from failpy._point import Fault, Point, catalogue, declare_point
from failpy._registry import lock
from failpy._returns import accepted
from failpy._site import Site, body_site
from failpy._terms import Terms

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["Decorator", "ReturningDecorator", "failpoint", "stand_on"]

T = TypeVar("T")
P = ParamSpec("P")
F = TypeVar("F")


class Decorator(Protocol):
    """What `failpoint` gives: it takes a callable and gives its like."""

    def __call__(self, target: F, /) -> F: ...


class ReturningDecorator(Protocol[T]):
    """The same where `returns` is a type: the callable must return it."""

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


@overload
def failpoint(name: str, *, returns: None = None, faults: Iterable[Fault] = ()) -> Decorator: ...
@overload
def failpoint(name: str, *, returns: TypeForm[T], faults: Iterable[Fault] = ()) -> ReturningDecorator[T]: ...
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

    Examples:
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
    chains = catalogue(faults)
    caller = body_site(sys._getframe().f_back)
    if not config.enabled:
        return lambda target: target
    return partial(_decorate, name=name, returns=returns, faults=chains, caller=caller)


def _decorate(
    target: Any,
    *,
    name: str,
    returns: object,
    faults: tuple[Terms, ...],
    caller: Site,
    site: Site | None = None,
) -> Any:
    again = partial(_decorate, name=name, returns=returns, faults=faults, caller=caller)
    # By `type`, not `isinstance`: a wrapt proxy passes for what it wraps, and is not to be looked through.
    kind = type(target)
    if kind is FunctionType:
        if site is None:
            code = _innermost(target).__code__
            site = Site(code.co_filename, code.co_firstlineno, target.__qualname__)
        stand_on(target, name, returns, faults, site)
        return target
    if issubclass(kind, classmethod | staticmethod):
        if type(target.__func__) is FunctionType:
            again(target.__func__)
            return target
        # A proxy binds otherwise than its target does, where that does not bind at all.
        return kind(again(_forwarding(target.__func__), site=caller))
    if issubclass(kind, property) and target.fget is not None:
        if target.fset is not None or target.fdel is not None:
            raise TypeError(
                f"failpoint {name!r} cannot tell the getter of {target!r} from its setter and deleter: "
                "decorate the function itself, below @property, @x.setter or @x.deleter"
            )
        inner = again(target.fget)
        return target if inner is target.fget else target.getter(inner)
    if issubclass(kind, cached_property):
        target.func = again(target.func)
        return target
    if issubclass(kind, type) or not callable(target):
        what = "the class" if issubclass(kind, type) else "what cannot be called:"
        raise TypeError(
            f"failpoint {name!r} cannot stand on {what} {target!r}: decorate a function, a method "
            "(its __init__, say) or another callable, or put `with fail.point(...)` inside the body"
        )
    from failpy._proxy import proxy  # wrapt loads asyncio and more, which most programs never need here

    declared = declare_point(name, returns, faults, caller, claims=True)
    result, switch = proxy(target, name, again)
    declared.stand_at(caller)
    declared.add_switch(switch)
    weakref.finalize(result, declared.drop_switch, id(switch)).atexit = False
    return result


def stand_on(
    function: FunctionType, name: str, returns: object, faults: tuple[Terms, ...], site: Site
) -> tuple[Point[Any], Patch]:
    """Let a point stand on a Python function, in place.

    Raises:
        FailpointConflict: when another site declares another type.
    """
    with lock:
        declared = declare_point(name, returns, faults, site, claims=True)
        patch = patch_of(function)
        patch.stand(name, declared.drop_switch)
        declared.stand_at(site)
        declared.add_switch(patch)
    return declared, patch


def _innermost(function: FunctionType) -> FunctionType:
    """What a decorator made with `functools.wraps` wraps: that is where a reader looks for the point."""
    seen = set()
    while type(inner := getattr(function, "__wrapped__", None)) is FunctionType and id(inner) not in seen:
        seen.add(id(inner))
        function = inner
    return function


def _forwarding(function: Callable[..., Any]) -> FunctionType:
    def forward(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return cast("FunctionType", forward)
