"""Candidates: the points that a search may make fail, and the faults it may inject at each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from typing import Any

from failpy._arming import chain_for
from failpy._errors import FailpointError, UnknownFailpoint
from failpy._faults import faults_of
from failpy._literals import shown
from failpy._names import check_name
from failpy._point import Fault
from failpy._registry import declared, lock, names, unknown
from failpy._terms import Raise, Term, Terms

__all__ = ["DRASTIC", "Candidates", "Points", "given_faults", "several"]

Points = str | Iterable[str] | Mapping[str, Iterable[Fault]]
"""A name or pattern, several of these, or a mapping of names to faults."""

DRASTIC = ("break", "exit", "kill")
"""The actions that end or halt the process."""

_MAGIC = frozenset("*?[")


class Candidates:
    """The points that a search may make fail, found when it begins and the same from then on.

    So a point that is declared while the search runs does not change what it draws.

    Args:
        points: A name or a pattern as of `fnmatch`, several of these, or a mapping of names to faults.

    Raises:
        TypeError: when it is neither, or a fault is none.
        ValueError: when it is empty.
        InvalidName: when no failpoint can have such a name.
        TermSyntaxError: when a fault is malformed text.
    """

    def __init__(self, points: Points) -> None:
        self._points = points
        self._found: dict[str, tuple[Terms, ...]] = {}
        self._patterns: tuple[str, ...] = ()
        if isinstance(points, Mapping):
            self._found = {
                check_name(name): tuple(given_faults(name, faults)) for name, faults in points.items()
            }
        else:
            self._patterns = tuple(map(check_name, several(points)))
        if not self._found and not self._patterns:
            raise ValueError(f"points={shown(points)} names no failpoint: give a name, or '*' for every one")

    def __repr__(self) -> str:
        return shown(self._points)

    def resolve(self) -> dict[str, tuple[Terms, ...]]:
        """The faults of each point, by name. Patterns stand for what is declared when first asked.

        Raises:
            UnknownFailpoint: when no code has declared a name, or none that a pattern matches.
            FailpointError: when the faults of a named point would all end or halt this process.
        """
        with lock:
            if not self._found:
                self._found = {
                    name: faults for pattern in self._patterns for name, faults in _matching(pattern).items()
                }
        return self._found


def several(points: Any) -> Iterator[Any]:
    """The names and patterns that a user gives, one or several."""
    if isinstance(points, str):
        return iter((points,))
    if not isinstance(points, Iterable):
        raise TypeError(
            "points must be a name or a pattern, several of them, or a mapping of names to faults, "
            f"not {shown(points)}: give one such as 'db.*'"
        )
    # The order of a set differs from one run to the next, and what is drawn must not.
    return iter(sorted(points, key=str) if isinstance(points, AbstractSet) else points)


def given_faults(name: str, faults: Any) -> Iterator[Terms]:
    """The faults that a user gives for a point, as chains of terms."""
    if isinstance(faults, str | Term | Terms | BaseException | type) or not isinstance(faults, Iterable):
        raise TypeError(
            f"failpoint {name!r}: its faults must be a list of terms, texts or exceptions, "
            f"not {shown(faults)}: write [{shown(faults)}]"
        )
    empty = True
    for fault in faults:
        empty = False
        yield chain_for(name, Raise(fault) if _is_exception(fault) else fault)
    if empty:
        raise ValueError(f"failpoint {name!r} has no faults: give at least one, such as 'raise'")


def _is_exception(fault: object) -> bool:
    return isinstance(fault, BaseException) or (isinstance(fault, type) and issubclass(fault, BaseException))


def _matching(pattern: str) -> dict[str, tuple[Terms, ...]]:
    if declared(pattern) is not None:
        faults = _survivable(pattern)
        if not faults:
            raise FailpointError(
                f"every fault of failpoint {pattern!r} would end or halt the process that searches: "
                f"give others, as in {{{pattern!r}: ['raise']}}"
            )
        return {pattern: faults}
    if not _MAGIC.intersection(pattern):
        error = unknown(pattern)
        error.args = (f"{error}. Import that code first, or give the faults: {{{pattern!r}: ['raise']}}",)
        raise error
    found = {name: faults for name in names() if fnmatchcase(name, pattern) and (faults := _survivable(name))}
    if not found:
        raise UnknownFailpoint(
            f"no declared failpoint matches {pattern!r}: import the code that declares them first, "
            "or give the faults by name, as in {'db.write': ['raise']}"
        )
    return found


def _survivable(name: str) -> tuple[Terms, ...]:
    return tuple(fault for fault in faults_of(name) if all(term.action not in DRASTIC for term in fault))
