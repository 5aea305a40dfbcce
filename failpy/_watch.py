"""A watch on a running program: its points as a table that is kept up to date, or its hits line by line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

from rich.live import Live

from failpy._client import Client, Record
from failpy._complaint import Unreachable
from failpy._screen import console, note, tell, tell_json
from failpy._tables import event_line, overview

__all__ = ["watch_hits", "watch_points"]

Wanted = Callable[[str], bool]


def watch_points(client: Client, wanted: Wanted, *, interval: float, rounds: int | None) -> None:
    """Show the points in a table, anew after each interval in seconds; for so many rounds, or for ever."""
    rates = _Rates()
    with Live(console=console(sys.stdout), auto_refresh=False) as live:
        for turn in _turns(rounds):
            if turn:
                time.sleep(interval)
            points = [each for each in client.everything()["failpoints"] if wanted(each["name"])]
            live.update(overview(points, rates.of(points)), refresh=True)


def watch_hits(client: Client, wanted: Wanted, *, hits: int | None, as_json: bool) -> None:
    """Print a line for each hit; for so many hits, or until the program ends.

    Raises:
        Unreachable: when the program ends before that.
    """
    left = _turns(hits)
    next(left)
    with closing(client.events()) as events:
        for kind, said in events:
            if kind == "hit" and wanted(str(said.get("point"))):
                if as_json:
                    tell_json({"event": kind, **said})
                else:
                    tell(event_line(said))
                if next(left, None) is None:
                    return
            elif kind == "dropped" and as_json:
                tell_json({"event": kind, **said})
            elif kind == "dropped":
                note(f"{said.get('count')} hits were too quick to show")
    raise Unreachable(f"{client.target.text} has closed the stream of hits: the program has ended")


def _turns(rounds: int | None) -> Iterator[int]:
    return iter(count() if rounds is None else range(rounds))


class _Rates:
    """How often each point is hit per second, since it was last asked for."""

    def __init__(self) -> None:
        self._hits: dict[str, int] = {}
        self._time = 0.0

    def of(self, points: list[Record]) -> dict[str, float]:
        now, before = time.monotonic(), self._hits
        self._hits = {each["name"]: int(each.get("hits", 0)) for each in points}
        elapsed, self._time = now - self._time, now
        return {
            # Terms that are enabled anew count from zero.
            name: (hits - before[name] if hits >= before[name] else hits) / elapsed
            for name, hits in self._hits.items()
            if name in before
        }
