"""Waiting for hits, and deciding on paused ones, each on its own."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import anyio
import pytest

from failpy import fail, failpoint


def in_thread(call: Any, name: str | None = None) -> tuple[threading.Thread, list[Any]]:
    """Start the call in a thread; its result or exception is put in the list."""
    result: list[Any] = []

    def work() -> None:
        try:
            result.append(call())
        except Exception as exc:
            result.append(exc)

    thread = threading.Thread(target=work, name=name)
    thread.start()
    return thread, result


def test_wait_for_a_hit_that_has_happened_and_one_that_will(name: str) -> None:
    with fail.scope({name: "off"}) as scope:
        fail.point(name).hit(row=1)
        first = scope.wait_for_hit(name)
        assert (first.point, first.nth, first.values) == (name, 1, {"row": 1})
        assert first.thread == threading.current_thread().name
        thread, _ = in_thread(lambda: fail.point(name).hit(row=2), "worker")
        second = scope.wait_for_hit(name, nth=2)
        assert (second.nth, second.values, second.thread) == (2, {"row": 2}, "worker")
        thread.join()


def test_a_paused_hit_is_resumed(name: str) -> None:
    with fail.scope({name: "pause"}) as scope:
        thread, result = in_thread(fail.point(name).hit)
        hit = scope.wait_for_hit(name)
        assert result == []
        hit.resume()
        thread.join()
    assert result == [None]


def test_a_paused_hit_returns_and_raises_what_is_decided(name: str) -> None:
    @failpoint(name, returns=int)
    def function() -> int:
        return 0

    with fail.scope({name: "pause"}) as scope:
        thread, result = in_thread(function)
        scope.wait_for_hit(name).return_(5)
        thread.join()
        other, error = in_thread(function)
        scope.wait_for_hit(name, 2).raise_(KeyError("decided"))
        other.join()
    assert result == [5]
    assert isinstance(error[0], KeyError)
    assert name in error[0].__notes__[0]
    assert [entry.end is not None for entry in scope.trace] == [False, True]


def test_a_class_is_raised_as_a_new_exception(name: str) -> None:
    with fail.scope({name: "pause"}) as scope:
        thread, result = in_thread(fail.point(name).hit)
        scope.wait_for_hit(name).raise_(TimeoutError)
        thread.join()
    assert isinstance(result[0], TimeoutError)


def test_any_number_of_paused_hits_each_decided_on_its_own(name: str) -> None:
    point = fail.point(name, returns=int)
    with fail.scope({name: "pause"}) as scope:
        threads = [in_thread(lambda i=i: point.hit(i=i)) for i in range(10)]
        hits = [scope.wait_for_hit(name, n) for n in range(1, 11)]
        assert scope.status(name).paused == 10
        for hit in reversed(hits):
            hit.return_(100 + hit.values["i"])
        for thread, _ in threads:
            thread.join()
    assert [result[0].value for _, result in threads] == [100 + i for i in range(10)]


def test_a_hit_is_decided_once(name: str) -> None:
    with fail.scope({name: "pause"}) as scope:
        thread, _ = in_thread(fail.point(name).hit)
        hit = scope.wait_for_hit(name)
        hit.resume()
        for again in (hit.resume, hit.return_, lambda: hit.raise_(KeyError)):
            with pytest.raises(fail.HitError, match="not paused any more"):
                again()
        thread.join()


def test_only_paused_hits_can_be_decided(name: str) -> None:
    with fail.scope({name: "off"}) as scope:
        fail.point(name).hit()
        with pytest.raises(fail.HitError, match="is not paused"):
            scope.wait_for_hit(name).resume()


def test_a_decision_of_a_wrong_type_leaves_the_hit_paused(name: str) -> None:
    point = fail.point(name, returns=int)
    with fail.scope({name: "pause"}) as scope:
        thread, result = in_thread(point.hit)
        hit = scope.wait_for_hit(name)
        with pytest.raises(fail.ReturnTypeError, match=name):
            hit.return_("text")
        with pytest.raises(TypeError):
            hit.raise_("text")  # type: ignore[arg-type]
        assert scope.status(name).paused == 1
        hit.return_(1)
        thread.join()
    assert result[0].value == 1


def test_a_pause_whose_time_was_up_cannot_be_decided(name: str) -> None:
    with fail.scope({name: "pause(5ms)"}) as scope:
        thread, result = in_thread(fail.point(name).hit)
        hit = scope.wait_for_hit(name)
        thread.join()
        assert isinstance(result[0], fail.PauseTimeout)
        with pytest.raises(fail.HitError):
            hit.resume()


# --- waits that fail ---


def test_a_wait_that_times_out_says_who_is_paused_where(name: str) -> None:
    def stuck_here() -> None:
        fail.point(f"{name}.held").hit()

    fail.point(name)
    with fail.scope({name: "off", f"{name}.held": "pause"}) as scope:
        thread, _ = in_thread(stuck_here, "stuck-thread")
        scope.wait_for_hit(f"{name}.held")
        with pytest.raises(fail.WaitTimeout) as caught:
            scope.wait_for_hit(name, timeout=0.01)
        scope.disable(f"{name}.held")
        thread.join()
    text = str(caught.value)
    for part in (
        f"hit 1 of failpoint {name!r}",
        "0 times",
        f"'{name}.held'",
        "'stuck-thread'",
        "in stuck_here",
    ):
        assert part in text
    assert isinstance(caught.value, TimeoutError)


def test_a_wait_that_times_out_with_nobody_paused(name: str) -> None:
    fail.point(name)
    with (
        fail.scope({name: "off"}) as scope,
        pytest.raises(fail.WaitTimeout, match="no hit is paused anywhere"),
    ):
        scope.wait_for_hit(name, timeout=0.01)


def test_waiting_for_what_is_not_armed_here(name: str) -> None:
    fail.point(name)
    with fail.scope() as scope:
        with pytest.raises(fail.ScopeError, match="not armed in this scope"):
            scope.wait_for_hit(name)
        with pytest.raises(fail.UnknownFailpoint):
            scope.wait_for_hit(f"{name}.nobody")


def test_waiting_in_a_scope_that_is_not_open(name: str) -> None:
    scope = fail.scope({name: "off"})
    with pytest.raises(fail.ScopeError, match="not open"):
        scope.wait_for_hit(name)
    with scope:
        fail.point(name)
    with pytest.raises(fail.ScopeError, match="closed"):
        scope.wait_for_hit(name)


@pytest.mark.parametrize("bad", [0, -1, True, "1", float("nan"), float("inf"), 1e300])
def test_timeouts_are_positive(bad: Any, name: str) -> None:
    fail.point(name)
    with fail.scope({name: "off"}) as scope:
        with pytest.raises(ValueError, match="timeout must be a positive number"):
            scope.wait_for_hit(name, timeout=bad)
        with pytest.raises(ValueError, match="timeout must be a positive number"):
            scope.order("a", "b", timeout=bad)


@pytest.mark.parametrize("bad", [0, -1, True, 1.5])
def test_nth_counts_from_one(bad: Any, name: str) -> None:
    fail.point(name)
    with fail.scope({name: "off"}) as scope, pytest.raises(ValueError, match="nth must be"):
        scope.wait_for_hit(name, nth=bad)


@pytest.mark.parametrize("how", ["disable", "enable", "close"])
def test_a_wait_ends_when_the_point_is_disarmed(how: str, name: str) -> None:
    fail.point(name)
    scope = fail.scope({name: "off"})
    with scope:
        activation = scope.activations[name]
        thread, result = in_thread(lambda: scope.wait_for_hit(name, timeout=60))
        while not activation._waiters:
            threading.Event().wait(0.0001)
        if how == "disable":
            scope.disable(name)
        elif how == "enable":
            scope.enable(name, "off")
    thread.join(10)
    assert isinstance(result[0], fail.ScopeError)
    assert "disarmed or enabled anew" in str(result[0])


# --- in async code ---


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
class TestAsync:
    async def test_wait_and_decide(self, name: str) -> None:
        point = fail.point(name, returns=int)
        results: dict[int, Any] = {}

        async def work(i: int) -> None:
            try:
                results[i] = await point.ahit(i=i)
            except KeyError as exc:
                results[i] = exc

        async with fail.scope({name: "pause"}) as scope, anyio.create_task_group() as group:
            for i in range(3):
                group.start_soon(work, i)
            hits = {}
            for n in (1, 2, 3):
                hit = await scope.await_for_hit(name, n)
                hits[hit.values["i"]] = hit
            hits[0].resume()
            hits[1].return_(7)
            hits[2].raise_(KeyError("decided"))
        assert results[0] is None
        assert results[1].value == 7
        assert isinstance(results[2], KeyError)

    async def test_a_wait_that_times_out_shows_the_stack_of_the_task(self, name: str) -> None:
        async def stuck_here() -> None:
            async with fail.point(f"{name}.held"):
                pass

        async def outer() -> None:
            await stuck_here()

        fail.point(name)
        async with fail.scope({name: "off", f"{name}.held": "pause"}) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(outer, name="stuck-task")
                await scope.await_for_hit(f"{name}.held")
                with pytest.raises(fail.WaitTimeout) as caught:
                    await scope.await_for_hit(name, timeout=0.01)
                scope.disable(f"{name}.held")
        for part in ("'stuck-task'", "in stuck_here", "in outer"):
            assert part in str(caught.value)

    async def test_a_cancelled_wait_leaves_nothing_behind(self, name: str) -> None:
        fail.point(name)
        async with fail.scope({name: "off"}) as scope:
            with anyio.move_on_after(0.01):
                await scope.await_for_hit(name, timeout=60)
            assert scope.activations[name]._waiters == []

    async def test_a_thread_decides_for_a_task(self, name: str) -> None:
        async with fail.scope({name: "pause"}) as scope, anyio.create_task_group() as group:
            group.start_soon(fail.point(name).ahit)
            await anyio.to_thread.run_sync(lambda: scope.wait_for_hit(name).resume())

    async def test_waiting_in_the_loops_own_thread_warns(self, name: str) -> None:
        fail.point(name)
        async with fail.scope({name: "off"}) as scope:
            with pytest.warns(fail.BlockingWarning, match="await_for_hit"), pytest.raises(fail.WaitTimeout):
                scope.wait_for_hit(name, timeout=0.01)


@pytest.mark.anyio
async def test_a_task_with_no_stack_left_is_still_told(name: str) -> None:
    """A bare task that is itself the hit has no frame of the user's."""
    async with fail.scope({name: "off", f"{name}.held": "pause"}) as scope:
        fail.point(name)
        task = asyncio.create_task(fail.point(f"{name}.held").ahit(), name="bare")
        await scope.await_for_hit(f"{name}.held")
        with pytest.raises(fail.WaitTimeout, match="'bare'"):
            await scope.await_for_hit(name, timeout=0.01)
        scope.disable(f"{name}.held")
        await task


def test_a_hit_that_is_out_of_the_trace(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from failpy import _record

    monkeypatch.setattr(_record, "_TRACE_LENGTH", 3)
    point = fail.point(name)
    with fail.scope({name: "off"}) as scope:
        for _ in range(5):
            point.hit()
        assert scope.wait_for_hit(name, 5).nth == 5
        with pytest.raises(fail.ScopeError, match="hit 1 .* is out of the trace, which has the last 3 hits"):
            scope.wait_for_hit(name, 1)
