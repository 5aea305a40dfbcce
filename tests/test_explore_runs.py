"""Exploring async bodies, side by side on executors, and with a bar."""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from failpy import _exploration, _progress, _suspects, _workers, fail, failpoint
from failpy._activation import Activation
from failpy._bodyrun import run_remotely
from failpy._explore import prepared
from failpy._faults import faults_of
from failpy._hit import Hit
from failpy._observer import observing
from failpy._outcome import Outcome, portable
from failpy._probe import Probe
from failpy._registry import armed
from failpy._schedule import Schedule
from failpy._terms import Terms

LOOPS: list[Any] = [pytest.param(asyncio.run, id="asyncio"), pytest.param(trio.run, id="trio")]


@failpoint("runs.write", faults=("raise(ENOSPC)", "raise(EIO)"))
def write(disk: list[int], number: int) -> None:
    disk.append(number)


def body() -> None:
    disk: list[int] = []
    for number in range(4):
        try:
            write(disk, number)
        except OSError as error:
            with fail.point("runs.declared_late", faults=("sleep(0)",)):
                if number == 2 and error.errno == 5:
                    raise AssertionError("lost") from None


class Unportable(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} is not {two}")
        self.lock = threading.Lock()


class Unsayable(Unportable):
    def __str__(self) -> str:
        raise ValueError


def unportable() -> None:
    try:
        fail.point("runs.unportable").hit()
    except fail.Injected:
        raise Unportable(1, 2) from None


def dies() -> None:
    try:
        fail.point("runs.dies").hit()
    except fail.Injected:
        os.kill(os.getpid(), signal.SIGKILL)


def dies_at_once() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupts() -> None:
    try:
        fail.point("runs.interrupts").hit()
    except fail.Injected:
        raise KeyboardInterrupt from None


def real_interrupt() -> None:
    raise KeyboardInterrupt


# --- async ---


@pytest.mark.parametrize("run", LOOPS)
def test_an_async_body(name: str, run: Callable[..., Any]) -> None:
    async def explored() -> None:
        for _ in range(2):
            try:
                await fail.point(name).ahit()
            except fail.Injected:
                async with fail.point(f"{name}.handling", faults=("raise(EIO)",)):
                    pass

    report = start(run, explored, points=f"{name}*", depth=2, may_escape=OSError)
    assert report.counts == {"passed": 3, "escaped": 2}
    assert armed() == {}


def start(run: Callable[..., Any], explored: Callable[[], Awaitable[object]], **options: Any) -> fail.Report:
    call = functools.partial(fail.aexplore, explored, **options)
    report: fail.Report = run(call) if run is trio.run else run(call())
    return report


@pytest.mark.parametrize("run", LOOPS)
def test_an_async_body_that_fails(name: str, run: Callable[..., Any]) -> None:
    async def explored() -> None:
        fail.point(name).hit()

    report = start(run, explored, points=name)
    assert (report.counts, report.cases[0].again) == ({"failed": 1}, "failed")


@pytest.mark.parametrize("run", LOOPS)
def test_an_async_body_that_never_ends(name: str, run: Callable[..., Any]) -> None:
    sleep: Callable[[float], Awaitable[None]] = trio.sleep if run is trio.run else asyncio.sleep

    async def explored() -> None:
        try:
            fail.point(name).hit()
        except fail.Injected:
            await sleep(60)

    report = start(run, explored, points=name, timeout=0.1)
    assert report.counts == {"timed out": 1}
    assert start(run, explored, points=f"{name}.none", timeout=None).counts == {}


def test_a_task_that_an_async_body_leaves_behind(name: str) -> None:
    kept = []

    async def explored() -> None:
        kept.append(asyncio.create_task(asyncio.sleep(30), name="left"))
        await fail.point(name).ahit()

    report = start(asyncio.run, explored, points=name, may_escape=True)
    assert report.cases[0].leaks == ("task 'left' still runs",)


@pytest.mark.parametrize("run", LOOPS)
def test_ctrl_c_in_an_async_body(name: str, run: Callable[..., Any]) -> None:
    async def explored() -> None:
        await fail.point(name).ahit()
        raise KeyboardInterrupt

    assert str(start(run, explored, points=name).stopped).startswith("interrupted")


def test_cancelling_an_exploration_under_asyncio(name: str) -> None:
    async def explored() -> None:
        try:
            await fail.point(name).ahit()
        except fail.Injected:
            await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(fail.aexplore(explored, points=name))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as raised:
            await task
        assert "stopped: interrupted by CancelledError" in raised.value.__notes__[0]

    asyncio.run(main())
    assert armed() == {}


def test_cancelling_an_exploration_under_trio(name: str) -> None:
    async def explored() -> None:
        try:
            await fail.point(name).ahit()
        except fail.Injected:
            await trio.sleep(60)

    async def main() -> None:
        with trio.move_on_after(0.1) as scope:
            await fail.aexplore(explored, points=name)
        assert scope.cancelled_caught

    trio.run(main)
    assert armed() == {}


