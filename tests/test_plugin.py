"""The pytest plugin: which tests are in a scope, what marker and fixture say, and how a test fails."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from failpy import _config, fail
from failpy._context import process
from failpy._observer import observing

from .plugin_tools import alone, line_of, names_of, places, run, run_source, write


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)


# --- which tests, and which of their code ---


def test_the_marker_of_a_function_class_module_and_parameter(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        class TestPlain:
            def test_before(self):
                assert fail.current_scope() is None and value() == "body"

            @pytest.mark.failpoints({"plugin.value": 'return("function")'})
            def test_marked(self):
                assert value() == "function"

            def test_after(self):
                assert fail.current_scope() is None and value() == "body"

        @pytest.mark.failpoints('plugin.value=return("class")')
        class TestMarked:
            def test_one(self):
                assert value() == "class"

            def test_other(self):
                assert value() == "class"
                assert fail.current_scope().status("plugin.value").hits == 1

            @staticmethod
            def test_static():
                assert value() == "class"

        @pytest.mark.parametrize("wanted", [
            "body",
            pytest.param("marked", marks=pytest.mark.failpoints({"plugin.value": fail.Return("marked")})),
            pytest.param("body", id="last"),
        ])
        def test_parameter(wanted):
            assert value() == wanted

        @pytest.mark.parametrize("n", range(3))
        @pytest.mark.failpoints({"plugin.value": '1*return("first")'})
        def test_each_has_counts_of_its_own(n):
            assert [value(), value()] == ["first", "body"]

        @pytest.mark.failpoints
        def test_bare(failpoints):
            assert value() == "body" and failpoints.points() == []

        @pytest.mark.failpoints()
        def test_empty(failpoints):
            assert value() == "body" and fail.current_scope() is failpoints
        """,
    )
    pytester.makepyfile(
        test_module="""
        import pytest
        from test_it import value

        pytestmark = pytest.mark.failpoints({"plugin.value": 'return("module")'})

        def test_one():
            assert value() == "module"

        class TestIn:
            def test_two(self):
                assert value() == "module"
        """
    )
    run(pytester).assert_outcomes(passed=16)


def test_of_several_markers_the_closest_decides_name_by_name_and_option_by_option(
    pytester: pytest.Pytester,
) -> None:
    run_source(
        pytester,
        """
        pytestmark = [
            pytest.mark.failpoints({"plugin.value": 'return("module")', "plugin.other": 'return("module")'},
                                   seed=1, strict=False, threads=False),
        ]

        def test_module(failpoints):
            assert (value(), other(), failpoints.seed) == ("module", "module", 1)
            assert not failpoints.follows_threads

        @pytest.mark.failpoints({"plugin.value": 'return("class")'}, seed=2)
        class TestClass:
            def test_class(self, failpoints):
                assert (value(), other(), failpoints.seed) == ("class", "module", 2)

            @pytest.mark.failpoints('plugin.value=return("far")', seed=3)
            @pytest.mark.failpoints({"plugin.unknown": "raise"})
            @pytest.mark.failpoints('plugin.value=return("close")')
            def test_stacked(self, failpoints):
                assert (value(), other(), failpoints.seed) == ("close", "module", 3)
                assert {each.name for each in failpoints.points()} == {
                    "plugin.value", "plugin.other", "plugin.unknown"}

            @pytest.mark.failpoints(strict=True, threads=True)
            @pytest.mark.failpoints({"plugin.value": "off"})
            def test_strict_again(self, failpoints):
                assert (value(), other(), failpoints.seed) == ("body", "module", 2)
                assert failpoints.follows_threads

            @pytest.mark.failpoints(seed=None)
            def test_no_seed_again(self, failpoints):
                assert failpoints.seed == 77
        """,
        "--failpoints-seed=77",
    ).assert_outcomes(passed=5)


def test_every_argument_of_a_scope_is_one_of_the_marker(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        def swallow():
            try:
                value()
            except OSError:
                pass

        @pytest.mark.failpoints(terms={"plugin.value": "raise(OSError)"}, on_swallowed="error")
        def test_swallowed():
            swallow()

        @pytest.mark.failpoints(may_swallow=[swallow])
        @pytest.mark.failpoints({"plugin.value": "raise(OSError)"}, on_swallowed="error")
        def test_may():
            swallow()

        @pytest.mark.failpoints({"plugin.value": "raise(OSError)"}, on_swallowed="error")
        def test_the_test_itself_may():
            with pytest.raises(OSError):
                value()

        @pytest.mark.failpoints({"plugin.value": "raise(OSError)"}, on_swallowed="error")
        def test_the_block_of_the_test_may():
            try:
                value()
            except OSError:
                pass
        """,
    )
    result.assert_outcomes(passed=3, failed=1)
    assert names_of(result, "FAILED") == {"test_swallowed"}


def test_the_fixture_is_the_scope_of_the_test(pytester: pytest.Pytester) -> None:
    run_source(
        pytester,
        """
        seen = []

        def test_alone(failpoints):
            seen.append(failpoints)
            assert isinstance(failpoints, fail.Scope) and failpoints is fail.current_scope()
            failpoints.enable("plugin.value", 'return("enabled")')
            assert value() == "enabled"
            assert failpoints.status("plugin.value").fired == 1

        def test_is_closed_with_its_test():
            assert seen.pop().closed and fail.current_scope() is None

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_with_the_marker(failpoints):
            assert value() == "marked"
            assert [each.point for each in failpoints.trace] == ["plugin.value"]

        @pytest.mark.usefixtures("failpoints")
        def test_used():
            fail.current_scope().enable("plugin.value", 'return("used")')
            assert value() == "used"

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_dynamic(request):
            scope = fail.current_scope()
            assert request.getfixturevalue("failpoints") is scope
            assert value() == "marked"

        def test_dynamic_without_the_marker(request):
            assert fail.current_scope() is None
            scope = request.getfixturevalue("failpoints")
            assert fail.current_scope() is scope
            scope.enable("plugin.value", 'return("late")')
            assert value() == "late"

        class TestAuto:
            @pytest.fixture(autouse=True)
            def broken(self, failpoints):
                failpoints.enable("plugin.value", 'return("auto")')
                self.scope = failpoints

            def test_auto(self, failpoints):
                assert value() == "auto" and failpoints is self.scope

            @pytest.mark.failpoints({"plugin.other": 'return("marked")'})
            def test_auto_and_marked(self):
                assert (value(), other()) == ("auto", "marked")

        def test_at_last():
            assert fail.current_scope() is None and value() == "body"
        """,
    ).assert_outcomes(passed=9)


def test_a_wider_fixture_cannot_use_the_fixture_of_a_test(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.fixture(scope="module")
        def wide(failpoints):
            pass

        def test_wide(wide):
            pass
        """,
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["ScopeMismatch*"])


def test_fixtures_run_in_the_scope_of_the_test_before_and_after_their_yield(
    pytester: pytest.Pytester,
) -> None:
    run_source(
        pytester,
        """
        told = []

        @pytest.fixture(autouse=True)
        def first():
            told.append(value())
            yield
            told.append(value())

        @pytest.fixture
        def returned():
            return value()

        @pytest.fixture
        def finalized(request):
            request.addfinalizer(lambda: told.append("finalizer " + value()))
            return value()

        @pytest.fixture(params=[1, 2])
        def parametrised(request):
            yield value()
            told.append("parametrised " + value())

        class TestSelf:
            @pytest.fixture
            def mine(self):
                self.kept = value()
                yield self
                assert self.after == "marked"
                told.append("self " + value())

            @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
            def test_self(self, mine):
                assert mine is self and self.kept == "marked"
                self.after = value()

        @pytest.fixture(scope="module")
        def wide():
            told.append("wide " + value())

        def test_what_was_told():
            assert told == ["marked", "self marked", "marked", "body"]
            told.clear()

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_marked(wide, returned, finalized, request):
            assert [returned, finalized, value(), request.getfixturevalue("returned")] == ["marked"] * 4

        def test_what_was_told_then():
            assert told == ["body", "wide marked", "marked", "finalizer marked", "marked", "body"]
            told.clear()

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_parametrised(parametrised):
            assert parametrised == "marked"

        def test_what_was_told_at_last():
            assert told == ["body", *["marked", "parametrised marked", "marked"] * 2, "body"]
        """,
    ).assert_outcomes(passed=7)


