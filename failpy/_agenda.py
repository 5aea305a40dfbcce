"""An agenda: the cases that an exploration has yet to run, within its bounds."""

from __future__ import annotations

import random
import time
from collections import deque
from typing import Generic, NamedTuple, TypeVar

__all__ = ["Agenda", "Bounds"]

P = TypeVar("P")


class Bounds(NamedTuple):
    """How far an exploration goes.

    Attributes:
        depth: How many faults one case has at the most.
        persistent: Whether each fault is tried from its hit on for good too.
        limit: How many cases are run at the most, or None.
        budget: After how many seconds no case is begun any more, or None.
        seed: What the order of the cases is drawn from; None for the order of the hits.
    """

    depth: int
    persistent: bool
    limit: int | None
    budget: float | None
    seed: int | None


class Agenda(Generic[P]):
    """Plans of cases, in the order in which they are to be run.

    Args:
        bounds: How far to go.

    Attributes:
        stopped: Why not everything was run, or None.
        due: How many cases were ever planned.
        begun: How many of them were begun.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._began = time.monotonic()
        self._pending: deque[P] = deque()
        self._random = None if bounds.seed is None else random.Random(bounds.seed)
        self.stopped: str | None = None
        self.due = 0
        self.begun = 0

    @property
    def seconds(self) -> float:
        """How long ago it began."""
        return time.monotonic() - self._began

    def add(self, plan: P) -> None:
        """Plan one more case."""
        self._pending.append(plan)
        self.due += 1

    def next(self) -> P | None:
        """The next case, or None when there is none, or no room for one."""
        if self.stopped is not None or not self._pending:
            return None
        limit, budget = self._bounds.limit, self._bounds.budget
        if limit is not None and self.begun >= limit:
            self.stop(f"the limit of {limit} case{'s' * (limit > 1)} was reached")
            return None
        if budget is not None and self.seconds >= budget:
            self.stop(f"the budget of {budget:g} s was used up")
            return None
        if self._random is not None:
            drawn = self._random.randrange(len(self._pending))
            self._pending[0], self._pending[drawn] = self._pending[drawn], self._pending[0]
        self.begun += 1
        return self._pending.popleft()

    def stop(self, why: str) -> None:
        """Begin no more cases."""
        if self.stopped is None:
            self.stopped = why

    def said(self, done: int) -> str | None:
        """Why it stopped, and how many cases that leaves.

        Args:
            done: How many cases have ended.
        """
        left = self.due - done
        return self.stopped and f"{self.stopped}; {left} more case{'s' * (left != 1)} known"
