"""A stream of the hits of the process scope, as server-sent events."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from threading import RLock, current_thread
from typing import Any

from failpy._context import Layer, process
from failpy._gate import Gate
from failpy._hit import Hit
from failpy._observer import Observer, observing
from failpy._whereabouts import current_task, task_name

__all__ = ["Events", "readers"]

_KEPT = 1000
_STREAMS = 32
_HEARTBEAT = 10.0
_SHOWN = 200
_OPENING = b": the hits of the process scope\n\n"
_BEAT = b": still here\n\n"


class Events(Observer):
    """One reader's view of the hits, from its making to its closing.

    What it has not read yet is bounded, so that a slow reader costs the program no memory; how many
    hits were dropped for it is an event of its own.

    Args:
        beat: How long to be silent at the most, in seconds, 10 unless given: only writing shows that a
            reader is gone.

    Attributes:
        closed: Whether nobody reads it any more.
    """

    def __init__(self, beat: float | None = None) -> None:
        self._beat = _HEARTBEAT if beat is None else beat
        self._lock = RLock()  # a signal handler may hit a point while its thread is in here
        self._kept: deque[tuple[Any, ...]] = deque()
        self._dropped = 0
        self._gate: Gate | None = None
        self.closed = False
        observing.add(self)

    @staticmethod
    def full(streams: int | None = None) -> bool:
        """Whether there are as many readers as there may be: so many, or 32."""
        return len(readers()) >= (_STREAMS if streams is None else streams)

    def hit(self, hit: Hit[Any], layer: Layer | None) -> None:
        """Keep a hit of the process scope until it is read."""
        if layer is not process:
            return
        with self._lock:
            if len(self._kept) == _KEPT:
                self._dropped += 1
                return
            self._kept.append(
                (
                    hit.point,
                    hit.nth,
                    hit.chosen,
                    current_thread().name,
                    task_name(current_task()),
                    time.time(),
                )
            )
            gate = self._gate
        if gate is not None:
            gate.open()

    def _take(self) -> bytes:
        with self._lock:
            kept, self._kept = self._kept, deque()
            dropped, self._dropped = self._dropped, 0
        lines = [_event("hit", _said(*each)) for each in kept]
        if dropped:
            lines.append(_event("dropped", {"count": dropped}))
        return "".join(lines).encode()

    def _next_gate(self) -> Gate | None:
        """A gate for the next hit; none when there is something to read already."""
        gate = Gate(self._beat)
        with self._lock:
            self._gate = gate
            return None if self._kept or self.closed else gate

    def __iter__(self) -> Iterator[bytes]:
        """Wait for hits in this thread, and give them as they come."""
        yield _OPENING
        while not self.closed:
            gate = self._next_gate()
            if gate is not None:
                gate.block()
            yield self._take() or _BEAT

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The same in a task."""
        yield _OPENING
        while not self.closed:
            gate = self._next_gate()
            if gate is not None:
                await gate.park()
            yield self._take() or _BEAT

    def close(self) -> None:
        """Watch no more, and let go of who waits for the next hit."""
        self.closed = True
        observing.drop(self)
        with self._lock:
            gate = self._gate
        if gate is not None:
            gate.open()


def readers() -> list[Events]:
    """Those that read now."""
    return [each for each in observing.now if isinstance(each, Events)]


def _after_fork_in_child() -> None:
    for each in readers():  # they are the parent's
        observing.drop(each)


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork_in_child)


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _said(point: str, nth: int, term: Any, thread: str, task: str | None, at: float) -> dict[str, Any]:
    return {
        "point": point,
        "nth": nth,
        "term": "" if term is None else _short(str(term)),
        "action": None if term is None else term.action,
        "thread": thread,
        "task": task,
        "time": at,
    }
