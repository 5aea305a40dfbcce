"""What the plugin and its collector do where other plugins, forks and searches get in the way."""

from __future__ import annotations

import atexit
import json
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from failpy import _collector, _environment, _failures, fail, failpoint
from failpy._actions import Step
from failpy._activation import Activation
from failpy._carrying import StandIn, original
from failpy._collector import Collector
from failpy._context import process
from failpy._hit import Hit
from failpy._observer import observing
from failpy._tally_file import gathered
from failpy._terms import Kill, Term, Terms
from failpy._trial import Trial

from .plugin_tools import alone, run, run_source, write


@pytest.fixture(autouse=True)
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)


def left(collector: Collector, name: str) -> Any:
    """What the collector has written down of this point."""
    [(tally, _)] = gathered(collector._folder)
    return tally[name]


def hit_of(name: str, term: Term) -> Hit[Any]:
    """A hit on which the term acts."""
    chain = Terms((term,))
    hit: Hit[Any] = Hit(Activation(name, chain, layer=process), (), {}, {})
    hit.step = Step(0, term, chain)
    return hit


# --- failures ---


def test_what_unittest_caught_is_told_with_what_the_scope_says(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        import unittest

        class Test(unittest.TestCase):
            @pytest.mark.failpoints
            def test_it(self):
                fail.current_scope().error("besides")
                self.fail("by itself")
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*AssertionError: by itself*", "*failpy.Failure: besides*"])


def test_what_stands_in_is_undone_within_groups() -> None:
    panic, other = fail.FailpointPanic("p"), ValueError("v")
    group = ExceptionGroup("both", [StandIn(panic), ExceptionGroup("inner", [StandIn(panic), other])])
    undone = original(group)
    assert isinstance(undone, BaseExceptionGroup)
    assert undone.exceptions[0] is panic
    assert undone.exceptions[1].exceptions == (panic, other)  # type: ignore[attr-defined]
    assert original(other) is other
    plain = ExceptionGroup("plain", [other])
    assert original(plain) is plain


def test_very_many_deaths_are_not_all_remembered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_failures, "_KEPT", 1)
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    errors = [ValueError("first"), ValueError("second")]

    def die(error: Exception) -> None:
        raise error

    with pytest.raises(ExceptionGroup), fail.scope():
        for error in errors:
            thread = threading.Thread(target=die, args=(error,))
            thread.start()
            thread.join()
        assert [_failures.is_recorded(error) for error in errors] == [False, True]


@pytest.mark.parametrize("argument", ["strict", "threads"])
def test_switches_of_a_scope_are_true_or_false(argument: str) -> None:
    with pytest.raises(TypeError, match=f"{argument} must be True or False, not 'no'"):
        fail.scope(**{argument: "no"})


def test_a_report_on_an_item_that_does_not_run(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_finish(session):
            for item in session.items:
                call = pytest.CallInfo.from_call(lambda: 1 / 0, when="setup")
                report = item.ihook.pytest_runtest_makereport(item=item, call=call)
                assert report.failed and not report.sections
        """
    )
    run_source(pytester, "def test_it(): pass").assert_outcomes(passed=1)


# --- scopes ---


def test_the_scope_of_a_wide_fixture_is_within_that_of_the_first_test(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.fixture(scope="module")
        def wide():
            with fail.scope({"plugin.other": "return('wide')"}) as scope:
                yield scope

        @pytest.mark.failpoints("plugin.value=return('marked')")
        def test_first(wide):
            assert (value(), other()) == ("marked", "wide")
            assert fail.current_scope() is wide

        def test_second(wide):
            assert (value(), other()) == ("body", "wide")
        """,
    )
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("inner", ["", "        fail.scope().__enter__()\n"])
def test_an_interrupt_closes_the_scope_wherever_the_test_was(pytester: pytest.Pytester, inner: str) -> None:
    outside = fail.current_scope()
    write(pytester, f"\n    def test_it(failpoints):\n{inner}        raise KeyboardInterrupt\n")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    here = fail.current_scope()
    if here is not None and here is not outside:
        here.close()  # it was left open within the test
        from failpy._context import set_current

        set_current(here.open_ancestor())
    assert fail.current_scope() is outside


def test_a_run_within_a_run_puts_the_terms_of_the_one_around_it_back(
    pytester: pytest.Pytester, name: str
) -> None:
    fail.enable(name, "2*off->print", when=lambda hit: True)
    write(pytester, "def test_it(): pass")
    run(pytester, f"--failpoints={name}=panic").assert_outcomes(passed=1)
    assert fail.status(name).terms == "2*off->print"


def test_a_hit_of_a_layer_that_is_gone_is_not_kept(request: pytest.FixtureRequest) -> None:
    trial = Trial(request.node)
    hit = hit_of("gone", Kill())
    trial.hit(hit, None)
    assert trial.trace() == []
    trial.abandon()


# --- the collector ---


def test_before_a_process_kills_itself_all_is_written(collector: Collector, name: str) -> None:
    fail.point(name)
    hit = hit_of(name, Kill())
    collector.hit(hit, None)
    assert left(collector, name).others == {"kill": 1}
    assert left(collector, name).sites


def test_terms_that_are_made_by_the_thousand_are_not_all_told_apart(
    collector: Collector, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_collector, "_OTHERS", 3)
    monkeypatch.setattr(_collector, "_LABELS", 2)
    point = fail.point(name, returns=int)
    for number in range(5):
        with fail.scope({name: f"return({number})"}):
            point.hit()
    collector.finish()
    assert left(collector, name).others == {"return(0)": 1, "return(1)": 1, "return(2)": 1, "...": 2}


