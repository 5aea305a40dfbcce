"""The hits of several processes as one stream, in the order of time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Condition, Thread
from typing import NamedTuple

from failpy._client import Client
from failpy._complaint import Unreachable
from failpy._sse import Event

__all__ = ["MOST", "Streams"]

MOST = 64
"""How many processes may be watched hit by hit: each takes a thread."""

_PATIENCE = 0.25
_KEPT = 10_000


class _Item(NamedTuple):
    """An event of one process, or its last word.

    Attributes:
        client: Where it comes from.
        said: The event, or the complaint that says how its stream has ended, or the defect that ended it.
        time: When it was, in seconds since 1970, by the clock of the process.
        arrival: When it came here, by a clock of this process.
    """

    client: Client
    said: Event | BaseException
    time: float
    arrival: float


class Streams:
    """The hits of several processes.

    What arrives is held back for a quarter of a second, so that what happened before it elsewhere can come
    first. Readers wait while there is more than they are rid of, and then the endpoints count what they drop.

    Args:
        clients: Their endpoints.
    """

    def __init__(self, clients: tuple[Client, ...]) -> None:
        self._clients = clients
        self._changed = Condition()
        self._items: list[_Item] = []
        self._left = len(clients)
        self._over = False

    def __iter__(self) -> Iterator[tuple[Client, Event | BaseException]]:
        """What happens and where, until the last of them has ended.

        The last of each is no event but the complaint that says how it ended, or the defect that ended it.
        """
        for client in self._clients:
            Thread(target=self._read, args=(client,), daemon=True).start()
        while ripe := self._take():
            for item in ripe:
                yield item.client, item.said

    def close(self) -> None:
        """Read no more."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for client in self._clients:
            client.hang_up()

    def _take(self) -> list[_Item]:
        """What is next, in its order; nothing once all have ended."""
        with self._changed:
            while True:
                # The first has waited longest.
                due = self._items[0].arrival + _PATIENCE if self._items else None
                now = time.monotonic()
                if due is not None and (due <= now or not self._left):
                    break
                if due is None and not self._left:
                    return []
                self._changed.wait(None if due is None else due - now)
            ripe = [item for item in self._items if item.arrival + _PATIENCE <= now or not self._left]
            latest = max(item.time for item in ripe)
            taken = [item for item in self._items if item.time <= latest]
            self._items = [item for item in self._items if item.time > latest]
            self._changed.notify_all()
        return sorted(taken, key=lambda item: item.time)

    def _read(self, client: Client) -> None:
        at = 0.0
        said: BaseException = Unreachable(
            f"{client.target.text} has closed the stream of hits: the program has ended"
        )
        try:
            for event in client.events():
                at = _time_of(event, at)
                if not self._put(client, event, at):
                    return
        except BaseException as exc:  # what is no complaint is a defect, and for whoever reads
            said = exc
        self._put(client, said, at, last=True)

    def _put(self, client: Client, said: Event | BaseException, at: float, *, last: bool = False) -> bool:
        with self._changed:
            while len(self._items) >= _KEPT and not self._over:
                self._changed.wait()
            self._items.append(_Item(client, said, at, time.monotonic()))
            self._left -= last
            if last or len(self._items) == 1:  # else it is waited for with an end
                self._changed.notify_all()
            return not self._over


def _time_of(event: Event, before: float) -> float:
    """When it was; what does not say so comes after what came before it."""
    said = event[1].get("time")
    return said if isinstance(said, float | int) and 0 <= said < 1e11 else before
