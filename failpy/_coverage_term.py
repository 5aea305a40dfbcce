"""The coverage report as text for a terminal, line by line, with the markup of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from unicodedata import combining, east_asian_width

from failpy._coverage import Coverage, Row
from failpy._coverage_words import EXPLAINED, percentage, times
from failpy._literals import printable
from failpy._site import BODY, Site

__all__ = ["lines"]

Line = tuple[str, dict[str, bool]]

_NUMBERS = ("armed", "hits", "fired", "faults", "tests")
_GAP = "  "
# With less than this for the names, a line of numbers under each is easier to read.
_NARROW = 16
_MARKUP = {
    "never": {"red": True, "bold": True},
    "armed": {"red": True, "bold": True},
    "hit": {"red": True, "bold": True},
    "partly": {"yellow": True},
    "fired": {"green": True},
}


def lines(coverage: Coverage, width: int, *, verbose: bool = False) -> Iterator[Line]:
    """The lines of the report, and for each the flags of pytest's `TerminalWriter.line`.

    Args:
        coverage: What to tell.
        width: How many columns there are; under 12 it is taken for 12. No line is wider.
        verbose: Whether to tell of every point which tests armed it, with what, and how that ended.

    Examples:
        >>> list(lines(Coverage(()), 80))
        [('no failpoint was declared', {'yellow': True})]
    """
    width = max(width, 12)
    if coverage.rows:
        yield from _table(coverage.rows, width, verbose)
        yield "", {}
    if coverage.unreadable:
        yield from _folded(
            "points whose name source does not say, and which did not run:", width, {"yellow": True}
        )
        for place in coverage.unreadable:
            yield from _folded(str(place), width, {}, 2)
    for problem in coverage.problems:
        yield from _folded(
            f"not read: {problem.file}:{problem.line}: {problem.reason}", width, {"yellow": True}
        )
    yield from _total(coverage, width)


def _total(coverage: Coverage, width: int) -> Iterator[Line]:
    if not coverage.rows:
        yield from _folded("no failpoint was declared", width, {"yellow": True})
        return
    fired, points, faults = coverage.fired, coverage.points, coverage.faults
    text = f"{fired} of {points} failpoint{'s' * (points != 1)} fired ({percentage(fired, points)})"
    if faults:
        text += f", {coverage.injected} of {faults} fault{'s' * (faults != 1)} injected"
    state = "fired" if fired == points and coverage.injected == faults else "partly" if fired else "never"
    yield from _folded(text, width, {**_MARKUP[state], "bold": True})


def _table(rows: Iterable[Row], width: int, verbose: bool) -> Iterator[Line]:
    names = {row.name: printable(row.name) for row in rows}
    cells = {row.name: _cells(row) for row in rows}
    heads = {"state": "state", **{key: key for key in _NUMBERS}}
    widths = {key: max(len(heads[key]), *(len(each[key]) for each in cells.values())) for key in heads}
    rest = sum(widths.values()) + len(_GAP) * len(widths)
    longest = max(4, *map(_columns, names.values()))
    if width - rest < min(longest, _NARROW):
        yield from _list(rows, names, cells, width, verbose)
        return
    room = min(longest, width - rest)
    yield f"{'name':{room}}{_numbers(heads, widths)}", {"bold": True}
    for row in rows:
        first, *more = _fold(names[row.name], room)
        padding = " " * (room - _columns(first))
        yield f"{first}{padding}{_numbers(cells[row.name], widths)}", _MARKUP[row.state]
        for each in more:
            yield each, _MARKUP[row.state]
        yield from _details(row, width, verbose)


def _list(
    rows: Iterable[Row],
    names: Mapping[str, str],
    cells: Mapping[str, Mapping[str, str]],
    width: int,
    verbose: bool,
) -> Iterator[Line]:
    """The same where there is no room for a table."""
    for row in rows:
        yield from _folded(names[row.name], width, _MARKUP[row.state])
        texts = (f"{key} {text}" for key, text in cells[row.name].items() if text)
        yield from _folded(", ".join(texts), width, {}, 2)
        yield from _details(row, width, verbose)


def _cells(row: Row) -> dict[str, str]:
    return {
        "state": row.state,
        "armed": str(row.armed),
        "hits": str(row.hits),
        "fired": str(row.fired),
        "faults": f"{row.injected}/{len(row.faults)}" if row.faults else "",
        "tests": str(len(row.tests)),
    }


def _numbers(cells: Mapping[str, str], widths: Mapping[str, int]) -> str:
    numbers = "".join(f"{_GAP}{cells[key]:>{widths[key]}}" for key in _NUMBERS)
    return f"{_GAP}{cells['state']:{widths['state']}}{numbers}"


def _details(row: Row, width: int, verbose: bool) -> Iterator[Line]:
    """What is missing, and for those who want to know, what is not."""
    texts = []
    if row.state != "fired" or verbose:
        sites = ", ".join(map(_site, row.sites))
        fell_short = row.state not in ("partly", "fired")
        texts.append(f"{EXPLAINED[row.state]}, at {sites}" if fell_short else f"at {sites}")
    if row.missing:
        texts.append(f"never injected: {'; '.join(row.missing)}")
    if verbose:
        texts += [f"injected {times(count)}: {fault}" for fault, count in row.faults.items() if count]
        texts += [f"fired {times(count)}: {action}" for action, count in row.others.items()]
        texts += [f"ended {times(count)}: {ending}" for ending, count in row.endings.items()]
        for nodeid, counts in row.tests.items():
            numbers = ", ".join(f"{key} {count}" for key, count in counts.items())
            texts.append(f"in {nodeid}: {numbers}")
    for text in texts:
        yield from _folded(text, width, {"light": True}, 2)


def _site(site: Site) -> str:
    return str(site) if site.where == BODY else f"{site} ({site.where})"


def _folded(text: str, width: int, markup: dict[str, bool], indent: int = 0) -> Iterator[Line]:
    """A text on as many lines as it takes, those after the first deeper than it."""
    first, *more = _fold(printable(text), width - indent - 2)
    yield f"{' ' * indent}{first}", markup
    for each in more:
        yield f"{' ' * (indent + 2)}{each}", markup


def _fold(text: str, width: int) -> Iterator[str]:
    """Pieces that are no wider than this, cut at spaces where there are some, and nothing lost but those."""
    while _columns(text) > width:
        end = 1  # a character that is wider than all the room there is goes alone
        while _columns(text[: end + 1]) <= width:
            end += 1
        space = text.rfind(" ", 1, end + 1)
        yield text[: space if space > 0 else end]
        text = text[space + 1 if space > 0 else end :]
    yield text


def _columns(text: str) -> int:
    """How wide a terminal shows it."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 1 + (east_asian_width(char) in "WF") for char in text)
