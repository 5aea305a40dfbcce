"""Terms enabled for one point in one layer, as they run: counts left, draws, hits that wait."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from threading import RLock
from typing import TYPE_CHECKING, Any

from failpy._actions import effect_of, seconds_to_wait, waited, warn_if_blocking
from failpy._context import Layer, find, muted
from failpy._gate import Gate
from failpy._hit import Hit
from failpy._terms import Chance, Count, Term, Terms

if TYPE_CHECKING:
    from random import Random

__all__ = ["Activation"]

_NOTHING: Mapping[str, Any] = {}


class _Step:
    """One term of the chain with all that a hit would else have to ask it."""

    __slots__ = ("effect", "fires", "index", "seconds", "term")

    def __init__(self, index: int, term: Term) -> None:
        self.index = index
        self.term = term
        self.fires = term.action != "off"
        self.seconds = seconds_to_wait(term)
        self.effect = effect_of(term)


class Activation:
    """The running state of terms enabled for one point in one layer.

    Args:
        name: The point.
        terms: The chain, resolved.
        when: A predicate over the hit; where it is false the hit passes and consumes nothing.
        layer: Where it is enabled. Kept weakly, so that a scope nobody closes can still be collected.
    """

    __slots__ = (
        "_gates",
        "_layer",
        "_left",
        "_lock",
        "_random",
        "_retired",
        "_steps",
        "fired",
        "hits",
        "name",
        "selected",
        "terms",
        "when",
    )

    def __init__(
        self,
        name: str,
        terms: Terms,
        *,
        when: Callable[[Hit[Any]], object] | None,
        layer: Layer,
    ) -> None:
        self.name = name
        self.terms = terms
        self.when = when
        self.hits = 0
        self.selected = 0
        self.fired = 0
        self._layer = weakref.ref(layer)
        self._random: Random | None = None
        self._retired = False
        # Reentrant: a signal handler may hit the point while its own thread is choosing.
        self._lock = RLock()
        self._gates: dict[Gate, Hit[Any]] = {}
        self._steps = tuple(_Step(i, term) for i, term in enumerate(terms))
        self._left = {
            (i, j): modifier.count
            for i, term in enumerate(terms)
            for j, modifier in enumerate(term.modifiers)
            if isinstance(modifier, Count)
        }

    @property
    def paused(self) -> int:
        """How many hits wait at a `pause` now."""
        with self._lock:
            return sum(hit.term.action == "pause" for hit in tuple(self._gates.values()))

    def hit(
        self,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NOTHING,
        values: Mapping[str, Any] = _NOTHING,
    ) -> Hit[Any] | None:
        """Evaluate the terms for one hit, in this thread.

        Returns:
            The hit when it diverts execution: then its error, if it has one, is to be raised, else
            its value returned. None when execution goes on.
        """
        hit = self._begin(args, kwargs, values)
        if hit is None:
            return None
        if hit.gate is not None:
            try:
                warn_if_blocking(hit)
                waited(hit, hit.gate.block())
            finally:
                hit.leave()
        return hit.settle()

    async def ahit(
        self,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NOTHING,
        values: Mapping[str, Any] = _NOTHING,
    ) -> Hit[Any] | None:
        """The same in a task: it waits without holding up the event loop."""
        hit = self._begin(args, kwargs, values)
        if hit is None:
            return None
        if hit.gate is not None:
            try:
                waited(hit, await hit.gate.park())
            finally:
                hit.leave()
        return await hit.asettle()

    def _begin(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Hit[Any] | None:
        hit: Hit[Any] = Hit(self.name, self.terms, args, kwargs, values)
        if self.when is not None:
            with muted():
                if not self.when(hit):
                    return None
        with self._lock:
            retired = self._retired
            step = None if retired else self._admit(hit)
        if retired:
            # Re-armed or disarmed between the look-up and here: the hit is for what is there now.
            successor = find(self.name)
            return None if successor is None or successor is self else successor._begin(args, kwargs, values)
        if step is None:
            return None
        if step.effect is not None:
            step.effect(hit, step.term)
        return hit

    def _admit(self, hit: Hit[Any]) -> _Step | None:
        """Count the hit and choose the first step whose modifiers allow it."""
        self.hits = hit.nth = self.hits + 1
        for step in self._steps:
            if not step.term.modifiers or self._allows(step):
                hit.term = step.term
                self.selected += 1
                self.fired += step.fires
                if step.seconds is not None:
                    hit.gate = Gate(step.seconds)
                    hit.waiting = self._gates
                    self._gates[hit.gate] = hit
                break
        else:
            step = None
        layer = self._layer()
        if layer is not None:
            layer.record(hit, None if step is None else step.term)
        return step

    def _allows(self, step: _Step) -> bool:
        for j, modifier in enumerate(step.term.modifiers):
            if isinstance(modifier, Chance):
                if self._draw() >= modifier.probability:
                    return False
            elif self._left[step.index, j] == 0:
                return False
            else:
                self._left[step.index, j] -= 1
        return True

    def _draw(self) -> float:
        if self._random is None:
            from random import Random

            # Of the seed and the name, so that the draws of one point are the same whatever others do.
            layer = self._layer()
            self._random = Random(f"{layer.seed if layer is not None else 0}:{self.name}")
        return self._random.random()

    def retire(self) -> None:
        """Choose no more terms, and let go of every hit that waits here."""
        with self._lock:
            self._retired = True
            gates = tuple(self._gates)
        for gate in gates:
            gate.open()

    def forget_threads(self) -> None:
        """In a forked child: no other thread is left to hold the lock or to wait."""
        self._lock = RLock()
        self._gates.clear()
