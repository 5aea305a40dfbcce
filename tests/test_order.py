"""`scope.order`: hits in a chosen order, across threads and tasks."""

from __future__ import annotations

import asyncio
import itertools
import signal
import threading
from typing import Any

import anyio
import pytest

from failpy import fail


def names_of(scope: fail.Scope) -> list[str]:
    return [entry.point for entry in scope.trace]


def start(call: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=call, args=args)
    thread.start()
    return thread


@pytest.mark.parametrize("starts", list(itertools.permutations("ABC")), ids="".join)
def test_threads_take_turns(starts: tuple[str, ...], name: str) -> None:
    points = {letter: fail.point(f"{name}.{letter}") for letter in "ABC"}
    with fail.scope() as scope:
        scope.order(*(points[letter].name for letter in "CABA"))
        threads = [start(points[letter].hit) for letter in (*starts, "A")]
        for thread in threads:
            thread.join()
    assert names_of(scope) == [points[letter].name for letter in "CABA"]


def test_a_lost_update_every_time(name: str) -> None:
    balance = 0

    def deposit(amount: int) -> None:
        nonlocal balance
        seen = balance
        fail.point(f"{name}.loaded").hit()
        fail.point(f"{name}.saving").hit()
        balance = seen + amount

    for _ in range(20):
        balance = 0
        with fail.scope() as scope:
            scope.order(f"{name}.loaded", f"{name}.loaded", f"{name}.saving", f"{name}.saving")
            threads = [start(deposit, 10), start(deposit, 10)]
            for thread in threads:
                thread.join()
        assert balance == 10


