"""The points of several processes as one table: a line where they agree, and more where they do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from failpy._client import Record
from failpy._tables import Table, overview

__all__ = ["fleet_overview"]

_SUMMED = ("hits", "fired", "paused")

Shown = tuple[str, Sequence[Record], Mapping[str, float] | None]
"""The label of a process, its points, and how often each of them is hit per second."""


class _Row(NamedTuple):
    """What is the same in some processes.

    Attributes:
        points: The point as each of them tells of it.
        labels: Which they are.
        rates: Its hits per second in each.
    """

    points: list[Record]
    labels: list[str]
    rates: list[float]


def fleet_overview(processes: Sequence[Shown]) -> Table:
    """A line for each point, or several where the processes do not agree about its terms or its type.

    Args:
        processes: Each of them. Unless they have rates, that column is left out.
    """
    rows: dict[Any, _Row] = {}
    for label, points, rates in processes:
        for point in points:
            row = rows.setdefault(_kind(point), _Row([], [], []))
            row.points.append(point)
            row.labels.append(label)
            row.rates.append((rates or {}).get(point["name"], 0.0))
    every = [label for label, _, _ in processes]
    # Sorting is stable: within a name, by the first process that has it so.
    shown = sorted(rows.values(), key=lambda row: str(row.points[0]["name"]))
    with_rates = any(rates is not None for _, _, rates in processes)
    return overview(
        [_merged(row) for row in shown],
        [sum(row.rates) for row in shown] if with_rates else None,
        [_which(row.labels, every) for row in shown],
    )


def _kind(point: Record) -> tuple[object, ...]:
    return point["name"], str(point.get("terms", "")), str(point.get("returns"))


def _merged(row: _Row) -> dict[str, Any]:
    sums = {key: sum(_number(point.get(key)) for point in row.points) for key in _SUMMED}
    # Which of its sites a process knows depends on what it has run.
    sites = dict.fromkeys(str(site) for point in row.points for site in point.get("sites") or ())
    return {**row.points[0], **sums, "sites": list(sites)}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _which(labels: Sequence[str], every: Sequence[str]) -> str:
    """Which processes these are, in the fewest words."""
    if len(labels) == len(every) > 1:
        return f"all {len(every)}"
    others = [label for label in every if label not in labels]
    if len(others) < len(labels) - 1:
        return f"all but {', '.join(others)}"
    return ", ".join(labels)
