"""What every test starts and ends with: nothing armed anywhere."""

from __future__ import annotations

import atexit
import gc
import os
from collections.abc import Iterator
from itertools import count

import pytest

from failpy import fail
from failpy._collector import Collector, start
from failpy._context import process
from failpy._observer import observing
from failpy._registry import armed

pytest_plugins = "pytester"

_numbers = count()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """As many as there are processors, but no more than browsers and servers have room for."""
    return min(os.cpu_count() or 1, 8)


@pytest.fixture(autouse=True)
def nothing_left_armed() -> Iterator[None]:
    """Disarm the process scope after the test, and find whatever a scope has left behind."""
    yield
    for name in tuple(process.activations):
        fail.disable(name)
    if armed():
        gc.collect()  # a scope that nobody closed may be garbage already
    assert armed() == {}
    assert fail.current_scope() is None


@pytest.fixture
def name() -> str:
    """A name that no other test has declared."""
    return f"test.{next(_numbers)}"


@pytest.fixture
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """That of a child process, but in this one."""
    start(str(tmp_path_factory.mktemp("tallies")))
    *_, begun = observing.now
    assert isinstance(begun, Collector)
    yield begun
    observing.drop(begun)
    atexit.unregister(begun.finish)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"
