"""The allowance of a chain of terms: how often each may still act, and what its probabilities say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from failpy._actions import Step
from failpy._terms import Chance, Count, Terms

if TYPE_CHECKING:
    from random import Random

__all__ = ["Allowance"]


class Allowance:
    """What is left of the counts of one activation, and its draws. Its user holds a lock.

    Args:
        terms: The chain.
    """

    __slots__ = ("_left", "_random")

    def __init__(self, terms: Terms) -> None:
        self._random: Random | None = None
        self._left = {
            (i, j): modifier.count
            for i, term in enumerate(terms)
            for j, modifier in enumerate(term.modifiers)
            if isinstance(modifier, Count)
        }

    def takes(self, step: Step, seed: Callable[[], str]) -> bool:
        """Whether a step may act on this hit. That uses up what it takes.

        Args:
            step: The step.
            seed: Gives what the draws depend on; asked at the first of them.
        """
        for j, modifier in enumerate(step.modifiers):
            if isinstance(modifier, Chance):
                if self._draw(seed) >= modifier.probability:
                    return False
            elif self._left[step.index, j] == 0:
                return False
            else:
                self._left[step.index, j] -= 1
        return True

    def _draw(self, seed: Callable[[], str]) -> float:
        if self._random is None:
            from random import Random  # few terms have a chance, and it takes a while to import

            self._random = Random(seed())
        return self._random.random()
