"""One run of pytest, as its hooks see it."""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, cast

import pytest

from failpy import _options
from failpy._arming import disable, enable, enable_again
from failpy._carrying import StandIn, carried, carrying, is_async, is_repeated, original, per_thread
from failpy._config import config as switches
from failpy._context import process
from failpy._errors import FailpointError, LeftArmedWarning, TermSyntaxError
from failpy._failures import is_recorded
from failpy._leftover import Leftovers
from failpy._observer import observing
from failpy._standing import Standing
from failpy._trial import Trial, takes_part

if TYPE_CHECKING:
    from failpy._posix import PosixAttachment
    from failpy._reporting import Reporting

__all__ = ["Run"]


class Run:
    """One run of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._options = _options.read(config)
        self._trial: Trial | None = None
        self._interrupted: Trial | None = None
        self._standing = Standing()
        self._leftovers = Leftovers(self._standing)
        self._told: dict[str, str] = {}  # by workers; nothing of what has done its work
        self._knows_all = True
        self._is_late = False
        self._refused = ""
        self._reporting: Reporting | None = None
        self._posix: PosixAttachment | None = None
        self._armed_before = dict(process.activations)
        self._seed_before = switches.seed
        self._salt_before = process.salt
        self._hook_before = threading.excepthook
        self._hook = self._excepthook
        try:
            self._begin()
        except BaseException:
            self.end()
            raise

    def _begin(self) -> None:
        options = self._options
        # Of pytest-xdist, whose workers draw what the run draws.
        given = getattr(self._config, "workerinput", {}).get("failpoints_seed", options.seed)
        if given is not None:
            switches.seed = given
        elif switches.seed is None:
            # One for the run, so that one number is enough to run any of its tests again.
            switches.seed = int.from_bytes(os.urandom(4), "big")
        process.reseed()
        if options.collects and not self._config.option.collectonly:
            from failpy._reporting import Reporting

            self._reporting = Reporting(self._config, options)
        threading.excepthook = self._hook
        try:
            try:
                enable(process, options.terms, early=True)
            except TermSyntaxError:
                self._is_late = True  # what they name may come with the tests
            if any(name.startswith("posix/") for name in options.terms):
                from failpy._posix import attach_named

                self._posix = attach_named(options.terms, "--failpoints")
        except FailpointError as exc:
            raise pytest.UsageError(f"--failpoints cannot be applied: {exc}") from None
        self._standing.begin()

    def pytest_collection_finish(self) -> None:
        """Now that the tests are imported, arm what names things of theirs; what they have armed stands."""
        if self._is_late:
            try:
                enable(process, self._options.terms)
            except FailpointError as exc:
                self._refused = f"--failpoints cannot be applied: {exc}"
                if not hasattr(self._config, "workerinput"):
                    raise pytest.UsageError(self._refused) from None
        self._standing.begin()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Give the seed to a worker of pytest-xdist."""
        node.workerinput["failpoints_seed"] = switches.seed

    def end(self) -> None:
        """The run is over: put back what it has changed."""
        self._leave()
        if self._interrupted is not None:
            self._interrupted.abandon()
        if threading.excepthook is self._hook:
            threading.excepthook = self._hook_before
        switches.seed = self._seed_before
        process.reseed()
        process.salt = self._salt_before
        for name in self._options.terms:
            outside = self._armed_before.get(name)
            if outside is not None:  # by a run that this one is within
                enable_again(process, outside)
            elif name in process.activations:
                disable(process, name)
        if self._posix is not None:
            self._posix.detach()
        if self._reporting is not None:
            self._reporting.end()

    def _excepthook(self, args: Any, /) -> None:
        # The scope tells of it, so pytest need not warn of it too.
        if args.exc_value is None or not is_recorded(args.exc_value):
            self._hook_before(args)

    def trial_of(self, item: pytest.Item) -> Trial:
        """The trial of the test that runs; it begins here if a plugin runs tests in a way of its own."""
        if self._trial is None or self._trial.item is not item:
            self._leave()
            self._enter(item)
        assert self._trial is not None
        return self._trial

    def _enter(self, item: pytest.Item) -> None:
        self._standing.renew(item.nodeid)
        self._trial = Trial(item)
        observing.add(self._trial)
        if self._reporting is not None:
            self._reporting.begin_test(item)

    def _leave(self) -> None:
        trial, self._trial = self._trial, None
        if trial is not None:
            observing.drop(trial)
            if self._reporting is not None:
                self._reporting.end_test(trial.raised)

    # --- before the tests ---

    def pytest_report_header(self) -> str | None:
        """Say what the run was told."""
        if not self._options.text and self._options.seed is None:
            return None
        armed = f"{self._options.text}, " if self._options.text else ""
        return f"failpoints: {armed}seed {switches.seed}"

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Where pytest-run-parallel is there, give each of its threads a scope of its own."""
        for item in items:
            if isinstance(item, pytest.Function) and is_repeated(item) and takes_part(item):
                item.obj = per_thread(item.obj, self._in_thread)

    def _in_thread(self, function: Any, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        assert self._trial is not None
        return self._trial.in_thread(function, args, kwargs)

    # --- one test ---

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """One test from beginning to end."""
        self._enter(item)
        try:
            return (yield)
        except BaseException:
            self._interrupted = self._trial  # pytest takes its fixtures down later, still in its scope
            raise
        finally:
            self._leave()

    @pytest.hookimpl(wrapper=True, tryfirst=True, specname="pytest_runtest_setup")
    def pytest_runtest_setup_around(self, item: pytest.Item) -> Generator[None, object, object]:
        """When a fixture fails, what the scope of the test has to say."""
        try:
            return (yield)
        except BaseException as exc:
            self.trial_of(item).conclude(exc)
            raise

    # Not `tryfirst`, so that a test that is skipped opens nothing.
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Open the scope of the test, before its fixtures."""
        __tracebackhide__ = True
        if self._refused:  # a worker of pytest-xdist can say it in no other way
            pytest.fail(self._refused, pytrace=False)
        trial = self.trial_of(item)
        if trial.is_set_up:
            self._standing.renew(item.nodeid)
            trial.begin()
        trial.is_set_up = True
        if takes_part(item):
            try:
                trial.open()
            except (FailpointError, TypeError, ValueError) as exc:
                raise trial.located(exc) from None

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Carry the scope into fixtures, and see what one of a wider scope arms."""
        trial, function = self._trial, fixturedef.func
        is_wide = fixturedef.scope != "function"
        if (trial is not None and trial.scope is not None) or (is_wide and is_async(function)):
            fixturedef.func = carried(function, self._layer)  # type: ignore[misc]
        before = self._leftovers.before_fixture() if is_wide else None
        try:
            return (yield)
        except StandIn as exc:
            # What the next test that needs the fixture is to meet.
            failure = (exc.original, exc.original.__traceback__)
            fixturedef.cached_result = (None, fixturedef.cache_key(cast("Any", request)), failure)
            raise exc.original from None
        finally:
            fixturedef.func = function  # type: ignore[misc]
            if before is not None:
                self._leftovers.after_fixture(fixturedef, before)

    def _layer(self) -> Any:
        return None if self._trial is None else self._trial.layer()

    def pytest_fixture_post_finalizer(self, fixturedef: pytest.FixtureDef[Any]) -> None:
        """What the fixture had armed should be disarmed now."""
        self._leftovers.end_fixture(fixturedef)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """The body of the test, and after it what its scope has to say."""
        trial = self.trial_of(item)
        try:
            with carrying(item, self._layer):
                result = yield
        except BaseException as exc:
            raised = original(exc)
            trial.conclude(raised)
            if raised is exc:
                raise
            raise raised from None
        trial.conclude(None)
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        """The end of the fixtures, and after it what is left over."""
        raised: BaseException | None = None
        try:
            return (yield)
        except BaseException as exc:
            raised = original(exc)
            if raised is exc:
                raise
            raise raised from None
        finally:
            self._take_down(self.trial_of(item), raised)

    def _take_down(self, trial: Trial, raised: BaseException | None) -> None:
        try:
            trial.close(raised)
        finally:
            for each in self._leftovers.take():
                trial.item.warn(LeftArmedWarning(f"{trial.item.nodeid}: {each}"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Add to a failure what the failpoints did."""
        report = yield
        trial, excinfo = self._trial, call.excinfo
        if trial is None or trial.item is not item:
            return report
        if hasattr(report, "wasxfail") and excinfo is not None and trial.insists(excinfo.value):
            # `xfail` is about what the test finds out, and a fault that was never injected finds out nothing.
            del report.wasxfail
            report.outcome = "failed"
            report.longrepr = item.repr_failure(excinfo)
        if report.failed:
            from failpy._section import section

            text = section(trial, self._config)
            if text:
                # A name with a lone surrogate goes through no pipe of pytest-xdist.
                report.sections.append(("Failpoints", text.encode("utf-8", "backslashreplace").decode()))
        return report

    # --- after the tests ---

    def pytest_sessionfinish(self) -> None:
        """In a worker of pytest-xdist: tell the run what has done its work here."""
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output["failpoints_in_vain"] = self._standing.in_vain()
            output["failpoints_worked"] = sorted(self._standing.worked)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Hear what has done its work in a worker, unless that has crashed."""
        output = getattr(node, "workeroutput", {})
        self._knows_all = self._knows_all and "failpoints_worked" in output
        self._told |= dict.fromkeys(output.get("failpoints_worked", ()), "")
        self._told = output.get("failpoints_in_vain", {}) | self._told

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter, exitstatus: int) -> None:
        """Say which failpoints of the options did nothing in the whole run."""
        ran = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if not ran or self._config.option.collectonly or not self._knows_all:
            return
        told = [each for each in (self._standing.in_vain() | self._told).values() if each]
        if told:
            terminalreporter.section("failpoints armed in vain", yellow=True)
            for each in told:
                terminalreporter.write_line(each)