def test_a_body_that_raises_a_cancellation_of_its_own(name: str) -> None:
    async def explored() -> None:
        try:
            await fail.point(name).ahit()
        except fail.Injected:
            raise asyncio.CancelledError from None

    assert start(asyncio.run, explored, points=name).counts == {"failed": 1}


# --- side by side ---


def pools() -> list[Any]:
    spawn = multiprocessing.get_context("spawn")
    return [
        pytest.param(lambda: ThreadPoolExecutor(3), id="threads"),
        pytest.param(lambda: ProcessPoolExecutor(2, mp_context=spawn), id="processes"),
    ]


@pytest.mark.parametrize("pool", pools())
def test_cases_side_by_side(pool: Callable[[], Executor]) -> None:
    alone = fail.explore(body, points="runs.*", depth=2, persistent=True)
    with pool() as executor:
        report = fail.explore(body, points="runs.*", depth=2, persistent=True, executor=executor)
    assert {case.terms: case.outcome for case in report.cases} == {
        case.terms: case.outcome for case in alone.cases
    }
    assert [case.text for case in report.failures][:1] == ["runs.write=2*off->1*raise(EIO)"]
    assert armed() == {}


def test_what_cannot_come_back_from_a_process_comes_as_text() -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        report = fail.explore(unportable, points="runs.unportable", executor=executor)
    (case,) = report.failures
    assert case.why == "Unportable: 1 is not 2"
    assert "Unportable" in case.traceback


def test_a_portable_outcome() -> None:
    assert portable(Outcome("failed", error=ValueError("x"))).error is not None
    for error, said in (
        (Unportable(1, 2), "Unportable: 1 is not 2"),
        (Unsayable(1, 2), "Unsayable: (which "),
    ):
        text = str(portable(Outcome("failed", error=error, traceback="traceback")).error)
        assert text.startswith(said)
        assert text.endswith("\ntraceback")


@pytest.mark.parametrize("explored", [dies, dies_at_once])
def test_a_worker_that_dies(explored: Callable[[], None]) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
        report = fail.explore(explored, points="runs.dies", executor=executor)
    if explored is dies:
        assert report.counts == {"crashed": 1}
        assert str(report.stopped).startswith("a worker of the executor has died")
    assert "BrokenProcessPool" in str(report)
    with pytest.raises((BrokenExecutor, BaseExceptionGroup)):
        report.raise_for_failures()


@pytest.mark.parametrize("explored", [interrupts, real_interrupt])
def test_a_worker_that_is_interrupted(explored: Callable[[], None]) -> None:
    with ThreadPoolExecutor(1) as executor:
        report = fail.explore(explored, points="runs.interrupts", executor=executor)
    assert "CRASHED" in str(report) or "fails without any fault" in str(report)


def test_what_cannot_be_sent_is_refused() -> None:
    with (
        ProcessPoolExecutor(1) as executor,
        pytest.raises(TypeError, match="cannot be sent to another process"),
    ):
        fail.explore(lambda: None, executor=executor)


class Stuck(Executor):
    """Runs the first, and never another one."""

    def __init__(self) -> None:
        self.first = True

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.first:
            future.set_result(fn(*args, **kwargs))
        self.first = False
        return future


def test_workers_that_do_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "_GRACE", 0.1)
    report = fail.explore(body, points="runs.*", executor=Stuck(), timeout=0.05)
    assert "no worker of the executor has answered for 0.3 s" in str(report.stopped)
    assert set(report.counts) == {"crashed"}


class Silent(Stuck):
    def __init__(self) -> None:
        self.first = False


def test_workers_that_never_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "_GRACE", 0.1)
    report = fail.explore(body, points="runs.*", executor=Silent(), timeout=0.05)
    assert "no worker of the executor has answered" in str(report)
    with pytest.raises(TimeoutError):
        report.raise_for_failures()


# --- what is kept ---


class State:
    """Something that a body works with."""


def alive(*types: type) -> int:
    gc.collect()
    return sum(isinstance(each, types) for each in gc.get_objects())


def ways() -> list[Any]:
    async def arun(explored: Callable[[], None], **options: Any) -> fail.Report:
        async def awaited() -> None:
            explored()

        return await fail.aexplore(awaited, **options)

    return [
        pytest.param(fail.explore, id="in the main thread"),
        pytest.param(lambda *args, **options: in_thread(fail.explore, *args, **options), id="in a thread"),
        pytest.param(lambda *args, **options: asyncio.run(arun(*args, **options)), id="under asyncio"),
        pytest.param(lambda *args, **options: trio.run(lambda: arun(*args, **options)), id="under trio"),
    ]


