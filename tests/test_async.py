"""Failpoints in async code, on asyncio and on trio: waiting leaves the loop free."""

from __future__ import annotations

import warnings
from typing import Any

import anyio
import pytest

from failpy import fail, failpoint

pytestmark = [pytest.mark.anyio, pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])]


def point(name: str) -> fail.Point[Any]:
    return fail.point(name, returns=Any)


async def test_idle(name: str) -> None:
    async with fail.point(name) as hit:
        ran = True
    assert ran
    assert hit is None
    assert await fail.point(name).ahit(row=1) is None


async def test_return_and_raise(name: str) -> None:
    async with fail.scope({name: '1*return("a")->1*return("b")->raise(KeyError)'}):
        async with point(name) as hit:
            assert hit.value == "a"
        assert (await point(name).ahit()).value == "b"
        with pytest.raises(KeyError):
            async with point(name):
                pytest.fail("the block ran")
        with pytest.raises(KeyError):
            await point(name).ahit()


async def test_exceptions_of_the_block_pass_through(name: str) -> None:
    for terms in (None, "off"):
        async with fail.scope({name: terms} if terms else None):
            with pytest.raises(ZeroDivisionError):
                async with point(name):
                    1 / 0  # noqa: B018


async def test_sleepers_sleep_at_the_same_time_and_leave_the_loop_free(name: str) -> None:
    @failpoint(name)
    async def work() -> None: ...

    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await anyio.sleep(0.005)
            ticks += 1

    async with fail.scope({name: "sleep(200)"}):
        begin = anyio.current_time()
        async with anyio.create_task_group() as background:
            background.start_soon(tick)
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(work)
            background.cancel_scope.cancel()
        assert anyio.current_time() - begin < 25 * 0.2
    assert ticks >= 3


@pytest.mark.parametrize("how", ["disable", "enable", "close"])
async def test_pause_holds_the_task_until(how: str, name: str) -> None:
    went_on = []

    async def work() -> None:
        await point(name).ahit()
        went_on.append(True)

    async with anyio.create_task_group() as group:
        async with fail.scope({name: "pause"}) as scope:
            group.start_soon(work)
            while scope.status(name).paused == 0:
                await anyio.sleep(0)
            assert went_on == []
            if how == "disable":
                scope.disable(name)
            elif how == "enable":
                scope.enable(name, "off")
    assert went_on == [True]


async def test_woken_from_a_thread(name: str) -> None:
    async with anyio.create_task_group() as group:
        async with fail.scope({name: "pause"}) as scope:
            group.start_soon(point(name).ahit)
            while scope.status(name).paused == 0:
                await anyio.sleep(0)
            await anyio.to_thread.run_sync(scope.disable, name)


async def test_a_pause_that_nobody_ends_is_an_error(name: str) -> None:
    async with fail.scope({name: "pause(10ms)"}) as scope:
        with pytest.raises(fail.PauseTimeout, match=name):
            await point(name).ahit()
        assert scope.status(name).paused == 0


@pytest.mark.parametrize("terms", ["pause", "sleep(10m)"])
async def test_a_task_that_waits_is_cancelled_cleanly(terms: str, name: str) -> None:
    async with fail.scope({name: terms}) as scope:
        with anyio.move_on_after(0.02) as cancelled:
            await point(name).ahit()
        assert cancelled.cancelled_caught
        assert scope.status(name).paused == 0


async def test_yield_lets_others_go_first(name: str) -> None:
    async def order() -> list[str]:
        went: list[str] = []

        async def other() -> None:
            went.append("other")

        async with anyio.create_task_group() as group:
            group.start_soon(other)
            await point(name).ahit()
            went.append("self")
        return went

    async with fail.scope({name: "yield"}):
        # trio wakes tasks in random order, so that once is not enough to see it.
        assert ["other", "self"] in [await order() for _ in range(30)]


async def test_zero_seconds(name: str) -> None:
    async with fail.scope({name: "sleep(0)"}):
        assert await point(name).ahit() is None


@pytest.mark.parametrize("terms", ["sleep(1)", "pause(1ms)"])
async def test_a_sync_wait_in_a_loop_works_and_warns(terms: str, name: str, anyio_backend: str) -> None:
    async with fail.scope({name: terms}):
        with pytest.warns(fail.BlockingWarning) as warned:
            try:
                point(name).hit()
            except fail.PauseTimeout:
                assert terms.startswith("pause")
    message = str(warned[0].message)
    for part in (repr(name), anyio_backend, "async with", __file__):
        assert part in message
    assert warned[0].filename == __file__


async def test_the_warning_of_a_decorated_function_names_it(name: str) -> None:
    @failpoint(name)
    def function() -> None: ...

    async with fail.scope({name: "sleep(1)"}):
        with pytest.warns(fail.BlockingWarning) as warned:
            function()
    assert (warned[0].filename, warned[0].lineno) == (__file__, function.__code__.co_firstlineno)


async def test_what_does_not_wait_does_not_warn(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with fail.scope({name: "1*yield->1*print->return"}):
            for _ in range(3):
                point(name).hit()


async def test_call_may_be_a_coroutine_function(name: str) -> None:
    async def decide(hit: fail.Hit[Any]) -> str | None:
        await anyio.sleep(0)
        assert fail.point(name).hit() is None  # an action triggers no failpoint
        if hit.nth == 3:
            raise KeyError("third")
        return f"hit {hit.nth}" if hit.nth == 1 else None

    async with fail.scope({name: fail.Call(decide)}) as scope:
        assert (await point(name).ahit()).value == "hit 1"
        assert await point(name).ahit() is None
        with pytest.raises(KeyError, match="third") as caught:
            await point(name).ahit()
        assert scope.status(name).hits == 3
    assert name in caught.value.__notes__[0]


async def test_the_trace_names_the_task_of_either_loop(name: str) -> None:
    async def work() -> None:
        await point(name).ahit()

    async with fail.scope({name: "off"}) as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(work, name="worker-7")
    assert scope.trace[0].task == "worker-7"


async def test_scopes_of_tasks_are_their_own(name: str) -> None:
    wrong: list[object] = []

    async def work(i: int) -> None:
        async with fail.scope({name: fail.Return(i)}):
            for _ in range(3):
                await anyio.sleep(0)
                hit = await point(name).ahit()
                if hit is None or hit.value != i:
                    wrong.append(hit)

    async with anyio.create_task_group() as group:
        for i in range(100):
            group.start_soon(work, i)
    assert wrong == []
