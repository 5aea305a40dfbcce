"""Cases: the runs of an exploration, each with what it injects."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from failpy._outcome import said_of
from failpy._schedule import Schedule

__all__ = ["ESCAPED", "Case", "reproduction"]

ESCAPED = "the injected exception came out of the body: let that expect it, or give may_escape="
"""What is said of a case that failed by nothing else."""


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the body in an exploration, with certain faults injected, and what it came to.

    The body of `explore_crashes` is `run`, which is killed, and then `check`.

    Attributes:
        schedule: What was injected: a mapping of names to terms, for `fail.scope`.
        outcome: `"passed"`: the body returned. `"failed"`: it raised, or a thread or a task of it died.
            `"escaped"`: an injected exception came out of it, and `may_escape` allows that. `"missed"`:
            it returned, but a fault was never injected, because its hit did not happen. `"timed out"`;
            `"exited"`: it called `os._exit`. `"crashed"`: its process ended in another way.
        error: What it raised, or None. With its traceback in the first 1,000 cases that raised something,
            whose frames have let go of what they knew; in all, `traceback` has the text.
        is_fault: Whether that is an injected exception itself, which nothing has handled.
        where: The line that raised it, as `file:line`, or `""`.
        traceback: The traceback, as text, or `""`.
        endings: For each fault that was injected: where, and what became of it.
        divergence: How it differed from the run that it goes on from, before the fault, or None. The
            body is not deterministic then, and the same terms may come to something else next time.
        leaks: What it has left behind: threads, open scopes, armed points, and another current folder,
            environment, signal handler or trace function than before.
        again: What the same case came to when it was run once more, if it was; else None.
        simpler: The terms of a smaller case that fails alike, or None.
        hits: How many hits of the points there were.
        seconds: How long it took, in seconds.
        then: What was injected after that into the checks of a crash, each a process of its own.
        said: What it raised, in a line, as it was when the case ended; `""` for what `error` says now.
        torn: What the power cuts of a case of `tear=True` have taken, file by file.
    """

    schedule: Schedule
    outcome: str
    error: BaseException | None = None
    is_fault: bool = False
    where: str = ""
    traceback: str = ""
    endings: tuple[str, ...] = ()
    divergence: str | None = None
    leaks: tuple[str, ...] = ()
    again: str | None = None
    simpler: str | None = None
    hits: int = 0
    seconds: float = 0.0
    then: tuple[Schedule, ...] = ()
    torn: tuple[str, ...] = ()
    said: str = ""

    @property
    def terms(self) -> str:
        """What was injected, as one reads it: `db.write=2*off->1*raise(ENOSPC)`."""
        terms = [str(each) for each in (self.schedule, *self.then) if each]
        return ", then ".join([*terms, *([f"a power cut: {', '.join(self.torn)}"] if self.torn else [])])

    @property
    def text(self) -> str | None:
        """The terms as `fail.scope`, `FAILPY_FAILPOINTS` and `--failpoints` take them.

        None where no text says them, such as for an exception object: give `schedule` to `fail.scope` then.
        Of a case that crashes twice they are for `run`, and `then` has those for `check`.
        """
        return self.schedule.text

    @property
    def failed(self) -> bool:
        """Whether it is a failure: neither passed nor escaped nor missed."""
        return self.outcome not in ("passed", "escaped", "missed")

    @property
    def flaky(self) -> bool:
        """Whether it failed, and passed when it was run once more."""
        return self.failed and self.again in ("passed", "escaped")

    @property
    def why(self) -> str:
        """What it raised, in a line, as it was when the case ended."""
        return self.said or ("" if self.error is None else said_of(self.error))

    @property
    def alike(self) -> tuple[str, str, str]:
        """What failures with one cause have in common: outcome, kind of exception, and place."""
        return self.outcome, type(self.error).__qualname__, self.where

    def __str__(self) -> str:
        why = f": {self.why}" if self.why else ""
        return f"{self.terms}: {self.outcome}{why}"

    def as_json(self) -> dict[str, Any]:
        """It, as data for JSON."""
        return {
            "terms": self.text,
            "shown": self.terms,
            "then": [each.text for each in self.then],
            "torn": list(self.torn),
            "outcome": self.outcome,
            "error": self.why or None,
            "is_fault": self.is_fault,
            "where": self.where or None,
            "traceback": self.traceback or None,
            "endings": list(self.endings),
            "divergence": self.divergence,
            "leaks": list(self.leaks),
            "again": self.again,
            "flaky": self.flaky,
            "simpler": self.simpler,
            "hits": self.hits,
            "seconds": self.seconds,
        }


def reproduction(case: Case) -> str:
    """How to run this case again."""
    if case.text is None:
        return f"no text says these terms: fail.scope({case.schedule!r})"
    # Each is for a process of its own.
    names = ("run", *("check" for _ in case.then))
    texts = [
        f"FAILPY_FAILPOINTS={shlex.quote(str(each))}{f' for {name}' * bool(case.then)}"
        if each
        else f"nothing armed in {name}, which goes to its end"
        for name, each in zip(names, (case.schedule, *case.then), strict=True)
    ]
    return ", then ".join(texts)
