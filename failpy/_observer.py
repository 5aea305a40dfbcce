"""Observers: who is told of every arming, hit and ending, in whatever layer it happens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from failpy._registry import lock

if TYPE_CHECKING:
    from failpy._activation import Activation
    from failpy._context import Layer
    from failpy._hit import Hit
    from failpy._remote_hit import RemoteHit

__all__ = ["Observer", "observing"]


class Observer:
    """What happens to failpoints, as it happens. Each method is called while locks are held: be quick."""

    def armed(self, activation: Activation, layer: Layer) -> None:
        """A point was armed."""

    def hit(self, hit: Hit[Any], layer: Layer | None) -> None:
        """A term was chosen for a hit, or none was due; its action has yet to run.

        Args:
            hit: The hit.
            layer: Where the point is armed; None when that is gone already.
        """

    def reported(self, hit: RemoteHit) -> None:
        """A service has told of a hit there, of a point that a scope here has armed."""

    def injected(self, hit: Hit[Any], error: BaseException, layer: Layer) -> None:
        """A hit is about to raise this exception."""

    def scope_closed(self, layer: Layer) -> None:
        """A scope has closed."""

    def ended(self, hit: Hit[Any], ending: str) -> None:
        """A scope has closed, and this is what became of the exception that the hit injected."""


class _Observing:
    """All observers.

    Attributes:
        now: They, in the order in which they came.
    """

    __slots__ = ("now",)

    def __init__(self) -> None:
        self.now: tuple[Observer, ...] = ()

    def armed(self, activations: Iterable[Activation], layer: Layer) -> None:
        """Tell of these points that were armed."""
        for observer in self.now:
            for activation in activations:
                observer.armed(activation, layer)

    def scope_closed(self, layer: Layer) -> None:
        """Tell of this scope that has closed."""
        for observer in self.now:
            observer.scope_closed(layer)

    def add(self, observer: Observer) -> None:
        """Tell one more."""
        with lock:
            self.now = (*self.now, observer)

    def drop(self, observer: Observer) -> None:
        """Tell it no more."""
        with lock:
            self.now = tuple(each for each in self.now if each is not observer)


observing = _Observing()