def in_thread(call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(functools.partial(call, *args, **options)).result()


@pytest.mark.parametrize("explore", ways())
@pytest.mark.parametrize("end", ["passes", "fails", "escapes"])
def test_a_case_keeps_nothing_but_itself(
    name: str, explore: Callable[..., fail.Report], end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observing, "now", ())  # the plugin remembers the last thousand hits of a test
    states = []

    def explored() -> None:
        state = State()
        states.append(weakref.ref(state))
        try:
            for _ in range(3):
                fail.point(name).hit()
        except OSError:
            if end == "fails":
                raise ValueError("lost") from None
            if end == "escapes":
                raise

    # Instances live as long as who gave them.
    faults = [OSError(number, "given") for number in range(10)]
    before = alive(Probe, Hit, Activation)
    report = explore(explored, points={name: faults}, may_escape=end == "escapes")
    assert sum(report.counts.values()) == 30
    assert alive(Probe, Hit, Activation) <= before  # what another test has left may go meanwhile
    assert [state() for state in states] == [None] * len(states)
    if end == "passes":
        assert [each.__traceback__ for each in faults] == [None] * 10


def test_tracebacks_are_kept_of_so_many_failures(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_exploration, "_TRACEBACKS", 4)

    def explored() -> None:
        for _ in range(10):
            with fail.point(name):
                pass

    report = fail.explore(explored, points=name)
    errors = [case.error for case in report.cases]
    assert [error is not None and error.__traceback__ is not None for error in errors] == [True] * 4 + [
        False
    ] * 6
    assert all("in explored" in case.traceback for case in report.cases)


def test_the_faults_of_a_point_are_looked_up_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(_suspects, "faults_of", lambda name: asked.append(name) or faults_of(name))
    compared = []
    same = Terms.__eq__

    def __eq__(one: Terms, other: object) -> bool:
        compared.append(one)
        return same(one, other)

    monkeypatch.setattr(Terms, "__eq__", __eq__)

    point = fail.point(name, faults=tuple(f"raise(OSError({number}))" for number in range(5)))

    def explored() -> None:
        for _ in range(4):
            with suppress(OSError):
                point.hit()

    assert fail.explore(explored, points=name, depth=2).counts == {"passed": 20 + 6 * 25}
    assert asked == [name]
    # Those of one point with each other, and not those of one case with those of another.
    assert len(compared) < 5 * 20  # of 170 cases; some more where hashes happen to meet


def test_a_pair_that_is_met_from_both_sides_is_run_once(name: str) -> None:
    runs = iter(range(100))
    orders = {0: "ab", 1: "ab", 2: "ba"}  # not deterministic, as where threads race

    def explored() -> None:
        for each in orders.get(next(runs), "ab"):
            with suppress(OSError), fail.point(f"{name}.{each}", faults=("raise(EIO)",)):
                pass

    report = fail.explore(explored, points=f"{name}*", depth=2)
    assert [case.terms.count("raise") for case in report.cases] == [1, 1, 2]


# --- a bar ---


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("has_rich", [True, False])
def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch, has_rich: bool) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    if not has_rich:
        monkeypatch.setattr(_progress, "find_spec", lambda name: None)
    fail.explore(body, points="runs.*")
    assert "exploring" in terminal.getvalue()
    terminal.truncate(0)
    fail.explore(body, points="runs.*", progress=False)
    assert "exploring" not in terminal.getvalue()


def test_quiet_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    fail.explore(body, points="runs.*")
    assert capsys.readouterr() == ("", "")


# --- points of the operating system in workers ---


def makes() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "new").mkdir()


def attaches() -> None:
    with fail.attach_posix("posix/io/mkdir"):
        makes()


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_have_what_is_attached(method: str) -> None:
    with (
        fail.attach_posix("posix/io/mkdir"),
        ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor,
    ):
        report = fail.explore(makes, points="posix/*", may_escape=True, executor=executor, limit=3)
    assert dict(report.points) == {"posix/io/mkdir": 2}
    assert report.counts == {"passed": 1, "escaped": 2}  # tempfile has survived the first


def test_a_worker_takes_away_what_it_has_attached() -> None:
    was = os.mkdir
    _, rules = prepared(points="posix/*")
    outcome = run_remotely(makes, Schedule(), replace(rules, attached=("posix/io/mkdir",)))
    assert outcome.names == ("posix/io/mkdir", "posix/io/mkdir")
    assert os.mkdir is was


def test_what_is_attached_by_the_body_has_no_faults() -> None:
    with pytest.raises(fail.FailpointError, match=r"'posix/io/mkdir' was detached before the body ended"):
        fail.explore(attaches, points="posix/*")


# --- what is said of a failure ---


def test_what_a_failure_says_is_what_it_said_then(name: str) -> None:
    seen: list[str] = []

    def body() -> None:
        seen.clear()
        try:
            fail.point(name).hit()
        except fail.Injected:
            seen.append("failed")
        if seen:
            raise AssertionError(seen)  # pytest would make text of it at once

    (case,) = fail.explore(body, points=name).failures
    assert str(case.error) == "[]"  # after the last run, which has gone well
    assert case.why.startswith("AssertionError: ['failed']")
    assert case.as_json()["error"] == case.why
