"""The explorer of a pytest run: it finds the tests that are to be explored, and tells of them at the end."""

from __future__ import annotations

import inspect
from collections.abc import Generator

import pytest

from failpy._trial import EXPLORED, EXPLORING

__all__ = ["SIGNATURE", "Explorer"]

SIGNATURE = (
    f"{EXPLORING}(*, points='*', depth=1, faults=None, persistent=False, limit=None, budget=None, "
    "timeout=60.0, seed=None, may_escape=False, fresh=False): run the test as the body of fail.explore, "
    "each case a sub-test; with fresh=True each case has its function-scoped fixtures set up anew"
)


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
        from failpy._subtesting import explore_test  # it is much to load for a plugin

        explore_test(pyfuncitem, mark)
        return True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how far each exploration has come."""
        lines = [
            f"{report.nodeid}: {text}"
            for reports in terminalreporter.stats.values()
            for report in reports
            for name, text in getattr(report, "user_properties", ())
            if name == EXPLORED and report.when == "call"
        ]
        if lines:
            terminalreporter.section("failpoints explored")
            for line in dict.fromkeys(lines):
                terminalreporter.write_line(line)
