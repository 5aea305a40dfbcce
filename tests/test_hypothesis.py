"""Schedules drawn by Hypothesis: what is drawn, what it shrinks to, and what a failure prints."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.errors import Flaky

from failpy import fail, failpoint
from failpy.hypothesis import Schedule, schedules

MANY = settings(max_examples=250, database=None, deadline=None, derandomize=True, report_multiple_bugs=False)


@failpoint("hyp.db.write", faults=("raise(ENOSPC)", "raise(EIO)", "2*raise(EAGAIN)"))
def write() -> None: ...


@failpoint("hyp.db.read", returns=str)
def read() -> str:
    return "contents"


@failpoint("hyp.net.send", faults=(TimeoutError, ConnectionResetError))
def send() -> None: ...


def survives(*calls: Callable[[], object]) -> list[str]:
    """The names of the errors of these calls, `ok` for none."""
    results = []
    for call in calls:
        try:
            call()
            results.append("ok")
        except Exception as error:
            results.append(type(error).__name__ + str(getattr(error, "errno", "")))
    return results


def failure(test: Callable[[], None]) -> BaseException:
    """What a failing test raises in the end."""
    with pytest.raises(BaseException) as caught:
        test()
    assert not isinstance(caught.value, Flaky), caught.value
    return caught.value


def shrunk(buggy: Callable[[], bool], points: Any = "hyp.*", **bounds: int) -> str:
    """The text of the smallest schedule under which the program is wrong."""
    last = Schedule()

    @MANY
    @given(schedules(points, **bounds))
    def test(schedule: Schedule) -> None:
        nonlocal last
        last = schedule
        with fail.scope(schedule):
            wrong = buggy()
        assert not wrong

    error = failure(test)
    assert isinstance(error, AssertionError)
    assert f"schedule={last!r}" in "\n".join(error.__notes__)
    return str(last)


def drawn(points: Any = "hyp.*", **bounds: int) -> list[Schedule]:
    every: list[Schedule] = []

    @settings(MANY, max_examples=120)
    @given(schedules(points, **bounds))
    def test(schedule: Schedule) -> None:
        every.append(schedule)

    test()
    return every


def test_a_bug_shrinks_to_one_fault_at_the_earliest_hit() -> None:
    assert shrunk(lambda: set(survives(*[write] * 6)) != {"ok"}) == "hyp.db.write=1*raise(ENOSPC)"


def test_the_hit_that_matters_is_kept() -> None:
    assert shrunk(lambda: survives(*[send] * 6)[3] != "ok") == "hyp.net.send=3*off->1*raise(TimeoutError)"


def test_the_fault_that_matters_is_kept() -> None:
    text = shrunk(lambda: "ConnectionResetError" in str(survives(read, write, send)))
    assert text == "hyp.net.send=1*raise(ConnectionResetError)"


def test_a_bug_that_needs_two_faults_shrinks_to_these_two() -> None:
    def buggy() -> bool:
        return "ok" not in survives(write, send)

    assert shrunk(buggy) == "hyp.db.write=1*raise(ENOSPC);hyp.net.send=1*raise(TimeoutError)"


def test_a_bug_that_needs_two_faults_of_one_point() -> None:
    def buggy() -> bool:
        errors = survives(*[send] * 4)
        return errors[0] != "ok" and errors[2] != "ok"

    text = shrunk(buggy, "hyp.net.*")
    assert text == "hyp.net.send=1*raise(TimeoutError)->1*off->1*raise(TimeoutError)"


def test_a_bug_that_needs_no_fault_shrinks_to_the_empty_schedule() -> None:
    assert shrunk(lambda: True) == ""


def test_a_return_shrinks_as_well() -> None:
    assert shrunk(lambda: read_empty()) == 'hyp.db.read=1*return("")'


def read_empty() -> bool:
    try:
        return read() == ""
    except fail.Injected:
        return False


def test_the_catalogue_bounds_what_is_drawn() -> None:
    seen = {
        str(term.modified()).rpartition("*")[2]
        for schedule in drawn()
        for terms in schedule.values()
        for term in terms
    }
    assert seen == {
        "off",
        "raise(ENOSPC)",
        "raise(EIO)",
        "raise(EAGAIN)",
        "raise",
        'return("")',
        "raise(TimeoutError)",
        "raise(ConnectionResetError)",
    }


def fired(schedule: Schedule) -> int:
    return sum(term.action != "off" for terms in schedule.values() for term in terms)


@pytest.mark.parametrize(("max_faults", "max_hit"), [(1, 1), (1, 8), (2, 3), (5, 2)])
def test_the_bounds_are_kept_and_reached(max_faults: int, max_hit: int) -> None:
    every = drawn(["hyp.net.send", "hyp.db.read"], max_faults=max_faults, max_hit=max_hit)
    assert max(map(fired, every)) == min(max_faults, 2 * max_hit)
    hits = {
        sum(term.modifiers[0].count for term in terms)  # type: ignore[union-attr]
        for schedule in every
        for terms in schedule.values()
    }
    assert max(hits) == max_hit


def test_nothing_that_is_drawn_is_thrown_away() -> None:
    strict = settings(MANY, suppress_health_check=[], max_examples=50)

    @strict
    @given(st.lists(schedules("hyp.net.send", max_faults=9, max_hit=1), min_size=3))
    def test(every: list[Schedule]) -> None:
        assert all(str(each) in ("", *ONES) for each in every)

    ONES = ("hyp.net.send=1*raise(TimeoutError)", "hyp.net.send=1*raise(ConnectionResetError)")
    test()


def test_the_line_for_the_environment_is_printed_for_the_final_example_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = None

    @MANY
    @given(schedules("hyp.db.write"))
    def test(schedule: Schedule) -> None:
        with fail.scope(schedule):
            write()

    error = failure(test)
    lines = [line for line in error.__notes__ if "FAILPY_FAILPOINTS" in line]
    assert lines == ["FAILPY_FAILPOINTS='hyp.db.write=1*raise(ENOSPC)'"]
    assert "FAILPY" not in capsys.readouterr().out


def test_what_text_cannot_say_is_said_so() -> None:
    thing = object()

    @MANY
    @given(schedules({"hyp.net.send": [fail.Return(thing)]}))
    def test(schedule: Schedule) -> None:
        assert not schedule

    notes = failure(test).__notes__
    assert f"no FAILPY_FAILPOINTS says what text cannot: hyp.net.send=1*return({thing!r})" in notes


PROGRAM = '''
import sys

from failpy import failpoint


@failpoint("hyp.shop.charge", faults=("raise(TimeoutError(\\"no; -> 'answer'\\"))",))
def charge(paid):
    paid.append(1)


@failpoint("hyp.shop.reply")
def reply():
    """The answer gets lost."""


def body():
    paid = []
    for _ in range(3):
        try:
            charge(paid)
            reply()
        except Exception:
            continue
        break
    assert len(paid) <= 1, f"paid {len(paid)} times"
    assert paid, "never paid"


if __name__ == "__main__":
    body()
'''


def module_at(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("points", "message"),
    [("hyp.shop.*", "paid 2 times"), ("hyp.shop.charge", "never paid")],
)
def test_the_printed_line_reproduces_the_failure_in_another_process(
    tmp_path: Path, points: str, message: str
) -> None:
    path = tmp_path / "hyp_shop.py"
    path.write_text(PROGRAM)
    program = module_at(path)

    @MANY
    @given(schedules(points))
    def test(schedule: Schedule) -> None:
        with fail.scope(schedule):
            program.body()

    error = failure(test)
    assert str(error) == message
    [line] = [line for line in error.__notes__ if line.startswith("FAILPY_FAILPOINTS=")]
    ended = subprocess.run(f"{line} {sys.executable} {path}", shell=True, capture_output=True, text=True)
    assert f"AssertionError: {message}" in ended.stderr
    assert ended.returncode == 1
    assert subprocess.run([sys.executable, path]).returncode == 0


# --- which points ---


def test_points_are_names_patterns_or_several_of_them() -> None:
    def names(points: Any) -> set[str]:
        return {name for schedule in drawn(points) for name in schedule}

    assert names("hyp.db.read") == {"hyp.db.read"}
    assert names("hyp.db.*") == names(["hyp.db.read", "hyp.*.write"]) == {"hyp.db.read", "hyp.db.write"}
    assert names({"hyp.db.?ead", "hyp.net.[st]end"}) == {"hyp.db.read", "hyp.net.send"}


def test_points_may_be_given_with_their_faults() -> None:
    points = {"hyp.late": ["raise(EIO)", fail.Raise(KeyError), KeyError("k"), fail.parse("kill")]}
    texts = {str(schedule) for schedule in drawn(points, max_faults=1, max_hit=1)}
    entries = ("raise(EIO)", "raise(KeyError)", 'raise(KeyError("k"))', "kill")
    assert texts == {"", *(f"hyp.late=1*{entry}" for entry in entries)}


def test_what_ends_the_process_is_not_drawn_from_a_catalogue(name: str) -> None:
    failpoint(name, faults=("kill", "exit(3)", "1*off->break", "raise(EIO)"))(lambda: None)
    assert {str(schedule) for schedule in drawn(name, max_faults=1, max_hit=1)} == {
        "",
        f"{name}=1*raise(EIO)",
    }
    failpoint(f"{name}.only", faults=("kill",))(lambda: None)
    assert isinstance(failure(lambda: drawn(f"{name}.only") and None), fail.FailpointError)
    assert isinstance(failure(lambda: drawn(f"{name}.on*") and None), fail.UnknownFailpoint)


def test_a_name_that_nobody_declared() -> None:
    error = failure(lambda: drawn("hyp.db.raed") and None)
    assert isinstance(error, fail.UnknownFailpoint)
    assert error.near[0] == "hyp.db.read"
    assert "did you mean 'hyp.db.read'" in str(error)
    assert "Import that code first, or give the faults: {'hyp.db.raed': ['raise']}" in str(error)


def test_a_pattern_that_matches_nothing() -> None:
    error = failure(lambda: drawn("nothing.*") and None)
    assert isinstance(error, fail.UnknownFailpoint)
    assert "no declared failpoint matches 'nothing.*'" in str(error)


def test_names_are_looked_up_at_the_first_draw_and_then_stay(name: str) -> None:
    strategy = schedules(f"{name}.*")
    failpoint(f"{name}.one")(lambda: None)
    seen = set()

    @settings(MANY, max_examples=30)
    @given(strategy)
    def test(schedule: Schedule) -> None:
        with fail.point(f"{name}.two"):
            seen.update(schedule)

    test()
    test()
    assert seen == {f"{name}.one"}


def test_a_body_point_declared_by_the_test_itself_makes_nothing_flaky(name: str) -> None:
    failpoint(f"{name}.first")(lambda: None)

    @MANY
    @given(schedules(f"{name}.*"), st.integers(0, 9))
    def test(schedule: Schedule, number: int) -> None:
        with fail.scope(schedule), fail.point(f"{name}.{number}"):
            assert number < 5

    assert isinstance(failure(test), AssertionError)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_faults": 0}, ValueError, "max_faults must be at least 1, not 0"),
        ({"max_faults": True}, TypeError, "max_faults must be an integer, not True"),
        ({"max_faults": 1.5}, TypeError, "max_faults must be an integer"),
        ({"max_hit": -1}, ValueError, "max_hit must be at least 1, not -1"),
        ({"max_hit": "8"}, TypeError, "max_hit must be an integer"),
        ({"points": 3}, TypeError, "give one such as 'db.*'"),
        ({"points": None}, TypeError, "must be a name or a pattern"),
        ({"points": []}, ValueError, "names no failpoint"),
        ({"points": {}}, ValueError, "names no failpoint"),
        ({"points": ""}, fail.InvalidName, "not empty"),
        ({"points": "a=raise"}, fail.InvalidName, "'='"),
        ({"points": [b"a"]}, TypeError, "must be a string"),
        ({"points": {1: ["raise"]}}, TypeError, "must be a string"),
        ({"points": {"a": "raise"}}, TypeError, r"write \['raise'\]"),
        ({"points": {"a": fail.parse("raise")}}, TypeError, "its faults must be a list"),
        ({"points": {"a": OSError}}, TypeError, "its faults must be a list"),
        ({"points": {"a": 1}}, TypeError, "its faults must be a list"),
        ({"points": {"a": []}}, ValueError, "'a' has no faults"),
        ({"points": {"a": ["retrun"]}}, fail.TermSyntaxError, "failpoint 'a'.*did you mean 'return'"),
        ({"points": {"a": [1]}}, TypeError, "failpoint 'a'"),
    ],
)
def test_bad_arguments_fail_at_once(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        schedules(**arguments)


def test_a_strategy_says_what_it_is() -> None:
    assert repr(schedules("db.*", max_faults=2)) == "schedules(points='db.*', max_faults=2, max_hit=8)"


# --- with the rest of Hypothesis and Python ---


def test_a_failure_is_replayed_from_the_database() -> None:
    kept = InMemoryExampleDatabase()
    tried: list[str] = []

    def test(schedule: Schedule) -> None:
        tried.append(str(schedule))
        with fail.scope(schedule):
            assert survives(*[send] * 4)[2] == "ok"

    strategy = schedules("hyp.*")
    failure(settings(MANY, derandomize=False, database=kept)(given(strategy)(test)))
    assert tried.pop() == "hyp.net.send=2*off->1*raise(TimeoutError)"
    tried.clear()
    failure(settings(MANY, derandomize=False, database=kept, phases=[Phase.reuse])(given(strategy)(test)))
    assert tried[0] == "hyp.net.send=2*off->1*raise(TimeoutError)"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_that_kills_a_thread_is_found_and_shrunk() -> None:
    @settings(MANY, max_examples=100)
    @given(schedules("hyp.net.send"))
    def test(schedule: Schedule) -> None:
        with fail.scope(schedule):
            thread = threading.Thread(target=send)
            thread.start()
            thread.join()

    error = failure(test)
    assert isinstance(error, ExceptionGroup)
    assert "FAILPY_FAILPOINTS='hyp.net.send=1*raise(TimeoutError)'" in error.__notes__


@pytest.mark.skipif(hypothesis.__version_info__ < (6, 140), reason="older ones are not for several threads")
def test_one_strategy_serves_several_threads() -> None:
    strategy = schedules("hyp.*")

    def work(_: int) -> int:
        count = 0

        @settings(MANY, max_examples=30, suppress_health_check=list(HealthCheck))
        @given(strategy)
        def test(schedule: Schedule) -> None:
            nonlocal count
            count += 1
            with fail.scope(schedule):
                survives(write, read, send)

        test()
        return count

    with ThreadPoolExecutor(4) as pool:
        assert all(count >= 30 for count in pool.map(work, range(4)))


ASYNC_STRATEGY = schedules("hypasync.*", max_hit=2)


@failpoint("hypasync.fetch", faults=("raise(TimeoutError)", "sleep(1)"))
async def fetch() -> None: ...


@pytest.mark.anyio
@settings(MANY, max_examples=40)
@given(schedule=ASYNC_STRATEGY)
async def test_async_tests_under_anyio(schedule: Schedule) -> None:
    failed = 0
    async with fail.scope(schedule) as scope:
        for _ in range(3):
            try:
                await fetch()
            except TimeoutError:
                failed += 1
    assert failed == sum("Timeout" in (entry.term or "") for entry in scope.trace)


def test_async_tests_under_pytest_asyncio(tmp_path: Path) -> None:
    pytest.importorskip("pytest_asyncio")
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent("""
            import pytest
            from failpy import fail, failpoint
            from failpy.hypothesis import Schedule, schedules
            from hypothesis import given

            @failpoint("fetch", faults=("raise(TimeoutError)", "sleep(1)"))
            async def fetch(): ...

            @pytest.mark.asyncio
            @given(schedules("fetch"))
            async def test_passes(schedule):
                async with fail.scope(schedule):
                    try:
                        await fetch()
                    except TimeoutError:
                        pass

            @pytest.mark.asyncio
            @given(schedules("fetch"))
            async def test_fails(schedule):
                with fail.scope(schedule):
                    await fetch()
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert "1 failed, 1 passed" in ended.stdout, ended.stdout
    assert "FAILPY_FAILPOINTS='fetch=1*raise(TimeoutError)'" in ended.stdout


def test_without_hypothesis_the_import_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "failpy.hypothesis")
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(ImportError, match=r"pip install 'failpy\[hypothesis\]'"):
        importlib.import_module("failpy.hypothesis")


def test_importing_failpy_does_not_import_hypothesis() -> None:
    code = "import sys, failpy; sys.exit('hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
