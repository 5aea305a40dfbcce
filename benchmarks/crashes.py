"""A process whose cases of a crash exploration are timed.

    python -m benchmarks.crashes METHOD explored|alone

Every line of input is answered with a line of output: the nanoseconds of one case, or of the two bare
processes that a case has.
"""

from __future__ import annotations

import multiprocessing
import sys
from time import perf_counter_ns
from typing import Any, Literal

from benchmarks.bodies import check, crashing, nothing
from failpy import fail

CASES: dict[str, int] = {"fork": 10, "spawn": 1}


def explored(method: Literal["fork", "spawn"]) -> float:
    """One case."""
    cases = CASES[method]
    began = perf_counter_ns()
    report = fail.explore_crashes(crashing, check, points="bodies.step", method=method, limit=cases)
    spent = perf_counter_ns() - began
    assert report.counts == {"passed": cases}, report
    return spent / (cases + 1)  # the recording has two processes as well


def alone(method: Literal["fork", "spawn"]) -> float:
    """Two processes that do nothing, one after the other."""
    context: Any = multiprocessing.get_context(method)
    pairs = CASES[method] + 1
    began = perf_counter_ns()
    for _ in range(2 * pairs):
        process = context.Process(target=nothing)
        process.start()
        process.join()
    return (perf_counter_ns() - began) / pairs


def main(method: Literal["fork", "spawn"], side: str) -> None:
    """Run a round for every line of input."""
    for _ in sys.stdin:
        print(explored(method) if side == "explored" else alone(method), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])  # type: ignore[arg-type]
