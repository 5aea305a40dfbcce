"""One cost at several sizes of something, measured in turns: does it grow?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from statistics import median, quantiles

from benchmarks.timing import Effort

__all__ = ["ATTEMPTS", "Ask", "Asking", "Cost", "Dimension", "Growth", "measured"]

ATTEMPTS = 4

Ask = Callable[[str], float]
"""Runs one short round of what has this name, and returns what it came to."""

Asking = Callable[[int, float], AbstractContextManager[Ask]]
"""Builds one size anew, for rounds of so many seconds."""


@dataclass(frozen=True)
class Cost:
    """What is measured at each size.

    Attributes:
        name: What it is.
        bar: The most that the largest size may be of the smallest; None for what is only shown.
        most: The most that it may be at the largest size; None for any.
        unit: What is measured; nanoseconds unless given.
    """

    name: str
    bar: float | None = None
    most: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Dimension:
    """Something that there may be little or much of, and what is measured at each size of it.

    Attributes:
        name: What there is.
        sizes: How much of it, from the smallest.
        asking: Builds one size.
        costs: What is measured.
        builds: How many builds, if not as many as usual.
        rounds: How many rounds in each, if not as many as usual.
        each: Whether what is measured is for one of them.
    """

    name: str
    sizes: Sequence[int]
    asking: Asking
    costs: Sequence[Cost]
    builds: int | None = None
    rounds: int | None = None
    each: bool = False

    def quick(self) -> Dimension:
        """The same with fewer builds."""
        return replace(self, builds=min(2, self.builds or 2))

    def title(self, cost: Cost) -> str:
        """What picks one line out of all."""
        return f"{self.name}: {cost.name}"


@dataclass(frozen=True)
class Growth:
    """One cost at each size.

    Attributes:
        dimension: What there is more and more of.
        cost: What was measured.
        rounds: Every round, for each size.
        ratios: The largest size to the smallest, a median for each build; empty where that is nothing.
        attempts: How many times it was measured.
    """

    dimension: Dimension
    cost: Cost
    rounds: dict[int, list[float]] = field(default_factory=dict)
    ratios: list[float] = field(default_factory=list)
    attempts: int = 1

    @property
    def title(self) -> str:
        """What picks this line out of all."""
        return self.dimension.title(self.cost)

    @property
    def medians(self) -> list[float]:
        """The median round at each size."""
        return [median(each) for each in self.rounds.values()]

    @property
    def quartiles(self) -> list[tuple[float, float]]:
        """Half of the rounds at each size lie between these."""
        return [_quartiles(each) for each in self.rounds.values()]

    @property
    def ratio(self) -> float:
        """The largest size to the smallest: the median over the builds, which the bar judges."""
        return median(self.ratios) if self.ratios else 1.0

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile of the ratios."""
        return _quartiles(self.ratios or [1.0])

    @property
    def judged(self) -> bool:
        """Whether there is a bar."""
        return self.cost.bar is not None or self.cost.most is not None

    @property
    def passed(self) -> bool:
        """Whether it holds the bars that it has."""
        bar, most = self.cost.bar, self.cost.most
        return (bar is None or self.ratio <= bar) and (most is None or self.medians[-1] <= most)


def _quartiles(numbers: list[float]) -> tuple[float, float]:
    if len(numbers) == 1:
        return numbers[0], numbers[0]
    low, _, high = quantiles(numbers, n=4, method="inclusive")
    return low, high


def measured(dimension: Dimension, effort: Effort) -> Iterator[Growth]:
    """Measure every cost of a dimension. What misses its bar is measured up to 3 times more.

    On a machine that others use as well, only the best median says what the code can do.
    """
    effort = Effort(dimension.builds or effort.builds, dimension.rounds or effort.rounds, effort.seconds)
    found = _measure(dimension, effort)
    for attempt in range(2, ATTEMPTS + 1):
        missed = {cost: growth for cost, growth in found.items() if not growth.passed}
        if not missed:
            break
        for cost, growth in _measure(replace(dimension, costs=tuple(missed)), effort).items():
            best = min(growth, missed[cost], key=lambda each: (not each.passed, each.ratio))
            found[cost] = replace(best, attempts=attempt)
    yield from found.values()


def _measure(dimension: Dimension, effort: Effort) -> dict[Cost, Growth]:
    """Build all sizes again and again, and run their rounds in turns, each way round as often."""
    sizes = list(dimension.sizes)
    found = {cost: Growth(dimension, cost, {size: [] for size in sizes}) for cost in dimension.costs}
    for build in range(effort.builds):
        order = sizes if build % 2 else sizes[::-1]
        with _all(dimension.asking, order, effort.seconds) as asks:
            for cost, growth in found.items():
                if effort.rounds > 1:
                    for size in order:
                        asks[size](cost.name)  # to warm up
                ratios = []
                for _ in range(effort.rounds):
                    now = {size: asks[size](cost.name) for size in order}
                    for size, number in now.items():
                        growth.rounds[size].append(number)
                    if now[sizes[0]]:
                        ratios.append(now[sizes[-1]] / now[sizes[0]])
                    order = order[::-1]
                if ratios:
                    growth.ratios.append(median(ratios))
    return found


@contextmanager
def _all(asking: Asking, sizes: Sequence[int], seconds: float) -> Iterator[dict[int, Ask]]:
    with ExitStack() as stack:
        yield {size: stack.enter_context(asking(size, seconds)) for size in sizes}
