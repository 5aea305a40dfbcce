"""What became of injected exceptions: who caught each, or what it killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from types import CodeType, TracebackType
from typing import Any, NamedTuple

from failpy._errors import Swallowed
from failpy._failures import Failures, chain_of
from failpy._hit import Hit
from failpy._latest import Latest
from failpy._observer import observing

__all__ = ["REACHED", "Allowed", "Endings"]

Allowed = str | Callable[..., Any]
_KEPT = 1000
_TOLD = 20
REACHED = "reached the test"
# Where a thread begins: what gets there was handled by nobody.
_BOTTOMS = tuple(name.replace("/", os.sep) for name in ("/threading.py", "/concurrent/futures/thread.py"))
# What came no further than there was called from C, as a file is by its buffer, and handled there.
_FROM_C = os.path.join(os.path.dirname(__file__), "_posix_file.py")  # noqa: PTH118, PTH120 - light


class Ending(NamedTuple):
    """What became of one exception."""

    text: str
    handler: CodeType | None = None
    """The code that handled it, if that is how it ended."""


class Endings:
    """The exceptions injected in one scope. They are kept, and so are their frames, until it closes.

    Args:
        failures: Those of the scope.
        tells: Whether observers are told of them.
    """

    __slots__ = ("_failures", "_injected", "_tells", "home", "told")

    def __init__(self, failures: Failures, *, tells: bool = True) -> None:
        self._failures = failures
        self._tells = tells
        self._injected: Latest[tuple[Hit[Any], BaseException]] = Latest(_KEPT)
        self.told: list[str] = []
        """What became of those that did not simply reach the test, for a failure message."""
        self.home: CodeType | None = None
        """The code of the test: what this catches has reached the test."""

    def watch(self, hit: Hit[Any], error: BaseException) -> None:
        """Remember an exception that this hit is about to raise."""
        self._injected.add((hit, error))

    def reader(self, own: BaseException | None = None) -> Callable[[Hit[Any]], str | None]:
        """What tells of a hit what became of its exception, as of now; None when it injected none.

        Args:
            own: The exception that comes out of the scope.
        """
        injected = {id(hit): error for hit, error in self._injected.now}

        def read(hit: Hit[Any]) -> str | None:
            error = None if hit.ending is not None else injected.get(id(hit))
            return hit.ending if error is None else self._ending(error, own).text

        return read

    def settle(self, own: BaseException | None, allowed: Iterable[Allowed] | None) -> None:
        """Decide on all of them, and let go of them.

        Args:
            own: The exception that the block of the scope raised.
            allowed: Who may handle an injected exception; None when everybody may.
        """
        self.told = []
        while (taken := self._take()) is not None:
            hit, error = taken
            ending = self._ending(error, own)
            hit.ending = ending.text
            for observer in observing.now if self._tells else ():
                observer.ended(hit, ending.text)
            if ending.text != REACHED and len(self.told) < _TOLD:
                self.told.append(
                    f"injected by failpoint {hit.point!r} (hit {hit.nth}): {_name(error)} {ending.text}"
                )
            if allowed is not None and ending.handler is not None and not _may(ending.handler, allowed):
                self._failures.add(
                    Swallowed(
                        f"{_name(error)}, injected by failpoint {hit.point!r} (hit {hit.nth}), "
                        f"was {ending.text}, and this scope has on_swallowed='error': let it pass on, "
                        "or name the function in may_swallow"
                    )
                )

    def _take(self) -> tuple[Hit[Any], BaseException] | None:
        try:  # another thread may settle too, as it ends the process
            return self._injected.pop(0)
        except IndexError:
            return None

    def _ending(self, error: BaseException, own: BaseException | None) -> Ending:
        for top in (own, *self._failures.besides(None)):
            if top is None or not any(each is error for each in chain_of(top)):
                continue
            where = self._failures.deaths.get(id(top))
            end = REACHED if where is None else f"died in {where}"
            if top is error or _holds(top, error):
                return Ending(end)
            return Ending(f"became the cause of {type(top).__name__}, which {end}")
        return self._handled(error.__traceback__)

    def _handled(self, traceback: TracebackType | None) -> Ending:
        if traceback is None:
            return Ending("was not raised")
        code = traceback.tb_frame.f_code
        if self.home is not None and _same(code, self.home):
            return Ending(REACHED)
        if code.co_filename.endswith(_BOTTOMS):
            return Ending("died in a thread")
        if code.co_filename == _FROM_C:
            return Ending("handled by the buffer of the file", code)
        return Ending(f"handled by {code.co_qualname} ({code.co_filename}:{traceback.tb_lineno})", code)


def _name(error: BaseException) -> str:
    return type(error).__name__


def _holds(group: BaseException, error: BaseException) -> bool:
    if isinstance(group, BaseExceptionGroup):
        return any(each is error or _holds(each, error) for each in group.exceptions)
    return False


def _may(handler: CodeType, allowed: Iterable[Allowed]) -> bool:
    return any(_is(handler, each) for each in allowed)


def _same(one: CodeType, other: CodeType) -> bool:
    # What runs while a point on the function is armed may be a copy of its code.
    return one is other or (
        (one.co_filename, one.co_firstlineno, one.co_qualname, one.co_code)
        == (other.co_filename, other.co_firstlineno, other.co_qualname, other.co_code)
    )


def _is(handler: CodeType, allowed: Allowed) -> bool:
    if not isinstance(allowed, str):
        code = getattr(allowed, "__code__", None)
        return code is not None and _same(code, handler)
    file, _, function = allowed.rpartition(":")
    name = handler.co_qualname
    path = handler.co_filename.replace(os.sep, "/")
    return function in (name, name.rpartition(".")[2]) and (
        not file or path.endswith("/" + file) or path == file
    )
