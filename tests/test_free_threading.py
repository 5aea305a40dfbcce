"""What must hold where threads really run at the same time, on a free-threaded Python as with a GIL.

The numbers are exact wherever the threads may be interrupted, so nothing here waits for a time.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, TypeVar

import pytest

from failpy import _patch, _registry, _trampoline, fail, failpoint
from failpy._collector import Collector
from failpy._context import inside
from failpy._latest import Latest
from failpy._observer import Observer, observing

T = TypeVar("T")
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


def then(done: threading.Event, work: Callable[[], object], rounds: int = ROUNDS) -> Callable[[], None]:
    """The work, a number of times, after which the others may end."""

    def run() -> None:
        try:
            for _ in range(rounds):
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
    for module in (_patch, _trampoline):
        monkeypatch.setattr(module, "FREE_THREADED", True)
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


def test_calls_while_armed_leave_no_function_behind(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPython 3.13 makes functions immortal whose code is nested in none, once there are threads."""
    for module in (_patch, _trampoline):
        monkeypatch.setattr(module, "FREE_THREADED", True)
    namespace: dict[str, Any] = {}
    exec("def value():\n    return held", namespace)
    function = failpoint(name)(namespace["value"])
    at_once(*many(lambda: None))
    with fail.scope({name: "off"}):

        def look(frame: Any, event: str, arg: object) -> None:
            if event == "call" and frame.f_code.co_name == "value":
                flags.append(frame.f_code.co_flags)

        flags: list[int] = []
        namespace["held"] = 1
        sys.setprofile(look)
        try:
            assert function() == 1
        finally:
            sys.setprofile(None)
    _, body = flags
    assert body & inspect.CO_NESTED
    assert not function.__code__.co_flags & inspect.CO_NESTED


def test_who_may_swallow_is_known_while_a_point_stands_on_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (_patch, _trampoline):
        monkeypatch.setattr(module, "FREE_THREADED", True)
    namespace: dict[str, Any] = {"point": fail.point(f"{name}.inner")}
    exec("def value():\n    try:\n        point.hit()\n    except OSError:\n        return 1", namespace)
    function = failpoint(name)(namespace["value"])
    terms = {name: "off", f"{name}.inner": "raise(OSError)"}
    with fail.scope(terms, on_swallowed="error", may_swallow=[function]):
        assert function() == 1
    other = failpoint(f"{name}.other")(small_function)
    with (
        pytest.RaisesGroup(fail.Swallowed),
        fail.scope(terms, on_swallowed="error", may_swallow=[other]),
    ):
        assert function() == 1


# --- counts ---


def totals(name: str, terms: str, *, hits: int) -> tuple[int, int]:
    """The hits and the fired ones of so many hits in this thread alone, with the seed of the other runs."""
    with fail.scope({name: terms}, seed=7, strict=False) as scope:
        for _ in range(hits):
            fail.point(name).hit()
    status = scope.status(name)
    return status.hits, status.fired


@pytest.mark.parametrize("terms", ["return", "3*return", "50.0%return", "7*off->5*return->50%return"])
def test_hits_and_what_fires_are_counted_one_by_one(terms: str, name: str) -> None:
    expected = totals(name, terms, hits=THREADS * ROUNDS)
    returned: list[int] = []
    traced: list[Any] = []

    def hit() -> None:
        returned.extend(found.nth for _ in range(ROUNDS) if (found := point.hit()))

    point = fail.point(name)
    with fail.scope({name: terms}, seed=7, strict=False) as scope:
        at_once(*many(hit))
        traced = scope.trace
    status = scope.status(name)
    assert (status.hits, status.fired) == expected
    assert status.hits == THREADS * ROUNDS
    assert len(returned) == len(set(returned)) == status.fired
    assert sorted(entry.nth for entry in traced) == list(range(1, status.hits + 1))
    assert sum(entry.action == "return" for entry in traced) == status.fired


def test_what_a_predicate_refuses_is_counted_one_by_one(name: str) -> None:
    def hit() -> None:
        for _ in range(ROUNDS):
            point.hit()

    point = fail.point(name)
    refused = THREADS * ROUNDS
    with pytest.raises(fail.NeverFired, match=f"refused each of {refused} hits"), fail.scope() as scope:
        scope.enable(name, "return", when=lambda hit: False)
        at_once(*many(hit))


def test_a_seed_is_drawn_once_whoever_draws_first(name: str) -> None:
    for i in range(50):
        scope = fail.scope({f"{name}.{each}": "50%return" for each in range(THREADS)}, strict=False)
        seeds: list[int] = []
        with scope:
            at_once(*many(lambda scope=scope, seeds=seeds: seeds.append(scope.seed)))
        assert set(seeds) == {scope.seed}, i


def test_scopes_are_opened_and_closed_in_all_threads(name: str) -> None:
    @failpoint(name, returns=int)
    def value() -> int:
        return -1

    code = value.__code__

    def work(mine: int) -> None:
        for nth in range(ROUNDS):
            with fail.scope({name: f"2*return({mine})"}, threads=False) as scope:
                assert [value(), value(), value()] == [mine, mine, -1]
            assert scope.status(name).hits == 3, nth

    at_once(*[lambda mine=mine: work(mine) for mine in range(THREADS)])
    assert value.__code__ is code
    assert value() == -1