def test_what_a_setup_method_does_is_done_in_the_scope(pytester: pytest.Pytester) -> None:
    run_source(
        pytester,
        """
        told = []

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        class TestMethods:
            def setup_method(self):
                told.append("setup " + value())

            def teardown_method(self):
                told.append("teardown " + value())

            def test_it(self):
                told.append(value())

        def test_after():
            assert told == ["setup marked", "marked", "teardown marked"]
            assert value() == "body"
        """,
    ).assert_outcomes(passed=2)


def test_what_only_fixtures_reach_has_fired(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.fixture
        def before():
            value()

        @pytest.fixture
        def after():
            yield
            value()

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_before(before):
            pass

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_after_is_too_late(after):
            pass
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    assert names_of(result, "FAILED") == {"test_after_is_too_late"}


def test_methods_of_unittest(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        import unittest

        told = []

        class Base:
            def setUp(self):
                told.append("setUp " + value())

            def tearDown(self):
                told.append("tearDown " + value())

        class TestCase(Base, unittest.TestCase):
            @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
            def test_a_marked(self):
                told.append(value())
                self.addCleanup(lambda: told.append("cleanup " + value()))

            def test_b_plain(self):
                assert told == ["setUp marked", "marked", "tearDown marked", "cleanup marked", "setUp body"]
                assert fail.current_scope() is None

            @pytest.mark.failpoints({"plugin.value": '2*return("marked")'})
            def test_c_subtests(self):
                for n in range(2):
                    with self.subTest(n=n):
                        assert value() == ["marked", "body"][n]

            @pytest.mark.failpoints({"plugin.value": 'return("marked")', "plugin.other": "panic"})
            def test_d_never_fired(self):
                pass

            @pytest.mark.failpoints({"plugin.value": 'return("marked")', "plugin.other": "panic"})
            def test_e_fails_by_itself(self):
                self.assertEqual(value(), "what?")

            @pytest.mark.failpoints({"plugin.value": 'return("marked")', "plugin.other": "panic"})
            def test_f_skips(self):
                self.skipTest("not now")

            @pytest.mark.failpoints({"plugin.value": 'return("marked")', "plugin.other": "panic"})
            @unittest.expectedFailure
            def test_g_expected(self):
                self.fail("expected")

            @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
            def test_h_error_of_the_scope(self):
                fail.current_scope().error("told by the scope")

            @pytest.mark.usefixtures("failpoints")
            def test_i_fixture(self):
                fail.current_scope().enable("plugin.other", 'return("enabled")')
                assert other() == "enabled"

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        class TestAsync(Base, unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                told.append("asyncSetUp " + value())

            async def asyncTearDown(self):
                told.append("asyncTearDown " + value())

            async def test_a(self):
                told.clear()
                assert value() == "marked"

            async def test_b(self):
                assert told == ["asyncTearDown marked", "tearDown marked", "setUp marked",
                                "asyncSetUp marked"]

        def test_at_last():
            assert value() == "body" and fail.current_scope() is None
        """,
    )
    result.assert_outcomes(passed=7, failed=3, skipped=1, xfailed=1)
    assert names_of(result, "FAILED") == {
        "TestCase::test_d_never_fired",
        "TestCase::test_e_fails_by_itself",
        "TestCase::test_h_error_of_the_scope",
    }
    result.stdout.fnmatch_lines(["FAILED *test_e_fails_by_itself - AssertionError: 'marked' != 'what?'*"])
    result.stdout.fnmatch_lines(["FAILED *test_d_never_fired - failpy.NeverFired: *"])
    result.stdout.fnmatch_lines(["*told by the scope*"])


def test_a_test_leaves_nothing_to_the_next_however_it_ended(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        marked = pytest.mark.failpoints({"plugin.value": 'return("marked")'})

        @pytest.fixture
        def broken():
            assert value() == "marked"
            raise OSError("broken before")

        @pytest.fixture
        def broken_after():
            yield
            raise OSError("broken after")

        @pytest.fixture(autouse=True)
        def clean(request):
            if "plain" in request.node.name:
                assert fail.current_scope() is None and value() == "body"
            yield
            if "plain" in request.node.name:
                assert fail.current_scope() is None and value() == "body"

        @marked
        def test_01_fails():
            assert value() == "what?"

        def test_02_plain():
            assert value() == "body"

        @marked
        def test_03_skips():
            pytest.skip("not now")

        def test_04_plain():
            assert value() == "body"

        @marked
        @pytest.mark.xfail
        def test_05_xfails():
            assert value() == "what?"

        def test_06_plain():
            assert value() == "body"

        @marked
        def test_07_errors(broken):
            pass

        def test_08_plain():
            assert value() == "body"

        @marked
        def test_09_errors_after(broken_after):
            value()

        def test_10_plain():
            assert value() == "body"

        @marked
        @pytest.mark.skip
        def test_11_is_skipped():
            pass

        @marked
        @pytest.mark.xfail(run=False)
        def test_12_is_not_run():
            pass

        def test_13_plain():
            assert value() == "body"

        @marked
        @pytest.mark.xfail(strict=True)
        def test_14_passes_unexpectedly():
            value()

        @marked
        @pytest.mark.xfail(raises=fail.NeverFired)
        def test_15_never_fires():
            pass

        @marked
        def test_16_fails_by_a_word():
            pytest.fail("by a word")

        def test_17_plain():
            assert value() == "body"
        """,
    )
    result = run(pytester)
    result.assert_outcomes(passed=8, failed=3, errors=2, skipped=2, xfailed=3)
    assert names_of(result, "FAILED") == {
        "test_01_fails",
        "test_14_passes_unexpectedly",
        "test_16_fails_by_a_word",
    }
    result.stdout.no_fnmatch_line("FAILED *NeverFired*")
    run(pytester, "-k", "plain").assert_outcomes(passed=7, deselected=10)


@pytest.mark.parametrize("how", ["raise KeyboardInterrupt", "pytest.exit('enough')"])
def test_an_interrupted_test_leaves_nothing_behind(pytester: pytest.Pytester, how: str) -> None:
    write(
        pytester,
        f"""
        marked = pytest.mark.failpoints({{"plugin.value": 'return("marked")'}})

        @pytest.fixture
        def broken():
            yield
            print("torn down in", value())

        @marked
        def test_1(broken):
            value()
            {how}

        def test_2():
            assert False, "not reached"
        """,
    )
    result = run(pytester, "-s")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*torn down in marked"])
    assert fail.current_scope() is None
    assert fail.status("plugin.value").terms == ""


# --- with the plugin and without it ---


def test_the_plugin_is_found_and_can_be_left_out(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    write(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_marked():
            assert value() == "marked"

        def test_fixture(failpoints):
            pass
        """,
    )
    others = ("cacheprovider", "xdist", "run-parallel", "hypothesispytest", "anyio", "asyncio", "subtests")
    plain = [word for each in others for word in ("-p", f"no:{each}")]
    result = pytester.runpytest_subprocess(*plain, "--strict-markers")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["plugins: *failpy-*"])
    result = pytester.runpytest_subprocess(*plain, "--strict-markers", "-p", "no:failpy")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'failpoints' not found in `markers` configuration option*"])
    result = pytester.runpytest_subprocess(*plain, "-p", "no:failpy")
    result.assert_outcomes(failed=1, errors=1, warnings=1)
    result.stdout.fnmatch_lines(["*fixture 'failpoints' not found*"])
    result.stdout.fnmatch_lines(["*PytestUnknownMarkWarning*"])
    result = pytester.runpytest_subprocess(*plain, "-p", "no:failpy", "--failpoints-seed=1")
    assert result.ret == pytest.ExitCode.USAGE_ERROR


def test_the_marker_and_the_options_are_explained(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.failpoints(terms=None, *, seed=None, strict=True, *"])
    result = run(pytester, "--help")
    result.stdout.fnmatch_lines(["failpoints (failpy):", "*--failpoints=*", "*--failpoints-seed=N*"])
    result = run(pytester, "--fixtures")
    result.stdout.fnmatch_lines(["failpoints*", "*scope of the test*"])


def test_importing_the_plugin_imports_little() -> None:
    """Not even with a run that has failures and no report."""
    program = """
import sys, json
import pytest, _pytest.pytester, failpy
before = set(sys.modules)
import failpy.pytest_plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    added = json.loads(ended.stdout)
    assert [each for each in added if "contextvars" not in each and not each.startswith("failpy.")] == []
    heavy = ("_lint", "_source", "_coverage", "_collector", "_reporting", "_section", "hypothesis", "_server")
    assert [each for each in added if each.removeprefix("failpy.").startswith(heavy)] == []
    program = """
import sys
import failpy.pytest_plugin
heavy = {"asyncio", "http", "hypothesis", "typer", "rich", "httpx", "multiprocessing", "trio", "anyio"}
print(sorted(heavy & set(sys.modules)))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


# --- how a test fails ---


def test_never_fired_fails_the_test_at_the_line_of_the_marker(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": "panic"})  # never
        def test_never():
            pass

        @pytest.mark.failpoints({"plugin.vlaue": "panic"})  # unknown
        def test_unknown():
            pass

        @pytest.mark.parametrize("n", [1])
        @pytest.mark.failpoints(
            {"plugin.value": "panic"},
        )
        @pytest.mark.parametrize("m", [1])
        def test_long(n, m):
            pass

        def test_enabled(failpoints):  # enabled
            failpoints.enable("plugin.value", "panic")

        def test_with():
            with fail.scope({"plugin.value": "panic"}):  # with
                pass

        class TestClass:
            @pytest.mark.failpoints({"plugin.value": "panic"})  # method
            def test_method(self):
                value

        named = pytest.mark.failpoints({"plugin.value": "panic"})

        @named
        def test_named():  # named
            pass

        @named
        class TestNamed:
            @pytest.mark.parametrize("n", [1])
            def test_in_class(self, n):  # in class
                pass

        def wrapped(function):
            import functools
            return functools.wraps(function)(lambda: function())

        @wrapped
        @pytest.mark.failpoints({"plugin.value": "panic"})  # wrapped
        def test_wrapped():
            pass

        def test_order(failpoints):  # order
            failpoints.order("plugin.value", "plugin.other")
            value()
        """,
    )
    result = run(pytester)
    result.assert_outcomes(failed=10)
    marks = [f"# {each}" for each in ("never", "unknown", "enabled", "with", "method", "named", "in class")]
    marks[2:2] = ["@pytest.mark.failpoints(\n"]
    marks += ["# wrapped", "# order"]
    source = (pytester.path / "test_it.py").read_text("utf-8")
    lines = [source[: source.index(mark)].count("\n") + 1 for mark in marks]
    assert places(result) == [f"test_it.py:{line}" for line in lines]
    result.stdout.fnmatch_lines(
        [
            '>   @pytest.mark.failpoints({"plugin.value": "panic"})  # never',
            "E   failpy.NeverFired: failpoint 'plugin.value' was armed with panic and never fired: *",
            "test_it.py:*: NeverFired",
            "E   failpy.UnknownFailpoint: *'plugin.vlaue'*did you mean 'plugin.value'*",
            "test_it.py:*: UnknownFailpoint",
            '>       with fail.scope({"plugin.value": "panic"}):  # with',
        ]
    )
    for style in ("short", "line"):
        again = run(pytester, f"--tb={style}")
        text = again.stdout.str().partition("FAILURES")[2].partition("- Failpoints -")[0]
        assert "NeverFired" in text
        assert not re.search(r"_\w+\.py:|pytest_plugin", text.replace("test_it.py", ""))


def test_bad_arguments_of_a_marker_are_an_error_at_its_line(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": "retrun(1)"})  # terms
        def test_terms():
            pass

        @pytest.mark.failpoints(sed=1)  # word
        def test_word():
            pass

        @pytest.mark.failpoints({}, 1)  # position
        def test_position():
            pass

        @pytest.mark.failpoints({"plugin.value": "return(1)"})  # type
        def test_type():
            pass

        @pytest.mark.failpoints(seed="one")  # seed
        def test_seed():
            pass

        @pytest.mark.failpoints(on_swallowed="often")  # swallowed
        def test_swallowed():
            pass

        @pytest.mark.failpoints(42)  # number
        def test_number():
            pass

        @pytest.mark.failpoints("plugin.value")  # text
        def test_text():
            pass

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_good():
            assert value() == "marked"

        def test_plain():
            assert value() == "body" and fail.current_scope() is None
        """,
    )
    result.assert_outcomes(passed=2, errors=8)
    words = ["terms", "word", "position", "type", "seed", "swallowed", "number", "text"]
    assert places(result) == [f"test_it.py:{line_of(pytester, '  # ' + each)}" for each in words]
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_terms*",
            "E*TermSyntaxError: *",
            "E*takes the arguments of fail.scope*'sed'*",
            "E*takes the arguments of fail.scope*too many positional arguments",
            "E*ReturnTypeError: *",
            "E*seed must be an int or None, not 'one'",
            "E*on_swallowed must be*",
        ]
    )


def test_outcomes_are_those_of_the_test_itself(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        never = pytest.mark.failpoints({"plugin.value": "panic"})

        @never
        def test_skips():
            pytest.skip("not now")

        @never
        def test_fails():
            pytest.fail("by a word")

        @never
        def test_asserts():
            assert 1 == 2, "by an assertion"

        @never
        @pytest.mark.xfail(raises=fail.NeverFired, strict=True)
        def test_xfail_of_never_fired():
            pass

        @never
        @pytest.mark.xfail(reason="what it would find out is known")
        def test_xfail_does_not_excuse():
            pass

        @never
        @pytest.mark.xfail(raises=AssertionError)
        def test_xfail_of_assertions_does_not_either():
            pass

        @pytest.mark.failpoints({"plugin.vlaue": "panic"})
        @pytest.mark.xfail
        def test_nor_does_it_excuse_a_name():
            pass

        @never
        @pytest.mark.xfail(raises=OSError)
        def test_xfail_of_another():
            pass

        @never
        def test_calls_xfail():
            pytest.xfail("known")

        @never
        def test_imports():
            pytest.importorskip("no_such_module_at_all")

        @pytest.mark.failpoints({"plugin.value": "raise(OSError('injected'))"})
        def test_raises():
            value()

        @pytest.mark.failpoints({"plugin.value": "panic"})
        def test_panics():
            value()

        @pytest.mark.failpoints({"plugin.value": "panic"})
        def test_asks_for_it():
            with pytest.raises(fail.FailpointPanic):
                value()
        """,
    )
    result.assert_outcomes(passed=1, failed=8, skipped=2, xfailed=2)
    result.stdout.fnmatch_lines(
        [
            "E       Failed: by a word",
            "E       AssertionError: by an assertion",
            "E   failpy.NeverFired: *",
            "E*OSError: injected",
            "E*failpoint 'plugin.value'*",
            "E*FailpointPanic*",
        ]
    )
    summary = result.stdout.str().partition("short test summary")[2]
    assert summary.count("NeverFired") == 3
    assert summary.count("UnknownFailpoint") == 1


def test_a_failure_of_the_scope_beside_one_of_the_test(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        def test_both(failpoints):
            failpoints.error("told by the scope")
            assert 1 == 2, "told by the test"

        def test_error_alone(failpoints):
            failpoints.error("told alone")

        def test_fatal(failpoints):
            failpoints.fatal("told as fatal")

        def test_twice(failpoints):
            failpoints.error("told first")
            failpoints.error("told second")

        @pytest.fixture
        def tells_before(failpoints):
            failpoints.error("told before")

        def test_before(tells_before):
            pass

        @pytest.fixture
        def tells_after(failpoints):
            yield
            failpoints.error("told after")

        def test_after(tells_after):
            pass

        def test_clean(failpoints):
            pass
        """,
    )
    result.assert_outcomes(passed=2, failed=5, errors=1)
    assert names_of(result, "ERROR") == {"test_after"}
    text = result.stdout.str()
    for each in ("by the scope", "by the test", "alone", "as fatal", "first", "second", "before", "after"):
        assert f"told {each}" in text
    assert not re.search(r"(_trial|_scope|_failures|pytest_plugin)\.py", text)


def test_threads_tasks_and_futures_fail_the_test_that_started_them(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        import asyncio
        import threading
        from concurrent.futures import ThreadPoolExecutor, wait

        def in_thread(target, name="worker"):
            thread = threading.Thread(target=target, name=name)
            thread.start()
            thread.join()

        def work():
            raise OSError("died in a thread")

        @pytest.mark.failpoints
        def test_01_thread():
            in_thread(work)

        def test_02_plain():
            assert value() == "body"

        @pytest.mark.failpoints({"plugin.value": "raise(KeyError('injected in a thread'))"})
        def test_03_injected():
            in_thread(value)

        @pytest.mark.failpoints
        def test_04_error_in_a_thread(failpoints):
            in_thread(lambda: failpoints.error("error in a thread"))

        @pytest.mark.failpoints
        def test_05_fatal_in_a_thread(failpoints):
            in_thread(lambda: failpoints.fatal("fatal in a thread"))

        @pytest.mark.failpoints
        def test_06_future(failpoints):
            with ThreadPoolExecutor() as pool:
                wait([pool.submit(lambda: failpoints.fatal("fatal in a pool"))])

        @pytest.mark.failpoints
        def test_07_task(failpoints):
            async def child():
                failpoints.fatal("fatal in a task")
            async def main():
                task = asyncio.ensure_future(child())
                await asyncio.wait([task])
            asyncio.run(main())

        def test_08_plain():
            assert value() == "body"

        def test_09_nobody_tells_of_this_thread():
            in_thread(work, "nobody's")

        @pytest.mark.failpoints(threads=False)
        def test_10_nor_of_this():
            in_thread(work, "not followed")

        @pytest.fixture
        def thread_after():
            yield
            in_thread(work, "late")

        @pytest.mark.failpoints
        def test_11_after(thread_after):
            pass

        def test_12_plain():
            assert value() == "body"
        """,
    )
    result.assert_outcomes(passed=6, failed=6, errors=1, warnings=2)
    assert names_of(result, "FAILED") == {
        "test_01_thread",
        "test_03_injected",
        "test_04_error_in_a_thread",
        "test_05_fatal_in_a_thread",
        "test_06_future",
        "test_07_task",
    }
    assert names_of(result, "ERROR") == {"test_11_after"}
    text = result.stdout.str()
    assert text.count("PytestUnhandledThreadExceptionWarning: Exception in thread") == 2
    result.stdout.fnmatch_lines(["*PytestUnhandledThreadExceptionWarning: Exception in thread nobody's*"])
    result.stdout.fnmatch_lines(["*PytestUnhandledThreadExceptionWarning: Exception in thread not followed*"])
    result.stdout.fnmatch_lines(["*died in a thread*", "*injected in a thread*", "*error in a thread*"])
    result.stdout.fnmatch_lines(["*fatal in a pool*", "*fatal in a task*"])


def test_what_is_no_exception_in_a_fixture_fails_its_own_test_only(pytester: pytest.Pytester) -> None:
    """What is neither an `Exception` nor an outcome leaves the fixtures of pytest half taken down."""
    result = run_source(
        pytester,
        """
        @pytest.fixture
        def fatal_before(failpoints):
            failpoints.fatal("fatal before")

        @pytest.fixture
        def fatal_after(failpoints):
            yield
            failpoints.fatal("fatal after")

        @pytest.fixture
        def panics_before(failpoints):
            failpoints.enable("plugin.value", "panic")
            value()

        @pytest.fixture
        def panics_after(failpoints):
            yield
            failpoints.enable("plugin.value", "panic")
            value()

        def check(failpoints):
            assert failpoints is fail.current_scope() and not failpoints.closed

        def test_1(fatal_before):
            pass

        def test_2_then(failpoints):
            check(failpoints)

        def test_3(fatal_after):
            pass

        def test_4_then(failpoints):
            check(failpoints)

        def test_5(panics_before):
            pass

        def test_6_then(failpoints):
            check(failpoints)

        def test_7(panics_after):
            pass

        def test_8_then(failpoints):
            check(failpoints)
        """,
    )
    assert names_of(result, "ERROR") == {"test_1", "test_3", "test_5", "test_7"}
    assert names_of(result, "FAILED") == set()
    text = result.stdout.str()
    assert "_scope.py" not in text
    assert "Unwind" not in text
    result.stdout.fnmatch_lines(["*ERROR at setup of test_1 *"])
    assert text.count("ERROR at ") == 4
    for each in ("fatal before", "fatal after", "failpoint panic: plugin.value"):
        assert each in text


def test_tests_that_have_no_source_or_no_def(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        never = pytest.mark.failpoints({"plugin.value": "panic"})
        made = {"never": never}
        exec(compile("@never\\ndef test_made(): pass", "made.py", "exec"), made)
        test_made = made["test_made"]
        test_lambda = lambda failpoints: failpoints.enable("plugin.value", "panic")
        """,
    )
    result.assert_outcomes(failed=2)
    assert places(result) == ["made.py:1", f"test_it.py:{line_of(pytester, 'lambda failpoints')}"]


def test_tests_that_are_run_without_the_protocol_of_pytest(pytester: pytest.Pytester) -> None:
    """As a plugin with a loop of its own may do."""
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtestloop(session):
            for at, item in enumerate(session.items):
                runtestprotocol(item, nextitem=(session.items[at + 1:] or [None])[0])
            return True
        """
    )
    result = run_source(
        pytester,
        """
        def test_plain():
            assert value() == "body"

        def test_fails():
            assert value() == "what?"
        """,
    )
    result.assert_outcomes(passed=1, failed=1)


# --- the section ---


def test_the_section_says_what_failpoints_did(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": '1*return("once")->1*off->raise(OSError("third"))',
                                 "plugin.other": "off"}, seed=5)
        def test_armed():
            value(), value(), value()

        def test_nothing():
            assert 0

        @pytest.mark.failpoints
        def test_nothing_armed():
            assert 0

        @pytest.mark.failpoints({"plugin.value": 'return("once")'})
        def test_passes():
            value()

        def test_scope_in_the_test():
            with fail.scope({"plugin.value": 'return("inner")'}, seed=6):
                for _ in range(1200):
                    value()
            assert 0

        def test_process_scope():
            fail.enable("plugin.value", "2*return('process')")
            try:
                value(), value(), value()
                assert 0
            finally:
                fail.disable("plugin.value")
        """,
        "-rA",
    )
    result.assert_outcomes(passed=1, failed=5)
    sections = result.stdout.str().split("- Failpoints -")[1:]
    assert len(sections) == 3
    result.stdout.fnmatch_lines(
        [
            "-* Failpoints -*",
            "armed:",
            '  plugin.value=1[*]return("once")->1[*]off->raise(OSError("third"))*: hit 3 *, fired 2 *',
            "  plugin.other=off  (the test's scope): never hit",
            "trace:",
            '  plugin.value #1 1[*]return("once") in MainThread',
            "  plugin.value #2 1[*]off in MainThread",
            '  plugin.value #3 raise(OSError("third")) in MainThread: reached the test',
            "seed: 5",
            "run it again: pytest test_it.py::test_armed --failpoints '*' --failpoints-seed 5",
        ],
    )
    assert (
        '  plugin.value=return("inner")  (a scope in the test): hit 1,200 times, fired 1,200 times'
        in (sections[1])
    )
    assert "seed: 6" in sections[1]
    assert "  ... " in sections[1]
    assert sections[1].count("plugin.value #") == 20
    assert "(the process scope): hit 3 times, fired 2 times" in sections[2]
    assert sections[2].count("  plugin.value #") == 3


def test_the_section_of_terms_that_text_cannot_say(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": fail.Call(lambda hit: "called"), "plugin.other": "off"})
        def test_call():
            assert value() == "what?"

        def test_predicate(failpoints):
            failpoints.enable("plugin.value", "return('x')", when=lambda call: True)
            assert value() == "what?"
        """,
    )
    result.assert_outcomes(failed=2)
    assert [line.partition(" --failpoints-seed")[0] for line in again(result)] == [
        "pytest test_it.py::test_call --failpoints plugin.other=off",
        "pytest test_it.py::test_predicate",
    ]


def test_the_section_says_how_much_it_does_not_have(pytester: pytest.Pytester) -> None:
    """It keeps the last 1,000 hits and activations, and counts all of them."""
    result = run_source(
        pytester,
        """
        def test_armed(failpoints):
            failpoints.enable("plugin.value", "off")
            for _ in range(5000):
                value()
            for _ in range(1200):
                failpoints.enable("plugin.value", "off")
            assert False
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "armed:",
            "  plugin.value=off  (the test's scope, 1000 times): never hit",
            "  and what was armed 201 times before that, which is not kept",
            "trace:",
            "  ... 4,980 more",
            "  plugin.value #4981 off in MainThread",
        ],
        consecutive=True,
    )


def test_the_section_says_how_faults_of_the_process_scope_ended(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        def handles():
            try:
                value()
            except OSError:
                pass

        def test_it():
            handles()
            value()
        """,
        "--failpoints=plugin.value=raise(OSError)",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "trace:",
            "  plugin.value #1 raise(OSError) in MainThread: handled by handles (*test_it.py:*)",
            "  plugin.value #2 raise(OSError) in MainThread: reached the test",
        ]
    )


