"""The report of an exploration: its cases, and how to reproduce those that fail."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from failpy._case import ESCAPED, Case, reproduction
from failpy._errors import FailpointError, Failure
from failpy._failures import note

__all__ = ["Report"]

_WORDS = ("passed", "failed", "timed out", "exited", "crashed", "escaped", "missed")
_ALIKE = 3


@final
@dataclass(frozen=True, slots=True)
class Report:
    """What an exploration found. `print` it, or let it raise what failed.

    Attributes:
        cases: Every case that was run, in order.
        recording: The run without a fault; None when it was interrupted.
        points: How often that hit each point.
        stopped: Why not every case was run, or None.
        problem: Why there was nothing to explore, or None: a pattern without a point, a body without a hit.
        notes: What else there is to know, as sentences.
        seed: What the order was drawn from, or None.
        seconds: How long it all took, in seconds.

    Examples:
        >>> from failpy import fail
        >>> def body() -> None:
        ...     with fail.point("report.step", faults=("raise(EIO)",)):
        ...         pass
        >>> report = fail.explore(body, may_escape=True)
        >>> [case.outcome for case in report.cases]
        ['escaped']
        >>> report.raise_for_failures()
    """

    cases: tuple[Case, ...]
    recording: Case | None = None
    points: Mapping[str, int] = field(default_factory=dict)
    stopped: str | None = None
    problem: FailpointError | None = None
    notes: tuple[str, ...] = ()
    seed: int | None = None
    seconds: float = 0.0

    @property
    def failures(self) -> tuple[Case, ...]:
        """The cases that failed."""
        return tuple(case for case in self.cases if case.failed)

    @property
    def distinct(self) -> tuple[tuple[Case, ...], ...]:
        """The failures, those alike together, as in `for first, *alike in report.distinct`.

        First of each is the one with the fewest and earliest faults.

        Alike are those that raise an exception of one class at one line. What the body says itself comes
        before injected exceptions that nothing has handled.
        """
        groups: dict[tuple[str, str, str], list[Case]] = {}
        for case in self.failures:
            groups.setdefault(case.alike, []).append(case)
        found = [tuple(sorted(group, key=_size)) for group in groups.values()]
        return tuple(sorted(found, key=lambda group: group[0].is_fault))

    @property
    def counts(self) -> dict[str, int]:
        """How many cases came to what, without those words that no case came to."""
        counted = Counter(case.outcome for case in self.cases)
        return {word: counted[word] for word in _WORDS if counted[word]}

    @property
    def diverged(self) -> tuple[Case, ...]:
        """The cases that differed, before their fault, from the run that they go on from."""
        return tuple(case for case in self.cases if case.divergence)

    def raise_for_failures(self) -> None:
        """Raise what failed; return if nothing did, and something was explored.

        Raises:
            ExceptionGroup: with one exception for each of `distinct`, and notes that say how to reproduce
                it. It is a `BaseExceptionGroup` if one of them is no `Exception`.
            FailpointError: when there was nothing to explore.
            KeyboardInterrupt: when the exploration was interrupted before anything failed.
        """
        __tracebackhide__ = True
        if self.recording is not None and self.recording.failed:
            error = self.recording.error
            assert error is not None
            note(error, "the body fails without any fault, so there was nothing to explore")
            raise error
        if self.problem is not None:
            raise self.problem
        groups = self.distinct
        if groups:
            total = len(self.failures)
            text = f"{total} of {len(self.cases)} explored case{'s' * (len(self.cases) != 1)} failed"
            raise BaseExceptionGroup(text, _errors(groups))
        if self.stopped is not None and self.stopped.startswith("interrupted"):
            raise KeyboardInterrupt(self.stopped)

    def json(self) -> str:
        """It as JSON: an object with `cases`, `recording`, `points`, `stopped`, `problem`, `notes`."""
        return json.dumps(
            {
                "counts": self.counts,
                "points": dict(self.points),
                "recording": None if self.recording is None else self.recording.as_json(),
                "cases": [case.as_json() for case in self.cases],
                "distinct": [[case.terms for case in group] for group in self.distinct],
                "stopped": self.stopped,
                "problem": None if self.problem is None else str(self.problem),
                "notes": list(self.notes),
                "seed": self.seed,
                "seconds": self.seconds,
            },
            indent=2,
        )

    def html(self) -> str:
        """It as a page of HTML: one file, which asks nobody for anything and runs no script."""
        from failpy._exploration_html import render  # few want the page

        return render(self)

    def __repr__(self) -> str:
        return f"<Report: {self.summary}>"

    @property
    def summary(self) -> str:
        """It in a line: how many cases of how many points came to what."""
        counts = ", ".join(f"{number} {word}" for word, number in self.counts.items())
        cases, points = len(self.cases), len(self.points)
        return (
            f"{cases} case{'s' * (cases != 1)} of {points} failpoint{'s' * (points != 1)}"
            f"{f': {counts}' if counts else ''}"
        )

    def __str__(self) -> str:
        return "\n".join(self._lines()).rstrip()

    def _lines(self) -> list[str]:
        lines = [f"explored {self.summary}"]
        if self.recording is None:
            lines.append("the run without a fault did not end")
        elif self.recording.failed:
            lines.append(f"the body fails without any fault: {self.recording.why}")
            lines += [f"  at {self.recording.where}"] * bool(self.recording.where)
            lines += _indented((*self.recording.endings, *self.recording.leaks))
        if self.problem is not None:
            lines.append(str(self.problem))
        for group in self.distinct:
            lines += ["", *_told(group)]
        lines += [""] * bool(self.distinct)
        lines += [
            f"missed: {case.terms}: {case.divergence}" for case in self.cases if case.outcome == "missed"
        ]
        if self.diverged:
            number, first = len(self.diverged), self.diverged[0]
            lines.append(
                f"note: the body is not deterministic: {number} case{'s' * (number != 1)} differed from the "
                f"recording before the fault; the first, {first.terms}: {first.divergence}"
            )
        leaking = [case for case in self.cases if case.leaks]
        if leaking:
            lines.append(f"note: left behind by {leaking[0].terms}: {', '.join(leaking[0].leaks)}")
            lines += [f"  and by {len(leaking) - 1} more"] * (len(leaking) > 1)
        lines += [f"note: {each}" for each in self.notes]
        if self.stopped is not None:
            lines.append(f"stopped: {self.stopped}")
        return lines


def _size(case: Case) -> tuple[bool, int]:
    return case.simpler is not None, len(case.endings)


def _told(group: tuple[Case, ...]) -> list[str]:
    first, *others = group
    lines = [f"{first.outcome.upper()} {first.why}"]
    lines += [f"  at {first.where}"] * bool(first.where)
    lines.append(f"  {reproduction(first)}")
    lines += _indented(first.endings)
    if first.flaky:
        lines.append("  flaky: it passed when it was run once more")
    shown = [case.terms for case in others[:_ALIKE]]
    if others:
        more = f" and {len(others) - _ALIKE} more" if len(others) > _ALIKE else ""
        comma = "; " if any(case.torn for case in others) else ", "
        lines.append(f"  alike: {comma.join(shown)}{more}")
    if first.is_fault:
        lines.append(f"  {ESCAPED}")
    return lines


def _indented(texts: tuple[str, ...]) -> list[str]:
    return [f"  {text}" for text in texts]


def _errors(groups: tuple[tuple[Case, ...], ...]) -> list[BaseException]:
    errors: list[BaseException] = []
    for group in groups:
        case = group[0]
        error: Any = case.error
        if any(each is error for each in errors):  # one instance, which several cases inject
            error = Failure(case.why)
        notes = [f"{case.outcome} with {reproduction(case)}", *case.endings]
        notes += [f"{len(group) - 1} more fail alike"] * (len(group) > 1)
        for text in notes:
            if text not in getattr(error, "__notes__", ()):  # it may be raised twice
                note(error, text)
        errors.append(error)
    return errors
