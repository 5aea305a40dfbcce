"""Exploring: one run of a body for every hit and fault, and a report that says what each came to."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from failpy import _bodyrun, _timelimit, fail, failpoint
from failpy._agenda import Bounds
from failpy._config import config
from failpy._context import Layer, current, set_current
from failpy._exploration import Exploration
from failpy._explore import prepared
from failpy._faults import persisting, schedule_terms
from failpy._probe import Probe
from failpy._registry import armed, declared


@pytest.fixture
def alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def outcomes(report: fail.Report) -> dict[str, str]:
    return {case.terms: case.outcome for case in report.cases}


# --- finding hits and faults ---


def test_each_hit_gets_each_fault(name: str) -> None:
    write = failpoint(name, faults=("raise(ENOSPC)", "raise(EIO)"))(list[int].append)
    runs = []

    def body() -> None:
        done: list[int] = []
        for number in range(2):
            try:
                write(done, number)
            except OSError as error:
                runs.append(error.errno)

    report = fail.explore(body, points=name)
    assert outcomes(report) == {
        f"{name}=1*raise(ENOSPC)": "passed",
        f"{name}=1*raise(EIO)": "passed",
        f"{name}=1*off->1*raise(ENOSPC)": "passed",
        f"{name}=1*off->1*raise(EIO)": "passed",
    }
    assert runs == [errno.ENOSPC, errno.EIO] * 2
    assert (report.failures, report.stopped, report.problem, report.points) == ((), None, None, {name: 2})
    report.raise_for_failures()
    assert armed() == {}


def test_points_are_found_that_are_declared_while_the_body_runs(name: str) -> None:
    def body() -> None:
        for _ in range(2):
            with fail.point(f"{name}.late"):
                pass

        @failpoint(f"{name}.nested")
        def nested() -> None: ...

        nested()

    report = fail.explore(body, points=f"{name}.*", may_escape=True)
    assert list(outcomes(report)) == [
        f"{name}.late=1*raise", f"{name}.late=1*off->1*raise", f"{name}.nested=1*raise",
    ]  # fmt: skip
    assert set(outcomes(report).values()) == {"escaped"}


def test_returns_and_given_faults(name: str) -> None:
    @failpoint(name, returns=bool)
    def is_there() -> bool:
        return True

    assert list(outcomes(fail.explore(is_there, points=name))) == [
        f"{name}=1*raise", f"{name}=1*return(False)", f"{name}=1*return(True)",
    ]  # fmt: skip
    faults = [OSError(28, "full"), "sleep(1)->return(False)"]
    assert len(fail.explore(is_there, points=name, faults=faults).cases) == 2
    assert len(fail.explore(is_there, points={name: ["raise"]}).cases) == 1


def test_faults_that_would_end_the_process_are_left_out(name: str) -> None:
    crash = failpoint(name, faults=("kill", "exit(3)"))(lambda: None)
    report = fail.explore(crash, points=name)
    assert report.cases == ()
    assert "would end or halt the process" in str(report)
    with pytest.raises(ValueError, match="begins with hits that pass: which hit it is for is decided by"):
        fail.explore(lambda: None, faults=["3*off->raise"])
    with pytest.raises(ValueError, match="would end or halt"):
        fail.explore(crash, points={name: ["kill"]})


def test_what_is_armed_around_it_stays_as_it_is(name: str) -> None:
    @failpoint(name, returns=str)
    def read() -> str:
        return "real"

    seen = []

    def body() -> None:
        seen.append(read())
        fail.point(f"{name}.other").hit()

    with fail.scope({name: 'return("outer")'}):
        report = fail.explore(body, points=f"{name}*", may_escape=True)
    assert set(seen) == {"outer"}
    assert list(outcomes(report)) == [f"{name}.other=1*raise"]
    assert f"failpoint '{name}' was left alone" in str(report)


def test_an_exploration_in_an_exploration(name: str) -> None:
    point = fail.point(name)

    def body() -> None:
        inner = fail.explore(lambda: point.hit() and None, points=name, may_escape=True)
        assert inner.recording is not None
        # What the outer one injects is for the run that injects nothing itself.
        assert inner.recording.failed or inner.counts == {"escaped": 1}

    assert fail.explore(body, points=name).counts == {"passed": 1}


def test_a_point_that_an_inner_scope_arms_is_decided_there(name: str) -> None:
    def body() -> None:
        with fail.scope({name: "off"}):
            fail.point(name).hit()

    body()
    report = fail.explore(body, points=name)
    assert str(report.problem).startswith(f"the body did not hit the one failpoint that matches '{name}'")


def test_faults_that_do_not_fit_are_an_error_before_the_first_case(name: str) -> None:
    @failpoint(name, returns=int)
    def count() -> int:
        return 1

    with pytest.raises(fail.ReturnTypeError, match=name):
        fail.explore(count, points=name, faults=["return('x')"])
    with pytest.raises(fail.TermSyntaxError, match=f"failpoint '{name}'"):
        fail.explore(count, points=name, faults=["raise(nowhere.to.be.Found)"])
    assert armed() == {}


# --- the tree ---


def retrying(name: str) -> Callable[[], None]:
    @failpoint(f"{name}.send", faults=("raise(EIO)",))
    def send() -> None: ...

    def body() -> None:
        for _ in range(2):
            try:
                return send()
            except OSError:
                with fail.point(f"{name}.retry", faults=("raise(EAGAIN)",)):
                    pass
        raise AssertionError("gave up")

    return body


def test_depth_goes_on_into_the_handling_of_a_fault(name: str) -> None:
    body = retrying(name)
    assert list(outcomes(fail.explore(body, points=f"{name}*"))) == [f"{name}.send=1*raise(EIO)"]
    report = fail.explore(body, points=f"{name}*", depth=2)
    assert outcomes(report) == {
        f"{name}.send=1*raise(EIO)": "passed",
        f"{name}.send=1*raise(EIO);{name}.retry=1*raise(EAGAIN)": "failed",
        f"{name}.send=1*raise(EIO)->1*raise(EIO)": "failed",
    }
    assert [case.why for case in report.failures] == [
        "BlockingIOError: [Errno 11] Resource temporarily unavailable", "AssertionError: gave up",
    ]  # fmt: skip
    deepest = fail.explore(body, points=f"{name}*", depth=5)
    assert outcomes(deepest) == outcomes(report)  # the body has said what it had to say


def test_persistent_faults_are_tried_where_they_make_a_difference(name: str) -> None:
    body = retrying(name)
    report = fail.explore(body, points=f"{name}.send", persistent=True)
    assert outcomes(report) == {f"{name}.send=1*raise(EIO)": "passed", f"{name}.send=raise(EIO)": "failed"}

    def patient() -> None:
        try:
            body()
        except (AssertionError, OSError):
            pass

    deeper = fail.explore(patient, points=f"{name}*", persistent=True, depth=2)
    assert f"{name}.send=raise(EIO);{name}.retry=1*raise(EAGAIN)" in outcomes(deeper)


def test_what_fails_with_fewer_faults_is_said(name: str) -> None:
    @failpoint(name, faults=("raise(EIO)",))
    def write() -> None: ...

    def body() -> None:
        for _ in range(2):
            try:
                write()
            except OSError:
                pass
        with fail.point(f"{name}.end", returns=str, faults=("return('x')",)) as hit:
            assert not hit, "always"

    report = fail.explore(body, points=f"{name}*", depth=2, persistent=True)
    (group,) = report.distinct
    assert group[0].text == f'{name}.end=1*return("x")'
    assert {case.simpler for case in group[1:]} == {f'{name}.end=1*return("x")'}
    assert "alike:" in str(report)
    assert "fails alike with less: " in report.html()


def test_a_persistent_case_that_fails_as_the_single_one_does_is_simpler(name: str) -> None:
    @failpoint(name, returns=str, faults=("return('x')",))
    def read() -> str:
        return ""

    def body() -> None:
        assert not any([read(), read()])

    report = fail.explore(body, points=name, persistent=True)
    stays = next(case for case in report.cases if case.terms == f'{name}=return("x")')
    assert stays.simpler == f'{name}=1*return("x")'


def test_a_fault_that_stays_may_be_met_very_often(name: str) -> None:
    def body() -> None:
        for _ in range(1500):
            try:
                fail.point(name).hit()
            except fail.Injected:
                continue
            return

    report = fail.explore(body, points=name, persistent=True)
    once, stays = report.cases
    assert (once.hits, stays.terms, stays.hits, stays.outcome) == (2, f"{name}=raise", 1500, "passed")
    assert len(stays.endings) == 21
    assert stays.endings[-1] == "and 1,480 more"


def test_a_second_fault_after_very_many_of_the_first(name: str) -> None:
    """Of the first 1,000 it is told what became of them; the second one was injected all the same."""
    after = f"{name}.after"

    def body() -> None:
        for point in [name] * 1500 + [after]:
            try:
                fail.point(point).hit()
            except fail.Injected:
                continue
            return

    report = fail.explore(body, points=[name, after], persistent=True, depth=2)
    found = {case.terms: case for case in report.cases}
    both = found[f"{name}=raise;{after}=1*raise"]
    assert (both.outcome, both.hits, both.endings[-1]) == ("passed", 1501, "and 1,481 more")
    assert report.counts == {"passed": len(found)}


def test_terms_that_stay() -> None:
    chain = schedule_terms({2: fail.parse("2*raise(EAGAIN)->raise(EIO)")})
    assert str(persisting(chain)) == "1*off->2*raise(EAGAIN)->raise(EIO)"


def test_equal_and_empty_faults_are_tried_once(name: str) -> None:
    report = fail.explore(hitting(name, 1), points=name, faults=["raise", fail.Raise(), "0*raise", "off"])
    assert outcomes(report) == {f"{name}=1*raise": "passed", f"{name}=1*off": "missed"}


# --- bounds ---


def hitting(name: str, times: int = 5) -> Callable[[], None]:
    def body() -> None:
        for _ in range(times):
            try:
                fail.point(name).hit()
            except fail.Injected:
                pass

    return body


def test_a_limit_is_honoured_and_said(name: str) -> None:
    report = fail.explore(hitting(name), points=name, limit=2)
    assert len(report.cases) == 2
    assert report.stopped == "the limit of 2 cases was reached; 3 more cases known"
    assert str(report).endswith("stopped: the limit of 2 cases was reached; 3 more cases known")
    assert fail.explore(hitting(name), points=name, limit=5).stopped is None
    assert fail.explore(hitting(name, 2), points=name, limit=1).stopped == (
        "the limit of 1 case was reached; 1 more case known"
    )


def test_a_budget_is_honoured_and_said(name: str) -> None:
    def body() -> None:
        hitting(name)()
        time.sleep(0.02)

    report = fail.explore(body, points=name, budget=0.01)
    assert len(report.cases) < 5
    assert report.stopped is not None
    assert report.stopped.startswith("the budget of 0.01 s was used up; ")


def test_a_seed_draws_the_order(name: str) -> None:
    body = hitting(name, 30)
    orders = {seed: list(outcomes(fail.explore(body, points=name, seed=seed))) for seed in (None, 1, 2)}
    assert sorted(orders[1]) == sorted(orders[2]) == sorted(orders[None])
    assert len({tuple(order) for order in orders.values()}) == 3
    assert list(outcomes(fail.explore(body, points=name, seed=1))) == orders[1]


# --- what a case comes to ---


def test_what_became_of_each_fault(name: str) -> None:
    step = fail.point(name, faults=("raise(EIO)",))

    def handles() -> None:
        try:
            step.hit()
        except OSError:
            pass

    def body() -> None:
        handles()
        try:
            step.hit()
        except OSError as error:
            raise ValueError("wrapped") from error
        threading.Thread(target=step.hit, name="worker").start()
        time.sleep(0.01)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "excepthook", lambda args: None)
        report = fail.explore(body, points=name)
    handled, wrapped, died = report.cases
    assert handled.endings[0].startswith(f"{name} #1 1*raise(EIO): handled by ")
    assert "handles (" in handled.endings[0]
    assert handled.outcome == "passed"
    assert wrapped.endings == (
        f"{name} #2 1*raise(EIO): became the cause of ValueError, which reached the test",
    )
    assert (wrapped.outcome, wrapped.why, wrapped.is_fault) == ("failed", "ValueError: wrapped", False)
    assert died.endings == (f"{name} #3 1*raise(EIO): died in thread 'worker'",)
    assert (died.outcome, died.why, died.is_fault) == (
        "failed",
        "OSError: [Errno 5] Input/output error",
        False,
    )
    assert not fail.explore(body, points=name, limit=1).failures


def test_several_threads_that_die(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    step = fail.point(name, faults=("2*raise(EIO)",))

    def body() -> None:
        threads = [threading.Thread(target=lambda: step.hit()) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    case = fail.explore(body, points=name).cases[0]
    assert case.why == "ExceptionGroup: 2 failures in a failpy scope (2 sub-exceptions)"
    assert case.where.startswith(__file__)


def test_what_may_escape(name: str) -> None:
    step = fail.point(name, faults=("raise(EIO)",))

    def plain() -> None:
        step.hit()

    def wrapping() -> None:
        try:
            step.hit()
        except OSError as error:
            raise RuntimeError from error

    def grouping() -> None:
        try:
            step.hit()
        except OSError as error:
            raise ExceptionGroup("several", [error]) from None

    def asserting() -> None:
        try:
            step.hit()
        except OSError:
            raise AssertionError from None

    def verdict(body: Callable[[], None], may_escape: Any = False) -> str:
        return fail.explore(body, points=name, may_escape=may_escape).cases[0].outcome

    assert [verdict(body) for body in (plain, wrapping, grouping)] == ["failed"] * 3
    assert [verdict(body, True) for body in (plain, wrapping, grouping)] == ["escaped", "failed", "escaped"]
    assert [verdict(body, OSError) for body in (plain, wrapping, grouping)] == [
        "escaped",
        "failed",
        "escaped",
    ]
    assert verdict(plain, (KeyError, ValueError)) == "failed"
    assert verdict(wrapping, (OSError, RuntimeError)) == "escaped"
    assert verdict(asserting, OSError) == "failed"
    report = fail.explore(plain, points=name)
    assert "the injected exception came out of the body" in str(report)


@pytest.mark.parametrize(
    "fault", ["panic", "raise(KeyboardInterrupt)", "raise(SystemExit(3))", "raise(GeneratorExit)"]
)
def test_faults_that_are_no_exception(name: str, fault: str) -> None:
    report = fail.explore(lambda: fail.point(name).hit() and None, points={name: [fault]})
    assert outcomes(report) == {f"{name}=1*{fault}": "failed"}
    with pytest.raises(BaseExceptionGroup) as raised:
        report.raise_for_failures()
    assert not isinstance(raised.value, ExceptionGroup)


def test_one_instance_that_every_case_raises(name: str) -> None:
    error = OSError(28, "full")

    def body() -> None:
        fail.point(name).hit()
        fail.point(name).hit()

    report = fail.explore(body, points={name: [error]})
    assert all(len(case.traceback.splitlines()) < 20 for case in report.cases)
    assert len({case.where for case in report.cases}) == 2
    with pytest.raises(ExceptionGroup) as raised:
        report.raise_for_failures()
    assert [type(each) for each in raised.value.exceptions] == [OSError, fail.Failure]


def test_terms_that_text_cannot_say(name: str) -> None:
    class Own(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    report = fail.explore(lambda: fail.point(name).hit() and None, points={name: [Own(object())]})
    (case,) = report.failures
    assert case.text is None
    assert "which cannot be shown" in case.why
    assert "no text says these terms: fail.scope(Schedule(" in str(report)
    assert json.loads(report.json())["cases"][0]["terms"] is None
    with pytest.raises(Own), fail.scope(case.schedule):
        fail.point(name).hit()


def test_the_failures_reproduce(name: str) -> None:
    body = retrying(name)
    report = fail.explore(body, points=f"{name}*", depth=2, persistent=True)
    assert report.failures
    for case in report.failures:
        assert case.text is not None
        with pytest.raises(type(case.error)), fail.scope(case.text):
            body()


def test_the_report_as_text_group_and_json(name: str) -> None:
    body = retrying(name)
    report = fail.explore(body, points=f"{name}*", depth=2)
    text = f"{name}.send=1*raise(EIO)->1*raise(EIO)"
    assert f"FAILPY_FAILPOINTS='{text}'" in str(report)
    assert repr(report) == "<Report: 3 cases of 1 failpoint: 1 passed, 2 failed>"
    assert str(report.cases[0]) == f"{name}.send=1*raise(EIO): passed"
    assert str(report.cases[2]) == f"{text}: failed: AssertionError: gave up"
    with pytest.raises(ExceptionGroup, match=r"2 of 3 explored cases failed") as raised:
        report.raise_for_failures()
    notes = [note for error in raised.value.exceptions for note in error.__notes__]
    assert notes.count(f"failed with FAILPY_FAILPOINTS='{text}'") == 1
    with pytest.raises(ExceptionGroup):
        report.raise_for_failures()
    assert notes == [note for error in raised.value.exceptions for note in error.__notes__]
    data = json.loads(report.json())
    assert data["counts"] == {"passed": 1, "failed": 2}
    assert data["cases"][2]["terms"] == text
    assert data["recording"]["outcome"] == "passed"


def test_the_report_as_a_page(name: str) -> None:
    body = retrying(name)
    report = fail.explore(body, points=f"{name}*", depth=2, persistent=True, seed=1)
    page = report.html()
    assert page.startswith("<!doctype html>")
    assert "AssertionError: gave up" in page
    assert "seed 1" in page
    assert "stopped: the limit" in fail.explore(body, points=f"{name}*", depth=2, limit=1).html()
    assert "<script" not in page
    runs = iter(range(100))

    def odd() -> None:
        number = next(runs)
        fail.point(f"{name}.odd{min(number, 1)}", faults=(OSError(1, "<b>&"), "sleep(0)")).hit()
        fail.point(f"{name}.odd", faults=(OSError(object()),)).hit()
        assert number != 2, "<b>flaky"

    page = fail.explore(odd, points=f"{name}.odd*", depth=2).html()
    for words in ("&lt;b&gt;flaky", "flaky: when it was run", "diverged: ", "no text says"):
        assert words in page, words
    assert "<b>" not in page
    assert "did not hit the one" in fail.explore(lambda: None, points=f"{name}.odd").html()
    assert "without any fault: ZeroDivisionError" in fail.explore(lambda: 1 / 0).html()
    assert "did not end" in fail.Report(()).html()


def test_many_that_fail_alike_are_told_once(name: str) -> None:
    def body() -> None:
        for _ in range(9):
            fail.point(name).hit()

    report = fail.explore(body, points=name)
    assert "and 5 more" in str(report)
    with pytest.raises(ExceptionGroup) as raised:
        report.raise_for_failures()
    assert "8 more fail alike" in raised.value.exceptions[0].__notes__


# --- bad input ---


def test_a_body_that_hits_nothing(name: str) -> None:
    for number in range(7):
        fail.point(f"{name}.{number}")
    report = fail.explore(lambda: None, points=f"{name}.*")
    assert "the body hit none of the 7 failpoints that match" in str(report)
    assert "and 2 more; let it run the code behind one" in str(report)
    with pytest.raises(fail.FailpointError, match="hit none"):
        report.raise_for_failures()


@pytest.mark.parametrize(
    ("points", "complaint"),
    [("nope.write", "no code has declared a failpoint 'nope.write'"),
     ("nope*", "no failpoint matches 'nope*'"),
     (["nope.a", "nope.b"], "no failpoint matches 'nope.a', 'nope.b'")],
)  # fmt: skip
def test_a_pattern_that_matches_no_point(points: Any, complaint: str) -> None:
    report = fail.explore(lambda: None, points=points)
    assert complaint in str(report)
    with pytest.raises(fail.UnknownFailpoint):
        report.raise_for_failures()


def test_a_body_that_fails_by_itself(name: str) -> None:
    def body() -> None:
        fail.point(name).hit()
        raise LookupError("own")

    report = fail.explore(body, points=name)
    assert report.cases == ()
    assert "the body fails without any fault: LookupError: own" in str(report)
    with pytest.raises(LookupError, match="own") as raised:
        report.raise_for_failures()
    assert raised.value.__notes__ == ["the body fails without any fault, so there was nothing to explore"]


def test_a_body_that_never_ends(name: str, alarm: None) -> None:
    def body() -> None:
        try:
            fail.point(name).hit()
        except fail.Injected:
            while True:
                time.sleep(0.01)

    report = fail.explore(body, points=name, timeout=0.1)
    (case,) = report.cases
    assert (case.outcome, case.why) == (
        "timed out", "TimeoutError: the body did not end within 0.1 s, and was stopped",
    )  # fmt: skip
    assert case.where.startswith(__file__)
    report = fail.explore(partial(time.sleep, 9), points=name, timeout=0.05)
    assert "the body fails without any fault: TimeoutError" in str(report)


def test_a_timer_of_somebody_else_goes_on(name: str, alarm: None) -> None:
    rung = threading.Event()
    signal.signal(signal.SIGALRM, lambda *_: rung.set())
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    fail.explore(hitting(name), points=name, timeout=5)
    assert rung.wait(2)


def test_a_body_that_catches_everything_is_ended(
    name: str, alarm: None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Ended(BaseException): ...

    ended = []

    def end(code: int) -> None:
        ended.append(code)
        raise Ended

    monkeypatch.setattr(_timelimit, "_TRIES", 3)
    monkeypatch.setattr(_timelimit, "_AGAIN", 0.02)
    monkeypatch.setattr(_timelimit.os, "_exit", end)

    def stubborn() -> None:
        while not ended:
            try:
                time.sleep(1)
            except BaseException:
                pass

    _timelimit.within(0.05, stubborn)
    assert ended[0] == 1
    assert "caught every exception that was to stop it" in capfd.readouterr().err


def test_the_timer_that_rings_too_late_does_nothing(alarm: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        _timelimit.signal, "setitimer", lambda *_: (signal.raise_signal(signal.SIGALRM), (0.0, 0.0))[1]
    )
    with pytest.raises(_timelimit.TimeUp):
        _timelimit.within(5, lambda: None)


def test_in_another_thread_a_body_that_never_ends_is_left_behind(name: str) -> None:
    over = threading.Event()

    def body() -> None:
        try:
            fail.point(name).hit()
        except fail.Injected:
            over.wait(30)

    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(fail.explore, body, points=name, timeout=0.1).result()
        assert pool.submit(fail.explore, hitting(name), points=name).result().counts == {"passed": 5}
    over.set()
    assert [case.outcome for case in report.cases] == ["timed out"]


def test_without_a_timeout(name: str) -> None:
    assert fail.explore(hitting(name), points=name, timeout=None).counts == {"passed": 5}


def test_a_body_that_passes_only_sometimes(name: str) -> None:
    runs = iter(range(100))

    def body() -> None:
        number = next(runs)
        fail.point(f"{name}.{number % 2}").hit()
        fail.point(f"{name}.end", returns=str).hit()
        assert number != 1, "now and then"

    report = fail.explore(body, points=f"{name}*", may_escape=True, faults=["sleep(0)"])
    first = report.cases[0]
    assert (first.outcome, first.again, first.flaky) == ("failed", "passed", True)
    assert "flaky: it passed when it was run once more" in str(report)
    assert report.diverged
    assert "hit 1 of " in str(first.divergence)
    assert "the body is not deterministic" in str(report)


def test_a_fault_that_is_never_injected_is_missed(name: str) -> None:
    runs = iter(range(100))

    def body() -> None:
        for _ in range(2 if next(runs) == 0 else 1):
            fail.point(name).hit()

    report = fail.explore(body, points=name, faults=["sleep(0)"])
    assert [case.outcome for case in report.cases] == ["passed", "missed"]
    missed = report.cases[1]
    assert not missed.failed
    assert missed.divergence == (
        f"hit 2 of '{name}', at which sleep(0) was due, did not happen: "
        f"hit 2 was to be '{name}', and there was none"
    )
    assert "missed: " in str(report)


@pytest.mark.parametrize(
    ("later", "words"), [("bac", "the same hits came in another order"), ("dac", "other hits came than")]
)
def test_hits_in_another_order_are_named(name: str, later: str, words: str) -> None:
    orders = iter(["abc"] + [later] * 9)

    def body() -> None:
        for each in next(orders):
            fail.point(f"{name}.{each}").hit()

    report = fail.explore(body, points=f"{name}*", faults=["sleep(0)"])
    assert words in str(report.cases[2].divergence)


def test_what_a_case_spoils_for_the_next_is_noticed(name: str) -> None:
    state: list[int] = []

    def body() -> None:
        assert not state
        try:
            fail.point(name).hit()
        except fail.Injected:
            state.append(1)
            raise

    report = fail.explore(body, points=name)
    assert "after the cases, the body fails with nothing armed" in str(report)
    assert not report.cases[0].flaky


def test_a_body_that_leaks(name: str) -> None:
    over = threading.Event()

    def body() -> None:
        threading.Thread(target=over.wait, name="leaky", daemon=True).start()
        threading.Thread(target=time.sleep, args=(0.01,)).start()
        fail.scope({f"{name}.x": "off"}).__enter__()
        fail.enable(f"{name}.y", "off")
        fail.point(name).hit()

    before = current()
    report = fail.explore(body, points=name, may_escape=True)
    over.set()
    assert current() is before
    leaks = " ".join(report.cases[0].leaks)
    assert f"<Scope open: {name}.x=off> was left open" in leaks
    assert "thread 'leaky' still runs" in leaks
    assert f"failpoint '{name}.y' was left armed for the process" in leaks
    assert f"left behind by {name}=1*raise" in str(report)
    assert armed() == {}


def test_a_layer_that_is_no_scope_is_no_leak(name: str) -> None:
    def body() -> None:
        fail.point(name).hit()
        set_current(Layer(parent=current()))

    report = fail.explore(body, points=name, may_escape=True)
    assert report.recording is not None
    assert report.recording.leaks == ()


def test_many_that_leak_are_counted(name: str) -> None:
    def body() -> None:
        fail.enable(f"{name}.y", "off")
        hitting(name, 2)()

    assert "  and by 1 more" in str(fail.explore(body, points=name))


def test_a_body_that_calls_exit(name: str) -> None:
    def body() -> None:
        try:
            fail.point(name).hit()
        except fail.Injected:
            os._exit(3)

    before = os._exit
    report = fail.explore(body, points=name)
    (case,) = report.cases
    assert case.outcome == "exited"
    assert case.why == "Exited: the body called os._exit(3), which would have ended this process"
    assert os._exit is before
    with pytest.raises(BaseExceptionGroup):
        report.raise_for_failures()


def test_a_forked_child_may_exit(name: str) -> None:
    def body() -> None:
        child = os.fork()
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        fail.point(name).hit()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        assert fail.explore(body, points=name, may_escape=True).counts == {"escaped": 1}


def test_an_exit_in_a_muted_block_and_outside(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(hit: Any) -> None:
        os._exit(4)

    exits = []
    monkeypatch.setattr(os, "_exit", exits.append)

    def body() -> None:
        with pytest.raises(AssertionError, match="survived"):
            before = current()
            set_current(fail._context.process)  # type: ignore[attr-defined]
            try:
                os._exit(5)
            finally:
                set_current(before)
        fail.point(name).hit()

    report = fail.explore(body, points={name: [fail.Call(call)]})
    assert exits == [5, 5, 5]
    assert [case.outcome for case in report.cases] == ["exited"]


def test_ctrl_c_gives_the_report_so_far(name: str) -> None:
    runs = iter(range(100))

    def body() -> None:
        if next(runs) == 2:  # the second case
            raise KeyboardInterrupt
        fail.point(name).hit()

    def twice() -> None:
        body()
        fail.point(name).hit()

    report = fail.explore(twice, points=name, may_escape=True)
    assert len(report.cases) == 1
    assert report.stopped == "interrupted; 1 more case known"
    with pytest.raises(KeyboardInterrupt):
        report.raise_for_failures()
    assert armed() == {}


def test_ctrl_c_before_anything_ended(name: str) -> None:
    def body() -> None:
        raise KeyboardInterrupt

    report = fail.explore(body, points=name)
    assert "the run without a fault did not end" in str(report)


def test_ctrl_c_beside_the_body(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(_bodyrun, "within", interrupted)
    _, rules = prepared()
    exploration = Exploration(rules, Bounds(1, False, None, None, None))
    exploration.stop("first")
    exploration.stop("second")
    assert exploration.stopped == "first"
    assert fail.explore(hitting(name), points=name).stopped is not None
    assert armed() == {}


def test_ctrl_c_while_a_scope_closes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Probe, "finish", interrupted)
    assert fail.explore(hitting(name), points=name).stopped is not None
    assert armed() == {}


def test_an_async_body_is_refused(name: str) -> None:
    async def body() -> None: ...

    class Callable_:
        async def __call__(self) -> None: ...

    def generator() -> Iterator[None]:
        yield

    for each in (body, Callable_()):
        with pytest.raises(TypeError, match="aexplore"):
            fail.explore(each, points=name)
    with pytest.raises(TypeError, match="generator function"):
        fail.explore(generator, points=name)
    report = fail.explore(lambda: body(), points=name)
    assert "use `await fail.aexplore(...)` for async code" in str(report)


def test_failures_that_a_body_reports(name: str) -> None:
    def body() -> None:
        scope = fail.current_scope()
        assert scope is not None
        try:
            fail.point(name).hit()
        except fail.Injected:
            scope.fatal("lost")

    (case,) = fail.explore(body, points=name).cases
    assert case.outcome == "failed"
    assert "lost" in case.traceback


def test_tracebacks_that_cannot_be_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override]
            raise RuntimeError

    monkeypatch.setattr("traceback.TracebackException.from_exception", lambda error: 1 / 0)
    (case,) = fail.explore(lambda: fail.point(name).hit() and None, points=name).cases
    assert case.traceback == "Injected, which cannot be shown"


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"depth": 0}, ValueError, "depth must be at least 1"),
        ({"depth": True}, TypeError, "depth must be an integer"),
        ({"limit": 0}, ValueError, "limit must be at least 1"),
        ({"budget": 0}, ValueError, "budget must be a positive number"),
        ({"timeout": "1"}, TypeError, "timeout must be a number of seconds"),
        ({"seed": "1"}, TypeError, "seed must be an int"),
        ({"persistent": 1}, TypeError, "persistent must be True or False"),
        ({"may_escape": "OSError"}, TypeError, "may_escape must be True, False, or classes"),
        ({"may_escape": (OSError, int)}, TypeError, "may_escape must be"),
        ({"points": ()}, ValueError, "names no failpoint"),
        ({"points": {"a": ["raise"]}, "faults": ["raise"]}, TypeError, "not in both"),
        ({"faults": "raise"}, TypeError, "must be a list"),
        ({"body": 3}, TypeError, "body must be a callable"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        fail.explore(**{"body": lambda: None, **arguments})


def test_off_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "enabled", False)
    with pytest.raises(fail.FailpointError, match="FAILPY=off"):
        fail.explore(lambda: None)


def test_bodies_of_every_shape_are_the_test_that_faults_reach(name: str) -> None:
    class Body:
        def method(self) -> None:
            try:
                fail.point(name).hit()
            except fail.Injected:
                pass

        __call__ = method

    for body in (Body().method, Body(), partial(Body.method, Body())):
        (case,) = fail.explore(body, points=name).cases
        assert case.endings == (f"{name} #1 1*raise: reached the test",)
    assert _bodyrun.code_of(len) is None
    assert declared(name) is not None
    assert sys.exception() is None


# --- points of the operating system ---


def test_what_points_of_the_operating_system_do_not_see(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for number in range(5):
        early = types.ModuleType(f"explore_early_{number}")
        early.__dict__["swap"] = os.rename
        monkeypatch.setitem(sys.modules, early.__name__, early)

    def rename() -> None:
        tmp_path.rename(tmp_path)

    with fail.attach_posix("posix/io/rename", "posix/io/mkdir"):
        for report in (
            fail.explore(rename, points="posix/*", may_escape=True),
            fail.explore_crashes(rename, print, points="posix/*", method="fork"),
        ):
            (note,) = [each for each in report.notes if each.startswith("calls past the points")]
            assert re.search(r" is os\.rename, imported by name before, .* and \d+ more$", note)
        others = fail.explore((tmp_path / "new").mkdir, points="posix/io/mkdir", limit=1).notes
        assert "os.rename" not in str(others)


def test_points_that_stand_nowhere_any_more() -> None:
    with fail.attach_posix("posix/io/rename"):
        pass
    problem = fail.explore(lambda: None, points="posix/io/rename").problem
    assert "stands nowhere now, such as 'posix/io/rename', which was detached: attach it" in str(problem)
    problem = fail.explore(lambda: None, points="posix/none/*").problem
    assert str(problem).endswith("; put `with fail.attach_posix():` around the exploration")
