"""Async points where no event loop runs, or none runs any more."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from failpy import fail


def point(name: str) -> fail.Point[Any]:
    return fail.point(name, returns=Any)


def drive(coroutine: Any) -> Any:
    """Run a coroutine with no event loop at all."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("the coroutine waits")


def test_what_does_not_wait_works(name: str) -> None:
    with fail.scope({name: "return(1)"}):
        assert drive(point(name).ahit()).value == 1


def test_waiting_is_refused(name: str) -> None:
    with fail.scope({name: "sleep(1)"}), pytest.raises(fail.FailpointError, match="asyncio or trio"):
        drive(point(name).ahit())


def test_a_loop_that_has_closed_is_not_woken(name: str) -> None:
    with fail.scope({name: "pause"}) as scope:
        loop = asyncio.new_event_loop()
        task = loop.create_task(point(name).ahit())
        loop.call_soon(loop.stop)
        loop.run_forever()
        assert scope.status(name).paused == 1
        loop.close()
        scope.disable(name)
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        del task
