"""How far the terms of one activation have come: counts, draws, and the hits that wait."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any

from failpy._actions import Step
from failpy._allowance import Allowance
from failpy._context import Layer
from failpy._gate import Gate
from failpy._hit import Hit
from failpy._order import Order
from failpy._terms import Terms

__all__ = ["Running"]


class Running:
    """How far the terms enabled for one point in one layer have come.

    Args:
        name: The point.
        terms: The chain, resolved.
        when: A predicate over the hit; where it is false the hit passes and consumes nothing.
        layer: Where it is enabled. Kept weakly, so that a scope nobody closes can still be collected.
        orders: What a hit waits for its turn in.
        passive: Whether it only observes, and the hit is then for what an outer layer has armed.

    Attributes:
        revision: Which change of the layer this is.
    """

    __slots__ = (
        "_allowance",
        "_gates",
        "_layer",
        "_lock",
        "_retired",
        "_steps",
        "_waiters",
        "fired",
        "hits",
        "missed_before",
        "name",
        "orders",
        "passive",
        "refused",
        "revision",
        "selected",
        "terms",
        "when",
    )

    def __init__(
        self,
        name: str,
        terms: Terms,
        *,
        when: Callable[[Hit[Any]], object] | None = None,
        layer: Layer,
        orders: tuple[Order, ...] = (),
        passive: bool = False,
    ) -> None:
        self.name = name
        self.orders = orders
        self.passive = passive
        self.missed_before = 0
        self.revision = layer.revision + 1
        self.terms = terms
        self.when = when
        self.hits = 0
        self.selected = 0
        self.fired = 0
        self.refused = 0
        self._layer = weakref.ref(layer)
        self._retired = False
        # Reentrant: a signal handler may hit the point while its own thread is choosing.
        self._lock = RLock()
        self._gates: dict[Gate, Hit[Any]] = {}
        self._waiters: list[tuple[int, Gate]] = []
        self._steps = tuple([Step(i, term, terms) for i, term in enumerate(terms)])
        self._allowance = Allowance(terms)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many hits there were, were selected for, and fired: at one moment."""
        with self._lock:
            return self.hits, self.selected, self.fired

    @property
    def layer(self) -> Layer | None:
        """Where it is enabled; None when that is gone."""
        return self._layer()

    @property
    def paused(self) -> int:
        """How many hits wait at a `pause` now."""
        with self._lock:
            return sum(hit.term.action == "pause" for hit in self.waiting)

    def resume(self, hits: int) -> None:
        """Use up what so many hits have used up elsewhere, and count none of them here."""
        with self._lock:
            for _ in range(hits):
                next((each for each in self._steps if self._allowance.takes(each, self._seed)), None)

    def step(self, index: int) -> Step | None:
        """The term of this place in the chain, if there is one."""
        return self._steps[index] if 0 <= index < len(self._steps) else None

    def reported(self, told: Sequence[Hit[Any]], hits: int, selected: int, fired: int) -> None:
        """Count hits that happened in another process.

        Args:
            told: Those that there is more to say of, in order.
            hits: How many there were.
            selected: For how many a term was selected.
            fired: How many fired.
        """
        with self._lock:
            for nth, hit in enumerate(told, self.hits + 1):
                hit.nth = nth
            self.hits += hits
            self.selected += selected
            self.fired += fired
            for hit in told:
                self._tell_waiters(hit)
            untold = [waiter for waiter in self._waiters if waiter[0] <= self.hits]
            for waiter in untold:
                self._waiters.remove(waiter)
                waiter[1].open()

    def _tell_waiters(self, hit: Hit[Any]) -> None:
        for nth, gate in tuple(self._waiters):
            if nth <= hit.nth:
                self._waiters.remove((nth, gate))
                gate.open(hit)

    def wait_for(self, nth: int, gate: Gate) -> bool:
        """Let the gate be opened by the nth hit. False when that has happened already."""
        with self._lock:
            if self.hits < nth and not self._retired:
                self._waiters.append((nth, gate))
                return True
            return False

    def wait_no_more(self, gate: Gate | None) -> None:
        """Forget the gate."""
        with self._lock:
            self._waiters = [waiter for waiter in self._waiters if waiter[1] is not gate]

    def _seed(self) -> str:
        # Of the seed and the name, so that the draws of one point are the same whatever others do.
        layer = self._layer() or Layer(seed=0)
        return f"{layer.seed}:{layer.salt}{self.name}"

    def retire(self) -> None:
        """Choose no more terms, and let go of every hit that waits here."""
        with self._lock:
            self._retired = True
            gates = (*self._gates, *(gate for _, gate in self._waiters))
        for gate in gates:
            gate.open()

    @property
    def waiting(self) -> list[Hit[Any]]:
        """The hits that sleep or are paused here now."""
        with self._lock:
            return list(self._gates.values())

    def forget_threads(self) -> None:
        """In a forked child: no other thread is left to hold the lock or to wait."""
        self._lock = RLock()
        self._gates.clear()
        self._waiters.clear()
        for order in self.orders:
            order.forget_threads()
