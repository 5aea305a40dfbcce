"""A process that says what something keeps in memory, in bytes, or what a collection of garbage takes.

    python -m benchmarks.footprint WHAT SIZE

It makes so many of them, and prints what is allocated more than before, for each one.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextvars import copy_context
from itertools import repeat
from statistics import median
from time import perf_counter_ns

from benchmarks.population import close, make, opened
from failpy import fail, failpoint

__all__ = ["COLLECTIONS", "FOOTPRINTS", "LEFT", "SCOPED_LEFT", "TRACE", "collection", "footprint"]

LEFT = "left by a scope that was opened and closed"
SCOPED_LEFT = "left by a point armed and disarmed in a scope"
TRACE = "the trace of so many hits"


@failpoint("footprint", returns=str)
def call(number: int = 0) -> str:
    """What is hit."""
    return "default"


def plain(size: int) -> object:
    return [make() for _ in range(size)]


def decorated(size: int) -> object:
    return [failpoint(f"footprint.{number}")(make()) for number in range(size)]


def under_one_name(size: int) -> object:
    mark = failpoint("footprint.crowd")
    return [mark(make()) for _ in range(size)]


def armed_once(size: int) -> object:
    """What arming has made, such as code, is kept for the next time."""
    functions = decorated(size)
    for number in range(size):
        fail.enable(f"footprint.{number}", "off")
        fail.disable(f"footprint.{number}")
    return functions


def blocks(size: int) -> object:
    for number in range(size):
        with fail.point(f"footprint.{number}"):
            pass
    return None


def armed(size: int) -> object:
    fail.enable_all({f"footprint.{number}": "1*off->50.0%raise(OSError)" for number in range(size)})
    return None


def empty_scopes(size: int) -> object:
    return [opened({}) for _ in range(size)]


def scopes(size: int) -> object:
    return [opened({"footprint": 'return("hello")'}) for _ in range(size)]


def contexts(size: int) -> object:
    return [copy_context() for _ in range(size)]


def closed_scopes(size: int) -> object:
    kept = []
    for _ in range(size):
        scope, context = opened({"footprint": 'return("hello")'})
        close(scope, context)
        kept.append(scope)
    return kept


def opened_and_closed(size: int) -> object:
    for _ in range(size):
        with fail.scope({"footprint": 'return("hello")'}):
            call()
    return None


def armed_and_disarmed(size: int) -> object:
    scope, context = opened({})
    for _ in range(size):
        scope.enable("footprint", "off")
        context.run(call)
    for _ in range(10_000):  # the trace has the last 10,000 hits, whatever they were
        context.run(call)
    return scope, context


def full_trace(size: int) -> object:
    return hits(10_000)


def hits(size: int) -> object:
    scope, context = opened({"footprint": "off"})
    for _ in repeat(None, size):
        context.run(call)
    return scope, context


def hits_with_arguments(size: int) -> object:
    scope, context = opened({"footprint": "off"})
    for number in range(size):
        context.run(call, 1000 + number)
    return scope, context


# What each is measured beside: the same without failpy.
FOOTPRINTS: dict[str, tuple[Callable[[int], object], Callable[[int], object] | None]] = {
    "a declared point: a decorated function": (decorated, plain),
    "a decorated function under a name that has others": (under_one_name, plain),
    "the same as the first, armed and disarmed once": (armed_once, plain),
    "a declared point: fail.point in a body": (blocks, None),
    "a point armed in the process scope": (armed, None),
    "an open scope that arms nothing": (empty_scopes, contexts),
    "an open scope that arms one point": (scopes, contexts),
    "a closed scope that is still referred to": (closed_scopes, None),
    "a hit in a trace": (hits, None),
    "a hit in a trace, with its own int as argument": (hits_with_arguments, None),
    LEFT: (opened_and_closed, None),
    SCOPED_LEFT: (armed_and_disarmed, full_trace),
}
COLLECTIONS = {"declared points": decorated, "hits in a trace": hits, "open scopes": scopes}


def footprint(make: Callable[[int], object], size: int) -> float:
    """How many bytes are allocated more than before, once so many of them are made."""
    warm = make(3)  # what is loaded and made once
    del warm
    gc.collect()
    tracemalloc.start()
    made = make(size)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    del made
    return float(taken)


def collection(make: Callable[[int], object], size: int) -> float:
    """How many milliseconds a full collection takes while so many are alive."""
    alive = make(size)
    gc.collect()
    times = [_collect() for _ in range(9)]
    del alive
    return median(times)


def _collect() -> float:
    began = perf_counter_ns()
    gc.collect()
    return (perf_counter_ns() - began) / 1e6


def lines(what: str, size: int) -> Iterator[float]:
    """What there is to print."""
    if what in COLLECTIONS:
        yield collection(COLLECTIONS[what], size)
    elif what == TRACE:
        yield footprint(hits, size)
    else:
        ours, without = FOOTPRINTS[what]
        yield (footprint(ours, size) - (footprint(without, size) if without else 0)) / size


def main(what: str, size: int) -> None:
    """Make them, and print."""
    for number in lines(what, size):
        print(number)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
