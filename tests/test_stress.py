"""Races, thousands of them: no hang, no lost wake-up, nothing left behind. Each test is bounded."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

from failpy import fail, failpoint
from failpy._activation import Activation
from failpy._registry import activations, armed

VALUE = "stress.value"
OTHERS = ("stress.a", "stress.b", "stress.c")
TOUCHED: tuple[tuple[type, str], ...] = (
    (threading.Thread, "start"),
    (ThreadPoolExecutor, "submit"),
    (asyncio.BaseEventLoop, "create_task"),
)
PATIENCE = 20.0
"""How long anything may wait, in seconds; what is woken never needs it, what is forgotten does."""

both_loops = pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])


@failpoint(VALUE, returns=int)
def value() -> int:
    return 0


for _name in OTHERS:
    fail.point(_name)


@pytest.fixture(autouse=True)
def hasty() -> Iterator[None]:
    """Switch threads as often as the interpreter can, and leave the stdlib as it was."""
    before = [vars(owner)[attribute] for owner, attribute in TOUCHED]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    assert [vars(owner)[attribute] for owner, attribute in TOUCHED] == before


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    """Threads that are there already: starting them would take longer than what they do."""
    with ThreadPoolExecutor(8) as pool:
        crew = Crew(pool)
        crew.race(*[threading.get_ident] * 8)  # all of them, since a pool may think that one is enough
        yield crew


class Crew:
    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool

    def race(self, *works: Callable[[], Any]) -> list[Any]:
        """Do all of it at once, each in a thread, and give what each returned."""
        barrier = threading.Barrier(len(works))

        def run(work: Callable[[], Any]) -> Any:
            barrier.wait(PATIENCE)
            return work()

        futures = [self.pool.submit(run, work) for work in works]
        return [future.result(3 * PATIENCE) for future in futures]


def nothing_waits(scope: fail.Scope, extra: tuple[Activation, ...] = ()) -> None:
    """No gate is left, open or not: each would be a hit that nobody counts any more."""
    for activation in (*scope._armed.values(), *activations(), *extra):
        assert activation._gates == {}, activation.name
        assert activation._waiters == [], activation.name
    for order in scope._orders:
        assert order._gates == []


# --- a pause, and all that ends it ---


def test_pause_against_resume(crew: Crew) -> None:
    """A hit is seen as soon as it counts: it may be decided before it has come to wait."""
    with fail.scope({VALUE: "pause"}) as scope:
        for nth in range(1, 2001):

            def decide(nth: int = nth) -> None:
                scope.wait_for_hit(VALUE, nth, PATIENCE).return_(nth)

            assert crew.race(value, decide)[0] == nth
        nothing_waits(scope)


def test_pause_against_two_who_decide(crew: Crew) -> None:
    """One of them wins, the other is told so, and what the winner says is done."""
    with fail.scope({VALUE: "pause"}) as scope:
        for nth in range(1, 1001):

            def decide(number: int, nth: int = nth) -> int | None:
                hit = scope.wait_for_hit(VALUE, nth, PATIENCE)
                try:
                    hit.return_(number)
                except fail.HitError:
                    return None
                return number

            got, *decided = crew.race(value, lambda: decide(1), lambda: decide(2))
            assert [number for number in decided if number is not None] == [got]
        nothing_waits(scope)


def test_pause_against_its_timeout(crew: Crew) -> None:
    """Either it was resumed or it timed out, and both sides agree on which."""
    with fail.scope({VALUE: "pause(1)"}, strict=False) as scope:
        for nth in range(1, 1001):

            def hit() -> bool:
                try:
                    value()
                except fail.PauseTimeout:
                    return False
                return True

            def resume(nth: int = nth) -> bool:
                paused = scope.wait_for_hit(VALUE, nth, PATIENCE)
                for _ in range(nth % 200):
                    threading.get_ident()
                try:
                    paused.resume()
                except fail.HitError:
                    return False
                return True

            went_on, resumed = crew.race(hit, resume)
            assert went_on is resumed
        nothing_waits(scope)


def test_pause_against_rearming(crew: Crew) -> None:
    """What is paused goes on; what comes later meets the new terms. Nothing is counted twice."""
    with fail.scope() as scope:
        for n in range(1, 1001):
            scope.enable(VALUE, "pause")
            got = crew.race(value, value, partial(scope.enable, VALUE, f"return({n})"))
            assert set(got[:2]) <= {0, n}
            assert scope.status(VALUE).hits == got[:2].count(n)
            value()
        nothing_waits(scope)


def test_pause_against_disabling(crew: Crew) -> None:
    with fail.scope() as scope:
        for _ in range(1000):
            scope.enable(VALUE, "pause")
            assert crew.race(value, value, lambda: scope.disable(VALUE))[:2] == [0, 0]
        nothing_waits(scope)
        assert scope.points() == []


def test_pause_against_closing(crew: Crew) -> None:
    for _ in range(600):
        scope = fail.scope({VALUE: "pause"}, strict=False)
        scope.open()
        hit = scope.bind(value)
        assert crew.race(hit, hit, scope.close)[:2] == [0, 0]
        nothing_waits(scope)
    assert armed() == {}


def test_pause_in_the_process_scope_against_everybody(crew: Crew) -> None:
    for n in range(1, 1001):
        fail.enable(VALUE, "pause")
        got = crew.race(
            value,
            value,
            lambda: fail.disable(VALUE),
            partial(fail.enable, VALUE, f"1*return({n})->off"),
            lambda: fail.status(VALUE),
        )
        fail.disable(VALUE)
        assert set(got[:2]) <= {0, n}
    assert armed() == {}


def test_everything_at_once(crew: Crew) -> None:
    """Resume, re-arm, disable, close and time out, all of them at one hit."""
    quiet = (fail.HitError, fail.ScopeError, fail.WaitTimeout, fail.PauseTimeout)

    def quietly(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            with suppress(*quiet):
                return call()

        return run

    for n in range(600):
        scope = fail.scope({VALUE: f"pause({n % 3 + 1})"}, strict=False)
        scope.open()
        hit = scope.bind(value)
        works: list[Callable[[], Any]] = [
            hit,
            hit,
            lambda: scope.wait_for_hit(VALUE, 1, PATIENCE).resume(),
            lambda: scope.wait_for_hit(VALUE, 2, 0.001).raise_(fail.HitError),
            lambda: scope.enable(VALUE, "pause(1)"),
            lambda: scope.disable(VALUE),
            lambda: scope.trace,
        ]
        crew.race(*map(quietly, works), scope.close)
        nothing_waits(scope)
    assert armed() == {}


def test_sleepers_are_woken(crew: Crew) -> None:
    """A hit that would sleep for minutes goes on at once, however early the waking comes."""
    with fail.scope() as scope:
        for n in range(1000):
            scope.enable(VALUE, "sleep(10m)")
            wake = partial(scope.disable, VALUE) if n % 2 else partial(scope.enable, VALUE, "off")
            assert crew.race(value, value, wake)[:2] == [0, 0]
        nothing_waits(scope)


# --- waiting for hits ---


def test_waiting_against_hits(crew: Crew) -> None:
    """Whoever waits for the nth hit gets that one, however it comes about."""
    with fail.scope() as scope:
        for _ in range(600):
            scope.enable(VALUE, "off")
            waits = [lambda n=n: scope.wait_for_hit(VALUE, n, PATIENCE).nth for n in (1, 2, 3, 3)]
            assert crew.race(value, value, value, *waits)[3:] == [1, 2, 3, 3]
        nothing_waits(scope)


def test_waiting_with_little_time_against_hits(crew: Crew) -> None:
    """It happened or it did not: nothing else may come of a wait whose time is up at that very moment."""

    def wait(nth: int) -> int:
        try:
            return scope.wait_for_hit(VALUE, nth, 0.0001).nth
        except fail.WaitTimeout:
            return 0

    with fail.scope({VALUE: "off"}) as scope:
        for n in range(1, 2001):
            crew.race(value, *[lambda n=n: wait(n) in (0, n)] * 3)
        assert scope.status(VALUE).hits == 2000
        nothing_waits(scope)


def test_waiting_against_disabling(crew: Crew) -> None:
    """Whoever waits for a hit that cannot come any more is told so at once."""

    def wait() -> type[Exception] | None:
        try:
            scope.wait_for_hit(VALUE, 1, PATIENCE)
        except fail.ScopeError as exc:
            return type(exc)
        return None

    with fail.scope() as scope:
        for _ in range(600):
            scope.enable(VALUE, "off")
            ended = crew.race(wait, wait, lambda: scope.disable(VALUE))
            assert ended[:2] == [fail.ScopeError] * 2
        nothing_waits(scope)


@both_loops
@pytest.mark.anyio
async def test_tasks_that_wait_against_threads_that_hit(crew: Crew) -> None:
    with anyio.fail_after(3 * PATIENCE):
        async with fail.scope() as scope:
            for _ in range(150):
                scope.enable(VALUE, "off")
                got: list[int] = []

                async def wait(nth: int, got: list[int] = got) -> None:
                    got.append((await scope.await_for_hit(VALUE, nth, PATIENCE)).nth)

                hits = [scope.bind(value)] * 3
                async with anyio.create_task_group() as group:
                    for nth in (1, 2, 3, 3):
                        group.start_soon(wait, nth)
                    await anyio.to_thread.run_sync(crew.race, *hits)
                assert sorted(got) == [1, 2, 3, 3]
            nothing_waits(scope)


# --- tasks ---


async def hit_in_task() -> Any:
    hit = await fail.point(VALUE, returns=int).ahit()
    return hit.value if hit else 0


@both_loops
@pytest.mark.anyio
@pytest.mark.parametrize("terms", ["pause", "sleep(10m)"])
async def test_tasks_against_all_that_wakes_them(terms: str) -> None:
    """From the loop itself and from another thread, at once; the loop is never held up."""
    enders: list[Callable[[fail.Scope], Any]] = [
        lambda scope: scope.enable(VALUE, "off"),
        lambda scope: scope.disable(VALUE),
        lambda scope: scope.close(),
    ]
    with anyio.fail_after(3 * PATIENCE):
        for n in range(240):
            ended: list[Any] = []
            scope = fail.scope({VALUE: terms}, strict=False)
            scope.open()
            bound = scope.bind(hit_in_task)

            async def hit(ended: list[Any] = ended, bound: Callable[[], Any] = bound) -> None:
                ended.append(await bound())

            async with anyio.create_task_group() as group:
                for _ in range(3):
                    group.start_soon(hit)
                for _ in range(n % 4):
                    await anyio.lowlevel.checkpoint()
                ender = enders[n % 3]
                if n % 2:
                    await anyio.to_thread.run_sync(ender, scope)
                else:
                    ender(scope)
            scope.close()
            assert ended == [0, 0, 0]
            nothing_waits(scope)
    assert armed() == {}


@both_loops
@pytest.mark.anyio
async def test_tasks_against_their_timeouts(crew: Crew) -> None:
    """As with threads: resumed or timed out, and both sides agree."""
    with anyio.fail_after(3 * PATIENCE):
        async with fail.scope({VALUE: "pause(1)"}, strict=False) as scope:
            for nth in range(1, 151):
                outcomes: list[bool] = []

                async def hit(outcomes: list[bool] = outcomes) -> None:
                    try:
                        await hit_in_task()
                    except fail.PauseTimeout:
                        outcomes.append(False)
                    else:
                        outcomes.append(True)

                def resume(nth: int = nth) -> bool:
                    paused = scope.wait_for_hit(VALUE, nth, PATIENCE)
                    try:
                        paused.resume()
                    except fail.HitError:
                        return False
                    return True

                async with anyio.create_task_group() as group:
                    group.start_soon(hit)
                    resumed = await anyio.to_thread.run_sync(resume)
                assert outcomes == [resumed]
            nothing_waits(scope)


@both_loops
@pytest.mark.anyio
@pytest.mark.parametrize("terms", ["pause", "sleep(10m)", "yield->pause"])
async def test_cancelled_tasks_leave_nothing(terms: str) -> None:
    """Cancelled before, while and after they wait, and resumed or disarmed at the same moment."""
    with anyio.fail_after(3 * PATIENCE):
        async with fail.scope(strict=False) as scope:
            for n in range(150):
                scope.enable(VALUE, terms)
                async with anyio.create_task_group() as group:
                    for _ in range(3):
                        group.start_soon(hit_in_task)
                    for _ in range(n % 5):
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
                    if n % 2:
                        scope.disable(VALUE)
                assert scope.status(VALUE).paused == 0
                nothing_waits(scope)


@both_loops
@pytest.mark.anyio
async def test_cancelled_tasks_against_a_thread_that_resumes(crew: Crew) -> None:
    with anyio.fail_after(3 * PATIENCE):
        async with fail.scope({VALUE: "pause"}, strict=False) as scope:
            for _ in range(150):
                nth = scope.status(VALUE).hits + 1

                def resume(nth: int = nth) -> None:
                    with suppress(fail.HitError):
                        scope.wait_for_hit(VALUE, nth, PATIENCE).resume()

                async with anyio.create_task_group() as group:
                    group.start_soon(hit_in_task)
                    future = crew.pool.submit(scope.bind(resume))
                    while scope.status(VALUE).hits < nth:
                        await anyio.lowlevel.checkpoint()
                    group.cancel_scope.cancel()
                future.result(PATIENCE)
            nothing_waits(scope)


# --- orders ---


def test_an_order_of_many_threads(crew: Crew) -> None:
    """Each thread hits one point again and again; together they keep the order to the letter."""
    rng = random.Random(1)
    for _ in range(6):
        sequence = [rng.choice(OTHERS) for _ in range(60)] + list(OTHERS)
        counts = Counter(sequence)
        with fail.scope() as scope:
            scope.order(*sequence, timeout=PATIENCE)

            def hits(name: str, times: int) -> Callable[[], None]:
                def run() -> None:
                    for _ in range(times):
                        fail.point(name).hit()

                return scope.bind(run)

            # Two threads for each point, which share its hits.
            works = [hits(name, counts[name] // 2) for name in OTHERS]
            works += [hits(name, counts[name] - counts[name] // 2) for name in OTHERS]
            crew.race(*works)
            assert [entry.point for entry in scope.trace] == sequence
            nothing_waits(scope)


@both_loops
@pytest.mark.anyio
async def test_an_order_of_threads_and_tasks(crew: Crew) -> None:
    rng = random.Random(2)
    with anyio.fail_after(3 * PATIENCE):
        for _ in range(4):
            sequence = [rng.choice(OTHERS) for _ in range(60)] + list(OTHERS)
            counts = Counter(sequence)
            async with fail.scope() as scope:
                scope.order(*sequence, timeout=PATIENCE)

                async def in_task(name: str) -> None:
                    await fail.point(name).ahit()

                futures = []
                async with anyio.create_task_group() as group:
                    for name, times in counts.items():
                        for n in range(times):
                            if n % 2:
                                group.start_soon(in_task, name)
                        # Each thread is one of the crew for as long as it waits: no more than eight.
                        threads = sum(n % 2 == 0 for n in range(times))

                        def in_thread(name: str = name, times: int = threads) -> None:
                            for _ in range(times):
                                fail.point(name).hit()

                        futures.append(crew.pool.submit(scope.bind(in_thread)))
                for future in futures:
                    future.result(PATIENCE)
                assert [entry.point for entry in scope.trace] == sequence
                nothing_waits(scope)


@both_loops
@pytest.mark.anyio
async def test_an_order_whose_tasks_are_cancelled() -> None:
    """Whoever is cancelled on the way gives its turn to the next, and none is lost or taken twice."""
    rng = random.Random(3)
    with anyio.fail_after(3 * PATIENCE):
        for _ in range(20):
            sequence = [rng.choice(OTHERS) for _ in range(10)] + list(OTHERS)
            async with fail.scope() as scope:
                scope.order(*sequence, timeout=PATIENCE)

                async def in_task(name: str) -> None:
                    await fail.point(name).ahit()

                async def cancelled(name: str, after: int) -> None:
                    with anyio.CancelScope() as cancelling:
                        async with anyio.create_task_group() as inner:
                            inner.start_soon(in_task, name)
                            for _ in range(after):
                                await anyio.lowlevel.checkpoint()
                            cancelling.cancel()

                async with anyio.create_task_group() as group:
                    for _ in range(15):
                        group.start_soon(cancelled, rng.choice(OTHERS), rng.randrange(6))
                    for name in rng.sample(sequence, len(sequence)):
                        group.start_soon(in_task, name)
                # Past the last turn of its point a hit is free, and may come between the turns of others.
                ordered: list[str] = []
                for entry in scope.trace:
                    if ordered.count(entry.point) < sequence.count(entry.point):
                        ordered.append(entry.point)
                assert ordered == sequence
                nothing_waits(scope)


def test_an_order_against_closing(crew: Crew) -> None:
    """Whoever waits for a turn goes on when the scope closes, also who comes that very moment."""
    for _ in range(200):
        scope = fail.scope(strict=False)
        scope.open()
        scope.order(*OTHERS, timeout=PATIENCE)
        late = [scope.bind(fail.point(name).hit) for name in OTHERS[1:] * 2]
        assert crew.race(*late, partial(scope.finish, None)) == [None] * 5
        nothing_waits(scope)
    assert armed() == {}


def test_an_order_against_rearming(crew: Crew) -> None:
    """A hit that waits for its turn is, once it comes, for what is armed by then; and it is seen once."""
    with fail.scope() as scope:
        for n in range(1, 101):
            scope.order(OTHERS[0], VALUE, timeout=PATIENCE)

            def rearm(n: int = n) -> None:
                for i in range(n % 7):
                    scope.enable(VALUE, f"return({i + 1})")
                    if i % 3 == 2:
                        scope.disable(VALUE)

            before = len(scope.trace)
            _, got, _ = crew.race(scope.bind(fail.point(OTHERS[0]).hit), scope.bind(value), scope.bind(rearm))
            assert [entry.point for entry in scope.trace[before:]] == [OTHERS[0], VALUE]
            acted = scope.trace[-1].term
            assert acted == ("off" if got == 0 else f"return({got})")
            scope.enable(VALUE, "off")
        nothing_waits(scope)


# --- scopes ---


def test_scopes_in_many_threads_that_start_threads_and_use_pools() -> None:
    """Each sees its own value wherever its work runs, in a pool that all of them share, too."""
    stop = threading.Event()
    astray: list[Any] = []

    def collect(got: list[int]) -> None:
        got.append(value())

    def bystander() -> None:
        """In no scope at all, and starting threads all the while."""
        while not stop.is_set():
            got: list[int] = []
            thread = threading.Thread(target=collect, args=(got,))
            thread.start()
            thread.join()
            if got != [0]:
                astray.append(("a bystander", got))

    def work(number: int) -> None:
        for n in range(1, 26):
            mine = number * 1000 + n
            with fail.scope({VALUE: f"return({mine})"}):
                thread_got: list[int] = []
                thread = threading.Thread(target=collect, args=(thread_got,))
                thread.start()
                future = shared.submit(value)
                with fail.scope({VALUE: "return(-1)"}, strict=False):
                    inner = shared.submit(value)
                thread.join()
                with ThreadPoolExecutor(1) as own:
                    own_got = own.submit(value).result(PATIENCE)
                got = [value(), *thread_got, future.result(PATIENCE), own_got]
                # The inner scope may have closed before its work ran; then that was in the outer one.
                if got != [mine] * 4 or inner.result(PATIENCE) not in (-1, mine):
                    astray.append((mine, got))
            if value() or shared.submit(value).result(PATIENCE):
                astray.append("after")

    with ThreadPoolExecutor(3) as shared:
        threads = [threading.Thread(target=bystander)]
        threads[0].start()
        with ThreadPoolExecutor(8) as pool:
            for future in [pool.submit(work, number) for number in range(1, 9)]:
                future.result(3 * PATIENCE)
        stop.set()
        threads[0].join(PATIENCE)
        assert not threads[0].is_alive()
    assert astray == []
    assert armed() == {}


def test_scopes_in_many_event_loops() -> None:
    """Tasks of several loops, each in a thread of its own, in scopes nested and overlapping."""

    async def task(number: int) -> None:
        async with fail.scope({VALUE: f"return({number})"}):
            for _ in range(5):
                assert value() == number
                await asyncio.sleep(0)
                assert await asyncio.to_thread(value) == number
                assert await asyncio.get_running_loop().run_in_executor(None, value) == number
        assert value() == 0

    async def main(number: int) -> None:
        for _ in range(3):
            await asyncio.gather(*(task(number * 100 + n) for n in range(1, 6)))

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(asyncio.run, main(number)) for number in range(4)]:
            future.result(3 * PATIENCE)
    assert armed() == {}


def test_failures_of_many_threads(crew: Crew) -> None:
    """Every one of them comes out, once."""
    for _ in range(20):
        with pytest.raises(ExceptionGroup) as caught, fail.scope() as scope:
            counter = itertools.count()

            def complain() -> None:
                for _ in range(10):
                    scope.error(str(next(counter)))

            crew.race(*[scope.bind(complain)] * 6)
        assert sorted(int(str(each)) for each in caught.value.exceptions) == list(range(60))
    assert armed() == {}


def test_reading_while_all_is_in_motion(crew: Crew) -> None:
    """Trace, status, points, environ and repr of a scope that others arm, hit and disarm."""
    names = [f"stress.many.{n}" for n in range(20)]
    for name in names:
        fail.point(name)
    with fail.scope(strict=False) as scope:

        def arm() -> None:
            for n in range(600):
                scope.enable(names[n % 20], "off")
                scope.disable(names[(n * 7) % 20])

        def hit() -> None:
            for n in range(600):
                fail.point(names[n % 20]).hit()

        def read() -> None:
            for _ in range(60):
                scope.trace, scope.points(), scope.environ(), repr(scope), fail.points(), armed()

        crew.race(*map(scope.bind, (arm, arm, hit, hit, read, read)))
        nothing_waits(scope)


def test_closing_while_others_arm(crew: Crew) -> None:
    """Whoever comes too late is told that it is closed; whoever came in time is taken away with it."""

    def arm() -> None:
        with suppress(fail.ScopeError):
            for n in range(3000):  # never that many: the scope closes before
                scope.enable(f"stress.late.{n % 30}", "off")

    for n in range(30):
        fail.point(f"stress.late.{n}")
    for _ in range(100):
        scope = fail.scope()
        scope.open()
        crew.race(arm, arm, arm, lambda: scope.finish(None))
        assert armed() == {}
