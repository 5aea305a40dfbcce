"""A watch on running programs: their points as a table that is kept up to date, or a line for each hit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count

from rich.live import Live
from rich.text import Text

from failpy._client import Client, Record
from failpy._complaint import Complaint, Unreachable
from failpy._fleet import Fleet, counted, placed
from failpy._fleet_tables import fleet_overview
from failpy._literals import printable
from failpy._screen import console, note, tell, tell_json
from failpy._streams import MOST, Streams
from failpy._tables import event_line, overview

__all__ = ["watch_all_hits", "watch_all_points", "watch_hits", "watch_points"]

Wanted = Callable[[str], bool]


def watch_points(client: Client, wanted: Wanted, *, interval: float, rounds: int | None) -> None:
    """Show the points in a table, anew after each interval in seconds; for so many rounds, or for ever."""
    rates = _Rates()
    with Live(console=console(sys.stdout), auto_refresh=False) as live:
        for turn in _turns(rounds):
            if turn:
                time.sleep(interval)
            points = [each for each in client.everything()["failpoints"] if wanted(each["name"])]
            now = rates.of(points)
            live.update(overview(points, [now.get(each["name"], 0.0) for each in points]), refresh=True)


def watch_all_points(fleet: Fleet, wanted: Wanted, *, interval: float, rounds: int | None) -> int:
    """Show the points of several processes in one table, as `watch_points`.

    One that does not answer is said to be gone, and not asked again.

    Returns:
        How many have gone by the end of the rounds.

    Raises:
        Complaint: when all have.
    """
    rates = {each: _Rates() for each in fleet.clients}
    gone: list[Complaint] = []
    with Live(console=console(sys.stdout), auto_refresh=False) as live:
        for turn in _turns(rounds):
            if turn:
                time.sleep(interval)
            shown = []
            for reply in fleet.ask(lambda client: client.everything(), list(rates)):
                if reply.complaint is not None:
                    del rates[reply.client]
                    gone.append(reply.complaint)
                    live.console.print(Text(printable(placed(reply.url, reply.complaint)), "dim"))
                    continue
                points = [each for each in (reply.said or {})["failpoints"] if wanted(each["name"])]
                shown.append((fleet.labels[reply.url], points, rates[reply.client].of(points)))
            if not shown:
                raise _all_gone(gone)
            live.update(fleet_overview(shown), refresh=True)
    return len(gone)


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


def watch_all_hits(fleet: Fleet, wanted: Wanted, *, hits: int | None, as_json: bool) -> int:
    """Print a line for each hit in several processes, as `watch_hits`, in the order of time.

    One whose stream ends is said to be gone.

    Returns:
        How many have gone by the time of the last hit.

    Raises:
        Complaint: when they are too many, or all have gone.
    """
    if len(fleet.clients) > MOST:
        raise Complaint(
            f"{counted(len(fleet.clients))} are more than can be watched hit by hit, which is {MOST}: "
            "name fewer, or watch them in a terminal"
        )
    gone: list[Complaint] = []
    left = _turns(hits)
    next(left)
    width = max(map(len, fleet.labels.values()))
    with closing(Streams(fleet.clients)) as streams:
        for client, said in streams:
            url = client.target.text
            if isinstance(said, Complaint):
                gone.append(said)
                _tell_end(url, said, as_json=as_json)
                continue
            if isinstance(said, BaseException):
                raise said
            kind, data = said
            if kind == "hit" and wanted(str(data.get("point"))):
                if as_json:
                    tell_json({"event": kind, "url": url, **data})
                else:
                    tell(event_line(data, fleet.labels[url].ljust(width)))
                if next(left, None) is None:
                    return len(gone)
            elif kind == "dropped" and as_json:
                tell_json({"event": kind, "url": url, **data})
            elif kind == "dropped":
                note(f"{url}: {data.get('count')} hits were too quick to show")
    raise _all_gone(gone)


def _tell_end(url: str, complaint: Complaint, *, as_json: bool) -> None:
    if as_json:
        tell_json({"event": "gone", "url": url, **complaint.data})
    else:
        note(placed(url, complaint))


def _all_gone(gone: list[Complaint]) -> Complaint:
    worst = max(gone, key=lambda each: each.status)
    many = f"none of {counted(len(gone))} is" if len(gone) > 1 else "it is not"
    return Complaint(f"{many} there to be watched any more", status=worst.status, kind=worst.kind)


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