def test_points_of_the_operating_system_are_attached_for_the_run(pytester: pytest.Pytester) -> None:
    was = os.rename
    result = run_source(
        pytester,
        """
        from pathlib import Path

        def test_it(tmp_path):
            (tmp_path / "new").touch()
            with pytest.raises(OSError, match="No space"):
                (tmp_path / "new").rename("old")
        """,
        "--failpoints=posix/io/rename=raise(ENOSPC);posix/io/write=off",
    )
    result.assert_outcomes(passed=1)
    assert os.rename is was


def test_terms_that_a_point_of_the_operating_system_cannot_have(pytester: pytest.Pytester) -> None:
    terms = '--failpoints=posix/io/write=return("x")'
    result = run_source(pytester, "def test_it(): pass", terms, apart=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: --failpoints cannot be applied: failpoint 'posix/io/write'*"])


def again(result: pytest.RunResult) -> list[str]:
    """The lines that failures offer for another run."""
    return [line.partition(": ")[2] for line in result.outlines if line.startswith("run it again: pytest ")]


def in_a_shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run such a line in a shell, where `pytest` is the one of this Python."""
    python = f"{shlex.quote(sys.executable)} -m pytest -p no:cacheprovider -p failpy.pytest_plugin"
    words = f'pytest() {{ {python} "$@"; }}\n'
    return subprocess.run(["sh", "-c", words + line], cwd=folder, capture_output=True, text=True)


needs_shell = pytest.mark.skipif(os.name == "nt", reason="no shell of POSIX")


@needs_shell
def test_the_line_of_the_section_runs_the_same_failure_again(pytester: pytest.Pytester) -> None:
    folder = pytester.mkdir("a folder")
    pytester.makeini("[pytest]\n")
    (folder / "test_it.py").write_text(
        """
import pytest
from failpy import fail, failpoint

@failpoint("plugin.value", returns=str)
def value():
    return "body"

def draws():
    return ["x" if value() == "it's $HOME; `!` \\"q\\"" else "." for _ in range(40)]

@pytest.mark.failpoints({"plugin.value": fail.Return("it's $HOME; `!` \\"q\\"").chance(0.5)})
def test_marked():
    pytest.fail("drawn: " + "".join(draws()))

@pytest.mark.parametrize("text", ["a b", "it's $x; [é]"])
def test_parameter(text, failpoints):
    if text == "a b":
        return
    failpoints.enable("plugin.value", '30%return("it\\'s $HOME; `!` \\\\"q\\\\"")')
    pytest.fail("drawn: " + "".join(draws()))

@pytest.mark.failpoints({"plugin.value": "raise(shop_errors.Conflict('drawn: nothing'))"})
def test_raises():
    value()

def test_of_the_run():
    found = draws()
    if any(each.terms for each in fail.points()):
        pytest.fail("drawn: " + "".join(found))
""",
        "utf-8",
    )

    def drawn(text: str) -> list[str]:
        return re.findall(r"^E .*: drawn: (\S+)", text, re.MULTILINE)

    (folder / "shop_errors.py").write_text("class Conflict(Exception):\n    pass\n", "utf-8")
    terms = """plugin.value=50%return('it\\'s $HOME; `!` "q"')"""
    result = run(pytester, f"--failpoints={terms}", "a folder")
    result.assert_outcomes(passed=1, failed=4)
    first = drawn(result.stdout.str())
    assert sorted(map(len, first)) == [7, 40, 40, 40]
    assert all({"x", "."} == set(each) for each in first if each != "nothing")
    for line, text in zip(again(result), first, strict=True):
        assert line.startswith("pytest 'a folder/test_it.py::") or '"a folder' in line or "a folder" in line
        repeated = in_a_shell(line, pytester.path)
        assert drawn(repeated.stdout) == [text], (line, repeated.stdout, repeated.stderr)
        assert "1 failed" in repeated.stdout


@needs_shell
def test_the_line_of_the_section_is_for_the_folder_that_pytest_was_started_in(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": "50%raise"})
        def test_it():
            value(), value(), value(), value(), value(), value(), value(), value(), value(), value()
        """,
    )
    pytester.makeini("[pytest]\n")
    below = pytester.mkdir("below")
    monkeypatch.chdir(below)
    result = run(pytester, "..", "--failpoints-seed=4")
    result.assert_outcomes(failed=1)
    [line] = again(result)
    assert line == "pytest ../test_it.py::test_it --failpoints plugin.value=50%raise --failpoints-seed 4"
    ended = in_a_shell(line, below)
    assert "1 failed" in ended.stdout
    trace = [each for each in result.outlines if "plugin.value #" in each]
    assert trace == [each for each in ended.stdout.splitlines() if "plugin.value #" in each]


# --- options ---


def test_the_option_arms_the_process_scope_anew_for_every_test(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        import threading

        def test_1_counts():
            assert [other(), other(), other()] == ["twice", "twice", "body"]

        def test_2_counts_again():
            assert [other(), other(), other()] == ["twice", "twice", "body"]

        @pytest.mark.parametrize("n", [1, 2])
        def test_3_draws(n):
            print("drawn", n, "".join("x" if value() == "drawn" else "." for _ in range(30)))

        def test_5_every_thread_has_it():
            told = []
            thread = threading.Thread(target=lambda: told.append(other()))
            thread.start()
            thread.join()
            assert told == ["twice"]

        @pytest.mark.failpoints({"plugin.other": 'return("marked")'})
        def test_6_the_marker_is_closer(failpoints):
            assert other() == "marked" and failpoints.seed == 8

        def test_7_disabled_by_a_test():
            fail.disable("plugin.other")
            assert other() == "body"

        def test_8_but_back_again():
            assert [other(), other(), other()] == ["twice", "twice", "body"]

        def test_9_enabled_otherwise_by_a_test():
            fail.enable("plugin.other", 'return("otherwise")')
            assert other() == "otherwise"
            fail.disable("plugin.other")

        def test_9_still_back_again():
            assert [other(), other(), other()] == ["twice", "twice", "body"]
        """,
    )
    terms = 'plugin.other=2*return("twice"); plugin.value=50%return("drawn"); plugin.declared.later=panic'
    result = run(pytester, f"--failpoints={terms}", "--failpoints-seed=8", "-rA")
    result.assert_outcomes(passed=10)
    drawn = [line for line in result.outlines if line.startswith("drawn")]
    assert [set(line[8:]) for line in drawn] == [{"x", "."}, {"x", "."}]
    assert drawn[0][8:] != drawn[1][8:]
    result.stdout.fnmatch_lines([f"failpoints: {terms}, seed 8".replace("*", "[*]")])
    assert fail.points() == [] or not any(each.terms for each in fail.points())
    pytester.makeini(f"[pytest]\nfailpoints = {terms}\nfailpoints_seed = 8\n")
    result = run(pytester, "-rA")
    result.assert_outcomes(passed=10)
    assert [line for line in result.outlines if line.startswith("drawn")] == drawn
    alone = run(pytester, "-rA", "test_it.py::test_3_draws[2]")
    assert [line for line in alone.outlines if line.startswith("drawn")] == drawn[1:]
    result.stdout.fnmatch_lines([f"failpoints: {terms}, seed 8".replace("*", "[*]")])
    for option in ("--failpoints=plugin.other=3*return('x')", "--failpoints="):
        run(pytester, option, "test_it.py::test_1_counts").assert_outcomes(failed=1)


def test_what_an_option_armed_in_vain_is_told(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        def test_1():
            value()

        def test_2():
            other()
        """,
    )
    terms = "plugin.value=print; plugin.other=7*off->panic; plugin.nowhere=panic; plugin.passive=off"
    fail.point("plugin.passive")
    result = run(pytester, f"--failpoints={terms}")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["=* failpoints armed in vain *="])
    said = result.stdout.str().partition("armed in vain")[2]
    assert "failpoint 'plugin.other' was armed with 7*off->panic and never fired" in said
    assert "'plugin.nowhere'" in said
    assert "failpoint 'plugin.value'" not in said
    assert "failpoint 'plugin.passive'" not in said
    for args in (("--co",), ("-k", "none"), ("--failpoints=plugin.value=print",)):
        result = run(pytester, f"--failpoints={terms}", *args)
        assert "armed in vain" not in result.stdout.str()


def test_a_seed_is_one_for_the_whole_run(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        seeds = []

        @pytest.mark.failpoints
        @pytest.mark.parametrize("n", range(2))
        def test_seed(n, failpoints):
            with fail.scope() as inner:
                seeds.append(failpoints.seed)
                assert inner.seed == seeds[0] == failpoints.seed
                print("the seed is", inner.seed)
        """,
    )
    before = _config.config.seed
    found = set()
    for _ in range(2):
        result = run(pytester, "-s")
        result.assert_outcomes(passed=2)
        found |= set(re.findall(r"the seed is (\d+)", result.stdout.str()))
        assert _config.config.seed == before
    if before is None:
        assert len(found) == 2


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--failpoints=plugin.value=retrun(1)", "cannot be applied: *retrun"),
        ("--failpoints=plugin.value", "cannot be applied: "),
        ("--failpoints=plugin.value=raise(NoSuchError)", "cannot be applied: *NoSuchError"),
        ("--failpoints=bad name=raise", "cannot be applied: *bad name"),
        ("--failpoints-seed=x", "is not a whole number"),
        ("--failpoints-report=xml", "is none of the reports"),
        ("--failpoints-report=term:file", "is none of the reports"),
        ("--failpoints-fail-under=x", "is no percentage"),
        ("--failpoints-fail-under=101", "is no percentage"),
        ("--failpoints-fail-under=-1", "is no percentage"),
        ("--failpoints-fail-under=nan", "is no percentage"),
    ],
)
def test_a_malformed_option_is_an_error_of_usage(pytester: pytest.Pytester, option: str, said: str) -> None:
    write(pytester, "def test_it(): pass")
    seed = _config.config.seed
    name, _, value = option.partition("=")
    result = run(pytester, option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {name}* {said}*"])
    assert "Traceback" not in result.stderr.str() + result.stdout.str()
    name = name.removeprefix("--").replace("-", "_")
    pytester.makeini(f"[pytest]\n{name} = {value}\n")
    result = run(pytester)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {name} = '{value}' in *tox.ini {said}*"])
    assert _config.config.seed == seed


def test_terms_of_an_option_that_do_not_fit_the_point_are_told(pytester: pytest.Pytester) -> None:
    """The point is declared when its module is imported, after the option was read."""
    source = """
    @failpoint("NAME", returns=str)
    def typed():
        return "body"

    def test_it():
        pass
    """
    option = "--failpoints=plugin.typed=return(1)"
    result = run_source(pytester, source.replace("NAME", "plugin.typed"), option)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*ERROR collecting test_it.py*", "*ReturnTypeError*"])
    option = "--failpoints=plugin.raising=raise(no.such.Error)"
    result = run_source(pytester, source.replace("NAME", "plugin.raising"), option)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--failpoints cannot be applied: *there is no module 'no'*"])


def test_when_failpoints_are_compiled_out(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAILPY", "off")
    write(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": "panic"})
        def test_marked():
            pass

        @pytest.mark.failpoints
        def test_nothing_to_arm():
            assert value() == "body"

        def test_plain():
            assert value() == "body"
        """,
    )
    result = run(pytester, apart=True)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*FAILPY=off*"])
    assert places(result) == [f"test_it.py:{line_of(pytester, 'panic')}"]
    result = run(pytester, "--failpoints=plugin.value=panic", apart=True)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--failpoints cannot be applied: *FAILPY=off*"])


# --- leftovers ---


def test_what_a_test_leaves_armed_or_open_is_undone_and_told(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        kept = []

        def test_01_leaves_the_process_scope_armed():
            fail.enable("plugin.value", 'return("left")')
            assert value() == "left"

        def test_02_plain():
            assert value() == "body" and fail.status("plugin.value").terms == ""

        def test_03_leaves_a_scope_open():
            kept.append(fail.scope({"plugin.value": 'return("open")'}).__enter__())
            kept.append(fail.scope({"plugin.other": 'return("open")'}).__enter__())
            assert value() == other() == "open"

        def test_04_plain():
            assert value() == "body" and fail.current_scope() is None
            assert all(each.closed for each in kept)

        @pytest.fixture(scope="module")
        def wide():
            fail.enable("plugin.value", '3*return("wide")')
            yield
            fail.disable("plugin.value")

        def test_05_wide(wide):
            assert value() == "wide"

        def test_06_wide_still():
            assert value() == "wide"

        @pytest.fixture(scope="class")
        def forgets():
            fail.enable("plugin.other", 'return("forgotten")')

        class TestForgets:
            def test_07_forgets(self, forgets):
                assert other() == "forgotten"

            def test_08_forgets_still(self):
                assert other() == "forgotten"

        def test_09_plain():
            assert other() == "body"

        @pytest.fixture
        def narrow():
            fail.enable("plugin.other", 'return("narrow")')
            yield
            fail.disable("plugin.other")

        def test_10_narrow(narrow):
            assert other() == "narrow"

        def test_11_fails_and_leaves():
            fail.enable("plugin.other", 'return("left")')
            assert 0

        def test_12_plain():
            assert other() == "body"

        @pytest.fixture(scope="module")
        def opened():
            with fail.scope({"plugin.other": 'return("opened")'}):
                yield

        def test_13_opened(opened):
            assert other() == "opened"

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_14_opened_still():
            assert (value(), other()) == ("marked", "opened")

        def test_15_opened_still():
            assert other() == "opened"
        """,
    )
    result = run(pytester, "-rw")
    result.assert_outcomes(passed=14, failed=1, warnings=5)
    text = result.stdout.str()
    assert text.count("LeftArmedWarning") == 5
    result.stdout.fnmatch_lines_random(
        [
            "*LeftArmedWarning: test_it.py::test_01_leaves*: failpoint 'plugin.value' was left armed*",
            "*LeftArmedWarning: test_it.py::test_03_leaves*was left open*",
            "*LeftArmedWarning: test_it.py::TestForgets::test_08_forgets_still: failpoint 'plugin.other'*",
        ]
    )
    assert fail.status("plugin.value").terms == fail.status("plugin.other").terms == ""


def test_what_a_wider_fixture_has_armed_is_put_back(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.fixture(scope="module")
        def wide():
            fail.enable("plugin.value", 'return("wide")')
            yield
            fail.disable("plugin.value")

        def test_1(wide):
            assert value() == "wide"

        def test_2_arms_it_otherwise(wide):
            fail.enable("plugin.value", 'return("mine")')
            assert value() == "mine"

        def test_3(wide):
            assert value() == "wide"

        def test_4_disarms_it(wide):
            fail.disable("plugin.value")
            assert value() == "body"

        def test_5(wide):
            assert value() == "wide"
        """,
    )
    result.assert_outcomes(passed=5, warnings=1)
    result.stdout.fnmatch_lines(["*LeftArmedWarning: test_it.py::test_2_arms_it_otherwise: *"])


def test_a_leftover_is_an_error_where_warnings_are(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        def test_leaves():
            fail.enable("plugin.value", 'return("left")')

        def test_plain():
            assert value() == "body"
        """,
    )
    for option in ("error", "error::failpy.LeftArmedWarning"):
        result = run(pytester, "-W", option)
        result.assert_outcomes(passed=2, errors=1)
        assert names_of(result, "ERROR") == {"test_leaves"}
        result.stdout.fnmatch_lines(["E*LeftArmedWarning: *"])


# --- with what pytest has ---


def test_subtests(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": '2*return("marked")'})
        def test_subtests(subtests):
            for n in range(3):
                with subtests.test(n=n):
                    assert value() == ["marked", "marked", "body"][n]

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_failing(subtests):
            with subtests.test("sub"):
                assert value() == "what?"

        @pytest.mark.failpoints({"plugin.value": 'return("marked")', "plugin.other": "panic"})
        def test_never(subtests):
            with subtests.test("sub"):
                value()

        def test_plain(subtests):
            with subtests.test("sub"):
                assert value() == "body"
        """,
    )
    result.stdout.fnmatch_lines(["*AssertionError: assert 'marked' == 'what?'*"])
    result.stdout.fnmatch_lines(["FAILED *::test_never - failpy.NeverFired*"])
    assert "test_subtests" not in result.stdout.str().partition("short test summary")[2]


def test_hypothesis(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        from hypothesis import given, settings, strategies as st, HealthCheck, Phase

        few = settings(max_examples=5, database=None, deadline=None)

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        @few
        @given(n=st.integers())
        def test_given(n):
            assert value() == "marked"

        @pytest.mark.failpoints({"plugin.value": "panic"})  # never
        @few
        @given(n=st.integers())
        def test_never(n):
            pass

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        @few
        @given(n=st.integers())
        def test_fails(n):
            assert value() == "what?"

        @few
        @given(n=st.integers())
        def test_plain(n):
            assert value() == "body"
        """,
        plugins=["_hypothesis_pytestplugin"],
    )
    result.assert_outcomes(passed=2, failed=2)
    assert names_of(result, "FAILED") == {"test_never", "test_fails"}
    assert f"test_it.py:{line_of(pytester, '# never')}" in places(result)


def test_doctests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        shop="""
        '''
        >>> value()
        'body'
        >>> with fail.scope({"plugin.shop": 'return("doctest")'}): value()
        'doctest'
        '''
        from failpy import fail, failpoint

        @failpoint("plugin.shop", returns=str)
        def value():
            '''
            >>> fail.enable("plugin.shop", 'return("left")')
            >>> value()
            'left'
            '''
            return "body"

        def wrong():
            '''
            >>> with fail.scope({"plugin.shop": 'panic'}): pass
            '''
        """
    )
    pytester.makefile(
        ".txt", test_text="""
        >>> getfixture("failpoints").enable("plugin.shop", 'return("fixture")')
        >>> from shop import value
        >>> value()
        'fixture'
        """
    )  # fmt: skip
    pytester.syspathinsert()
    result = run(pytester, "--doctest-modules", "-rw")
    result.assert_outcomes(passed=3, failed=1, warnings=1)
    result.stdout.fnmatch_lines(["*LeftArmedWarning: shop.py::shop.value*"])
    result.stdout.fnmatch_lines(["*NeverFired*"])


def test_ways_to_run(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        import sys

        marked = pytest.mark.failpoints({"plugin.value": 'return("marked")'})

        @pytest.fixture
        def seen():
            print("set up in", value())
            yield
            print("torn down in", value())

        @marked
        def test_a(seen):
            assert value() == "marked"

        @marked
        def test_b():
            assert value() == "what?"

        @pytest.mark.failpoints({"plugin.value": "panic"})
        def test_c():
            pass

        def test_d():
            assert value() == "body"
        """,
    )
    result = run(pytester, "--collect-only", "-q", "--failpoints=plugin.value=panic")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["test_it.py::test_a", "*4 tests collected*"])
    run(pytester, "-x").assert_outcomes(passed=1, failed=1)
    run(pytester, "-k", "test_a or test_d").assert_outcomes(passed=2, deselected=2)
    run(pytester, "test_it.py::test_a", "-v").assert_outcomes(passed=1)
    result = run(pytester, "--setup-only")
    assert result.ret == 0
    assert "NeverFired" not in result.stdout.str()
    assert run(pytester, "--setup-plan").ret == 0
    result = run(pytester, "-s")
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["*set up in marked", "*torn down in marked"])
    run(pytester, "--capture=fd").assert_outcomes(passed=2, failed=2)
    run(pytester, "-p", "no:terminal", "-p", "no:warnings", "-p", "no:threadexception")
    run(pytester, "-p", "no:unittest", "-p", "no:logging").assert_outcomes(passed=2, failed=2)
    words = ("-p", "failpy.pytest_plugin", "-W", "always")
    pytester.runpytest_inprocess(*words).assert_outcomes(passed=2, failed=2)
    pytester.runpytest_inprocess(*words, "--lf").assert_outcomes(failed=2)
    pytester.runpytest_inprocess(*words, "--sw").assert_outcomes(passed=1, failed=1)


def test_the_section_is_in_a_report_for_machines_too(pytester: pytest.Pytester) -> None:
    result = run_source(
        pytester,
        """
        @pytest.mark.failpoints({"plugin.value": "panic"})
        def test_never():
            pass
        """,
        "--junitxml=found.xml",
        "-o",
        "junit_logging=all",
    )
    result.assert_outcomes(failed=1)
    assert "NeverFired" in (pytester.path / "found.xml").read_text("utf-8")


def test_a_test_that_is_run_again_has_a_new_scope(pytester: pytest.Pytester) -> None:
    """As plugins that run failures again do."""
    pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            for _ in range(2):
                runtestprotocol(item, nextitem=nextitem)
                item._initrequest()
            return True
        """
    )
    result = run_source(
        pytester,
        """
        scopes = []

        @pytest.mark.failpoints({"plugin.value": '1*return("once")'})
        def test_counts(failpoints):
            assert [value(), value()] == ["once", "body"]
            assert failpoints is fail.current_scope() and failpoints not in scopes
            scopes.append(failpoints)

        @pytest.mark.failpoints({"plugin.value": "panic"})
        def test_never_fires_once():
            if len(scopes) > 2:
                with pytest.raises(fail.FailpointPanic):
                    value()
            scopes.append(None)

        def test_plain():
            assert fail.current_scope() is None and value() == "body"
        """,
    )
    result.assert_outcomes(passed=5, failed=1)


def test_items_that_are_no_functions(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import pytest
        from failpy import fail

        def pytest_collect_file(parent, file_path):
            if file_path.suffix == ".words":
                return Words.from_parent(parent, path=file_path)

        class Words(pytest.File):
            def collect(self):
                for word in self.path.read_text().split():
                    item = Word.from_parent(self, name=word)
                    if word != "plain":
                        item.add_marker(pytest.mark.failpoints({"plugin.words": "return"}))
                    yield item

        class Word(pytest.Item):
            def runtest(self):
                if self.name == "bad":
                    raise OSError("bad")
                if self.name != "never":
                    assert bool(fail.point("plugin.words").hit()) == (self.name == "marked")
        """
    )
    pytester.makefile(".words", some="plain marked never bad plain")
    result = run(pytester)
    result.assert_outcomes(passed=3, failed=2)
    result.stdout.fnmatch_lines(["*NeverFired: failpoint 'plugin.words' was armed with return*"])
    result.stdout.fnmatch_lines(["run it again: pytest some.words::never --failpoints plugin.words=return *"])


def test_the_fixture_for_every_test_of_a_project(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nusefixtures = failpoints\n")
    result = run_source(
        pytester,
        """
        def test_plain():
            assert fail.current_scope().points() == []

        def test_enables():
            fail.current_scope().enable("plugin.value", 'return("enabled")')
            assert value() == "enabled"

        def test_error():
            fail.current_scope().error("told")
        """,
    )
    result.assert_outcomes(passed=2, failed=1)


def test_threads_that_outlive_their_test(pytester: pytest.Pytester) -> None:
    run_source(
        pytester,
        """
        import queue
        import threading

        @pytest.fixture(scope="module")
        def ask():
            asked, told = queue.Queue(), queue.Queue()

            def serve():
                while asked.get():
                    told.put(value())

            thread = threading.Thread(target=serve)
            thread.start()
            yield lambda: (asked.put(True), told.get(timeout=10))[1]
            asked.put(False)
            thread.join()

        @pytest.mark.failpoints({"plugin.value": 'return("first")'})
        def test_1_starts_it(ask):
            assert ask() == "first"

        def test_2_is_not_reached(ask):
            assert ask() == "body"

        @pytest.fixture
        def paused():
            waits = threading.Thread(target=value)
            yield waits
            waits.join(10)
            assert not waits.is_alive()

        @pytest.mark.failpoints({"plugin.value": "pause"})
        def test_3_what_waits_goes_on_when_the_body_is_over(paused, failpoints):
            paused.start()
            failpoints.wait_for_hit("plugin.value")
        """,
    ).assert_outcomes(passed=3)


def test_what_the_environment_arms_begins_anew_too(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAILPY_FAILPOINTS", "plugin.value=1*return('env');plugin.other=1*return('env')")
    monkeypatch.setenv("FAILPY_SEED", "31")
    write(
        pytester,
        """
        @pytest.mark.parametrize("n", [1, 2])
        def test_it(n, failpoints):
            print("seen", value(), value(), other(), other(), failpoints.seed)
        """,
    )
    result = run(pytester, "-s", "--failpoints=plugin.other=1*return('option')", apart=True)
    assert re.findall(r"seen ([^.\n]*)", result.stdout.str()) == ["env body option body 31"] * 2
    result = run(pytester, "-s", "--failpoints-seed=32", apart=True)
    assert re.findall(r"seen ([^.\n]*)", result.stdout.str()) == ["env body env body 32"] * 2


# --- runs within runs ---


@pytest.mark.slow
def test_runs_in_one_process_leave_no_state_behind(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        import threading

        def test_enables():
            fail.enable("plugin.value", 'return("left")')

        @pytest.mark.failpoints({"plugin.value": 'return("marked")'})
        def test_marked():
            assert value() == "marked"

        def test_thread():
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start()
            thread.join()
        """,
    )

    def state() -> tuple[object, ...]:
        armed = {each.name: each.terms for each in fail.points() if each.terms}
        config = _config.config
        environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
        run_wide = (config.seed, config.enabled, process.seed, process.salt)
        return (threading.excepthook, observing.now, run_wide, environ, armed)

    before = state()
    for args in (
        (),
        ("--failpoints=plugin.other=panic", "--failpoints-seed=3"),
        ("--failpoints-report", "--failpoints-report=json:found.json"),
        ("--failpoints-fail-under=100",),
        ("--failpoints=plugin.other=retrun",),
        ("--failpoints-report", "--failpoints=plugin.other=return(1)"),
        ("--failpoints-report", "no_such_file.py"),
        ("-x", "--maxfail=1", "-k", "nothing"),
    ):
        run(pytester, *args)
        assert state() == before, args


def test_a_run_within_a_test_with_a_scope(pytester: pytest.Pytester) -> None:
    """What the test outside has armed, those inside see, and no more of it is left when they are done."""
    write(
        pytester,
        """
        def test_sees():
            assert value() == "outside"

        @pytest.mark.failpoints({"plugin.value": 'return("inside")'})
        def test_has_its_own():
            assert value() == "inside"

        def test_sees_again():
            assert value() == "outside"
        """,
    )
    with fail.scope({"plugin.value": 'return("outside")'}) as scope:
        run(pytester).assert_outcomes(passed=3)
        assert fail.current_scope() is scope
        assert scope.status("plugin.value").hits == 2
