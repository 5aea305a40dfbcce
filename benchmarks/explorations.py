"""The sides of exploration: what a case, a recording and a crash cost, and what a case keeps."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns

from benchmarks.bodies import HITS, body
from benchmarks.processes import answering, environment
from benchmarks.timing import Clock, Loop, Samples
from failpy import fail
from failpy._bodyrun import run
from failpy._explore import prepared
from failpy._schedule import Schedule

__all__ = ["body_alone", "cases_a_second", "crash_case", "explored", "kept", "recorded", "us_a_hit"]


@contextmanager
def explored(_seconds: float) -> Iterator[Clock]:
    """One case: a round is one exploration, with a case for each hit."""

    def clock() -> float:
        began = perf_counter_ns()
        report = fail.explore(body, points="bodies.step")
        spent = perf_counter_ns() - began
        assert report.counts == {"passed": HITS}
        return spent / (HITS + 1)  # the recording is as long as a case

    yield clock


@contextmanager
def body_alone(seconds: float) -> Iterator[Clock]:
    """The same body with nothing armed."""
    yield Loop("body()", {"body": body}, seconds)


@contextmanager
def recorded(seconds: float) -> Iterator[Clock]:
    """The run that only records."""
    _, rules = prepared(points="bodies.step")
    yield Loop(
        "run(body, nothing, rules)",
        {"run": run, "body": body, "nothing": Schedule(), "rules": rules},
        seconds,
    )


@contextmanager
def crash_case(_seconds: float, *, method: str, alone: bool) -> Iterator[Clock]:
    """One case of `fail.explore_crashes`, or two processes that do nothing, which is how many it has.

    In a process of its own, so that there is no other thread in the way of a fork.
    """
    with answering("benchmarks.crashes", method, "alone" if alone else "explored") as clock:
        yield clock


@contextmanager
def kept(_seconds: float, *, what: str) -> Iterator[Clock]:
    """What is kept in memory by a case that has passed, in bytes, in a new process."""
    command = [sys.executable, "-m", "benchmarks.memory", what]
    yield lambda: float(subprocess.check_output(command, env=environment()))


def cases_a_second(samples: Samples) -> str:
    """How many cases a second that is."""
    times = sorted(samples.ours)
    quarter = len(times) // 4
    low, high = (1e9 / times[at] for at in (-1 - quarter, quarter))
    spread = f"half of the builds {_rounded(low)} to {_rounded(high)}"
    return f"{_rounded(1e9 / samples.medians[0])} cases a second, {spread}"


def us_a_hit(samples: Samples) -> str:
    """What recording adds to a hit."""
    ours, theirs = samples.medians
    return f"{(ours - theirs) / HITS / 1000:.1f} microseconds a hit"


def _rounded(number: float) -> str:
    return f"{number:,.0f}" if number >= 20 else f"{number:.1f}"