def test_the_process_scope_is_armed_anew_while_others_hit(name: str) -> None:
    @failpoint(name, returns=int)
    def value() -> int:
        return 0

    code = value.__code__
    done = threading.Event()
    fired: list[int] = []
    seen: list[int] = []

    def arm() -> None:
        fail.enable(name, "return(1)")
        fail.enable(name, "return(2)")
        fired.append(fail.status(name).fired)
        fail.disable(name)

    at_once(*[until(done, lambda: seen.append(value()))] * 2, then(done, arm))
    assert set(seen) <= {0, 1, 2}
    assert value.__code__ is code
    assert value() == 0


def test_a_name_that_all_look_up_at_once_is_one_object(name: str) -> None:
    for i in range(50):
        found: list[Any] = []
        at_once(*many(lambda i=i, found=found: found.append(fail.point(f"{name}.{i}"))))
        assert {id(each) for each in found} == {id(fail.point(f"{name}.{i}"))}


def test_functions_that_are_decorated_at_once(name: str) -> None:
    made: list[Any] = []

    def decorate() -> None:
        for _ in range(20):

            @failpoint(name, returns=int)
            def value() -> int:
                return 0

            made.append(value)

    at_once(*many(decorate))
    with fail.scope({name: "return(1)"}):
        assert {function() for function in made} == {1}
    assert {function() for function in made} == {0}


def test_points_that_come_to_one_function_at_once(name: str) -> None:
    for i in range(50):

        def value() -> int:
            return 0

        names = [f"{name}.{i}.{each}" for each in range(THREADS)]
        at_once(*[lambda each=each, value=value: failpoint(each, returns=int)(value) for each in names])
        for each in names:
            with fail.scope({each: "return(1)"}, threads=False):
                assert value() == 1


def test_a_wrapped_callable_is_called_while_it_is_armed(name: str) -> None:
    size = failpoint(name, returns=int)(len)
    done = threading.Event()
    seen: set[int] = set()

    def arm() -> None:
        fail.enable(name, "return(5)")
        fail.disable(name)

    at_once(*[until(done, lambda: seen.add(size("abc")))] * 2, then(done, arm))
    assert seen <= {3, 5}
    assert size("abc") == 3


def test_a_block_is_entered_while_its_point_changes_its_class(name: str) -> None:
    point = fail.point(name)
    done = threading.Event()

    def enter() -> None:
        with point as hit:
            assert not hit or hit.value is None
        with fail.point(name):
            pass

    def arm() -> None:
        fail.enable(name, "return")
        fail.disable(name)

    at_once(until(done, enter), until(done, enter), then(done, arm))
    assert point.hit() is None


def test_near_misses_are_counted(name: str) -> None:
    point = fail.point(name)

    def elsewhere() -> None:
        for _ in range(ROUNDS):
            point.hit()

    with pytest.raises(fail.NeverFired) as caught, fail.scope({name: "return"}, threads=False):
        at_once(*many(elsewhere))
    assert str(caught.value).count(f"{ROUNDS} times in thread") == THREADS


class Counting(Observer):
    """Counts what it is told, as an observer that keeps no lock of its own may."""

    def __init__(self) -> None:
        self.hits: list[int] = []
        self.arming: list[str] = []

    def armed(self, activation: Any, layer: Any) -> None:
        self.arming.append(activation.name)

    def hit(self, hit: Any, layer: Any) -> None:
        self.hits.append(hit.nth)


def test_an_observer_is_told_of_every_hit_and_arming(name: str) -> None:
    observer = Counting()
    observing.add(observer)
    try:

        def work(i: int) -> None:
            for _ in range(20):
                with fail.scope({f"{name}.{i}": "off"}, strict=False, threads=False):
                    for _ in range(10):
                        fail.point(f"{name}.{i}").hit()

        at_once(*[lambda i=i: work(i) for i in range(THREADS)])
    finally:
        observing.drop(observer)
    assert sorted(observer.arming) == sorted([f"{name}.{i}" for i in range(THREADS)] * 20)
    assert len(observer.hits) == THREADS * 200


def test_a_collector_counts_every_hit(collector: Collector, name: str) -> None:
    point = fail.point(name)

    def hit() -> None:
        for _ in range(ROUNDS):
            point.hit()

    with fail.scope({name: "3*return"}):
        at_once(*many(hit))
    tally = collector.tally()[name]
    assert (tally.armed, tally.hits, tally.fired) == (1, THREADS * ROUNDS, 3)


# --- what one thread reads while others change it ---


