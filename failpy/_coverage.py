"""The coverage of failure paths: which failpoints fired in a run, and which of their faults were injected."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from failpy._coverage_sites import SiteMerger, real
from failpy._mentions import Declaration, Place, Problem, Source
from failpy._site import Site
from failpy._tally import PointTally, Tally

__all__ = ["STATES", "Coverage", "Row", "coverage"]

STATES = ("never", "armed", "hit", "partly", "fired")
"""The states of a point, from the worst to the best."""

_HANDLED = re.compile(r"(handled by [^(]*)\((.+):(\d+)\)", re.DOTALL)


class Row(NamedTuple):
    """One point.

    Attributes:
        name: Its name.
        sites: Where it stands, whether that has run or not.
        returns: Its declared type, as text; empty for none.
        armed: How many times it was armed.
        hits: How many times execution reached it while it was armed.
        fired: How many of these hits a term other than `off` acted on.
        faults: Its catalogue, in order: by the text of each fault, how many times it was injected.
        others: By the text of each other action, how many times it fired.
        endings: By what became of injected exceptions, how many ended so.
        tests: By node id, the numbers `armed`, `hits` and `fired` of each test that armed it.
    """

    name: str
    sites: tuple[Site, ...]
    returns: str
    armed: int
    hits: int
    fired: int
    faults: Mapping[str, int]
    others: Mapping[str, int]
    endings: Mapping[str, int]
    tests: Mapping[str, Mapping[str, int]]

    @property
    def missing(self) -> tuple[str, ...]:
        """The faults of its catalogue that were never injected."""
        return tuple(fault for fault, times in self.faults.items() if not times)

    @property
    def injected(self) -> int:
        """How many of the faults of its catalogue were injected."""
        return len(self.faults) - len(self.missing)

    @property
    def state(self) -> str:
        """How far it came.

        `fired`: it did, and if it has a catalogue, each fault of it was injected. `partly`: it fired, and a
        fault was never injected. `hit`: execution reached it while it was armed, and it never fired.
        `armed`: execution never reached it while it was. `never`: nothing armed it.
        """
        if self.fired:
            return "partly" if self.missing else "fired"
        if self.hits:
            return "hit"
        return "armed" if self.armed else "never"


class Coverage(NamedTuple):
    """What a run covered.

    Attributes:
        rows: The points, by name.
        unreadable: The places that declare a point whose name source does not say, and where no point
            stood in the run. They are no points yet, and count in no percentage.
        problems: The files that could not be read.
    """

    rows: tuple[Row, ...]
    unreadable: tuple[Place, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def points(self) -> int:
        """How many points there are."""
        return len(self.rows)

    @property
    def fired(self) -> int:
        """How many of them fired, with whatever action, at least once."""
        return sum(row.fired > 0 for row in self.rows)

    @property
    def percent(self) -> float:
        """The points that fired, in percent of all points; 100 when there are none."""
        return _percent(self.fired, self.points)

    @property
    def faults(self) -> int:
        """How many faults the catalogues of all points have, together."""
        return sum(len(row.faults) for row in self.rows)

    @property
    def injected(self) -> int:
        """How many of these faults were injected at least once."""
        return sum(row.injected for row in self.rows)

    @property
    def faults_percent(self) -> float:
        """The faults that were injected, in percent of all in catalogues; 100 when there are none."""
        return _percent(self.injected, self.faults)

    @property
    def states(self) -> dict[str, int]:
        """How many points are in each state, in the order of `STATES`."""
        counts = Counter(row.state for row in self.rows)
        return {state: counts[state] for state in STATES}


def coverage(tally: Tally, root: Path, *, source: Source | None = None, omit: Iterable[str] = ()) -> Coverage:
    """What a finished tally covers.

    Args:
        tally: What the run did.
        root: The folder to which paths are relative; what is outside of it keeps its whole path.
        source: What the files of the program say: it adds the points that were never run.
        omit: Patterns of names that are left out, such as `db.*`. Case counts.

    Examples:
        >>> from pathlib import Path
        >>> from failpy._tally import Tally
        >>> tally = Tally()
        >>> tally["db.write"].sites.add(("shop.py", 12, "write"))
        >>> coverage(tally, Path.cwd()).percent
        0.0
    """
    patterns = tuple(omit)
    paths = _Paths(root)
    merger = SiteMerger(source.declarations if source else ())
    tallies = dict(tally)
    rows = []
    for name in sorted({*tallies, *merger.by_name}):
        point = tallies.get(name) or PointTally()
        sites = merger.merge(name, point.sites)
        if sites and not _is_omitted(name, patterns):
            rows.append(_row(name, point, merger.by_name.get(name, []), sites, paths))
    return Coverage(
        tuple(rows),
        tuple(
            each.place._replace(file=paths.shown(each.place.file))
            for each in merger.unmet
            if not _is_omitted(each.pattern, patterns)
        ),
        tuple(each._replace(file=paths.shown(each.file)) for each in (source.problems if source else ())),
    )


def _row(
    name: str, point: PointTally, declarations: list[Declaration], sites: set[Site], paths: _Paths
) -> Row:
    said = [fault.text for each in declarations for fault in each.faults]
    faults = {fault: point.injected[fault] for fault in point.faults or said}
    types = [each.returns for each in declarations if each.claims and each.returns]
    endings: Counter[str] = Counter()
    for text, times in point.endings.items():
        endings[paths.ending(text)] += times
    strangers = {text: times for text, times in point.injected.items() if text not in faults}
    return Row(
        name,
        tuple(sorted(site._replace(file=paths.shown(site.file)) for site in sites)),
        point.returns or next(iter(types), ""),
        point.armed,
        point.hits,
        point.fired,
        faults,
        dict(sorted((point.others + Counter(strangers)).items())),
        dict(sorted(endings.items())),
        {
            nodeid: {key: counts[key] for key in ("armed", "hits", "fired")}
            for nodeid, counts in sorted(point.tests.items())
        },
    )


class _Paths:
    """Paths as a report shows them."""

    def __init__(self, root: Path) -> None:
        self._root = Path(real(str(root)))

    def shown(self, file: str) -> str:
        """The path from the root on, with slashes."""
        if file.startswith("<"):
            return file
        path = Path(real(file))
        return (path.relative_to(self._root) if path.is_relative_to(self._root) else path).as_posix()

    def ending(self, text: str) -> str:
        """What became of an exception, with its path so."""
        match = _HANDLED.fullmatch(text)
        return f"{match[1]}({self.shown(match[2])}:{match[3]})" if match else text


def _is_omitted(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 100.0
