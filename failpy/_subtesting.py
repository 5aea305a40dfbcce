"""Sub-tests: the cases of an exploration, as pytest sees them."""

from __future__ import annotations

import shlex
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
from failpy._trial import EXPLORED, EXPLORING, Trial

__all__ = ["explore_test"]


def explore_test(item: pytest.Function, mark: pytest.Mark) -> None:
    """Run a test as the body of an exploration, as its marker says.

    Raises:
        TypeError, ValueError, FailpointError: when that has arguments which `fail.explore` does not take, or
            there was nothing to explore.
        BaseException: what the test raises without a fault.
    """
    __tracebackhide__ = True
    fresh, exploration, rules = _read(mark)
    _explore(item, exploration, rules, fresh=fresh)


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
    running: Any = item.config.pluginmanager.get_plugin("failpy-run")
    trial: Trial = running.trial_of(item)
    recording = run(body, Schedule(), rules, home)
    exploration.begin(recording)
    if recording.error is not None:
        raise recording.error
    while (plan := exploration.next()) is not None:
        if fresh:
            _set_up_anew(item)
        trial.forget()
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
    item.user_properties.append((EXPLORED, "; ".join(said)))
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
