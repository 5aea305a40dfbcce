"""Counts what Python does in one step, where a clock would only say how long it took this time.

    python -m tests.counted WHAT SIZE

A program of its own, since it takes the place of the tracer and of the profiler. It prints, for each cost of
`benchmarks.population` among so much of something, the names of the Python functions that were called, how
many functions of C were, and how many bytecodes ran. With WHAT `shapes` or `blocks`, it prints the same for
each shape of function, decorated and not, or for each spelling of an idle block.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable, Mapping
from textwrap import indent
from typing import Any

from benchmarks import population
from benchmarks.shapes import SHAPES
from benchmarks.sides import plain
from failpy import fail, failpoint

Counts = dict[str, Any]

BLOCKS = {
    'with fail.point("X")': 'with fail.point("counted"): pass',
    "with point": "with point: pass",
    "point.hit()": "point.hit()",
}


class Counted:
    """A statement that is counted, not timed. In place of `benchmarks.timing.Loop`."""

    def __init__(self, statement: str, names: Mapping[str, object], seconds: float = 0.0) -> None:
        space = dict(names)
        exec(f"def step():\n{indent(statement, '    ')}", space)
        self._step: Callable[[], object] = space["step"]  # type: ignore[assignment]
        for _ in range(50):  # what happens once, such as a lazy import, does not count
            self._step()

    def __call__(self) -> Any:
        """What one step does."""
        calls: list[str] = []
        bytecodes = in_c = 0

        def trace(frame: Any, event: str, argument: object) -> Any:
            nonlocal bytecodes
            frame.f_trace_opcodes = True
            if event == "call":
                calls.append(frame.f_code.co_name)
            bytecodes += event == "opcode"
            return trace

        def profile(frame: Any, event: str, argument: object) -> None:
            nonlocal in_c
            in_c += event == "c_call"

        for _ in range(2):  # the first time, 3.12 has still to learn that bytecodes are asked for
            calls.clear()
            bytecodes = 0
            sys.settrace(trace)
            self._step()
            sys.settrace(None)
        sys.setprofile(profile)
        self._step()
        sys.setprofile(None)
        # The step itself, and the call that ends the counting.
        return {"calls": calls[1:], "bytecodes": bytecodes, "c calls": in_c - 1}


def among(what: str, size: int) -> Counts:
    """Each cost among so much of something."""
    population.Loop = Counted  # type: ignore[assignment, misc]
    with population.POPULATIONS[what](size, 0.0) as ask:
        return {cost: ask(cost) for cost in population.COSTS}


def shapes() -> Counts:
    """Each shape of function: decorated, and not."""
    found = {}
    for number, shape in enumerate(SHAPES):
        both = shape.build(failpoint(f"counted.{number}")), shape.build(plain)
        found[shape.name] = [Counted(shape.statement, names)() for names in both]
    return found


def blocks() -> Counts:
    """Each spelling of an idle block."""
    names = {"fail": fail, "point": fail.point("counted")}
    return {name: Counted(statement, names)() for name, statement in BLOCKS.items()}


def main(what: str, size: str = "0") -> None:
    """Count, and print."""
    gc.disable()
    found = shapes() if what == "shapes" else blocks() if what == "blocks" else among(what, int(size))
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
