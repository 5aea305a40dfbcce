"""What must hold where threads really run at the same time, on a free-threaded Python as with a GIL.

The numbers are exact wherever the threads may be interrupted, so nothing here waits for a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from failpy import _patch, fail, failpoint

THREADS = 4
ROUNDS = 200


def at_once(*works: Callable[[], object]) -> None:
    """Run these in threads that begin together, and raise what one of them raised."""
    start = threading.Barrier(len(works))
    raised: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        start.wait()
        try:
            work()
        except BaseException as exc:
            raised.append(exc)

    # Not in a scope: what goes wrong is raised here, and not by the scope once more.
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def many(work: Callable[[], object]) -> list[Callable[[], object]]:
    """The same work for every thread."""
    return [work] * THREADS


def until(done: threading.Event, work: Callable[[], object]) -> Callable[[], None]:
    """The work, again and again until another thread is done."""

    def run() -> None:
        while not done.is_set():
            work()

    return run


def then(done: threading.Event, work: Callable[[], object]) -> Callable[[], None]:
    """The work, a number of times, after which the others may end."""

    def run() -> None:
        try:
            for _ in range(ROUNDS):
                work()
        finally:
            done.set()

    return run


# --- code that is swapped in the middle of a call ---


def small_function() -> int:
    return 1


def small_generator() -> Iterator[int]:
    yield 1


async def small_coroutine() -> int:
    return 1


async def small_async_generator() -> AsyncIterator[int]:
    yield 1


def big(source: str) -> Any:
    """A function with far more variables than its trampoline has."""
    values = "".join(f"    x{i} = 0\n" for i in range(200))
    total = " + ".join(f"x{i}" for i in range(200))
    namespace: dict[str, Any] = {}
    exec(source.format(values=values, total=f"1 + {total}"), namespace)
    return namespace["made"]


def shapes() -> dict[str, Any]:
    """Every kind of function, with less and with more variables than its trampoline has."""

    def fresh(function: Any) -> Any:
        return type(function)(function.__code__, function.__globals__)

    return {
        "function": fresh(small_function),
        "generator": fresh(small_generator),
        "coroutine": fresh(small_coroutine),
        "async generator": fresh(small_async_generator),
        "big function": big("def made():\n{values}    return {total}"),
        "big generator": big("def made():\n{values}    yield {total}"),
        "big coroutine": big("async def made():\n{values}    return {total}"),
        "big async generator": big("async def made():\n{values}    yield {total}"),
    }


def value_of(made: Any) -> Any:
    """What a call gave, run to its end without an event loop."""
    if hasattr(made, "__anext__"):
        made = made.__anext__()
    if hasattr(made, "__await__"):
        try:
            made.__await__().send(None)
        except StopIteration as stop:
            return stop.value
    return next(made) if hasattr(made, "__next__") else made


@pytest.mark.parametrize("shape", shapes())
def test_a_function_is_called_while_it_is_armed_and_disarmed(shape: str, name: str) -> None:
    function = failpoint(name)(shapes()[shape])
    code = function.__code__
    done = threading.Event()

    def call() -> None:
        assert value_of(function()) == 1

    def swap() -> None:
        fail.enable(name, "off")
        fail.disable(name)

    at_once(until(done, call), until(done, call), then(done, swap))
    assert function.__code__ == code


@pytest.mark.parametrize("shape", [shape for shape in shapes() if shape.split()[-1] != "function"])
def test_what_is_moved_to_another_frame_has_room_there_whichever_code_it_had(
    shape: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_patch, "_SWAPS_IN_CALLS", True)
    function = failpoint(f"{name}.outer")(failpoint(name)(shapes()[shape]))
    original = function.__code__
    codes = []
    for terms in ({name: "off"}, {f"{name}.outer": "off"}, {name: "off", f"{name}.outer": "off"}):
        with fail.scope(terms, strict=False):
            codes.append(function.__code__)
            assert value_of(function()) == 1
        codes.append(function.__code__)
    first, *others = map(_patch._room, codes)
    assert first >= _patch._room(original)
    assert others == [first] * len(others)
    assert {function.__code__, original} == {original}
    assert value_of(function()) == 1