def test_hits_after_the_order_are_free(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    with fail.scope() as scope:
        scope.order(a.name, b.name)
        for point in (a, a, b, b, a):
            point.hit()
    assert names_of(scope) == [a.name, a.name, b.name, b.name, a.name]


def test_an_ordered_point_still_acts_and_outer_scopes_still_decide(name: str) -> None:
    a, b = fail.point(f"{name}.a", returns=int), fail.point(f"{name}.b", returns=int)
    fail.enable(b.name, "return(2)")
    with fail.scope({a.name: "return(1)"}) as outer, fail.scope() as inner:
        inner.order(a.name, b.name)
        assert a.hit().value == 1  # type: ignore[union-attr]
        assert b.hit().value == 2  # type: ignore[union-attr]
        assert outer.status(a.name).fired == 1
        assert inner.status(a.name).terms == ""
    fail.disable(b.name)


def test_ordering_and_arming_in_either_order(name: str) -> None:
    a, b = fail.point(f"{name}.a", returns=int), fail.point(f"{name}.b", returns=int)
    with fail.scope() as scope:
        scope.order(a.name, b.name, a.name)
        scope.enable(b.name, "return(2)")
        late = start(b.hit)
        assert a.hit() is None
        late.join()
        scope.disable(b.name)
        a.hit()
        assert b.hit() is None
    assert names_of(scope)[:3] == [a.name, b.name, a.name]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_tasks_take_turns(name: str) -> None:
    order = [f"{name}.{letter}" for letter in "CABAC"]
    async with fail.scope() as scope:
        scope.order(*order)
        async with anyio.create_task_group() as group:
            for each in sorted(order):
                group.start_soon(fail.point(each).ahit)
    assert names_of(scope) == order


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_threads_and_tasks_take_turns_together(name: str) -> None:
    task, thread = fail.point(f"{name}.task"), fail.point(f"{name}.thread")

    async def in_task() -> None:
        for _ in range(10):
            await task.ahit()

    def in_thread() -> None:
        for _ in range(10):
            thread.hit()

    async with fail.scope() as scope:
        scope.order(*[task.name, thread.name] * 10)
        async with anyio.create_task_group() as group:
            group.start_soon(in_task)
            group.start_soon(anyio.to_thread.run_sync, in_thread)
    assert names_of(scope) == [task.name, thread.name] * 10


def test_a_turn_that_does_not_come_says_who_waits(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    scope = fail.scope(strict=False)
    with scope:
        scope.order(a.name, b.name, timeout=0.01)
        with pytest.raises(fail.WaitTimeout) as caught:
            b.hit()
        for part in (repr(b.name), f"{a.name} -> {b.name}", f"{a.name!r} is next", "waits for its turn"):
            assert part in str(caught.value)
        a.hit()
        b.hit()  # the one that gave up has taken nobody's turn
    assert names_of(scope) == [a.name, b.name]


def test_a_turn_of_a_point_with_a_typo_says_so(name: str) -> None:
    fail.point(f"{name}.loaded")
    with fail.scope(strict=False) as scope:
        scope.order(f"{name}.laoded", f"{name}.saved", timeout=0.01)
        with pytest.raises(fail.WaitTimeout, match=f"after 0 of 2 .*did you mean '{name}.loaded'"):
            fail.point(f"{name}.saved").hit()


def test_who_waits_for_a_turn_is_told(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    with fail.scope({a.name: "off"}, strict=False) as scope:
        scope.order(a.name, b.name, timeout=60)
        thread = start(b.hit)
        while not scope._orders[0].waiting:
            threading.Event().wait(0.0001)
        with pytest.raises(fail.WaitTimeout, match=f"a hit of '{b.name}' waits for its turn in the order"):
            scope.wait_for_hit(a.name, timeout=0.01)
    thread.join(10)


@pytest.mark.anyio
async def test_a_sync_hit_that_waits_for_its_turn_in_a_loop_warns(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    async with fail.scope(strict=False) as scope:
        scope.order(a.name, b.name, timeout=0.01)
        with (
            pytest.warns(fail.BlockingWarning, match="the turn of failpoint"),
            pytest.raises(fail.WaitTimeout),
        ):
            b.hit()


def test_an_order_never_completed_fails_a_strict_scope(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    with pytest.raises(fail.NeverFired, match="never completed"), fail.scope() as scope:
        scope.order(a.name, b.name)
        a.hit()
    with pytest.raises(fail.UnknownFailpoint), fail.scope() as scope:
        scope.order(a.name, f"{name}.typo")


def test_closing_lets_everybody_go(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    with fail.scope(strict=False) as scope:
        scope.order(a.name, b.name, timeout=60)
        (order,) = scope._orders
        thread = start(b.hit)
        while not order._gates:
            threading.Event().wait(0.0001)
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.anyio
async def test_a_task_cancelled_before_its_turn_takes_nobodys(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    async with fail.scope() as scope:
        scope.order(a.name, b.name)
        waiting = asyncio.create_task(b.ahit())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        a.hit()
        b.hit()
    assert names_of(scope) == [a.name, b.name]


def test_a_hit_that_a_predicate_lets_pass_takes_no_turn(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    with fail.scope() as scope:
        scope.enable(a.name, "off", when=lambda hit: hit.values.get("real", False))
        scope.order(a.name, b.name)
        a.hit()
        waiting = start(b.hit)
        a.hit(real=True)
        waiting.join()
    assert names_of(scope) == [a.name, b.name]


@pytest.mark.parametrize(
    "orders",
    [[("A", "B"), ("B", "A")], [("A", "B"), ("B", "C"), ("C", "A")], [("A", "B", "A"), ("A", "A", "B")]],
    ids=str,
)
def test_orders_that_contradict_each_other(orders: list[tuple[str, ...]], name: str) -> None:
    with fail.scope(strict=False) as scope:
        *kept, last = [[f"{name}.{letter}" for letter in order] for order in orders]
        for order in kept:
            scope.order(*order)
        with pytest.raises(fail.Deadlock) as caught:
            scope.order(*last)
        for each in {*last}:
            assert repr(each) in str(caught.value)
        assert len(scope._orders) == len(kept)  # what was ordered before still is


def test_orders_that_agree(name: str) -> None:
    a, b, c = (fail.point(f"{name}.{letter}") for letter in "abc")
    with fail.scope() as scope:
        scope.order(a.name, b.name)
        scope.order(b.name, c.name)
        threads = [start(point.hit) for point in (c, b, a)]
        for thread in threads:
            thread.join()
        scope.order(b.name, a.name)  # the first two have been kept: no contradiction any more
        b.hit()
        a.hit()
    assert names_of(scope)[:3] == [a.name, b.name, c.name]


@pytest.mark.parametrize("bad", [(), ("A",), ("A", "A")])
def test_an_order_needs_two_points(bad: tuple[str, ...]) -> None:
    with fail.scope() as scope, pytest.raises(ValueError, match="at least two different points"):
        scope.order(*bad)


def test_an_order_takes_names() -> None:
    with fail.scope() as scope:
        with pytest.raises(fail.InvalidName):
            scope.order("A", "B;C")
        with pytest.raises(TypeError):
            scope.order("A", 5)  # type: ignore[arg-type]


def test_an_order_needs_an_open_scope() -> None:
    scope = fail.scope()
    with pytest.raises(fail.ScopeError, match="not open"):
        scope.order("A", "B")
    with scope:
        pass
    with pytest.raises(fail.ScopeError, match="closed"):
        scope.order("A", "B")


def test_arming_and_ordering_at_once_lose_nothing(name: str) -> None:
    for _ in range(300):
        with fail.scope(strict=False) as scope:
            barrier = threading.Barrier(2)

            def arm(scope: fail.Scope = scope, barrier: threading.Barrier = barrier) -> None:
                barrier.wait()
                scope.enable(name, "off")

            thread = start(arm)
            barrier.wait()
            scope.order(name, f"{name}.other")
            thread.join()
            assert scope.activations[name].orders == tuple(scope._orders)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers on this platform")
def test_a_signal_handler_may_hit_an_ordered_point(name: str) -> None:
    a, b = fail.point(f"{name}.a"), fail.point(f"{name}.b")
    handled = 0

    def handle(*_: object) -> None:
        nonlocal handled
        handled += 1
        a.hit()

    with fail.scope() as scope:
        scope.order(a.name, b.name)
        a.hit()
        b.hit()
        before = signal.signal(signal.SIGALRM, handle)
        signal.setitimer(signal.ITIMER_REAL, 2e-4, 2e-4)
        try:
            while handled < 500:
                a.hit()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def test_an_outer_point_that_is_rearmed_while_an_inner_scope_orders_it(name: str) -> None:
    a, b = fail.point(f"{name}.a", returns=int), fail.point(f"{name}.b")
    with fail.scope({a.name: "return(1)"}) as outer, fail.scope() as inner:
        inner.order(a.name, b.name)
        late = outer.activations[a.name]
        outer.enable(a.name, "return(2)")
        hit = late.hit()  # looked up before, and retired meanwhile
        assert hit is not None
        assert hit.value == 2
        assert inner.status(a.name).hits == 0
        a.hit()
        b.hit()
