"""The marker `explore_failpoints`: a test run once for every hit and fault, each case a sub-test."""

from __future__ import annotations

import pytest

from tests.plugin_tools import ASYNCIO, alone, run, write

XDIST = "xdist"


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    alone(monkeypatch)


SAVES = """
    @failpoint("shop.save", faults=("raise(ENOSPC)", "raise(EIO)"))
    def save(disk, key):
        disk.append(key)

    @pytest.mark.explore_failpoints(points="shop.*", limit=LIMIT)
    def test_saves(tmp_path):
        disk = []
        for key in "ab":
            try:
                save(disk, key)
            except OSError as error:
                assert error.errno == 28 or key == "a", "lost"
"""


@pytest.mark.parametrize("args", [(), ("-n", "1")])
def test_each_case_is_a_subtest(pytester: pytest.Pytester, args: tuple[str, ...]) -> None:
    write(pytester, SAVES.replace("LIMIT", "None"))
    result = run(pytester, "-v", *args, plugins=(XDIST,) if args else ())
    text = result.stdout.str()
    assert "SUBFAILED[shop.save=1*off->1*raise(EIO)]" in text
    assert "SUBPASSED[shop.save=1*raise(ENOSPC)]" in text
    assert "contains 1 failed subtest" in text
    assert "AssertionError: lost" in text
    assert "run it again: pytest test_it.py::test_saves --failpoints 'shop.save=1*off->1*raise(EIO)'" in text
    assert "test_it.py::test_saves: 4 cases of 1 failpoint: 3 passed, 1 failed" in text
    assert "_bodyrun" not in text


def test_what_is_printed_to_run_it_again_does(pytester: pytest.Pytester) -> None:
    write(pytester, SAVES.replace("LIMIT", "None"))
    result = run(pytester, "--failpoints", "shop.save=1*off->1*raise(EIO)")
    result.assert_outcomes(failed=1)
    assert "AssertionError: lost" in result.stdout.str()


def test_a_limit_is_said(pytester: pytest.Pytester) -> None:
    write(pytester, SAVES.replace("LIMIT", "2"))
    result = run(pytester)
    assert result.ret == 0
    assert "2 passed; stopped: the limit of 2 cases was reached; 2 more cases known" in result.stdout.str()


def test_fixtures_are_set_up_anew_when_asked(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        setups = []

        @pytest.fixture
        def disk(tmp_path):
            setups.append(tmp_path)
            yield []
            setups.append("down")

        @pytest.mark.explore_failpoints(points="plugin.*", may_escape=True, fresh=True, faults=["sleep(0)"])
        def test_fresh(disk, capsys):
            assert disk == []
            disk.append(value() + other())

        @pytest.mark.explore_failpoints(points="plugin.*", may_escape=True, faults=["sleep(0)"])
        def test_shared(disk):
            disk.append(value())

        def test_setups():
            assert len(setups) == 2 * 3 + 2 * 1
        """,
    )
    result = run(pytester, "-q")
    assert result.ret == 0, result.stdout.str()


def test_faults_that_would_end_the_run_do_not(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        class Odd(Exception): ...

        @pytest.mark.explore_failpoints(points={"plugin.value": ["raise(KeyboardInterrupt)", Odd(object())]})
        def test_it():
            value()
        """,
    )
    text = run(pytester).stdout.str()
    assert "SUBFAILED[plugin.value=1*raise(KeyboardInterrupt)]" in text
    assert "no text says these terms: fail.scope(Schedule(" in text


def test_a_test_that_is_not_deterministic_and_leaks(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        runs = []

        @pytest.mark.explore_failpoints(points="plugin.*", faults=["sleep(0)"])
        def test_it():
            runs.append(1)
            fail.enable("plugin.left", "off")
            value()
            if len(runs) == 1:
                other()
            assert len(runs) != 3
        """,
    )
    text = run(pytester).stdout.str()
    assert "hit 1 of 'plugin.other', at which sleep(0) was due, did not happen" in text
    assert "failpoint 'plugin.left' was left armed for the process" in text
    assert "1 diverged from the recording, 0 of them never got their fault" in text


def test_what_hits_nothing_or_fails_by_itself_fails(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        @pytest.mark.explore_failpoints(points="nope.*")
        def test_nothing(): ...

        @pytest.mark.explore_failpoints(points="plugin.*")
        def test_alone():
            value()
            raise LookupError("own")

        @pytest.mark.explore_failpoints(points="plugin.*")
        def test_skipped():
            pytest.skip("why not")
        """,
    )
    result = run(pytester)
    result.assert_outcomes(failed=2, skipped=1)
    assert "no failpoint matches 'nope.*'" in result.stdout.str()
    assert "LookupError: own" in result.stdout.str()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("'plugin.*'", "give its arguments by name"),
        ("fresh=1", "fresh must be True or False"),
        ("dept=1", "explore_failpoints got an unexpected keyword argument 'dept'"),
        ("depth=0", "depth must be at least 1"),
    ],
)
def test_wrong_arguments(pytester: pytest.Pytester, arguments: str, words: str) -> None:
    write(pytester, f"@pytest.mark.explore_failpoints({arguments})\ndef test_it(): value()")
    result = run(pytester)
    result.assert_outcomes(failed=1)
    assert words in result.stdout.str()


def test_tests_that_it_cannot_explore_say_so(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        import unittest

        @pytest.mark.explore_failpoints
        class TestCase(unittest.TestCase):
            def test_it(self): value()

        @pytest.mark.asyncio
        @pytest.mark.explore_failpoints
        async def test_async(): value()
        """,
    )
    result = run(pytester, plugins=(ASYNCIO,))
    result.assert_outcomes(failed=2)
    assert "explores test functions, not those of TestCaseFunction" in result.stdout.str()
    assert "await fail.aexplore(body)" in result.stdout.str()


def test_methods_and_parameters(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        """
        class TestIt:
            @pytest.mark.explore_failpoints(points="plugin.value")
            @pytest.mark.parametrize("number", [1, 2])
            def test_it(self, number, failpoints):
                try:
                    value()
                except fail.Injected:
                    assert number == 1
        """,
    )
    result = run(pytester)
    assert "plugin.value=1*raise" in result.stdout.str()
    result.assert_outcomes(passed=1, failed=2)


def test_without_subtests_it_says_what_is_needed(pytester: pytest.Pytester) -> None:
    write(pytester, "@pytest.mark.explore_failpoints(points='plugin.*')\ndef test_it(): value()")
    result = run(pytester, "-p", "no:subtests")
    assert "needs the sub-tests of pytest 9" in result.stdout.str()
