"""Suspects: the points that an exploration may make fail, those not declared yet among them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import final

from failpy._candidates import DRASTIC, Points, given_faults, several
from failpy._errors import FailpointError, TermSyntaxError, UnknownFailpoint
from failpy._faults import faults_of
from failpy._literals import shown
from failpy._names import check_name
from failpy._point import Fault
from failpy._registry import declared, names, unknown
from failpy._resolve import resolve
from failpy._returns import check_terms
from failpy._terms import Terms

__all__ = ["Suspects"]

_TOLD = 3
_LOOKS = ("rich.", "trio.")  # these hold a function that they call for nothing of the program's


@final
class Suspects:
    """The points that an exploration may make fail.

    Args:
        points: A name or a pattern as of `fnmatch`, several of these, or a mapping of either to faults.
        faults: The faults for every point; None for each point's own.

    Raises:
        TypeError: when an argument is of the wrong type.
        ValueError: when there is no point or no fault, or a fault would end or halt the process.
        InvalidName: when no failpoint can have such a name.
        TermSyntaxError: when a fault is malformed text.
    """

    __slots__ = ("_checked", "_faults", "_matched", "_patterns")

    def __init__(self, points: Points, faults: Iterable[Fault] | None) -> None:
        self._matched: dict[str, str | None] = {}
        self._checked: dict[str, tuple[Terms, ...]] = {}
        self._faults = None if faults is None else _surviving("*", faults)
        own = points if isinstance(points, Mapping) else dict.fromkeys(several(points))
        if self._faults is not None and isinstance(points, Mapping):
            raise TypeError("give the faults in points= or in faults=, not in both")
        self._patterns: dict[str, tuple[Terms, ...] | None] = {
            check_name(pattern): None if given is None else _surviving(pattern, given)
            for pattern, given in own.items()
        }
        if not self._patterns:
            raise ValueError(f"points={shown(points)} names no failpoint: give a name, or '*' for every one")

    def __str__(self) -> str:
        return ", ".join(map(repr, self._patterns))

    def __contains__(self, name: str) -> bool:
        return self._pattern(name) is not None

    def _pattern(self, name: str) -> str | None:
        # Each case asks for every declared point.
        if name not in self._matched:
            own = name if name in self._patterns else None
            self._matched[name] = own or next((p for p in self._patterns if fnmatchcase(name, p)), None)
        return self._matched[name]

    def faults(self, name: str) -> tuple[Terms, ...]:
        """What is to be injected at a declared point, without what would end or halt the process.

        Raises:
            FailpointError: when it is of the operating system, and attached no more.
            ReturnTypeError: when a fault returns what is not of the type of the point.
            TermSyntaxError: when a fault names an exception that cannot be found.
        """
        # Each case asks for every point that it hits.
        if name not in self._checked:
            self._checked[name] = self._survivable(name)
        return self._checked[name]

    def _survivable(self, name: str) -> tuple[Terms, ...]:
        if name.startswith("posix/") and not _site(name):
            raise FailpointError(
                f"failpoint {name!r} was detached before the body ended, and its faults are not known any "
                "more: put `with fail.attach_posix():` around the exploration, not into the body"
            )
        pattern = self._pattern(name)
        own = None if pattern is None else self._patterns[pattern]
        found = own or self._faults or faults_of(name)
        kept = tuple(fault for fault in found if not _is_drastic(fault))
        point = declared(name)
        assert point is not None  # it has been hit
        # Now, and not when the case is due: an error then would take the report with it.
        for fault in kept:
            check_terms(name, point.returns, point.accepted, fault)
            try:
                resolve(fault)
            except TermSyntaxError as exc:
                reason = f"failpoint {name!r}: {exc.reason}"
                raise TermSyntaxError(reason, exc.text, exc.column) from exc.__cause__
        return kept

    def problem(self, hit: Iterable[str]) -> FailpointError | None:
        """Why there is nothing to explore, or None when there is something.

        Args:
            hit: The points that the body has hit.
        """
        if any(hit):
            return None
        known = [name for name in names() if name in self]
        matching = [name for name in known if _site(name)]
        if matching:
            sites = ", ".join(f"{name!r} ({_site(name)})" for name in matching[:5])
            more = f" and {len(matching) - 5} more" if len(matching) > 5 else ""
            if len(matching) == 1:
                return FailpointError(
                    f"the body did not hit the one failpoint that matches {self}: {sites}; let it run the "
                    "code behind it"
                )
            return FailpointError(
                f"the body hit none of the {len(matching)} failpoints that match {self}: {sites}{more}; let "
                "it run the code behind one"
            )
        if known:
            return FailpointError(
                f"what matches {self} stands nowhere now, such as {known[0]!r}, which was detached: attach "
                "it around the exploration"
            )
        if len(self._patterns) == 1:
            (pattern,) = self._patterns
            if not set("*?[") & set(pattern):
                return unknown(pattern)
        return UnknownFailpoint(
            f"no failpoint matches {self}, neither before the body ran nor in it; "
            f"declared are: {', '.join(map(repr, names()[:10])) or 'none'}{self._advice()}"
        )

    def _advice(self) -> str:
        if not any(pattern.startswith("posix/") for pattern in self._patterns):
            return ""
        return "; put `with fail.attach_posix():` around the exploration"

    def unseen(self) -> list[str]:
        """What the points of the operating system among them do not see, as sentences."""
        standing = [name for name in names() if name.startswith("posix/") and name in self and _site(name)]
        if not standing:
            return []
        from failpy._posix import imported_early  # they stand, so this is there

        # What C code does by itself may be nothing at all, and is told when a point has never fired.
        found = [each for each in imported_early(standing) if not each.startswith(_LOOKS)]
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        return [f"calls past the points are not seen: {', '.join(found[:_TOLD])}{more}"] if found else []


def _surviving(pattern: str, faults: Iterable[Fault]) -> tuple[Terms, ...]:
    given = tuple(given_faults(pattern, faults))
    for fault in given:
        if len(fault) > 1 and next(iter(fault)).action == "off":
            raise ValueError(
                f"the fault {fault} for {pattern!r} begins with hits that pass: which hit it is for is "
                "decided by the exploration, so leave `off` out"
            )
        if _is_drastic(fault):
            raise ValueError(
                f"the fault {fault} for {pattern!r} would end or halt the process that explores: leave it out"
            )
    return given


def _is_drastic(fault: Terms) -> bool:
    return any(term.action in DRASTIC for term in fault)


def _site(name: str) -> str:
    point = declared(name)
    return ", ".join(() if point is None else point.sites)
