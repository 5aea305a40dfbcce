"""Terms that are armed, and wait for something before they act: the reply to who armed them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from threading import Thread, current_thread

from failpy._activation import Activation
from failpy._gate import Gate
from failpy._order import Order

__all__ = ["Hold"]

_SECONDS = 1.0


class Hold(Order):
    """Hits wait here until it is released, or for a second at the most.

    Attributes:
        held: What it holds.

    A sync hit of the thread that shall release it would wait for itself. It passes, as it would have
    just before the terms were armed.
    """

    long = False

    __slots__ = ("_end", "_holder", "_released", "held")

    def __init__(self) -> None:
        super().__init__((), _SECONDS)
        self._end = time.monotonic() + _SECONDS
        self.held: tuple[Activation, ...] = ()
        self._holder = current_thread()
        self._released = False

    def over(self, held: Iterable[Activation]) -> None:
        """Remember what to release."""
        self.held = tuple(held)

    def arrive(self, name: str) -> Gate | None:
        """A gate to wait at until the hold is released."""
        self._look()
        with self._lock:
            if self._released:
                return None
            gate = Gate(self.timeout)
            self._gates.append((name, gate))
            return gate

    @property
    def waiting(self) -> list[tuple[str, Gate]]:
        """Nobody who would be worth telling of."""
        return []

    def bars(self, thread: Thread) -> bool:
        """Whether the hits of this thread pass."""
        self._look()
        return not self._released and thread is self._holder

    def _look(self) -> None:
        """Not everybody who should release it does."""
        if time.monotonic() > self._end:
            self.release()

    def release(self) -> None:
        """Let the terms act, from now on."""
        with self._lock:
            self._released = True
            gates, self._gates = self._gates, []
        for held in self.held:
            held.orders = tuple(order for order in held.orders if order is not self)
        for _, gate in gates:
            gate.open()

    def forget_threads(self) -> None:
        """In a forked child nobody is left to release it, unless it was this thread."""
        super().forget_threads()
        if self._holder is not current_thread():
            self._released = True
