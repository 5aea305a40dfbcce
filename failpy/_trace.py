"""A trace: the last hits of a scope, and how many there were before them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from failpy._hit import TraceEntry
from failpy._registry import lock

if TYPE_CHECKING:
    from failpy._activation import Activation

__all__ = ["Past", "Trace", "not_kept"]


class Trace(list[TraceEntry]):
    """Hits in order: a plain list, which also says how many hits there were before them.

    Attributes:
        dropped: How many earlier hits are not in it. Nothing is dropped before the 10,001st hit.

    Examples:
        >>> from failpy import fail
        >>> with fail.scope({"db.write": "off"}) as scope:
        ...     for _ in range(10_002):
        ...         _ = fail.point("db.write").hit()
        >>> len(scope.trace), scope.trace.dropped, scope.trace[0].nth
        (10000, 2, 3)
    """

    __slots__ = ("dropped",)

    def __init__(self, entries: Iterable[TraceEntry] = (), dropped: int = 0) -> None:
        super().__init__(entries)
        self.dropped = dropped

    def __repr__(self) -> str:
        shown = super().__repr__()
        if not self.dropped:
            return shown
        return f"[<{not_kept(self.dropped)}>{', ' if self else ''}{shown[1:]}"


def not_kept(count: int) -> str:
    """What to say of so many hits."""
    return f"{count:,} earlier {'hit is' if count == 1 else 'hits are'} not kept"


class Past:
    """What was armed in a scope and is no more: its hits count all the same.

    Args:
        armed: What is armed in the scope now.
        traced: How many hits of an activation were put into the trace.
    """

    __slots__ = ("_armed", "_hits", "_leaving", "_traced")

    def __init__(self, armed: Mapping[str, Activation], traced: Callable[[Activation], int]) -> None:
        self._armed = armed
        self._traced = traced
        self._hits = 0
        # By `id`: until the last one is through that has found it armed, it may still be hit.
        self._leaving: dict[int, Activation] = {}

    def leave(self, activations: Iterable[Activation]) -> None:
        """These are about to be disarmed. Called under the lock."""
        self._leaving.update({id(each): each for each in activations})

    def left(self, activations: Iterable[Activation]) -> None:
        """They get no more hits, unless they were not disarmed after all."""
        with lock:
            for each in activations:
                was_leaving = self._leaving.pop(id(each), None) is not None
                if was_leaving and self._armed.get(each.name) is not each:
                    self._hits += self._traced(each)

    def hits(self, armed: Mapping[str, Activation]) -> int:
        """How many hits were put into the trace, with those of what is armed. Called under the lock."""
        counted = {id(each): each for each in (*self._leaving.values(), *armed.values())}
        return self._hits + sum(map(self._traced, counted.values()))
