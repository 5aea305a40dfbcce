"""A probe: a scope that sees every hit of the points it looks for, those declared while it is open too."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from operator import attrgetter
from threading import RLock
from typing import Any, NamedTuple

from failpy._activation import Activation
from failpy._context import Layer
from failpy._hit import Hit
from failpy._latest import Latest
from failpy._registry import ignore_declarations, lock, names, settle, watch_declarations
from failpy._schedule import Schedule
from failpy._scope import Scope, Settings
from failpy._suspects import Suspects
from failpy._terms import Off, Terms

__all__ = ["Note", "Probe"]

_SEEN = Terms((Off(),))
_KEPT = 1000


class Note(NamedTuple):
    """Who is told of hits before their action.

    Attributes:
        take: Gets the hit, while locks are held: be quick.
        also: Points of whose hits it is told besides those that may fail.
    """

    take: Callable[[Hit[Any]], object]
    also: frozenset[str] = frozenset()


class Probe(Scope):
    """A scope that injects what one case does, and sees every hit of the points that may fail.

    What it does not arm it only observes: outer scopes still decide on it. A point that an outer scope
    or the process has armed is left alone.

    Args:
        suspects: The points to look for.
        schedule: What to inject.
        seed: What the probabilities of the schedule are drawn from.
        note: Told of each hit before its action.

    Attributes:
        names: The points that were hit, hit by hit.
        fired: The first 1,000 hits at which a fault was injected.
        taken: For every hit at which a fault was injected: its place in `names`, and which hit of its
            point it is. In bare numbers, for there may be a million.
        errors: The last 1,000 exceptions that were injected.
        outside: The points that were armed around it.
    """

    __slots__ = ("_also", "_counting", "_note", "_suspects", "errors", "fired", "names", "outside", "taken")

    _traced = attrgetter("fired")  # the others are not in the trace

    def __init__(
        self, suspects: Suspects, schedule: Schedule, seed: int | None, note: Note | None = None
    ) -> None:
        super().__init__(Settings(schedule, seed, strict=False, threads=True, allowed=None))
        self._suspects = suspects
        self._note = None if note is None else note.take
        self._also: frozenset[str] = frozenset() if note is None else note.also
        self._counting = RLock()  # a signal handler may hit a point while its thread counts
        self.names: list[str] = []
        self.fired: list[Hit[Any]] = []
        self.taken = array("q")
        # A program that tries again and again may meet a fault that stays a million times.
        self.errors: Latest[BaseException] = Latest(_KEPT)
        self.outside: set[str] = set()

    def open(self) -> None:
        """Arm the points, and look for the others."""
        super().open()
        with lock:
            watch_declarations(self._watch)
            self._watch(*names())

    def close(self) -> None:
        """Disarm the points and look no more."""
        ignore_declarations(self._watch)
        super().close()

    def _watch(self, *names: str) -> None:
        found = []
        with lock:
            for name in names:
                if name in self.activations or not (name in self._suspects or name in self._also):
                    continue
                if any(not each.passive for each in _around(name, self.parent)):
                    self.outside.add(name)
                    continue
                self.activations[name] = Activation(name, _SEEN, layer=self, passive=True)
                found.append(name)
            settle(self, found)

    def record(self, hit: Hit[Any]) -> None:
        """Take notice of a hit. Of one that gets no fault, no more than the name is kept."""
        name = hit.point
        fires = hit.step is not None and hit.step.fires
        with self._counting:
            if name in self._suspects:
                self.names.append(name)
                if fires:
                    self.taken.extend((len(self.names) - 1, hit.nth))
            if fires and len(self.fired) < _KEPT:
                self.fired.append(hit)
            if self._note is not None:
                self._note(hit)
        if fires:
            super().record(hit)

    def injected(self, hit: Hit[Any], error: BaseException) -> None:
        """Watch what becomes of an injected exception."""
        # An instance that every case raises would add each traceback to the last.
        error.__traceback__ = None
        self.errors.add(error)
        super().injected(hit, error)


def _around(name: str, layer: Layer | None) -> Iterator[Activation]:
    while layer is not None:
        activation = layer.activations.get(name)
        if activation is not None:
            yield activation
        layer = layer.parent
