"""Exploring in pytest: a marker that runs a test once for every hit, each case a sub-test of its own."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import pytest

from failpy._bodyrun import run
from failpy._case import Case
from failpy._errors import Failure
from failpy._exploration import Exploration
from failpy._explore import prepared
from failpy._failures import note
from failpy._outcome import Rules
from failpy._schedule import Schedule

__all__ = ["EXPLORING", "SIGNATURE", "Explorer"]

EXPLORING = "explore_failpoints"
SIGNATURE = (
    f"{EXPLORING}(*, points='*', depth=1, faults=None, persistent=False, limit=None, budget=None, "
    "timeout=60.0, seed=None, may_escape=False, fresh=False): run the test as the body of fail.explore, "
    "each case a sub-test; with fresh=True each case has its function-scoped fixtures set up anew"
)
_EXPLORED = "failpoints_explored"


class Explorer:
    """Runs the tests that have the marker."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Refuse to pass over a marker in silence."""
        __tracebackhide__ = True
        if item.get_closest_marker(EXPLORING) is not None:
            function = getattr(item, "obj", None)
            if inspect.iscoroutinefunction(function):
                pytest.fail(
                    f"@pytest.mark.{EXPLORING} explores plain functions: in an async test, write "
                    "`(await fail.aexplore(body)).raise_for_failures()`",
                    pytrace=False,
                )
            if not isinstance(item, pytest.Function) or hasattr(item.cls, "assertEqual"):
                pytest.fail(
                    f"@pytest.mark.{EXPLORING} explores test functions, not those of {type(item).__name__}: "
                    "write `fail.explore(body).raise_for_failures()` in the test",
                    pytrace=False,
                )
        return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> object | None:
        """Explore the test instead of calling it once."""
        __tracebackhide__ = True
        mark = pyfuncitem.get_closest_marker(EXPLORING)
        if mark is None:
            return None
        fresh, exploration, rules = _read(mark)
        _explore(pyfuncitem, exploration, rules, fresh=fresh)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how far each exploration has come."""
        lines = [
            f"{report.nodeid}: {text}"
            for reports in terminalreporter.stats.values()
            for report in reports
            for name, text in getattr(report, "user_properties", ())
            if name == _EXPLORED and report.when == "call"
        ]
        if lines:
            terminalreporter.section("failpoints explored")
            for line in dict.fromkeys(lines):
                terminalreporter.write_line(line)


def _read(mark: pytest.Mark) -> tuple[bool, Exploration, Rules]:
    __tracebackhide__ = True
    options: dict[str, Any] = dict(mark.kwargs)
    try:
        if mark.args:
            raise TypeError("give its arguments by name")  # noqa: TRY301 - one place says how
        fresh = options.pop("fresh", False)
        if not isinstance(fresh, bool):
            raise TypeError(f"fresh must be True or False, not {fresh!r}")  # noqa: TRY301
        exploration, rules = prepared(**options)
    except TypeError as exc:
        said = str(exc).replace("prepared()", EXPLORING)
        raise TypeError(f"@pytest.mark.{EXPLORING}: {said}") from None
    # Fixtures are not set up anew between a run that fails and its repetition.
    return fresh, exploration, replace(rules, confirms=False)


def _explore(item: pytest.Function, exploration: Exploration, rules: Rules, *, fresh: bool) -> None:
    __tracebackhide__ = True

    def body() -> None:
        __tracebackhide__ = True
        names = item._fixtureinfo.argnames
        item.obj(**{name: item.funcargs[name] for name in names})

    home = item.obj
    recording = run(body, Schedule(), rules, home)
    exploration.begin(recording)
    if recording.error is not None:
        raise recording.error
    while (plan := exploration.next()) is not None:
        if fresh:
            _set_up_anew(item)
        with _subtests(item).test(msg=str(plan.schedule)):
            _judge(item, exploration.take(plan, run(body, plan.schedule, rules, home)))
    report = exploration.report()
    said = [report.summary, *report.notes]
    if report.stopped is not None:
        said.append(f"stopped: {report.stopped}")
    missed = sum(case.outcome == "missed" for case in report.cases)
    if report.diverged:
        said.append(
            f"{len(report.diverged)} diverged from the recording, {missed} of them never got their fault"
        )
    item.user_properties.append((_EXPLORED, "; ".join(said)))
    if report.problem is not None:
        raise report.problem


def _judge(item: pytest.Function, case: Case) -> None:
    __tracebackhide__ = True
    error = case.error
    if not case.failed or error is None:
        return
    if isinstance(error, KeyboardInterrupt | pytest.exit.Exception):  # injected, and no reason to end the run
        error = Failure(case.why)
    for each in (case.divergence, *case.leaks):
        if each is not None:
            note(error, each)
    if case.text is None:
        note(error, f"no text says these terms: fail.scope({case.schedule!r})")
    else:
        note(error, f"run it again: pytest {shlex.quote(item.nodeid)} --failpoints {shlex.quote(case.text)}")
    raise error


def _subtests(item: pytest.Function) -> Any:
    __tracebackhide__ = True
    try:
        return item._request.getfixturevalue("subtests")
    except pytest.FixtureLookupError:
        pytest.fail(f"@pytest.mark.{EXPLORING} needs the sub-tests of pytest 9", pytrace=False)


def _set_up_anew(item: pytest.Function) -> None:
    """Take down what is the test's own, and set it up again, as plugins do that repeat tests."""
    __tracebackhide__ = True
    state = item.session._setupstate
    state.teardown_exact(item.parent)  # type: ignore[arg-type]  # what the parent needs is kept
    item._initrequest()
    state.setup(item)
