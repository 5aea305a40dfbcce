"""Tallies: what a run did with each failpoint, as numbers that add up over tests and processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

__all__ = ["PointTally", "Tally"]


@dataclass
class PointTally:
    """What was done with one point.

    Attributes:
        sites: Where it stands: `(file, line, where)`, `where` being the name of the decorated function, or
            `<body>`.
        returns: Its declared type, as text; empty for none.
        faults: The texts of its catalogue, in order.
        armed: How many times it was armed.
        hits: How many times execution reached it while it was armed.
        fired: How many of these hits a term other than `off` acted on.
        tests: By the node id of the test, how many times it was armed, hit and fired there.
        injected: How many times each fault of the catalogue was injected, by its text.
        others: How many times each other action fired, by its text without modifiers.
        endings: How many injected exceptions ended in each way, such as `reached the test`.
    """

    sites: set[tuple[str, int, str]] = field(default_factory=set)
    returns: str = ""
    faults: list[str] = field(default_factory=list)
    armed: int = 0
    hits: int = 0
    fired: int = 0
    tests: dict[str, Counter[str]] = field(default_factory=dict)
    injected: Counter[str] = field(default_factory=Counter)
    others: Counter[str] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)

    def test(self, nodeid: str) -> Counter[str]:
        """The numbers of one test: `armed`, `hits` and `fired`."""
        return self.tests.setdefault(nodeid, Counter())

    def add(self, other: PointTally) -> None:
        """Add what another process did with the same point."""
        self.sites |= other.sites
        self.returns = self.returns or other.returns
        self.faults += [fault for fault in other.faults if fault not in self.faults]
        self.armed += other.armed
        self.hits += other.hits
        self.fired += other.fired
        for nodeid, counts in other.tests.items():
            self.test(nodeid).update(counts)
        self.injected.update(other.injected)
        self.others.update(other.others)
        self.endings.update(other.endings)

    def data(self) -> dict[str, Any]:
        """It, as JSON can say it."""
        return {**vars(self), "sites": sorted(map(list, self.sites))}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """It, from what `data` gave."""
        known = dict(data)
        known["sites"] = {(file, line, where) for file, line, where in known["sites"]}
        known["tests"] = {nodeid: Counter(counts) for nodeid, counts in known["tests"].items()}
        for name in ("injected", "others", "endings"):
            known[name] = Counter(known[name])
        return cls(**known)


class Tally:
    """What was done with every point of a run, by name."""

    def __init__(self) -> None:
        self._points: dict[str, PointTally] = {}

    def __getitem__(self, name: str) -> PointTally:
        """The tally of this point, begun if there is none."""
        return self._points.setdefault(name, PointTally())

    def __iter__(self) -> Iterator[tuple[str, PointTally]]:
        return iter(sorted(self._points.items()))

    def add(self, other: Tally) -> None:
        """Add what another process did."""
        for name, point in other:
            self[name].add(point)

    def data(self) -> dict[str, Any]:
        """It, as JSON can say it."""
        return {name: point.data() for name, point in self}

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """It, from what `data` gave."""
        tally = cls()
        for name, point in data.items():
            tally._points[name] = PointTally.of(point)
        return tally
