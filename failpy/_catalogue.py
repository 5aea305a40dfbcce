"""A catalogue of the failpoints that source declares: one entry for each name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from failpy._likeness import matches
from failpy._mentions import ARMING, Source

__all__ = ["Entry", "catalogue", "markdown"]


class Entry(NamedTuple):
    """What source says about one name.

    Attributes:
        name: The name; with `*` for what is computed.
        computed: Whether part of it is.
        returns: The type that a `return` must have.
        faults: The faults it is declared with, as text.
        declared: Where it is declared, as `file:line`.
        armed: Where it is armed, as `file:line`.
    """

    name: str
    computed: bool
    returns: str
    faults: list[str]
    declared: list[str]
    armed: list[str]


def catalogue(source: Source) -> list[Entry]:
    """The entries, sorted by name."""
    found: dict[str, Entry] = {}
    for each in source.declarations:
        entry = found.setdefault(each.pattern, Entry(each.pattern, each.name is None, "None", [], [], []))
        if each.claims and each.returns is not None:
            entry = found[each.pattern] = entry._replace(returns=each.returns)
        _add(entry.declared, [str(each.place)])
        _add(entry.faults, [fault.text for fault in each.faults])
    for use in source.uses:
        for entry in found.values() if use.kind in ARMING else ():
            if matches(use.pattern, entry.name) or matches(entry.name, use.pattern):
                _add(entry.armed, [str(use.place)])
    return [found[name] for name in sorted(found)]


def markdown(entries: Iterable[Entry]) -> str:
    """A table for a document."""
    lines = ["| name | returns | faults | declared at | armed at |", "|---|---|---|---|---|"]
    for entry in entries:
        cells = ([entry.name], [entry.returns], entry.faults, entry.declared, entry.armed)
        lines.append(f"| {' | '.join(', '.join(map(_code, cell)) for cell in cells)} |")
    return "\n".join(lines)


def _code(text: str) -> str:
    """A piece of code in a cell of a table."""
    fence = "``" if "`" in text else "`"
    padding = " " if "`" in text else ""
    one_line = " ".join(text.split()).replace("|", "\\|")
    return f"{fence}{padding}{one_line}{padding}{fence}"


def _add(known: list[str], new: Iterable[str]) -> None:
    known += [each for each in dict.fromkeys(new) if each not in known]
