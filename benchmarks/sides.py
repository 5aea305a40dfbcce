"""The sides that run in this process."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

from benchmarks.shapes import FUNCTION, Shape
from benchmarks.timing import Clock, Loop
from failpy import fail, failpoint

__all__ = [
    "armed",
    "armed_elsewhere",
    "block",
    "builtin",
    "decorated",
    "disarmed",
    "firing",
    "held_block",
    "hit",
    "hit_armed",
    "mock_call",
    "null_block",
    "patch_object",
    "scope",
    "undecorated",
]

_numbers = itertools.count()


def new_name() -> str:
    """A name that no point has yet, so that what one row has left behind is not in the next."""
    return f"benchmarks.{next(_numbers)}"


def plain(function: Any) -> Any:
    """The decorator of the undecorated side."""
    return function


@contextmanager
def decorated(seconds: float, *, shape: Shape) -> Iterator[Clock]:
    """A call of a decorated function that nothing has armed."""
    yield Loop(shape.statement, shape.build(failpoint(new_name())), seconds)


@contextmanager
def undecorated(seconds: float, *, shape: Shape) -> Iterator[Clock]:
    """The same without the decorator."""
    yield Loop(shape.statement, shape.build(plain), seconds)


@contextmanager
def disarmed(seconds: float) -> Iterator[Clock]:
    """A call of a decorated function that has been armed and called a hundred times before."""
    name = new_name()
    names = FUNCTION.build(failpoint(name))
    for _ in range(100):
        with fail.scope({name: "off"}):
            exec(FUNCTION.statement, names)
    yield Loop(FUNCTION.statement, names, seconds)


@contextmanager
def builtin(seconds: float, *, decorate: bool) -> Iterator[Clock]:
    """A call of a builtin, which has no code to patch and so gets a wrapper."""
    yield Loop("call(1)", {"call": failpoint(new_name())(abs) if decorate else abs}, seconds)


@contextmanager
def block(seconds: float) -> Iterator[Clock]:
    """An idle point in a body."""
    yield Loop(f"with fail.point({new_name()!r}): pass", {"fail": fail}, seconds)


@contextmanager
def held_block(seconds: float) -> Iterator[Clock]:
    """An idle point in a body, looked up beforehand."""
    yield Loop("with point: pass", {"point": fail.point(new_name())}, seconds)


@contextmanager
def null_block(seconds: float) -> Iterator[Clock]:
    """What the standard library offers for a block that does nothing."""
    yield Loop("with nullcontext(): pass", {"nullcontext": nullcontext}, seconds)


@contextmanager
def armed_elsewhere(seconds: float) -> Iterator[Clock]:
    """A call of a decorated function while another thread has a scope open that arms it."""
    name = new_name()
    names = FUNCTION.build(failpoint(name))
    opened, done = threading.Event(), threading.Event()

    def elsewhere() -> None:
        with fail.scope({name: "off"}):
            opened.set()
            done.wait()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    opened.wait()
    try:
        yield Loop(FUNCTION.statement, names, seconds)
    finally:
        done.set()
        thread.join()


@contextmanager
def firing(seconds: float) -> Iterator[Clock]:
    """A call on which `return("hello")` fires."""
    name = new_name()
    names = FUNCTION.build(failpoint(name, returns=str))
    with fail.scope({name: 'return("hello")'}):
        yield Loop(FUNCTION.statement, names, seconds)


@contextmanager
def armed(seconds: float, *, terms: str, statement: str = FUNCTION.statement) -> Iterator[Clock]:
    """A call while these terms are armed."""
    name = new_name()
    names = FUNCTION.build(failpoint(name, returns=str))
    # Terms that are not due never fire, which a strict scope would report.
    with fail.scope({name: terms}, strict=False):
        yield Loop(statement, names, seconds)


@contextmanager
def hit(seconds: float) -> Iterator[Clock]:
    """An idle point as an expression, looked up by its name."""
    yield Loop(f"fail.point({new_name()!r}).hit()", {"fail": fail}, seconds)


@contextmanager
def hit_armed(seconds: float, *, terms: str) -> Iterator[Clock]:
    """The same while these terms are armed."""
    name = fail.point(new_name(), returns=int).name
    with fail.scope({name: terms}):
        yield Loop(f"fail.point({name!r}).hit()", {"fail": fail}, seconds)


@contextmanager
def mock_call(seconds: float) -> Iterator[Clock]:
    """A call of a mock that returns the same."""
    yield Loop(FUNCTION.statement, {"call": mock.Mock(return_value="hello")}, seconds)


@contextmanager
def scope(seconds: float) -> Iterator[Clock]:
    """Open and close a scope that arms one decorated function."""
    name = new_name()
    names = FUNCTION.build(failpoint(name, returns=str)) | {"fail": fail}
    terms = {name: 'return("hello")'}
    # Nothing calls the function in between, which a strict scope would report.
    yield Loop(f"with fail.scope({terms!r}, strict=False): pass", names, seconds)


@contextmanager
def patch_object(seconds: float, *, new: bool) -> Iterator[Clock]:
    """Patch an attribute and put it back: with a mock made for it, or with an object at hand."""
    names = {"patch": mock.patch, "owner": SimpleNamespace(call=plain), "new": str}
    arguments = 'owner, "call", new' if new else 'owner, "call"'
    yield Loop(f"with patch.object({arguments}): pass", names, seconds)
