"""A process with much of something, in which hits and scopes that do not need it are timed.

    python -m benchmarks.population WHAT SIZE SECONDS

Every line of input is the name of a cost, and is answered with a line: the nanoseconds of one execution.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import Context, copy_context
from functools import cache, partial
from time import perf_counter_ns
from typing import Any

from benchmarks.shapes import FUNCTION
from benchmarks.timing import Clock, Loop
from failpy import Scope, fail, failpoint

__all__ = [
    "COSTS",
    "ELSEWHERE",
    "ENABLE",
    "FIRES",
    "IDLE",
    "KEPT",
    "OFF",
    "POPULATIONS",
    "SCOPE",
    "close",
    "make",
    "opened",
]

KEPT = 10_000
"""How many hits a scope keeps."""

_HITS = 500

IDLE = "an idle call"
ELSEWHERE = "a hit not for this context"
OFF = "a hit, off"
USED_UP = "a hit, 1*off used up"
NEVER = "a hit, 0.0% chance"
FIRES = "a hit, return fires"
SCOPE = "open and close a scope"
ENABLE = "fail.enable and disable"
COSTS = (IDLE, ELSEWHERE, OFF, USED_UP, NEVER, FIRES, SCOPE, ENABLE)

TERMS = {
    ELSEWHERE: "off",
    OFF: "off",
    USED_UP: "1*off",
    NEVER: '0.0%return("hello")',
    FIRES: 'return("hello")',
    SCOPE: 'return("hello")',
}


def point_of(cost: str) -> str:
    """The name of the point that a cost has to itself."""
    return f"cost.{COSTS.index(cost)}"


ARMED = {point_of(cost): terms for cost, terms in TERMS.items()}


def make() -> Any:
    """A function, not decorated yet."""

    def call() -> str:
        return "default"

    return call


def opened(terms: dict[str, str], context: Context | None = None) -> tuple[Scope, Context]:
    """A scope that is open in a context of its own, or inside of what is open in this one."""
    scope = fail.scope(terms, strict=False)
    context = copy_context() if context is None else context
    context.run(scope.__enter__)
    return scope, context


def close(scope: Scope, context: Context) -> None:
    """Close it where it was opened."""
    context.run(scope.__exit__, None, None, None)


class Among:
    """The costs, each with a point of its own.

    Args:
        seconds: How long a round is to take, about.
        wrapped: Gives the context to time in, for the one that the scope of the cost is open in.
    """

    def __init__(
        self, seconds: float, wrapped: Callable[[Context], Context] = lambda context: context
    ) -> None:
        self._seconds = seconds
        self._wrapped = wrapped
        self._made: dict[str, Clock] = {}
        self._scopes: list[tuple[Scope, Context]] = []

    def __call__(self, name: str) -> float:
        """One round."""
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]()

    def close(self) -> None:
        """Close what is open, the innermost first."""
        while self._scopes:
            close(*self._scopes.pop())

    def _make(self, name: str) -> Clock:
        point = point_of(name)
        names = FUNCTION.build(failpoint(point, returns=str)) | {"fail": fail, "name": point}
        context = copy_context()
        if name == ENABLE:
            statement = 'fail.enable(name, "off"); fail.disable(name)'
        elif name == SCOPE:
            statement = f"with fail.scope({{name: {TERMS[name]!r}}}, strict=False): pass"
        else:
            statement = FUNCTION.statement
            if name in TERMS:
                self._scopes.append(opened({point: TERMS[name]}))
                context = copy_context() if name == ELSEWHERE else self._scopes[-1][1]
        context = self._wrapped(context)
        if statement == FUNCTION.statement:
            for _ in range(KEPT):  # so that the trace is full, whatever the size
                context.run(names["call"])  # type: ignore[arg-type]
        return partial(context.run, context.run(Loop, statement, names, self._seconds))


@contextmanager
def declared(size: int, seconds: float) -> Iterator[Callable[[str], float]]:
    """So many points are declared."""
    functions = [failpoint(f"crowd.{number}")(make()) for number in range(size)]
    among = Among(seconds)
    yield among
    among.close()
    del functions  # a point forgets a function that is gone, so they had to live until here


@contextmanager
def scopes(size: int, seconds: float, *, alike: bool) -> Iterator[Callable[[str], float]]:
    """So many scopes are open in other contexts, and arm the same points, or each another one."""
    functions = [failpoint(f"crowd.{number}")(make()) for number in range(0 if alike else size)]
    others = [opened(ARMED if alike else {f"crowd.{number}": "off"}) for number in range(size)]
    among = Among(seconds)
    yield among
    among.close()
    for each in others:
        close(*each)
    del functions


@contextmanager
def armed(size: int, seconds: float) -> Iterator[Callable[[str], float]]:
    """So many other points are armed in the process scope."""
    functions = [failpoint(f"crowd.{number}")(make()) for number in range(size)]
    fail.enable_all({f"crowd.{number}": "off" for number in range(size)})
    among = Among(seconds)
    yield among
    among.close()
    for number in range(size):
        fail.disable(f"crowd.{number}")
    del functions


@contextmanager
def depth(size: int, seconds: float) -> Iterator[Callable[[str], float]]:
    """So many scopes are open around the place, each in the last; the outermost arms the point."""
    inner: list[tuple[Scope, Context]] = []

    def deeper(context: Context) -> Context:
        inner.extend(opened({}, context) for _ in range(size - 1))
        return context

    among = Among(seconds, deeper)
    yield among
    for each in reversed(inner):
        close(*each)
    among.close()


@contextmanager
def trace(size: int, seconds: float) -> Iterator[Callable[[str], float]]:
    """So many hits are in the trace, or were: a round is 500 more, in a scope of its own."""
    del seconds
    call = FUNCTION.build(failpoint("cost.trace", returns=str))["call"]

    def clock(name: str) -> float:
        scope, context = opened({"cost.trace": TERMS[name]})

        def run(times: int) -> int:
            began = perf_counter_ns()
            for _ in range(times):
                call()  # type: ignore[operator]
            return perf_counter_ns() - began

        context.run(run, size)
        spent = context.run(run, _HITS)
        close(scope, context)
        return spent / _HITS

    yield clock


@contextmanager
def functions(size: int, seconds: float) -> Iterator[Callable[[str], float]]:
    """So many functions are decorated with one name: what arming it costs for each of them."""
    made = [failpoint("crowd")(make()) for _ in range(size)]
    loops = {
        ENABLE: cache(
            lambda: Loop('fail.enable("crowd", "off")\nfail.disable("crowd")', {"fail": fail}, seconds)
        ),
        SCOPE: cache(
            lambda: Loop('with fail.scope({"crowd": "off"}, strict=False): pass', {"fail": fail}, seconds)
        ),
    }
    yield lambda name: loops[name]()() / size
    del made


POPULATIONS: dict[str, Callable[[int, float], AbstractContextManager[Callable[[str], float]]]] = {
    "declared": declared,
    "scopes": partial(scopes, alike=False),
    "alike": partial(scopes, alike=True),
    "armed": armed,
    "depth": depth,
    "trace": trace,
    "functions": functions,
}


def main(what: str, size: int, seconds: float) -> None:
    """Answer until there is no more input."""
    gc.disable()
    with ExitStack() as stack:
        ask = stack.enter_context(POPULATIONS[what](size, seconds))
        for line in sys.stdin:
            print(ask(line.strip()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
