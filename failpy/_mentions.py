"""What source says about failpoints, as data: where they are declared, armed and steered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from failpy._errors import TermSyntaxError
from failpy._grammar import parse_set

__all__ = [
    "ARMING",
    "VARIABLE",
    "Declaration",
    "Fault",
    "Malformed",
    "Place",
    "Problem",
    "Source",
    "Use",
    "entries",
]

VARIABLE = "FAILPY_FAILPOINTS"

ARMING = frozenset({"scope", "enable", "enable_all", "marker", "environ", "command", "order"})
"""The kinds of use after which a hit of the point is no longer without effect."""


class Place(NamedTuple):
    """A place in a file.

    Attributes:
        file: The path, as it was given or found below a path that was given.
        line: From 1.
        column: From 1, in characters.
    """

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Fault(NamedTuple):
    """One fault of a catalogue.

    Attributes:
        text: The terms; for an exception or typed terms, the Python source.
        typed: Whether it is Python source.
        place: Where it stands.
    """

    text: str
    typed: bool
    place: Place


class Declaration(NamedTuple):
    """A place that declares a failpoint.

    Attributes:
        name: The name, or None when source does not say it.
        place: Where.
        kind: `decorator`, `point` or `attach`.
        where: The qualified name of the decorated function, else of the function or class around it;
            `<module>` outside of any.
        returns: The declared type, so written that equal types have equal texts; None when not given.
        claims: Whether it says of what type the point is, and source tells which. `fail.point(name)`
            says nothing; a decorator without `returns` says None.
        faults: The catalogue, as far as source says it.
        pattern: The name, with `*` for each part that source does not say.
    """

    name: str | None
    place: Place
    kind: str
    where: str
    returns: str | None
    claims: bool
    faults: tuple[Fault, ...]
    pattern: str


class Use(NamedTuple):
    """A place that arms or steers a failpoint.

    Attributes:
        name: The name, or None when source does not say it.
        terms: The text of the terms, or the Python source of typed ones; None when there are none, or
            source does not say them.
        place: Where.
        kind: `scope`, `enable`, `enable_all`, `marker`, `environ` and `command` arm; `disable`, `status`,
            `wait_for_hit` and `order` steer.
        typed: Whether `terms` is Python source.
        pattern: The name, with `*` for each part that source does not say.
    """

    name: str | None
    terms: str | None
    place: Place
    kind: str
    typed: bool
    pattern: str


class Malformed(NamedTuple):
    """A constant text that should be a set of terms, and is not.

    Attributes:
        error: Why.
        place: Where.
    """

    error: TermSyntaxError
    place: Place


class Problem(NamedTuple):
    """A file, or a folder, that could not be read.

    Attributes:
        file: Its path.
        line: Where in it, or 1.
        reason: Why.
    """

    file: str
    line: int
    reason: str


class Source(NamedTuple):
    """What the files that were read say.

    Attributes:
        files: The files, in the order in which they were read.
        declarations: By place.
        uses: By place.
        malformed: By place.
        problems: By file.
        silenced: By file and line, the codes that a comment there silences; empty stands for all.
    """

    files: tuple[str, ...]
    declarations: tuple[Declaration, ...]
    uses: tuple[Use, ...]
    malformed: tuple[Malformed, ...]
    problems: tuple[Problem, ...]
    silenced: Mapping[tuple[str, int], frozenset[str]]


def entries(text: str, place: Place, kind: str) -> Iterator[Use | Malformed]:
    """What a constant set of terms, `A=panic;B=off`, arms."""
    try:
        found = parse_set(text)
    except TermSyntaxError as exc:
        yield Malformed(exc, place)
        return
    for name, terms in found.items():
        yield Use(name, str(terms), place, kind, typed=False, pattern=name)
