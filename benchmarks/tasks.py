"""A process of many asyncio tasks that have a scope each, all open at once.

    python -m benchmarks.tasks SIZE

Every line of input names a step of a task, and is answered with a line: the nanoseconds of one, the mean over
the tasks. The steps are timed from within, so that the time of the event loop is not in them.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter_ns

from failpy import fail, failpoint

__all__ = ["ASIDE", "STEPS", "WHOLE", "spent"]

STEPS = ("open", "a hit, return fires", "close")
WHOLE = "all three"
ASIDE = "the same tasks without failpy"
_TASKS = 1000
"""How many tasks a round has at the least, one loop after the other."""


@failpoint("tasks.call", returns=str)
def call() -> str:
    """What every task calls."""
    return "default"


variable: ContextVar[list[dict[str, object]]] = ContextVar("variable")


class Bare:
    """What is timed in the place of a scope: as many new objects in a context variable, and no failpy."""

    async def __aenter__(self) -> None:
        variable.set([{"number": number} for number in range(20)])

    async def __aexit__(self, *_: object) -> None:
        variable.set([])


def bare() -> str:
    """What is timed in the place of a call."""
    return str(variable.get()[-1]["number"])


async def _run(size: int, enter: Callable[[], object], work: Callable[[], object]) -> dict[str, int]:
    spent = dict.fromkeys(STEPS, 0)
    gates = [asyncio.Event() for _ in STEPS]
    arrived = [0, 0]

    async def arrive(which: int) -> None:
        arrived[which] += 1
        if arrived[which] == size:
            gates[which].set()
        await gates[which].wait()

    async def task() -> None:
        began = perf_counter_ns()
        block = enter()
        await block.__aenter__()  # type: ignore[attr-defined]
        spent["open"] += perf_counter_ns() - began
        await arrive(0)
        began = perf_counter_ns()
        work()
        spent["a hit, return fires"] += perf_counter_ns() - began
        await arrive(1)
        began = perf_counter_ns()
        await block.__aexit__(None, None, None)  # type: ignore[attr-defined]
        spent["close"] += perf_counter_ns() - began

    async with asyncio.TaskGroup() as group:
        for _ in range(size):
            group.create_task(task())
    return spent


def spent(size: int, step: str) -> float:
    """The nanoseconds of one step of one task, among so many tasks."""
    rounds = max(1, _TASKS // size)
    is_bare = step == ASIDE
    total = 0
    for _ in range(rounds):
        if is_bare:
            took = asyncio.run(_run(size, Bare, bare))
        else:
            took = asyncio.run(
                _run(size, lambda: fail.scope({"tasks.call": 'return("x")'}, strict=False), call)
            )
        total += took[step] if step in took else sum(took.values())
    return total / rounds / size


def main(size: int) -> None:
    """Answer until there is no more input."""
    for line in sys.stdin:
        gc.collect()
        gc.disable()
        print(spent(size, line.strip()), flush=True)
        gc.enable()


if __name__ == "__main__":
    main(int(sys.argv[1]))
