"""A failpoint as code holds it: evaluated in a `with` block or in an expression."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from functools import cache, partial
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast, overload

from failpy._config import FREE_THREADED
from failpy._context import find
from failpy._declared import Declared
from failpy._grammar import as_terms
from failpy._hit import Hit
from failpy._names import check_name
from failpy._registry import declare
from failpy._site import Site, body_site
from failpy._terms import Raise, Term, Terms

if TYPE_CHECKING:
    from typing_extensions import TypeForm

__all__ = ["Fault", "Point", "catalogue", "declare_point", "point"]

T = TypeVar("T")
_LOOP_FILES = ("asyncio/events.py", "asyncio/runners.py", "trio/_core/_run.py")
_LOOPS = tuple(name.replace("/", os.sep) for name in _LOOP_FILES)

Fault = str | Term | Terms | BaseException | type[BaseException]


class _Done:
    """An awaitable that is done at once, in C."""

    __await__ = staticmethod(().__iter__)


_DONE = _Done()


def _constant(value: T) -> Callable[..., T]:
    """What gives this value, in C. With an argument or without: `ExitStack` passes the point."""
    # A cache is the quickest, but without a GIL it is behind a lock, and all points have the same one.
    constant: Any = partial({"": value}.get, "") if FREE_THREADED else cache(lambda *_: value)
    return cast("Callable[..., T]", constant)


class Point(Declared[T]):
    """A failpoint: a named place in a program. Made by `failpy.point`, one object for each name.

    It evaluates what is armed in the context it is hit in, in one of four spellings: `with`,
    `async with`, `.hit()` and `await .ahit()`. Each gives the `Hit` when `return` fired, else None.

    Attributes:
        name: The name.
        returns: The type that a `return` must give.
        faults: The catalogue of realistic faults, as chains of terms.
        sites: Where it stands, as `file:line`.

    Examples:
        >>> from failpy import fail
        >>> def read(path):
        ...     if hit := fail.point("read.early", returns=str).hit(path=path):
        ...         return hit.value
        ...     return "contents"
        >>> with fail.scope({"read.early": 'return("injected")'}):
        ...     print(read("a.txt"))
        injected
    """

    __slots__ = ("_latest",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._latest: tuple[CodeType | None, int] = (None, 0)

    if TYPE_CHECKING:

        def __enter__(self) -> Hit[T] | None: ...
        def __exit__(
            self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
        ) -> None: ...
        async def __aenter__(self) -> Hit[T] | None: ...
    else:
        # What an idle point does in a `with` block enters no Python frame: 0.70x of `nullcontext()`.
        __enter__ = staticmethod(_constant(None))
        __exit__ = staticmethod("".format)
        __aenter__ = staticmethod(_constant(_DONE))

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

    # Here, and not on the armed class: the point may be disarmed while it is being hit.

    def _stand_in_caller(self) -> None:
        frame = sys._getframe(1).f_back
        # A coroutine that is a task of its own was called by its event loop, and a function that is
        # a thread's own by nobody: neither is a site.
        code, at = self._latest
        if frame is None or (frame.f_code is code and frame.f_lasti == at):
            return
        if not frame.f_code.co_filename.endswith(_LOOPS):
            self.stand_at(body_site(frame))
        # Measured: to find the line again takes as long as half of a hit.
        self._latest = (frame.f_code, frame.f_lasti)

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
        self._stand_in_caller()
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
        self._stand_in_caller()
        return _returned(await activation.ahit())

    def hit(self, /, **values: Any) -> Hit[T] | None:
        __tracebackhide__ = True
        activation = find(self.name)
        if activation is None:
            return None
        self._stand_in_caller()
        return _returned(activation.hit(values=values))

    async def ahit(self, /, **values: Any) -> Hit[T] | None:
        __tracebackhide__ = True
        activation = find(self.name)
        if activation is None:
            return None
        self._stand_in_caller()
        return _returned(await activation.ahit(values=values))


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
    site = body_site(sys._getframe().f_back)
    found = declare_point(check_name(name), returns, catalogue(faults), site, claims=returns is not None)
    found.stand_at(site)
    return found


if TYPE_CHECKING:

    @overload
    def point(name: str, *, returns: None = None, faults: tuple[Fault, ...] = ()) -> Point[Any]: ...
    @overload
    def point(name: str, *, returns: TypeForm[T], faults: tuple[Fault, ...] = ()) -> Point[T]: ...
    def point(name: str, *, returns: Any = None, faults: tuple[Fault, ...] = ()) -> Point[Any]:
        """The failpoint of this name: the same name gives the same object."""
        return _point(name, returns=returns, faults=faults)
else:
    # The look-up of a known name stays in C.
    _point.__name__ = _point.__qualname__ = "point"
    point = cache(_point)


def declare_point(
    name: str, returns: object, faults: tuple[Terms, ...], site: Site, *, claims: bool
) -> Point[Any]:
    return cast("Point[Any]", declare(Point, name, returns, faults, site, claims=claims))


def catalogue(faults: Iterable[Fault]) -> tuple[Terms, ...]:
    if isinstance(faults, str | Term | BaseException) or not isinstance(faults, Iterable):
        raise TypeError(
            f"faults must be a tuple of exceptions, terms or texts, not {faults!r}: write ({faults!r},)"
        )
    return tuple(as_terms(Raise(fault) if _is_exception(fault) else fault) for fault in faults)


def _is_exception(fault: object) -> TypeGuard[BaseException | type[BaseException]]:
    return isinstance(fault, BaseException) or (isinstance(fault, type) and issubclass(fault, BaseException))
