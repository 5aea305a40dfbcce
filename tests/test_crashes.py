"""Exploring crashes: killed at every hit, checked every time, and nothing of it left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import json
import multiprocessing
import os
import re
import resource
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from failpy import _crash_child, _crash_process, _crashes, fail, parse
from failpy._agenda import Bounds
from failpy._config import config
from failpy._crash_child import Errand, done, let_go, main
from failpy._crash_process import Step, why_not_fork
from failpy._crash_state import Reused, States
from failpy._crash_tree import CrashTree, Plan
from failpy._explore import prepared
from failpy._faults import at_hit
from failpy._outcome import Outcome
from failpy._schedule import Schedule

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")

explore = partial(fail.explore_crashes, method="fork", timeout=20.0)


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No folder, no process, no zombie."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    yield
    assert list(temporary.glob("failpy*")) == []
    assert multiprocessing.active_children() == []
    with contextlib.suppress(ChildProcessError):
        assert os.waitpid(-1, os.WNOHANG)[0] == 0  # what runs is the helper of multiprocessing


@pytest.fixture
def at_fork() -> Callable[..., None]:
    return lambda **_: None


# What is at the top level can be spawned.

fail.point("crashes.write")


def write(folder: Path) -> None:
    for number in range(3):
        with fail.point("crashes.write"), (folder / "log").open("a") as log:
            log.write(f"{number}\n")


def fine(folder: Path) -> None:
    assert folder.is_dir()


def empty(folder: Path) -> None:
    assert not (folder / "log").exists(), (folder / "log").read_text().split()


def outcomes(report: fail.Report) -> dict[str, str]:
    return {case.terms: case.outcome for case in report.cases}


# --- what is explored ---


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_dies_at_each_hit(method: Any) -> None:
    seen = []

    def finished(folder: Path) -> None:
        log = (folder / "log").read_text().split() if (folder / "log").exists() else []
        assert len(log) == 3, log

    check = fine if method == "spawn" else finished
    report = fail.explore_crashes(write, check, points="crashes.*", method=method, limit=2)
    assert report.recording is not None
    assert (report.recording.outcome, report.points, report.notes) == ("passed", {"crashes.write": 3}, ())
    word = "passed" if method == "spawn" else "failed"
    assert outcomes(report) == {"crashes.write=1*kill": word, "crashes.write=1*off->1*kill": word}
    assert report.stopped == "the limit of 2 cases was reached; 1 more case known"
    assert [case.endings for case in report.cases] == [
        (f"run: killed at crashes.write #{nth}", f"check: {word}") for nth in (1, 2)
    ]
    seen += [case.why for case in report.cases]
    if method == "fork":
        assert "AssertionError: []" in seen[0]
        assert "AssertionError: ['0']" in seen[1]


def test_a_failure_is_told_with_what_reproduces_it(tmp_path: Path) -> None:
    def check(folder: Path) -> None:
        log = (folder / "log").read_text().split() if (folder / "log").exists() else []
        assert len(log) in (0, 3), log

    report = explore(write, check, points="crashes.write")
    assert outcomes(report) == {
        "crashes.write=1*kill": "passed",
        "crashes.write=1*off->1*kill": "failed",
        "crashes.write=2*off->1*kill": "failed",
    }
    text = str(report)
    assert "explored 3 cases of 1 failpoint: 1 passed, 2 failed" in text
    assert "FAILPY_FAILPOINTS='crashes.write=1*off->1*kill'\n  run: killed at crashes.write #2\n" in text
    case = report.failures[0]
    assert (case.again, case.flaky, case.hits) == ("failed", False, 2)
    assert case.where == f"{__file__}:{check.__code__.co_firstlineno + 2}"
    assert case.traceback.startswith(f'Traceback (most recent call last):\n  File "{__file__}"')
    with pytest.raises(ExceptionGroup) as raised:
        report.raise_for_failures()
    (error,) = raised.value.exceptions
    assert "in the child process:" in str(error.__cause__)
    assert "crashes.write=1*off->1*kill" in "".join(error.__notes__)

    # As its user would run it.
    reproduce = multiprocessing.get_context("spawn").Process(target=_scoped, args=(case.text, tmp_path))
    reproduce.start()
    reproduce.join()
    assert reproduce.exitcode == -signal.SIGKILL
    assert (tmp_path / "log").read_text() == "0\n"
    reproduce.close()


def _scoped(text: str, folder: Path) -> None:
    with fail.scope(text):
        write(folder)


def test_the_check_dies_too(name: str) -> None:
    def run() -> None:
        with fail.point(name):
            pass

    def check(folder: Path) -> None:
        run()
        died = (folder / "died").exists()
        (folder / "died").touch()
        run()
        assert not died

    report = explore(run, check, points=name, depth=2)
    assert outcomes(report) == {
        f"{name}=1*kill": "passed",
        f"{name}=1*kill, then {name}=1*kill": "passed",
        f"{name}=1*kill, then {name}=1*off->1*kill": "failed",
    }
    (case,) = report.failures
    assert case.endings == (f"run: killed at {name} #1", f"check: killed at {name} #2", "check: failed")
    assert (case.text, [str(each) for each in case.then]) == (
        f"{name}=1*kill",
        [f"{name}=1*off->1*kill"],
    )
    assert (
        f"FAILPY_FAILPOINTS={name}=1*kill for run, then FAILPY_FAILPOINTS='{name}=1*off->1*kill' for check"
        in str(report).replace(f"'{name}=1*kill'", f"{name}=1*kill")
    )
    assert json.loads(report.json())["cases"][2]["then"] == [f"{name}=1*off->1*kill"]
    assert "then" in report.html()


def test_a_seed_draws_the_order() -> None:
    orders = {tuple(outcomes(explore(write, fine, points="crashes.*", seed=seed))) for seed in range(4)}
    assert len(orders) > 1


def test_a_budget_is_honoured() -> None:
    report = explore(write, fine, points="crashes.*", budget=0.001)
    assert str(report.stopped) == "the budget of 0.001 s was used up; 3 more cases known"


def test_ctrl_c_gives_the_report_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def interrupted(*args: Any) -> bool:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return wait(*args)

    wait = _crash_process._wait
    monkeypatch.setattr(_crash_process, "_wait", interrupted)
    report = explore(write, fine, points="crashes.*")
    assert (len(report.cases), report.stopped) == (1, "interrupted; 2 more cases known")
    with pytest.raises(KeyboardInterrupt):
        report.raise_for_failures()


def test_what_is_armed_around_it_is_left_alone() -> None:
    with fail.scope({"crashes.write": "off"}):
        report = explore(write, fine, points="crashes.write")
    assert "failpoint 'crashes.write' was left alone: it is armed around the exploration" in str(report)


def test_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    explore(write, fine, points="crashes.*", progress=True)


def test_a_fork_of_the_child_is_not_what_dies(name: str) -> None:
    def run(folder: Path) -> None:
        with fail.point(name):
            pass
        child = os.fork()
        with fail.point(name):
            pass
        if not child:
            (folder / "child").touch()
            os._exit(0)
        os.waitpid(child, 0)

    report = explore(run, fine, points=name)
    assert (report.points, report.counts) == ({name: 2}, {"passed": 2})


def test_a_fork_of_the_child_that_comes_out_of_the_call_has_no_result(name: str) -> None:
    def run(folder: Path) -> None:
        child = os.fork()
        if not child:
            sys.exit(3)
        (folder / "status").write_text(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
        with fail.point(name):
            pass
        (folder / "after").touch()

    def check(folder: Path) -> None:
        assert (folder / "status").read_text() == "3"

    report = explore(run, check, points=name)
    assert (report.points, report.counts) == ({name: 1}, {"passed": 1})


# --- states ---


def test_the_folder_is_new_and_current(name: str) -> None:
    def run() -> None:
        assert list(map(str, Path().iterdir())) == []
        Path("here").touch()
        with fail.point(name):
            pass

    def check(folder: Path = Path("elsewhere")) -> None:
        assert folder.samefile(".")
        assert list(map(str, Path().iterdir())) == ["here"]

    report = explore(run, check, points=name)
    assert report.counts == {"passed": 1}, report


def test_setup_gives_a_value_or_a_context(tmp_path: Path) -> None:
    numbers = iter(range(100))
    log: list[str] = []

    def value() -> Path:
        path = tmp_path / str(next(numbers))
        path.mkdir()
        return path

    @contextlib.contextmanager
    def context() -> Iterator[Path]:
        log.append("in")
        yield value()
        log.append("out")

    assert explore(write, fine, points="crashes.*", setup=value).counts == {"passed": 3}
    assert explore(write, fine, points="crashes.*", setup=context).counts == {"passed": 3}
    assert log == ["in", "out"] * 4
    assert explore(write_in_list, len, points="crashes.*", setup=list).counts == {"passed": 1}


def write_in_list(state: list[int]) -> None:
    with fail.point("crashes.list"):
        state.append(1)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_state_that_is_used_again_is_a_problem(tmp_path: Path, kind: Callable[[Path], object]) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "fixture").touch()

    def run(state: object) -> None:
        write(Path(str(state)))
        (folder / "other").touch()

    report = explore(run, lambda: None, points="crashes.*", setup=lambda: kind(folder))
    assert report.stopped == "setup gave a state that was used before; 3 more cases known"
    assert f"setup gave {str(folder)!r} again, and 'log' and 1 more of an earlier case is still" in str(
        report
    )
    with pytest.raises(Reused):
        report.raise_for_failures()


def test_a_state_that_is_emptied_is_not(tmp_path: Path) -> None:
    file = tmp_path / "log"

    def setup() -> Path:
        file.write_text("")
        return file

    assert explore(lambda file: write(file.parent), fine_file, points="crashes.*", setup=setup).counts == {
        "passed": 3
    }


def fine_file(file: Path) -> None:
    assert file.is_file()


def test_files_that_vanish_while_they_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "log").touch()
    monkeypatch.setattr(os, "walk", lambda _: [(str(tmp_path), [], ["gone", "log"])])
    states = States(lambda: tmp_path)
    for _ in range(2):
        with states.fresh():
            pass


def test_a_setup_that_raises(tmp_path: Path) -> None:
    calls = iter([fine, None])

    def setup() -> Path:
        if next(calls) is None:
            raise OSError("no room")
        return tmp_path

    calls = iter([fine, None, None, None])
    report = explore(write, fine, points="crashes.*", setup=setup, limit=1)
    assert [(case.outcome, case.why, case.endings, case.divergence) for case in report.cases] == [
        ("failed", "OSError: no room", ("setup: failed",), None)
    ]

    @contextlib.contextmanager
    def untidy() -> Iterator[Path]:
        yield tmp_path / "none"
        raise OSError("no way out")

    recording = explore(lambda _: None, lambda _: None, points="crashes.*", setup=untidy).recording
    assert recording is not None
    assert (recording.why, recording.endings) == (
        "OSError: no way out",
        ("run: passed", "check: passed", "setup: failed"),
    )


# --- bad input ---


def test_a_body_without_a_hit(name: str) -> None:
    report = explore(lambda: None, lambda: None, points="crashes.never*")
    assert "no failpoint matches 'crashes.never*'" in str(report)
    with pytest.raises(fail.UnknownFailpoint):
        report.raise_for_failures()

    def declares() -> None:
        fail.point(name)

    assert f"the body did not hit the one failpoint that matches {name!r}" in str(
        explore(declares, fine, points=name)
    )


def test_a_body_that_never_ends(name: str) -> None:
    def run() -> None:
        with fail.point(name):
            pass
        time.sleep(60)

    report = explore(run, fine, points=name, timeout=0.3)
    assert report.recording is not None
    assert report.recording.outcome == "timed out"
    assert report.recording.where == f"{__file__}:{run.__code__.co_firstlineno + 3}"
    assert "fails without any fault: TimeoutError: run did not end within 0.3 s, and was killed" in str(
        report
    )
    with pytest.raises(TimeoutError):
        report.raise_for_failures()


def test_a_check_that_never_ends_after_a_crash(name: str) -> None:
    def run() -> None:
        with fail.point(name):
            pass
        Path("done").touch()

    def check() -> None:
        while not Path("done").exists():
            time.sleep(0.01)

    report = explore(run, check, points=name, timeout=1.0)
    assert outcomes(report) == {f"{name}=1*kill": "timed out"}
    assert report.failures[0].endings == (f"run: killed at {name} #1", "check: timed out")


def test_a_grandchild_dies_with_the_group(name: str, tmp_path: Path) -> None:
    def run() -> None:
        with fail.point(name):
            pass
        child = os.fork()
        if not child:
            time.sleep(60)
        (tmp_path / "pid").write_text(str(child))

    assert explore(run, lambda: None, points=name).counts == {"passed": 1}
    until = time.monotonic() + 10
    stat = Path(f"/proc/{(tmp_path / 'pid').read_text()}/stat")
    while stat.exists() and stat.read_text().split()[2] != "Z":
        assert time.monotonic() < until
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("end", "outcome", "why"),
    [
        (lambda: os._exit(3), "exited", "Exited: the body called os._exit(3), which would"),
        (
            lambda: _really_exit(4),
            "exited",
            "Failure: run ended its process itself, by os._exit(4)",
        ),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "crashed", "Failure: run died of SIGTERM, which came"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "crashed", "Failure: run died of SIGKILL, which came"),
        (
            lambda: os.kill(os.getpid(), signal.SIGRTMIN + 3),
            "crashed",
            "Failure: run died of signal 37",
        ),
        (lambda: sys.exit("no"), "failed", "SystemExit: no"),
        (lambda: signal.raise_signal(signal.SIGINT), "failed", "KeyboardInterrupt"),
        (lambda: asyncio.sleep(0), "failed", "TypeError: run gave an awaitable: wrap it"),
        (lambda: 1 / 0, "failed", "ZeroDivisionError"),
        (lambda: _raise_local(), "failed", "_raise_local.<locals>.Strange"),
    ],
)
def test_a_body_that_ends_otherwise(end: Callable[[], object], outcome: str, why: str) -> None:
    recording = explore(end, lambda: None).recording
    assert recording is not None
    assert (recording.outcome, recording.why[: len(why)]) == (outcome, why)
    assert recording.endings == (f"run: {outcome}",)


_really_exit = os._exit


def _raise_local() -> None:
    class Strange(Exception):
        pass

    raise Strange


def test_a_body_that_exits_as_programs_do(name: str) -> None:
    def run() -> None:
        with fail.point(name):
            pass
        sys.exit()

    assert explore(run, lambda: None, points=name).counts == {"passed": 1}


def test_a_hit_that_does_not_come(name: str, tmp_path: Path) -> None:
    def run() -> None:
        runs = len(list(tmp_path.glob("run*")))
        (tmp_path / f"run{runs}").touch()
        for _ in range(1 if runs else 2):
            with fail.point(name):
                pass

    report = explore(run, lambda: None, points=name)
    assert report.counts == {"passed": 1, "missed": 1}
    missing = f"hit 2 of '{name}', at which kill was due, did not happen"
    assert str(report.cases[1].divergence).startswith(missing)


def test_a_check_that_fails_at_once_and_a_check_that_is_missed(name: str) -> None:
    recording = explore(lambda: None, lambda: 1 / 0).recording
    assert recording is not None
    assert recording.endings == ("run: passed", "check: failed")

    def check(folder: Path) -> None:
        with fail.point(name) if not (folder / "once").exists() else contextlib.nullcontext():
            pass

    def run(folder: Path) -> None:
        with fail.point(name):
            pass

    calls = tempfile.mkdtemp()

    def only_once() -> None:
        number = len(list(Path(calls).iterdir()))
        Path(calls, str(number)).touch()
        if number < 2:
            with fail.point(name):
                pass

    report = explore(run, only_once, points=name, depth=2)
    assert str(report.cases[1].divergence).startswith(f"in check, hit 1 of '{name}'")
    assert report.cases[1].outcome == "missed"


def test_a_program_that_fails_in_the_end_by_itself(name: str, tmp_path: Path) -> None:
    def run() -> None:
        with fail.point(name):
            pass

    def check() -> None:
        number = len(list(tmp_path.glob("check*")))
        (tmp_path / f"check{number}").touch()
        assert not number

    report = explore(run, check, points=name)
    assert report.counts == {"failed": 1}
    assert "after the cases, the body fails with nothing killed" in str(report)


def test_threads_and_processes_that_are_left_are_named(name: str) -> None:
    def run() -> None:
        with fail.point(name):
            pass
        threading.Thread(target=time.sleep, args=(60,), name="sleeper").start()
        multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,), name="worker").start()

    began = time.monotonic()
    report = explore(run, lambda: None, points=name)
    assert time.monotonic() - began < 15
    assert report.recording is not None
    assert report.recording.leaks == (
        "run: thread 'sleeper' still runs",
        "run: process 'worker' still runs",
    )


# --- arguments ---


async def async_check() -> None: ...


def generator() -> Iterator[None]:
    yield


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"points": {"a": ["raise"]}}, TypeError, "the fault is always kill"),
        ({"method": "thread"}, ValueError, "method must be 'fork', 'spawn' or None"),
        ({"setup": 1}, TypeError, "setup must be a callable"),
        ({"setup": generator}, TypeError, "put @contextlib.contextmanager on it"),
        ({"run": 1}, TypeError, "run must be a callable that takes the state or nothing"),
        ({"check": async_check}, TypeError, "check is async: wrap it"),
        ({"check": generator}, TypeError, "generator function, whose body"),
        ({"check": lambda a, b: None}, TypeError, "check must take the state or nothing"),
        ({"depth": 0}, ValueError, "depth must be at least 1"),
        ({"run": lambda: None, "method": "spawn"}, TypeError, "cannot be sent to a spawned process"),
    ],
)
def test_arguments_that_are_wrong(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        explore(**{"run": write, "check": fine, **arguments})


def test_failpoints_that_are_compiled_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "enabled", False)
    with pytest.raises(fail.FailpointError, match="cannot explore: FAILPY=off"):
        explore(write, fine)


def test_a_system_without_sigkill(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "setsid")
    with pytest.raises(fail.FailpointError, match="this system has no SIGKILL"):
        explore(write, fine)


def test_a_daemonic_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_crashes, "current_process", lambda: SimpleNamespace(daemon=True))
    with pytest.raises(fail.FailpointError, match="in a daemonic process, such as a worker of multiproc"):
        explore(write, fine)


def test_a_callable_in_c_without_a_signature_takes_the_state() -> None:
    assert _crashes._takes_state("run", iter)  # its two forms are no signature
    assert _crashes._takes_state("run", print)
    assert not _crashes._takes_state("run", lambda: None)


# --- fork and spawn ---


def test_a_fork_beside_a_thread_is_not_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    thread = threading.Thread(target=free.wait, name="other")
    thread.start()
    try:
        assert "runs too" in str(why_not_fork())
        with pytest.raises(TypeError, match="and a fork is not safe: thread '.*' runs too; define it"):
            fail.explore_crashes(lambda: None, fine)
        report = fail.explore_crashes(write, fine, points="crashes.*", limit=1)
        assert report.counts == {"passed": 1}
        assert "note: each process was spawned, since a fork is not safe: thread " in str(report)
    finally:
        free.set()
        thread.join()
    monkeypatch.setattr(threading, "enumerate", lambda: [threading.current_thread()])
    assert why_not_fork() is None
    assert fail.explore_crashes(lambda: None, lambda: None, points="crashes.*").recording is not None

    async def inside() -> str | None:
        return why_not_fork()

    assert asyncio.run(inside()) == "an event loop of asyncio runs here"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert why_not_fork() == "the libraries of macOS do not survive it"
    monkeypatch.delattr(os, "fork")
    assert why_not_fork() == "this system has no fork"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_threads_that_explore_leave_the_filters_of_warnings(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(warnings.filters)
    others = threading.Event()
    started = multiprocessing.process.BaseProcess.start

    def start(process: Any) -> None:
        # The first goes on while the second is where it was, if that can come there.
        if threading.current_thread() is threads[0]:
            others.wait(0.5)
        else:
            others.set()
            threads[0].join()
        started(process)

    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", start)
    _crash_process._after_fork_in_child()
    errands = [errand(folder, fine) for folder in map(Path, map(tempfile.mkdtemp, "ab"))]
    threads = [threading.Thread(target=_crash_process.step, args=(each, method)) for each in errands]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_without_pidfd(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    assert explore(write, fine, points="crashes.*").counts == {"passed": 3}
    recording = explore(lambda: time.sleep(60), fine, timeout=0.2).recording
    assert recording is not None
    assert recording.outcome == "timed out"
    assert explore(write, fine, points="crashes.*", timeout=None).counts == {"passed": 3}


def test_a_process_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise BlockingIOError("no more processes")

    monkeypatch.setattr(os, "fork", no_fork)
    with pytest.raises(BlockingIOError):
        explore(write, fine)


def test_a_spawned_main_module_that_is_not_guarded(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from failpy import fail\n"
        "def run(): pass\n"
        "report = fail.explore_crashes(run, run, method='spawn')\n"
        "print(report)\n"
    )
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert "ended with status 1 before it began" in ended.stdout, ended.stderr


# --- the child, in this process ---


def errand(tmp_path: Path, call: Callable[..., object], **changes: Any) -> Errand:
    _, rules = prepared(points="crashes.*", timeout=changes.pop("timeout", 5.0))
    return Errand(
        changes.pop("what", "run"),
        call,
        (tmp_path,),
        changes.pop("schedule", Schedule()),
        rules,
        tmp_path,
        None,
    )


def test_a_child_writes_down_what_it_hits(tmp_path: Path, at_fork: Any) -> None:
    outcome = done(errand(tmp_path, write), at_fork)
    assert outcome.verdict == "passed"
    assert (tmp_path / "hits").read_text() == "crashes.write 0\n" * 3
    assert _crash_process._read(errand(tmp_path, write), 0).outcome.names == ("crashes.write",) * 3


def test_a_child_writes_before_the_action(
    tmp_path: Path, at_fork: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((tmp_path / "hits").read_text()))
    schedule = Schedule({"crashes.write": at_hit(2, parse("kill"))})
    done(errand(tmp_path, write, schedule=schedule), at_fork)
    assert killed == ["crashes.write 0\ncrashes.write 1\n"]


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (SystemExit(0), "passed"),
        (SystemExit(1), "failed"),
        (KeyboardInterrupt(), "failed"),
        (OSError(), "failed"),
    ],
)
def test_a_child_whose_body_raises(
    tmp_path: Path, at_fork: Any, error: BaseException, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(_: Path) -> None:
        raise error

    monkeypatch.chdir(tmp_path)
    one = errand(tmp_path, body, what="check")
    outcome = done(Errand("check", body, (tmp_path,), one.schedule, one.rules, tmp_path, tmp_path), at_fork)
    assert outcome.verdict == verdict


def test_a_child_whose_body_gives_an_awaitable(tmp_path: Path, at_fork: Any) -> None:
    assert "run gave an awaitable" in str(done(errand(tmp_path, lambda _: asyncio.sleep(0)), at_fork).error)


def test_a_fork_of_a_child_writes_nothing_and_has_nothing_armed(
    tmp_path: Path, at_fork: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def body(folder: Path) -> None:
        with fail.scope():
            pid = os.getpid()
            monkeypatch.setattr(os, "getpid", lambda: pid + 1)
            with fail.point("crashes.write"):
                pass
            monkeypatch.undo()
            let_go()
            with fail.point("crashes.write"):
                pass

    one = errand(tmp_path, body, schedule=Schedule({"crashes.write": at_hit(2, parse("raise"))}))
    assert done(one, at_fork).verdict == "passed"
    assert (tmp_path / "hits").read_text() == ""


@pytest.mark.parametrize(
    ("end", "status", "said"),
    [
        (None, 0, ""),
        (SystemExit(), 0, ""),
        (SystemExit(3), 3, ""),
        (SystemExit("no room"), 1, "no room"),
        (OSError("full"), 1, "OSError: full"),
    ],
)
def test_a_fork_of_a_child_ends_as_a_program_does(
    tmp_path: Path,
    at_fork: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    end: BaseException | None,
    status: int,
    said: str,
) -> None:
    fork = pytest.MonkeyPatch()

    def body(folder: Path) -> None:
        pid = os.getpid()
        fork.setattr(os, "getpid", lambda: pid + 1)
        if end is not None:
            raise end

    def ended(status: int) -> None:
        fork.undo()
        raise ChildProcessError(status)

    monkeypatch.setattr(os, "_exit", ended)
    outcome = done(errand(tmp_path, body), at_fork)
    assert (type(outcome.error), str(outcome.error)) == (ChildProcessError, str(status))
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize("is_held_up", [False, True])
def test_the_main_of_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, timeout: float | None, is_held_up: bool
) -> None:
    calls = []
    monkeypatch.setattr(_crash_child, "_die_with_parent", lambda: calls.append("die with parent"))
    monkeypatch.setattr(os, "setsid", lambda: calls.append("setsid"))
    monkeypatch.setattr(os, "register_at_fork", lambda **_: None)
    monkeypatch.setattr(os, "_exit", lambda status: calls.append(f"exit {status}"))
    monkeypatch.setattr(faulthandler, "register", lambda *_, **__: calls.append("dump"))
    monkeypatch.setattr(_crash_child, "_is_held_up", lambda: is_held_up)
    main(errand(tmp_path, fine, timeout=timeout))
    assert calls == ["die with parent", "setsid", "dump", *["exit 0"] * is_held_up]


@pytest.mark.parametrize("is_orphan", [False, True])
def test_a_child_asks_to_die_with_its_parent(monkeypatch: pytest.MonkeyPatch, is_orphan: bool) -> None:
    calls: list[tuple[int, int]] = []
    library = SimpleNamespace(prctl=lambda option, number: calls.append((option, number)))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    parent = SimpleNamespace(pid=os.getppid() + is_orphan)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(os, "kill", lambda pid, number: calls.append((pid, number)))
    _crash_child._die_with_parent()
    assert calls == [(1, signal.SIGKILL), *[(os.getpid(), signal.SIGKILL)] * is_orphan]


@pytest.mark.skipif(sys.platform != "linux", reason="what dies with its parent does so on Linux")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_no_child_outlives_the_process_that_explores(tmp_path: Path, method: str) -> None:
    script = tmp_path / "explores.py"
    script.write_text(
        "import os, sys, time\n"
        "from failpy import fail\n"
        "def run():\n"
        "    sys.stdout.write(f'{os.getpid()}\\n')\n"
        "    sys.stdout.flush()\n"
        "    time.sleep(600)\n"
        "if __name__ == '__main__':\n"
        f"    fail.explore_crashes(run, print, method={method!r})\n"
    )
    explores = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    assert explores.stdout is not None
    with explores.stdout:
        child = os.pidfd_open(int(explores.stdout.readline()))
        try:
            explores.kill()
            explores.wait()
            assert select.select([child], [], [], 60.0)[0], "the child runs on"
        finally:
            os.close(child)


def test_what_holds_up_the_end_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.current_thread()
    monkeypatch.setattr(threading, "enumerate", lambda: [here])
    assert not _crash_child._is_held_up()
    monkeypatch.setattr(threading, "enumerate", lambda: [here, threading.Thread()])
    assert _crash_child._is_held_up()


# --- what a child leaves ---


def test_a_result_that_cannot_be_loaded(tmp_path: Path) -> None:
    (tmp_path / "result").write_bytes(b"nonsense")
    outcome = _crash_process._read(errand(tmp_path, write), 0).outcome
    assert (outcome.verdict, "cannot load" in str(outcome.error)) == ("failed", True)


def test_a_child_that_never_came_to_run(tmp_path: Path) -> None:
    outcome = _crash_process._read(errand(tmp_path, write), 1).outcome
    assert outcome.verdict == "crashed"
    assert "the process of run ended with status 1 before it began" in str(outcome.error)


def test_a_child_that_finds_no_room_for_what_it_has_to_say(tmp_path: Path) -> None:
    def run(folder: Path) -> None:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limit))

    recording = explore(run, fine).recording
    assert recording is not None
    assert recording.why.endswith("or failpy could not write what it came to, and stderr says why")


def test_a_folder_that_run_has_taken_away(name: str) -> None:
    def run(folder: Path) -> None:
        folder.rmdir()

    recording = explore(run, fine).recording
    assert recording is not None
    assert recording.endings == ("run: passed", "check: crashed")
    assert "before it began, and stderr says why" in recording.why
    assert recording.why.endswith("without setup= its folder has to be there")


def test_a_child_that_says_nothing_of_where_it_is(tmp_path: Path) -> None:
    outcome = _crash_process._read(errand(tmp_path, write), None).outcome
    assert (outcome.verdict, outcome.where, outcome.traceback) == ("timed out", "", "")
    (tmp_path / "stack").write_text(f'Thread 0x1:\n  File "{_crash_process._OURS}/_x.py", line 1 in x\n')
    assert _crash_process._read(errand(tmp_path, write), None).outcome.where == ""


def test_a_stop_keeps_the_first_problem() -> None:
    _, rules = prepared()
    tree = CrashTree(rules, Bounds(1, False, None, None, None))
    problem = Step("run", Outcome("passed"), fail.FailpointError("first"))
    tree.begin([problem, Step("check", Outcome("passed"))])
    for _ in range(2):
        tree.stop("over", fail.FailpointError("second"))
    assert (str(tree.report().problem), tree.failed, tree.next()) == ("first", 0, None)
    assert Plan().schedules == ()


def test_many_hits_take_room_for_each_once() -> None:
    _, rules = prepared(points="crashes.*")
    tree = CrashTree(rules, Bounds(1, False, 1, None, None))
    hits = ("crashes.write",) * 3000
    tracemalloc.start()
    try:
        tree.begin([Step("run", Outcome("passed", names=hits)), Step("check", Outcome("passed"))])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert tree.due == len(hits)
    assert peak < 1000 * len(hits)
