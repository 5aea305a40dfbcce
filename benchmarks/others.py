"""The sides of other tools for Python: mocks, fault-injection and libfiu's binding."""

from __future__ import annotations

import importlib
import itertools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from types import ModuleType
from unittest import mock

from benchmarks.row import NotHere
from benchmarks.shapes import FUNCTION
from benchmarks.timing import Clock, Loop

__all__ = [
    "CATCHING",
    "LATE",
    "fault_injection",
    "fiu",
    "fiu_call",
    "fiu_fail",
    "injecting",
    "injecting_inline",
    "injecting_late",
    "raising_mock",
]

DEBIAN = "/usr/lib/python3/dist-packages"
CATCHING = f"try: {FUNCTION.statement}\nexcept RuntimeError: pass"
LATE = 1_000_000_000
"""The call on which a fault is due that is never reached."""

_numbers = itertools.count()


@contextmanager
def raising_mock(seconds: float) -> Iterator[Clock]:
    """A call of a mock that raises."""
    # The class, since the traceback of one object would grow with every call.
    yield Loop(CATCHING, {"call": mock.Mock(side_effect=RuntimeError)}, seconds)


def fault_injection() -> ModuleType:
    """The package of that name from PyPI."""
    try:
        return importlib.import_module("fault_injection")
    except ImportError:
        raise NotHere("pip install fault-injection") from None


@contextmanager
def injecting(seconds: float, *, disable: bool) -> Iterator[Clock]:
    """A call of a function whose decorator makes it raise, or was told not to."""
    names = FUNCTION.build(fault_injection().raise_("boom", disable=disable))
    yield Loop(FUNCTION.statement if disable else CATCHING, names, seconds)


@contextmanager
def injecting_inline(seconds: float) -> Iterator[Clock]:
    """The same as a statement in a body, told not to raise."""
    yield Loop('raise_inline("boom", disable=True)', vars(fault_injection()), seconds)


@contextmanager
def injecting_late(seconds: float) -> Iterator[Clock]:
    """A call of a function that counts its calls, and is to raise at one that is far away."""
    decorate = fault_injection().raise_at_nth_call("boom", n=LATE, func_id=next(_numbers))
    yield Loop(FUNCTION.statement, FUNCTION.build(decorate), seconds)


def fiu() -> ModuleType:
    """libfiu's binding: one that can be imported, else Debian's, for the Python that Debian has.

    The folder of Debian's packages stays off the path, where it would give other packages than a virtual
    environment should have.
    """
    try:
        return importlib.import_module("fiu")
    except ImportError:
        pass
    specs = [PathFinder.find_spec(name, [DEBIAN]) for name in ("fiu_ll", "fiu")]
    for spec in specs:
        if spec is None or spec.loader is None:
            raise NotHere("apt install python3-fiu, and the Python it is for: 3.11 on Debian 12")
    for spec in specs:
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


@contextmanager
def armed_fiu(*, enabled: bool) -> Iterator[tuple[ModuleType, str]]:
    """The module, and a name that is enabled meanwhile, or not."""
    module, name = fiu(), f"benchmarks/{next(_numbers)}"
    if enabled:
        module.enable(name)
    try:
        yield module, name
    finally:
        if enabled:
            module.disable(name)


@contextmanager
def fiu_fail(seconds: float, *, statement: str, enabled: bool) -> Iterator[Clock]:
    """A statement with `fiu.fail("X")` in it, where X stands for a name."""
    with armed_fiu(enabled=enabled) as (module, name):
        yield Loop(statement.replace('"X"', repr(name)), {"fiu": module}, seconds)


@contextmanager
def fiu_call(seconds: float, *, enabled: bool) -> Iterator[Clock]:
    """A call of the function that `FUNCTION` is, with the failpoint written into it."""
    with armed_fiu(enabled=enabled) as (module, name):
        names: dict[str, object] = {"fiu": module}
        body = f'    if fiu.fail({name!r}):\n        return "hello"\n    return "default"'
        exec(f"def call():\n{body}", names)
        yield Loop(FUNCTION.statement, names, seconds)
