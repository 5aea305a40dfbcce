"""The coverage report as a page: one file, which asks nobody for anything."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Mapping
from hashlib import sha256
from html import escape
from pathlib import Path

from failpy._coverage import STATES, Coverage, Row
from failpy._coverage_words import EXPLAINED, percentage, times
from failpy._literals import printable
from failpy._site import BODY

__all__ = ["render"]

_SLOT = re.compile(r"\{\{(\w+)\}\}")
_BLOCK = re.compile(r"<(script|style)>(.*?)</\1>", re.DOTALL)


def render(coverage: Coverage) -> str:
    """The page.

    Its policy allows its own style and script and nothing else, and the script only filters.

    Examples:
        >>> render(Coverage(())).startswith("<!doctype html>")
        True
    """
    from importlib.metadata import version

    template = Path(__file__).with_name("_coverage.html").read_text("utf-8")
    hashes: dict[str, str] = {}
    for element, block in _BLOCK.findall(template):
        hashes[element] = f"'sha256-{b64encode(sha256(block.encode()).digest()).decode()}'"
    slots = {
        "policy": f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "base-uri 'none'; form-action 'none'",
        "version": _text(version("failpy")),
        "share": percentage(coverage.fired, coverage.points) if coverage.rows else "\N{EN DASH}",
        "counts": _counts(coverage),
        "bar": _bar(coverage),
        "filters": _filters(coverage),
        "points": _points(coverage.rows),
        "unreadable": _notes(
            "The name is not in source",
            "These places declare a failpoint whose name is computed, and did not run: "
            "they count in no percentage.",
            [str(place) for place in coverage.unreadable],
        ),
        "problems": _notes(
            "Not read",
            "What these files declare is missing here, unless it ran.",
            [f"{each.file}:{each.line}: {each.reason}" for each in coverage.problems],
        ),
    }
    # All at once: what is put in is not looked at again.
    return _SLOT.sub(lambda match: slots[match[1]], template)


def _text(text: str) -> str:
    return escape(printable(text))


def _counts(coverage: Coverage) -> str:
    points, faults = coverage.points, coverage.faults
    if not points:
        return "<p>There is nothing to cover.</p>"
    counts = [f"<p><b>{coverage.fired} of {points}</b> failpoint{_s(points)} fired</p>"]
    if faults:
        share = percentage(coverage.injected, faults)
        counts.append(f"<p><b>{coverage.injected} of {faults}</b> fault{_s(faults)} injected ({share})</p>")
    return "\n".join(counts)


def _s(count: int) -> str:
    return "s" * (count != 1)


def _bar(coverage: Coverage) -> str:
    """The states as parts of a bar, the best first."""
    parts, at = [], 0.0
    for state in reversed(STATES):
        width = 100 * coverage.states[state] / max(coverage.points, 1)
        if width:
            parts.append(f'<rect class="{state}" x="{at:.3f}" width="{width:.3f}" height="1"/>')
        at += width
    return "".join(parts)


def _filters(coverage: Coverage) -> str:
    """A button for each state, and the key to the bar."""
    return "\n".join(
        f'<li class="{state}"><button type="button" aria-pressed="false" data-state="{state}" '
        f'title="{EXPLAINED[state]}"><i></i>{state} <b>{count}</b></button></li>'
        for state, count in coverage.states.items()
    )


def _points(rows: Iterable[Row]) -> str:
    """The points, the worst first."""
    ordered = sorted(rows, key=lambda row: STATES.index(row.state))
    return "\n".join(map(_point, ordered)) or '<li class="none">No failpoint was declared.</li>'


def _point(row: Row) -> str:
    first = row.sites[0]
    more = f" +{len(row.sites) - 1}" if len(row.sites) > 1 else ""
    faults = f"{row.injected}/{len(row.faults)}" if row.faults else ""
    numbers = "".join(
        _number(title, text)
        for title, text in (
            ("armed", str(row.armed)),
            ("hits", str(row.hits)),
            ("fired", str(row.fired)),
            ("faults", faults),
            ("tests", str(len(row.tests))),
        )
    )
    return (
        f'<li class="{row.state}"><details><summary>'
        f'<span class="state"><i></i>{row.state}</span>'
        f'<span class="what"><bdi class="name">{_text(row.name)}</bdi>'
        f'<span class="site"><bdi>{_text(str(first))}</bdi>{more}</span></span>'
        f'<span class="numbers">{numbers}</span></summary>'
        f'<div class="sheet"><p>{_state(row)}</p>{_sheet(row)}</div></details></li>'
    )


def _number(title: str, text: str) -> str:
    kind = ' class="zero"' if text in ("", "0") else ""
    label = f'<span class="label">{title} </span>' if text else ""
    return f"<span{kind}>{label}{text}</span>"


def _state(row: Row) -> str:
    returns = f" It returns <code>{_text(row.returns)}</code>." if row.returns else ""
    text = EXPLAINED[row.state]
    return f"{text[0].upper()}{text[1:]}.{returns}"


def _sheet(row: Row) -> str:
    sites = [(str(site), "" if site.where == BODY else site.where) for site in row.sites]
    faults = [
        f'<li class="{"done" if count else "missing"}">{_code(fault)}<span>{_injected(count)}</span></li>'
        for fault, count in sorted(row.faults.items(), key=lambda each: each[1] > 0)
    ]
    parts = [
        _list("Faults of its catalogue", faults),
        _list("Sites", [f"<li>{_code(place)}<span>{_text(where)}</span></li>" for place, where in sites]),
        _list("How injected exceptions ended", _tallied(row.endings)),
        _list("Other actions that fired", _tallied(row.others)),
        _tests(row.tests),
    ]
    return "".join(parts)


def _injected(count: int) -> str:
    return f"injected {times(count)}" if count else "never injected"


def _tallied(counts: Mapping[str, int]) -> list[str]:
    return [f"<li>{_code(text)}<span>{times(count)}</span></li>" for text, count in counts.items()]


def _code(text: str) -> str:
    return f"<code><bdi>{_text(text)}</bdi></code>"


def _list(title: str, items: Iterable[str]) -> str:
    body = "".join(items)
    return f"<section><h3>{title}</h3><ul>{body}</ul></section>" if body else ""


def _tests(tests: Mapping[str, Mapping[str, int]]) -> str:
    if not tests:
        return ""
    rows = "".join(
        f'<tr><th scope="row">{_code(nodeid)}</th>'
        f"{''.join(f'<td>{count}</td>' for count in counts.values())}</tr>"
        for nodeid, counts in tests.items()
    )
    head = "".join(f'<th scope="col">{title}</th>' for title in ("test", "armed", "hits", "fired"))
    return (
        f'<section class="wide"><h3>Tests</h3><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></section>"
    )


def _notes(title: str, text: str, items: Iterable[str]) -> str:
    body = "".join(f"<li>{_code(item)}</li>" for item in items)
    return f'<section class="notes"><h2>{title}</h2><p>{text}</p><ul>{body}</ul></section>' if body else ""
