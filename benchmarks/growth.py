"""How costs grow: what is measured at which sizes. Nothing may grow with what is not involved."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import footprint, tasks, threads
from benchmarks.population import COSTS, ELSEWHERE, ENABLE, FIRES, OFF, SCOPE
from benchmarks.processes import environment
from benchmarks.sizes import Ask, Asking, Cost, Dimension

__all__ = ["DECLARED", "DIMENSIONS", "MEMORY", "SCOPES"]

_BAR = 1.5


@contextmanager
def _asked(
    size: int, seconds: float, *, module: str, words: Callable[[int, float], list[str]]
) -> Iterator[Ask]:
    """A process that answers each line of input, the name of a cost, with a number."""
    command = [sys.executable, "-m", module, *words(size, seconds)]
    with subprocess.Popen(
        command, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        writer, reader = process.stdin, process.stdout
        assert writer is not None
        assert reader is not None

        def ask(name: str) -> float:
            print(name, file=writer, flush=True)
            return float(reader.readline())

        yield ask
        # Popen closes its input on the way out, which ends it.


@contextmanager
def _anew(size: int, seconds: float, *, module: str) -> Iterator[Ask]:
    """A process for each question, since what was made for one would be there for the next."""
    del seconds

    def ask(name: str) -> float:
        command = [sys.executable, "-m", module, name, str(size)]
        return float(subprocess.check_output(command, env=environment()))

    yield ask


def among(
    name: str, what: str, sizes: tuple[int, ...], costs: tuple[str, ...], bar: float | None = _BAR
) -> Dimension:
    asking = partial(
        _asked,
        module="benchmarks.population",
        words=lambda size, seconds: [what, str(size), str(seconds)],
    )
    return Dimension(name, sizes, asking, tuple(Cost(cost, bar) for cost in costs), builds=4)


def sized(module: str) -> Asking:
    return partial(_asked, module=module, words=lambda size, seconds: [str(size)])


DECLARED = among("declared points", "declared", (10, 1000, 10_000, 100_000), COSTS)
SCOPES = among("scopes open elsewhere, for other points", "scopes", (0, 10, 1000, 10_000), COSTS)

DIMENSIONS = (
    DECLARED,
    SCOPES,
    among(
        "scopes open elsewhere, for the same point", "alike", (1, 10, 1000, 10_000), (ELSEWHERE, FIRES, SCOPE)
    ),
    among("other points armed in the process scope", "armed", (0, 10, 1000, 10_000), COSTS),
    among("hits in the trace before", "trace", (0, 1000, 10_000, 20_000), (OFF, FIRES)),
    # A hit looks for its point from the innermost scope outwards, so these scopes are involved.
    among(
        "scopes one in another, the outermost arms", "depth", (1, 10, 100), (ELSEWHERE, FIRES, SCOPE), None
    ),
    # Each function gets its code, so they are involved too: this is the time for one of them.
    among("functions under the name: for each", "functions", (1, 100, 10_000), (ENABLE, SCOPE), None),
    Dimension(
        "asyncio tasks with a scope each: for each",
        (10, 100, 1000, 10_000),
        sized("benchmarks.tasks"),
        (*map(Cost, tasks.STEPS), Cost(tasks.WHOLE, _BAR), Cost(tasks.ASIDE)),
        builds=4,
        rounds=5,
    ),
    Dimension(
        "threads",
        (1, 2, 8, 64),
        sized("benchmarks.threads"),
        (Cost(threads.RATE, unit="hits/s"), Cost(threads.LOST, most=0, unit="hits")),
        builds=4,
        rounds=3,
    ),
)

_bytes = partial(_anew, module="benchmarks.footprint")
# Of what leaves nothing: less than a byte for each is what was made once. The trace is cut when it is a bit
# over its length, so a few hundred hits more or less may be in it, however many there were.
_LEFT = {footprint.LEFT: Cost(footprint.LEFT, most=1, unit="B")}
_LEFT[footprint.SCOPED_LEFT] = Cost(footprint.SCOPED_LEFT, 0.5, unit="B")

MEMORY = (
    Dimension(
        "memory, of so many: for each",
        (1000, 10_000),
        _bytes,
        tuple(_LEFT.get(name, Cost(name, 1.1, unit="B")) for name in footprint.FOOTPRINTS),
        builds=1,
        rounds=1,
    ),
    Dimension(
        "memory, of hits", (1000, 10_000), _bytes, (Cost(footprint.TRACE, unit="B"),), builds=1, rounds=1
    ),
    Dimension(
        "memory, once the trace is full",
        (10_000, 20_000),
        _bytes,
        (Cost(footprint.TRACE, 1.05, unit="B"),),
        builds=1,
        rounds=1,
    ),
    Dimension(
        "gc.collect() with so many alive",
        (0, 1000, 10_000),
        _bytes,
        tuple(Cost(name, unit="ms") for name in footprint.COLLECTIONS),
        builds=2,
        rounds=1,
    ),
)
