"""Tables for people: the points of a program, one point, and what is happening."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from failpy._catalogue import Entry
from failpy._findings import Finding
from failpy._literals import printable

__all__ = ["Table", "declared", "details", "event_line", "finding_line", "overview"]

Record = Mapping[str, Any]


def _rows(head: Iterable[str], body: Iterable[Iterable[Text]], *, right: Iterable[str] = ()) -> Table:
    """Plain columns, which fold rather than lose anything."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for title in head:
        table.add_column(title, justify="right" if title in right else "left", overflow="fold")
    for row in body:
        table.add_row(*row)
    return table


_NUMBERS = ("hits", "fired", "paused")


def overview(
    points: Sequence[Record], rates: Sequence[float] | None = None, processes: Sequence[str] | None = None
) -> Table:
    """A line for each point.

    Args:
        points: As the endpoint tells of them.
        rates: The hits per second of each; None leaves the column out.
        processes: Which processes each line is of; None leaves the column out.
    """
    numbers = _NUMBERS if rates is None else ("hits/s", *_NUMBERS)
    body = []
    for i, point in enumerate(points):
        rate = [] if rates is None else [_quiet(f"{rates[i]:.1f}", "0.0")]
        where = [] if processes is None else [Text(printable(processes[i]))]
        counts = [_quiet(printable(point.get(key, 0)), "0") for key in _NUMBERS]
        first, *more = map(printable, point.get("sites") or [""])
        sites = Text(first).append(f" +{len(more)}" if more else "", "dim")
        returns = _quiet(printable(point.get("returns") or ""), "None")
        terms = Text(printable(point.get("terms", "")), "yellow")
        body.append([Text(printable(point["name"]), "cyan"), *where, terms, *rate, *counts, returns, sites])
    which = () if processes is None else ("processes",)
    return _rows(("name", *which, "terms", *numbers, "returns", "sites"), body, right=numbers)


def details(point: Record, process: str | None = None) -> Table:
    """Everything about one point, in this process of several."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    where = [] if process is None else [("process", Text(printable(process)))]
    for title, text in (*where, *_facts(point)):
        table.add_row(title, text)
    return table


def _facts(point: Record) -> Iterable[tuple[str, Text]]:
    yield "name", Text(printable(point["name"]), "cyan")
    terms = Text(printable(point.get("terms") or "(disarmed)"), "yellow" if point.get("terms") else "dim")
    left = point.get("expires_in")
    yield "terms", terms.append(f"  for {left:.1f} s more", "dim") if isinstance(left, float | int) else terms
    yield (
        "hits",
        Text(f"{_count(point, 'hits')}, {_count(point, 'selected')} took a term"),
    )
    yield "fired", Text(printable(point.get("fired", 0)))
    paused = [
        _place(f"#{printable(each.get('nth'))}", each)
        for each in point.get("paused_hits") or ()
        if isinstance(each, dict)
    ]
    yield "paused", Text("\n").join(map(Text, paused or [printable(point.get("paused", 0))]))
    yield "returns", Text(printable(point.get("returns") or ""))
    yield "faults", Text("\n".join(map(printable, point.get("faults") or ())) or "-")
    undeclared = "(no code has declared it yet)"
    sites = "\n".join(map(printable, point.get("sites") or ()))
    yield "sites", Text(sites or ("-" if point.get("declared", True) else undeclared))
    yield "revision", Text(printable(point.get("revision", "")))


def event_line(event: Record, process: str | None = None) -> Text:
    """A hit in one line, in this process of several."""
    term = event.get("term")
    return Text.assemble(
        (_clock(event.get("time")), "dim"),
        "  " if process is None else f"  {printable(process)}  ",
        (printable(event.get("point")), "cyan"),
        f" #{printable(event.get('nth'))}  ",
        (printable(term), "yellow") if term else ("passed", "dim"),
        "  ",
        (_place("", event), "dim"),
    )


def _count(point: Record, key: str) -> str:
    return printable(point.get(key, 0))


def declared(entries: Iterable[Entry]) -> Table:
    """A line for each name that source declares."""
    body = []
    for entry in entries:
        name = Text(printable(entry.name), "cyan").append("  (computed)" if entry.computed else "", "dim")
        returns = _quiet(printable(entry.returns), "None")
        places = [
            Text("\n".join(map(printable, each))) for each in (entry.faults, entry.declared, entry.armed)
        ]
        body.append([name, returns, *places])
    return _rows(("name", "returns", "faults", "declared at", "armed at"), body)


_SEVERITIES = {"error": "bold red", "warning": "yellow", "note": "blue"}


def finding_line(finding: Finding) -> Text:
    """A finding as compilers say it, and under it the caret if there is one."""
    first, *more = map(printable, finding.message.splitlines())
    text = Text.assemble(
        (printable(f"{finding.file}:{finding.line}:{finding.column}: "), "bold"),
        (f"{finding.code} {finding.severity}: ", _SEVERITIES[finding.severity]),
        first,
    )
    return text.append("".join(f"\n{line}" for line in more))


def _clock(at: object) -> str:
    if not (isinstance(at, float | int) and 0 <= at < 1e11):
        return "--:--:--.---"
    return f"{time.strftime('%H:%M:%S', time.localtime(at))}.{int(at * 1000) % 1000:03}"


def _place(what: str, record: Record) -> str:
    """Which thread, and which task if any."""
    thread, task = record.get("thread"), record.get("task")
    places = [what, *(f"{printable(each)}" for each in (thread, task) if each)]
    return " ".join(filter(None, places))


def _quiet(text: str, silent: str) -> Text:
    """A text that steps back when it says nothing."""
    return Text(text, "dim" if text == silent else "")
