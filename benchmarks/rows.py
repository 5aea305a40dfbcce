"""The rows of the table: what is compared with what, and the bar."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

from benchmarks import explorations, processes, served, sides
from benchmarks.row import Row
from benchmarks.shapes import FUNCTION, SHAPES
from benchmarks.timing import Clock, Side

__all__ = ["ROWS"]

# From 3.13 on, CPython calls a function whose code was ever assigned by a slower way, about 5 ns a call.
# Plain Python shows the same, and nothing in Python undoes it: the row is shown there, and not judged.
ARMED_BEFORE = 1.05 if sys.version_info < (3, 13) else None


def idle(shape_name: str, ours: Side, theirs: Side, bar: float | None = 1.05) -> Row:
    return Row(f"idle {shape_name}", "undecorated", bar, ours, theirs)


def crowd(what: str, statement: str) -> Row:
    many = partial(processes.crowd, count=10_000, statement=statement)
    few = partial(processes.crowd, count=10, statement=statement)
    return Row(f"{what} among 10,000", "among 10", 1.5, many, few, builds=4)


def imports(what: str, statement: str, bar: float | None) -> Row:
    against = "import wrapt, contextvars_extras"
    ours = partial(processes.fresh_import, statement=statement)
    theirs = partial(processes.fresh_import, statement=against)
    return Row(what, against, bar, ours, theirs, builds=16, rounds=1)


def crash(method: str) -> Row:
    return Row(
        f"a case of fail.explore_crashes, {method}",
        "two bare processes",
        None,
        partial(explorations.crash_case, method=method, alone=False),
        partial(explorations.crash_case, method=method, alone=True),
        builds=4,
        rounds=3,
        told=explorations.cases_a_second,
    )


def keeps(against: str, bar: float, what: str) -> Row:
    return Row(
        "kept by one of 10,000 passed cases",
        against,
        bar,
        partial(explorations.kept, what="10000"),
        partial(explorations.kept, what=what),
        builds=2,
        rounds=1,
        unit="B",
    )


def request(
    kind: str, side: Callable[..., AbstractContextManager[Clock]], bar: float, baggage: str | None = None
) -> Row:
    what = "without a scope" if baggage is None else "with a bad header"
    ours = partial(side, hooked=True, baggage=baggage)
    theirs = partial(side, hooked=False, baggage=baggage)
    return Row(f"a request {what}, {kind}", "no middleware", bar, ours, theirs)


undecorated = partial(sides.undecorated, shape=FUNCTION)

ROWS = (
    *(
        idle(
            shape.name,
            partial(sides.decorated, shape=shape),
            partial(sides.undecorated, shape=shape),
        )
        for shape in SHAPES
    ),
    idle("function, armed before", sides.disarmed, undecorated, ARMED_BEFORE),
    Row(
        "idle builtin (through wrapt)",
        "undecorated",
        None,
        partial(sides.builtin, decorate=True),
        partial(sides.builtin, decorate=False),
    ),
    Row('idle with fail.point("X")', "with nullcontext()", 0.75, sides.block, sides.null_block),
    Row("idle with point", "with nullcontext()", 0.75, sides.held_block, sides.null_block),
    Row(
        "call, armed in another thread",
        "with nullcontext()",
        2.5,
        sides.armed_elsewhere,
        sides.null_block,
    ),
    Row(
        'call, return("hello") fires',
        "Mock(return_value=...)()",
        0.30,
        sides.firing,
        sides.mock_call,
    ),
    Row(
        "open and close a scope",
        "mock.patch.object",
        0.5,
        sides.scope,
        partial(sides.patch_object, new=False),
    ),
    Row(
        "open and close a scope",
        "mock.patch.object, new=...",
        None,
        sides.scope,
        partial(sides.patch_object, new=True),
    ),
    request("Starlette", served.asgi, 1.10),
    request("Flask", served.wsgi, 1.10),
    request("Starlette", served.asgi, 2.5, served.BAD),
    request("Flask", served.wsgi, 2.5, served.BAD),
    crowd("fail.enable", 'fail.enable(name, "off"); fail.disable(name)'),
    crowd("fail.scope", 'with fail.scope({name: "off"}): pass'),
    imports("import failpy", "import failpy", 1.25),
    # What failpy imports no sooner than the first scope opens is paid here.
    imports("import failpy, first scope", "import failpy\nwith failpy.scope(): pass", None),
    Row(
        "recording a body of 100 hits",
        "the body with nothing armed",
        None,
        explorations.recorded,
        explorations.body_alone,
        told=explorations.us_a_hit,
    ),
    Row(
        "a case of fail.explore, 100 hits",
        "the body with nothing armed",
        None,
        explorations.explored,
        explorations.body_alone,
        rounds=5,
        told=explorations.cases_a_second,
    ),
    crash("fork"),
    crash("spawn"),
    keeps("by one of 1,000", 1.05, "1000"),
    keeps("by a copy of the cases alone", 1.05, "copy"),
)
