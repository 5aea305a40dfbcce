"""Two sides of a ratio, timed in turns."""

from __future__ import annotations

import timeit
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from statistics import median, quantiles

__all__ = ["Clock", "Effort", "Loop", "Samples", "Side", "interleave"]

Clock = Callable[[], float]
"""Runs one short round and returns the nanoseconds of one execution, averaged over the round."""

Side = Callable[[float], AbstractContextManager[Clock]]
"""Builds one side of a ratio anew, for rounds of so many seconds."""


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        builds: How often both sides are built. Even, so that each is built first equally often.
        rounds: How many rounds either side gets in every build.
        seconds: How long one round takes, about.
    """

    builds: int
    rounds: int
    seconds: float


class Loop:
    """A statement in a loop compiled around it, with the garbage collector off (as `timeit`).

    Args:
        statement: What to time.
        names: The globals it sees.
        seconds: How long one round is to take, about.
    """

    def __init__(self, statement: str, names: Mapping[str, object], seconds: float) -> None:
        self._timer = timeit.Timer(statement, globals=dict(names))
        self._timer.timeit(10)  # what happens once, such as a lazy import, is not timed
        self._number = 1
        while (spent := self._timer.timeit(self._number)) < seconds / 4:
            self._number *= 2
        self._number = max(1, round(self._number * seconds / spent))

    def __call__(self) -> float:
        return self._timer.timeit(self._number) / self._number * 1e9


@dataclass(frozen=True)
class Samples:
    """What two sides took in every build: medians of its rounds, in nanoseconds of one execution.

    Attributes:
        ours: The median time of our side, for every build.
        theirs: The median time of the other side.
        ratios: The median of the ratios within the rounds.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    ratios: tuple[float, ...]

    @property
    def medians(self) -> tuple[float, float]:
        """The time of either side."""
        return median(self.ours), median(self.theirs)

    @property
    def ratio(self) -> float:
        """The median of the ratios. This is what the bar judges."""
        return median(self.ratios)

    @property
    def best_ratio(self) -> float:
        """The ratio of the fastest builds: what an undisturbed machine would show."""
        return min(self.ours) / min(self.theirs)

    @property
    def spread(self) -> tuple[float, float]:
        """The first and the third quartile of the ratios: half of the builds lie between them."""
        low, _, high = quantiles(self.ratios, n=4, method="inclusive")
        return low, high


def interleave(ours: Side, theirs: Side, effort: Effort) -> Samples:
    """Build both sides again and again, and run them in turns, each first every other time.

    The sides of a round run one right after the other, so what slows the machine down slows both,
    and the ratio within the round is fair even where the times are not. Where in memory a function
    lands makes the same function 30 % faster or slower, so one build alone would prove nothing.
    """
    builds = []
    for build in range(effort.builds):
        order = [ours, theirs] if build % 2 else [theirs, ours]
        with ExitStack() as stack:
            clocks = {side: stack.enter_context(side(effort.seconds)) for side in order}
            for side in order:
                clocks[side]()  # to warm up
            rounds: dict[Side, list[float]] = {ours: [], theirs: []}
            for _ in range(effort.rounds):
                for side in order:
                    rounds[side].append(clocks[side]())
                order.reverse()
        ratios = [a / b for a, b in zip(rounds[ours], rounds[theirs], strict=True)]
        builds.append((median(rounds[ours]), median(rounds[theirs]), median(ratios)))
    return Samples(*zip(*builds, strict=True))
