"""The pytest plugin where tests run beside each other: in processes of xdist, in threads of run-parallel."""

from __future__ import annotations

import re

import pytest

from .plugin_tools import ASYNCIO, alone, line_of, names_of, places, run, run_source, write

XDIST = "xdist.plugin"
PARALLEL = "pytest_run_parallel.plugin"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)


# --- xdist ---


def test_workers_have_the_options_and_one_seed(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    write(
        pytester,
        """
        import pathlib

        marked = pytest.mark.failpoints({"plugin.value": 'return("marked")'})

        @pytest.mark.parametrize("n", range(6))
        def test_of_the_run(n, failpoints, worker_id):
            assert worker_id.startswith("gw")
            assert [other(), other(), value()] == ["twice", "twice", "body"]
            drawn = "".join("x" if value() == "x" else "." for _ in range(30))
            pathlib.Path(f"seed-{n}").write_text(str(failpoints.seed))

        @marked
        def test_marked():
            assert value() == "marked"

        @marked
        def test_fails():
            assert value() == "what?"

        @pytest.mark.failpoints({"plugin.value": "panic"})  # never
        def test_never(): pass

        def test_leaves():
            fail.enable("plugin.value", "panic")
        """,
    )
    result = run(
        pytester,
        "-n2",
        "--failpoints=plugin.other=2*return('twice'); plugin.nowhere=panic",
        plugins=[XDIST],
    )
    result.assert_outcomes(passed=8, failed=2, warnings=1)
    assert len({path.read_text() for path in pytester.path.glob("seed-*")}) == 1
    in_vain = result.stdout.str().partition("failpoints armed in vain")[2]
    assert in_vain.count("'plugin.nowhere'") == 1
    assert "failpoint 'plugin.other'" not in in_vain
    assert names_of(result, "FAILED") == {"test_fails", "test_never"}
    assert f"test_it.py:{line_of(pytester, '# never')}" in places(result)
    result.stdout.fnmatch_lines(["*LeftArmedWarning: test_it.py::test_leaves: *"])
    found = re.findall(r"^run it again: (.*) --failpoints-seed (\d+)$", result.stdout.str(), re.MULTILINE)
    assert len(found) == 2
    assert {seed for _, seed in found} == {path.read_text() for path in pytester.path.glob("seed-*")}
    assert all(line.startswith("pytest test_it.py::test_") for line, _ in found)


def test_a_malformed_option_is_told_once_with_workers(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    result = run_source(
        pytester,
        "def test_it(): pass",
        "-n2",
        "--failpoints=plugin.value=retrun",
        plugins=[XDIST],
        apart=True,
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert result.stderr.str().count("cannot be applied") == 1


# --- run-parallel ---


def test_each_thread_has_a_scope_of_its_own(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_run_parallel")
    result = run_source(
        pytester,
        """
        import threading
        import unittest

        lock = threading.Lock()
        seen = {}

        def remember(key, what):
            with lock:
                seen.setdefault(key, []).append(what)

        @pytest.fixture
        def before():
            return value()

        def test_1_plain():
            assert value() == "body" and fail.current_scope() is None

        @pytest.mark.failpoints({"plugin.value": '1*return("once")', "plugin.other": '50%return("x")'})
        def test_2_counts_and_draws():
            scope = fail.current_scope()
            assert [value(), value()] == ["once", "body"]
            drawn = "".join(other()[0] for _ in range(20))
            remember("drawn", drawn)
            remember("scope", id(scope))
            remember("keep", scope)
            assert scope.status("plugin.value").hits == 2
            assert [each.nth for each in scope.trace if each.point == "plugin.value"] == [1, 2]

        @pytest.mark.parallel_threads(1)
        def test_3_what_was_seen():
            assert len(seen["drawn"]) == 8 and len(set(seen["drawn"])) == 1
            assert len(set(seen["scope"])) == 8
            assert all(each.closed for each in seen["keep"])

        def test_4_fixture(failpoints):
            assert failpoints is fail.current_scope()
            failpoints.enable("plugin.value", '2*return("enabled")')
            assert [value() for _ in range(3)] == ["enabled", "enabled", "body"]

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_5_with_a_fixture(before, failpoints):
            assert before == value() == "marked"

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        class TestClass:
            def test_6_method(self, failpoints):
                assert value() == "marked" and fail.current_scope() is failpoints

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        @pytest.mark.parametrize("n", [1, 2])
        def test_7_parameter(n):
            assert value() == "marked"

        @pytest.fixture
        def armed(failpoints):
            failpoints.enable("plugin.value", '1*return("armed")')

        def test_8_armed_by_a_fixture(armed):
            assert [value(), value()] == ["armed", "body"]

        @pytest.fixture
        def picky(failpoints):
            failpoints.enable("plugin.value", '1*return("picky")', when=lambda call: True)

        def test_9_armed_by_a_fixture_with_a_predicate(picky):
            assert [value(), value()] == ["picky", "body"]
        """,
        "--parallel-threads=8",
        plugins=[PARALLEL],
    )
    result.assert_outcomes(passed=10)


def test_a_failure_in_any_thread_fails_the_test(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_run_parallel")
    result = run_source(
        pytester,
        """
        import threading

        number = iter(range(1000))
        lock = threading.Lock()

        @pytest.mark.failpoints({"plugin.value": "panic"})  # never
        def test_never():
            pass

        @pytest.mark.failpoints({"plugin.value": "panic"})  # once
        def test_one_thread_never():
            with lock:
                n = next(number)
            if n % 8 != 5:
                try:
                    value()
                except fail.FailpointPanic:
                    pass

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_asserts():
            assert value() == "what?"

        @pytest.mark.failpoints
        def test_error():
            fail.current_scope().error("told in a thread")

        @pytest.mark.failpoints
        def test_fatal():
            fail.current_scope().fatal("fatal in a thread")

        @pytest.mark.failpoints({"plugin.value": "panic"})
        def test_skips():
            pytest.skip("not now")

        @pytest.mark.failpoints
        def test_thread_dies():
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()

        def test_plain():
            assert value() == "body" and fail.current_scope() is None
        """,
        "--parallel-threads=8",
        plugins=[PARALLEL],
    )
    assert names_of(result, "PARALLEL FAILED") == {
        "test_never",
        "test_one_thread_never",
        "test_asserts",
        "test_error",
        "test_fatal",
        "test_thread_dies",
    }
    result.assert_outcomes(passed=1, errors=6, skipped=1)
    assert not re.search(r"(_trial|_scope|_failures|pytest_plugin)\.py", result.stdout.str())
    assert "Exception in threading.excepthook" not in result.stderr.str()
    assert f"test_it.py:{line_of(pytester, '# never')}" in places(result)
    result.stdout.fnmatch_lines(["*told in a thread*", "*fatal in a thread*", "*ZeroDivisionError*"])


def test_many_threads_that_die_while_scopes_open_and_close(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_run_parallel")
    result = run_source(
        pytester,
        """
        import threading

        @pytest.mark.failpoints
        def test_dies():
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            for _ in range(20):
                with fail.scope():
                    pass
            thread.join()
        """,
        "--parallel-threads=16",
        plugins=[PARALLEL],
    )
    result.assert_outcomes(errors=1)
    assert "Exception in threading.excepthook" not in result.stderr.str()
    assert "PytestUnhandledThreadExceptionWarning" not in result.stdout.str()


@pytest.mark.parametrize("threads", [True, False])
def test_a_panic_in_a_thread_is_not_lost_and_stops_nobody(pytester: pytest.Pytester, threads: bool) -> None:
    """The plugin keeps only what is an `Exception`, and lets its other threads wait for those that died."""
    pytest.importorskip("pytest_run_parallel")
    result = run_source(
        pytester,
        f"""
        import threading

        number = iter(range(1000))
        lock = threading.Lock()

        @pytest.mark.failpoints({{"plugin.value": "panic"}}, threads={threads}, strict=False)
        def test_panics():
            with lock:
                n = next(number)
            if n == 1:
                value()
        """,
        "--parallel-threads=2",
        "--iterations=2",
        "-o",
        "faulthandler_timeout=30",
        "-o",
        "faulthandler_exit_on_timeout=true",
        plugins=[PARALLEL, "faulthandler"],
        apart=True,
    )
    result.stdout.fnmatch_lines(["*FailpointPanic*plugin.value*"])
    result.assert_outcomes(errors=1)


def test_what_does_not_run_in_threads_is_as_ever(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_run_parallel")
    pytest.importorskip("pytest_asyncio")
    write(
        pytester,
        """
        import unittest

        marked = pytest.mark.failpoints({"plugin.value": 'return("marked")'})

        @marked
        @pytest.mark.thread_unsafe
        def test_unsafe():
            assert value() == "marked"

        @marked
        @pytest.mark.asyncio
        @pytest.mark.thread_unsafe
        async def test_async():
            assert value() == "marked"

        class TestCase(unittest.TestCase):
            @marked
            def test_method(self):
                assert value() == "marked"

            def test_plain(self):
                assert value() == "body"

        @marked
        def test_warns():
            value()
            with pytest.warns(UserWarning):
                __import__("warnings").warn("what is not safe in threads", UserWarning)
        """,
    )
    run(pytester, "--parallel-threads=4", plugins=[PARALLEL, ASYNCIO]).assert_outcomes(passed=5)
    run(pytester, plugins=[PARALLEL, ASYNCIO]).assert_outcomes(passed=5)


def test_iterations_of_one_thread(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_run_parallel")
    run_source(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": '1*return("once")'})
        def test_counts():
            assert [value(), value()] == ["once", "body"]
        """,
        "--parallel-threads=2",
        "--iterations=3",
        plugins=[PARALLEL],
    ).assert_outcomes(passed=1)
