"""The report of an exploration as a page: one file, which asks nobody for anything and runs no script."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from failpy._case import ESCAPED, Case, reproduction
from failpy._literals import printable

if TYPE_CHECKING:
    from failpy._exploration_report import Report

__all__ = ["render"]

_SLOT = re.compile(r"\{\{(\w+)\}\}")
_STYLE = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_TONES = {"passed": "good", "escaped": "good", "missed": "odd"}


def render(report: Report) -> str:
    """The page. Its policy allows its own style and nothing else."""
    template = Path(__file__).with_name("_exploration.html").read_text("utf-8")
    (style,) = _STYLE.findall(template)
    digest = b64encode(sha256(style.encode()).digest()).decode()
    took = f"{report.seconds:.1f} s" + (f", seed {report.seed}" if report.seed is not None else "")
    slots = {
        "policy": f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'",
        "title": _text(report.summary),
        "times": _text(f"{took}; {', '.join(f'{name}: {hits}' for name, hits in report.points.items())}"),
        "notes": _section("To know", [f"<li>{_text(each)}</li>" for each in _notes(report)], "notes"),
        "distinct": _section(
            "Failures, those alike together",
            [
                _item(group[0], f"{len(group)}\N{MULTIPLICATION SIGN}", is_open=True)
                for group in report.distinct
            ],
        ),
        "cases": _section("Every case", [_item(case, f"{case.seconds:.2f} s") for case in report.cases]),
    }
    # All at once: what is put in is not looked at again.
    return _SLOT.sub(lambda match: slots[match[1]], template)


def _notes(report: Report) -> Iterator[str]:
    if report.recording is None:
        yield "the run without a fault did not end"
    elif report.recording.failed:
        yield f"the body fails without any fault: {report.recording.why}"
    if report.problem is not None:
        yield str(report.problem)
    yield from report.notes
    if report.stopped is not None:
        yield f"stopped: {report.stopped}"


def _text(text: str) -> str:
    return escape(printable(text))


def _section(title: str, items: Iterable[str], kind: str = "cases") -> str:
    body = "\n".join(items)
    return f'<section class="{kind}"><h2>{title}</h2><ul>{body}</ul></section>' if body else ""


def _item(case: Case, number: str, *, is_open: bool = False) -> str:
    tone = _TONES.get(case.outcome, "bad")
    facts = [case.why, case.where, reproduction(case), *case.endings, *case.leaks]
    facts += [f"flaky: when it was run once more, it {case.again}"] * case.flaky
    facts += [f"diverged: {case.divergence}"] * (case.divergence is not None)
    facts += [f"fails alike with less: {case.simpler}"] * (case.simpler is not None)
    facts += [ESCAPED] * case.is_fault
    lines = "".join(f"<p><bdi>{_text(fact)}</bdi></p>" for fact in facts if fact)
    trace = f"<details><summary>traceback</summary><pre>{_lines(case.traceback)}</pre></details>"
    trace = trace if is_open and case.traceback else ""
    return (
        f"<li><details{' open' if is_open else ''}><summary>"
        f'<span class="{tone}">{case.outcome}</span><code><bdi>{_text(case.terms)}</bdi></code>'
        f'<span class="soft">{number}</span></summary><div class="sheet">{lines}{trace}</div></details></li>'
    )


def _lines(text: str) -> str:
    return "\n".join(map(_text, text.splitlines()))
