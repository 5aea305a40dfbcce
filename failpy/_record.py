"""The record of a scope: its trace, what failed in it, and what became of what it injected."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from failpy._activation import Activation
from failpy._context import Layer
from failpy._endings import Endings
from failpy._failures import Failures
from failpy._hit import Hit, TraceEntry
from failpy._latest import Latest
from failpy._registry import lock
from failpy._trace import Past, Trace
from failpy._whereabouts import note_whereabouts

if TYPE_CHECKING:
    from failpy._propagation import Propagation
    from failpy._remote_hit import RemoteHit

__all__ = ["Record"]

_TRACE_LENGTH = 10_000


class Record(Layer):
    """A layer that keeps what happens in it."""

    __slots__ = ("_armed", "_endings", "_past", "_trace", "failures", "propagation")

    _traced = attrgetter("hits")  # of an activation: how many hits were put into the trace

    def __init__(self, seed: int | None) -> None:
        super().__init__(seed=seed)
        self._armed = self.activations
        self.failures = Failures()
        self._endings = Endings(self.failures)
        self._trace: Latest[Hit[Any]] = Latest(_TRACE_LENGTH)
        self._past: Past | None = None
        self.propagation: Propagation | None = None

    @property
    def trace(self) -> Trace:
        """Every hit of a point armed here, in order; of very many, the last 10,000.

        How many there were before them is its `dropped`.
        """
        with lock:
            past = self._past or Past(self.activations, self._traced)
            counted = past.hits(self._armed)
            hits = self._trace.now
        # A hit that is counted and not yet in the trace is not one that the trace has dropped.
        dropped = max(0, counted - len(hits)) if len(hits) == self._trace.most else self._unlisted()
        return Trace(map(self.reader(), hits), dropped)

    @property
    def recorded(self) -> list[Hit[Any]]:
        """The hits that the trace is made of."""
        return self._trace.now

    def _unlisted(self) -> int:
        """How many hits in other services are told of only by their number."""
        return 0 if self.propagation is None else self.propagation.unlisted

    def reader(self, own: BaseException | None = None) -> Callable[[Hit[Any]], TraceEntry]:
        """What tells what the trace says of a hit, as of now.

        Args:
            own: The exception that comes out of the scope.
        """
        ending = self._endings.reader(own)
        return lambda hit: hit.entry(ending(hit))

    # --- what activations tell ---

    def record(self, hit: Hit[Any]) -> None:
        """Add a hit to the trace."""
        note_whereabouts(hit)
        trace = self._trace  # measured: without `add`, which is a call more
        trace.append(hit)
        if len(trace) > trace.limit:
            trace.trim()

    def record_reported(self, hit: RemoteHit) -> None:
        """Add a hit in another service to the trace."""
        self._trace.add(hit)

    def injected(self, hit: Hit[Any], error: BaseException) -> None:
        """Watch what becomes of an injected exception."""
        self._endings.watch(hit, error)

    # --- what was armed and is no more ---

    def _leave(self, activations: list[Activation]) -> None:
        self._past = self._past or Past(self.activations, self._traced)
        self._past.leave(activations)

    def _left(self, activations: list[Activation]) -> None:
        if self._past is not None:
            self._past.left(activations)