def test_exceptions_of_the_process_scope_have_an_end(collector: Collector, name: str) -> None:
    point = fail.point(name)
    fail.enable(name, "raise")
    try:
        point.hit()
    except fail.Injected:
        pass
    collector.finish()
    [(ending, count)] = left(collector, name).endings.items()
    assert "test_exceptions_of_the_process_scope_have_an_end" in ending
    assert count == 1


def test_a_forked_child_begins_with_nothing(
    collector: Collector, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    point = fail.point(name)
    with fail.scope({name: "off"}):
        point.hit()
        collector.finish()
        before = left(collector, name).hits
        observing.add(_NoCollector())
        try:
            monkeypatch.delitem(sys.modules, "multiprocessing.util", raising=False)
            _collector._after_fork_in_child()
        finally:
            observing.now = tuple(each for each in observing.now if not isinstance(each, _NoCollector))
        point.hit()
    collector.finish()
    assert before == 1
    assert sorted(tally[name].hits for tally, _ in gathered(collector._folder)) == [1, 1]


class _NoCollector(_collector.Observer):
    pass


def test_the_environment_of_a_child_begins_a_collector(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[Any] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    before = observing.now
    seed = _environment.config.seed
    try:
        _environment.load({"FAILPY_REPORT_DIR": str(tmp_path)})
        [begun] = set(observing.now) - set(before)
        assert isinstance(begun, Collector)
        assert registered == [begun.finish]
    finally:
        observing.now = before
        _environment.config.seed = seed


def test_a_fault_of_another_point_is_told_apart(collector: Collector, name: str) -> None:
    @failpoint(name, faults=["print", "raise(EIO)"])
    def function() -> None: ...

    for terms in ("raise(EIO)", "raise(ENOSPC)"):
        with fail.scope({name: terms}), pytest.raises(OSError):
            function()
    with fail.scope({f"{name}.unknown": "off"}, strict=False):
        pass
    collector.finish()
    assert left(collector, name).injected == {"raise(EIO)": 1}
    assert left(collector, name).others == {"raise(ENOSPC)": 1}


def test_a_hit_of_what_nobody_declared(collector: Collector, name: str) -> None:
    hit = hit_of(f"{name}.stranger", fail.Print())
    collector.hit(hit, None)
    assert left(collector, f"{name}.stranger").others == {"print": 1}


def test_nothing_to_look_at_falls_short(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester, "def test_it(): pass", "--failpoints-fail-under=1", "-o", "failpoints_omit=*"
    )
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        ["*no failpoint was declared, so --failpoints-fail-under has nothing to look at"]
    )


def test_a_hit_in_the_middle_of_counting_is_counted(collector: Collector, name: str) -> None:
    """As a signal handler makes one."""
    point = fail.point(name)
    counted: list[bool] = []
    count = collector._count_hit

    def interrupted(*what: Any) -> None:
        if not counted:
            counted.append(True)
            point.hit()
        count(*what)

    collector._count_hit = interrupted  # type: ignore[method-assign]
    with fail.scope({name: "off"}):
        point.hit()
    collector.finish()
    assert left(collector, name).hits == 2


@pytest.mark.slow
def test_what_a_killed_child_alone_has_declared_is_in_the_report(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        only="""
        import os, signal
        from failpy import fail
        fail.point("only.there").hit()
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    run_source(
        pytester,
        """
        import subprocess, sys

        def test_it(failpoints):
            failpoints.enable("only.there", "print")
            done = subprocess.run([sys.executable, "only.py"], env=failpoints.environ())
            assert done.returncode == -9
            failpoints.disable("only.there")
        """,
        "--failpoints-report=json",
    ).assert_outcomes(passed=1)
    [row] = [
        row
        for row in json.loads((pytester.path / "failpoints.json").read_text())["points"]
        if row["name"] == "only.there"
    ]
    assert (row["state"], row["hits"], row["sites"][0]["line"]) == ("fired", 1, 3)


def test_terms_that_cannot_be_had_are_told_by_workers(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        "def test_it(): pass",
        "--failpoints=plugin.late=raise(latemod.Nope)",
        "-n1",
        plugins=["xdist.plugin"],
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*--failpoints cannot be applied: *latemod*"])


def test_a_worker_in_this_process_tells_by_its_tests(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_configure(config):
            config.workerinput = {"failpoints_seed": 5}
            config.workeroutput = {}
        """
    )
    terms = "--failpoints=plugin.late=raise(latemod.Nope)"
    result = run_source(pytester, "def test_it(): pass", terms, "-p", "no:xdist")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*--failpoints cannot be applied: *latemod*"])


def test_a_wide_fixture_that_panics_says_so_to_each_test(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.fixture(scope="module")
        def wide():
            return value()

        @pytest.mark.failpoints("plugin.value=1*panic")
        def test_first(wide): pass

        def test_second(wide): pass
        """,
    )
    result.assert_outcomes(errors=2)
    assert result.stdout.str().count("E   failpy.FailpointPanic: failpoint panic: plugin.value") == 2
    result.stdout.no_fnmatch_line("*StandIn*")


def test_workers_say_what_was_armed_in_vain(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        def test_value(): value()
        def test_again(): value()
        """,
        "--failpoints=plugin.value=print;plugin.other=raise;plugin.othr=raise",
        "-n2",
        plugins=["xdist.plugin"],
    )
    result.assert_outcomes(passed=2)
    said = result.stdout.str().partition("failpoints armed in vain")[2]
    assert "failpoint 'plugin.other' was armed with raise and never fired" in said
    assert "no code has declared a failpoint 'plugin.othr'" in said
    assert "'plugin.value' was" not in said