def test_a_scope_is_read_while_it_is_hit_and_changed(name: str) -> None:
    done = threading.Event()
    point = fail.point(name)
    with fail.scope({name: "raise(OSError)"}, strict=False) as scope:

        def hit() -> None:
            with suppress(OSError):
                point.hit()

        def arm() -> None:
            for each in range(5):
                scope.enable(f"{name}.{each}", "off")
            for each in range(5):
                scope.disable(f"{name}.{each}")

        def read() -> None:
            hits = [entry.nth for entry in scope.trace]
            assert hits == list(range(hits[0], hits[0] + len(hits))) if hits else True
            scope.environ()
            repr(scope)
            scope.points()

        for each in range(5):
            fail.point(f"{name}.{each}")
        at_once(until(done, hit), until(done, arm), then(done, read, rounds=5))


def test_the_sites_of_a_point_are_read_while_there_are_more(name: str) -> None:
    done = threading.Event()
    point = fail.point(name)
    source = "\n".join(["from failpy import fail"] + [f"fail.point({name!r}).hit()" for _ in range(300)])
    code = compile(source, "many_sites.py", "exec")
    with fail.scope({name: "off"}):
        at_once(then(done, lambda: exec(code, {})), until(done, lambda: len(point.sites)))
    assert len(point.sites) == 301


def test_every_future_that_failed_is_told_of() -> None:
    futures = 20

    def boom() -> None:
        raise OSError("nobody asks")

    with pytest.raises(BaseExceptionGroup) as caught, fail.scope() as scope:
        done = threading.Event()
        with ThreadPoolExecutor(THREADS) as pool:
            for _ in range(futures):
                pool.submit(boom)
            at_once(then(done, scope.failures.collect))
    assert len(caught.value.exceptions) == futures


def test_a_future_that_fails_when_the_scope_is_over_is_not_of_it() -> None:
    over = threading.Event()

    def boom() -> None:
        over.wait()
        raise OSError("later")

    with ThreadPoolExecutor(1) as pool:
        with fail.scope() as scope:
            future = pool.submit(boom)
        over.set()
    assert future.done()
    scope.failures.collect()
    assert scope.failures.besides(None) == []


# --- locks ---


@contextmanager
def held_elsewhere(*locks: Any) -> Iterator[None]:
    """While this is open, another thread holds these locks."""
    taken, free = threading.Event(), threading.Event()

    def hold() -> None:
        with ExitStack() as stack:
            for each in locks:
                stack.enter_context(each)
            taken.set()
            free.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield
    finally:
        free.set()
        thread.join()


def in_time(work: Callable[[], T]) -> T:
    """What the work gives; it fails when it waits for a lock."""
    given: list[T] = []
    thread = threading.Thread(target=lambda: given.append(work()), daemon=True)
    thread.start()
    thread.join(20)
    assert given, "it waits for a lock"
    return given[0]


def test_an_idle_call_is_the_function_as_it_was_written(name: str) -> None:
    def value() -> int:
        return 0

    code = value.__code__
    assert failpoint(name, returns=int)(value) is value
    assert value.__code__ is code
    with fail.scope({name: "return(1)"}, strict=False):
        assert value.__code__ is not code
    assert value.__code__ is code


def test_an_idle_block_enters_no_python_code(name: str) -> None:
    entered: list[Any] = []
    point = fail.point(name)

    def look(frame: Any, event: str, arg: object) -> None:
        if event == "call":
            entered.append(frame.f_code)

    with point:  # the very first of all points fills a cache
        before = sys.getprofile()
    sys.setprofile(look)
    try:
        with point:
            pass
        with fail.point(name) as hit:
            pass
    finally:
        sys.setprofile(before)
    assert hit is None
    assert entered == []


def test_who_has_no_business_with_a_point_waits_for_no_lock(name: str) -> None:
    """An idle call, a call that is not for this context and one that fires need no lock that all share."""

    @failpoint(name, returns=int)
    def value() -> int:
        return 0

    @failpoint(f"{name}.idle", returns=int)
    def idle() -> int:
        return 0

    point, idle_point = fail.point(f"{name}.body", returns=int), fail.point(f"{name}.unarmed")

    def pass_by() -> list[Any]:
        with idle_point, point as hit:
            return [idle(), value(), hit, point.hit(), idle_point.hit()]

    def fire() -> list[Any]:
        with fire_here:
            return [value(), point.hit().value]  # type: ignore[union-attr]

    terms = {name: "return(1)", f"{name}.body": "return(2)"}
    with fail.scope(terms, strict=False, threads=False) as scope:
        mine = [scope.activations[each]._lock for each in terms]
        with held_elsewhere(_registry.lock, *mine):
            assert in_time(pass_by) == [0, 0, None, None, None]
        fire_here = inside(scope)
        with held_elsewhere(_registry.lock):
            assert in_time(fire) == [1, 2]


def test_the_latest_are_kept_whoever_adds() -> None:
    latest: Latest[int] = Latest(10)

    def add() -> None:
        for number in range(3000):
            latest.add(number)

    at_once(*many(add))
    assert len(latest.now) == 10
    assert len(latest) < 3000
    latest.clear()
    for number in range(5000):
        latest.add(number)
    assert latest.now == list(range(4990, 5000))
