"""Bodies that never end, that change what is not theirs, and executors that take no work."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from failpy import _timelimit, fail, failpoint
from failpy._registry import armed


@failpoint("corners.step", faults=("raise(EIO)",))
def step() -> None: ...


def body() -> None:
    for _ in range(3):
        try:
            step()
        except OSError:
            pass


def after_a_fault(then: Callable[[], object]) -> Callable[[], None]:
    def explored() -> None:
        try:
            step()
        except OSError:
            then()

    return explored


# --- bodies that never end ---


def receive() -> None:
    one, other = socket.socketpair()
    with one, other:
        one.recv(1)


def lock_twice() -> None:
    lock = threading.Lock()
    with lock:
        lock.acquire()


@pytest.fixture
def alarm() -> Iterator[None]:
    before = signal.getsignal(signal.SIGALRM)
    yield
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


@pytest.mark.parametrize(
    "block", [lambda: time.sleep(1000), lambda: threading.Event().wait(), receive, lock_twice]
)
def test_a_call_in_c_that_never_ends_is_interrupted(block: Callable[[], object], alarm: None) -> None:
    report = fail.explore(after_a_fault(block), points="corners.*", timeout=0.1)
    assert report.counts == {"timed out": 1}
    assert "did not end within 0.1 s" in report.failures[0].why
    assert armed() == {}


def explore_async(then: Callable[[], Awaitable[object]], **options: Any) -> fail.Report:
    async def explored() -> None:
        try:
            await fail.point("corners.async", faults=("raise(EIO)",)).ahit()
        except OSError:
            await then()

    async def main() -> fail.Report:
        report = await fail.aexplore(explored, points="corners.async", **options)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0)  # and nothing rings any more
        return report

    return asyncio.run(main())


def test_an_async_body_that_holds_up_its_loop_is_interrupted(
    alarm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_timelimit, "_HELD_UP", 0.1)

    async def sleeping() -> None:
        time.sleep(1000)  # noqa: ASYNC251 - that is what is under test

    assert explore_async(sleeping, timeout=0.1).counts == {"timed out": 1}


def test_an_async_body_that_swallows_its_cancellation_is_cancelled_again(
    alarm: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_timelimit, "_AGAIN", 0.01)
    monkeypatch.setattr(_timelimit, "_HELD_UP", 0.02)  # which is over, and its loop is not held up
    caught = []

    async def stubborn() -> None:
        while len(caught) < 10:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError as error:
                caught.append(error)
        await asyncio.sleep(1000)

    assert explore_async(stubborn, timeout=0.05).counts == {"timed out": 1}
    assert len(caught) == 10


def test_an_async_body_that_cannot_be_cancelled_would_end_the_process_with_reasons(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_timelimit, "_AGAIN", 0.001)
    monkeypatch.setattr(_timelimit, "_TRIES", 5)

    ends = []
    monkeypatch.setattr(_timelimit, "_give_up", lambda seconds: ends.append(seconds))

    async def endless() -> None:
        while not ends:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                pass

    explore_async(endless, timeout=0.05)
    assert ends[0] == 0.05


def test_the_timer_of_somebody_else_goes_on_after_an_async_body() -> None:
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:

        async def quick() -> None: ...

        assert explore_async(quick).counts == {"passed": 1}
        until = time.monotonic() + 30
        while not rung and time.monotonic() < until:
            time.sleep(0.01)
        assert rung == [1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_async_body_in_another_thread_has_no_timer() -> None:
    async def waits() -> None:
        await asyncio.sleep(1000)

    with ThreadPoolExecutor(1) as pool:
        report = pool.submit(explore_async, waits, timeout=0.05).result()
    assert report.counts == {"timed out": 1}


# --- bodies that change what is not theirs ---


def test_the_state_of_the_process_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORNERS_KEPT", "1")
    monkeypatch.setenv("CORNERS_GONE", "1")
    before = Path.cwd(), dict(os.environ), signal.getsignal(signal.SIGTERM)

    def changes() -> None:
        os.chdir(tmp_path)
        os.environ["CORNERS_NEW"] = "1"
        del os.environ["CORNERS_GONE"]
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    (case,) = fail.explore(after_a_fault(changes), points="corners.*").cases
    assert case.leaks == (
        f"the current folder was left at {tmp_path}",
        "the environment was left changed: CORNERS_GONE, CORNERS_NEW",
        "the handler of SIGTERM was left changed",
    )
    assert (Path.cwd(), dict(os.environ), signal.getsignal(signal.SIGTERM)) == before


def test_a_folder_that_is_gone_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    (case,) = fail.explore(after_a_fault(lambda: os.chdir(tmp_path)), points="corners.*").cases
    assert case.leaks == (f"the current folder was left at {tmp_path}",)


def test_a_trace_function_is_told_and_left() -> None:
    before = sys.gettrace()

    def trace(*_: object) -> None: ...

    try:
        (case,) = fail.explore(after_a_fault(lambda: sys.settrace(trace)), points="corners.*").cases
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert case.leaks == ("a trace function was left behind, by sys.settrace",)


FORKS = """
    import os
    from failpy import fail

    def body():
        try:
            fail.point("p").hit()
        except fail.Injected:
            pid = os.fork()
            if pid:
                os.waitpid(pid, 0)

    print(fail.explore(body, points="p"))
"""


def run_script(tmp_path: Path, text: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )


def test_a_fork_that_comes_out_of_the_body_does_not_explore_on(tmp_path: Path) -> None:
    done = run_script(tmp_path, FORKS)
    assert done.stdout == "explored 1 case of 1 failpoint: 1 passed\n"
    assert "came back out of it, so it ends here" in done.stderr


def test_streams_that_a_body_closes_do_not_stop_it(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        import os, sys
        from failpy import fail

        def body():
            for stream in (sys.stdin, sys.stdout, sys.stderr):
                stream.close()
            try:
                fail.point("p").hit()
            except fail.Injected:
                pass

        out = os.dup(1)
        os.write(out, str(fail.explore(body, points="p")).encode())
        """,
    )
    assert done.stdout == "explored 1 case of 1 failpoint: 1 passed"


@pytest.mark.parametrize("error", [GeneratorExit(), asyncio.CancelledError(), SystemExit(3), StopIteration()])
def test_an_exception_that_steers_is_a_failure_of_its_case(error: BaseException) -> None:
    def raises() -> None:
        raise error

    (case,) = fail.explore(after_a_fault(raises), points="corners.*").cases
    assert (case.outcome, case.error) == ("failed", error)


def test_within_a_scope_and_within_a_running_loop(name: str) -> None:
    def explored() -> None:
        with fail.point(name, faults=("raise(EIO)",)):
            pass

    async def main() -> fail.Report:
        return fail.explore(explored, points=name, may_escape=OSError)

    with fail.scope() as scope:
        assert asyncio.run(main()).counts == {"escaped": 1}
        assert fail.current_scope() is scope


# --- executors ---


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_however_they_are_started(method: str) -> None:
    context: Any = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        assert fail.explore(body, points="corners.*", executor=executor).counts == {"passed": 3}


def test_processes_that_are_forked(tmp_path: Path) -> None:
    # In a program of its own, since no other thread may hold a lock then.
    done = run_script(
        tmp_path,
        """
        import multiprocessing, os
        from concurrent.futures import ProcessPoolExecutor
        from failpy import fail

        def body():
            try:
                fail.point("p").hit()
            except fail.Injected:
                assert os.getpid() != parent

        parent = os.getpid()
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as executor:
            print(fail.explore(body, points="p", executor=executor))
        """,
    )
    assert (done.stdout, done.returncode) == ("explored 1 case of 1 failpoint: 1 passed\n", 0), done.stderr


@pytest.mark.parametrize("make", [ThreadPoolExecutor, ProcessPoolExecutor])
def test_an_executor_that_was_shut_down(make: Callable[[int], Executor]) -> None:
    executor = make(1)
    executor.shutdown()
    with pytest.raises(
        fail.FailpointError, match="does not take .*after shutdown; give an executor that is open"
    ):
        fail.explore(body, points="corners.*", executor=executor)


@pytest.mark.parametrize("executor", [3, object, multiprocessing])
def test_what_is_no_executor(executor: Any) -> None:
    with pytest.raises(TypeError, match=r"executor must be one of concurrent\.futures"):
        fail.explore(body, executor=executor)


def test_an_async_body_on_an_executor() -> None:
    async def explored() -> None: ...

    with ThreadPoolExecutor(1) as executor, pytest.raises(TypeError, match=r"on an executor.*asyncio\.run"):
        fail.explore(explored, executor=executor)


def test_an_awaitable_that_nobody_awaits() -> None:
    report = fail.explore(lambda: asyncio.sleep(0), points="corners.*")
    assert "nobody awaits here: use `await fail.aexplore(...)`" in str(report)
    assert "or let the body call asyncio.run" in str(report)


class Limited(Executor):
    """Takes so many, and does something else then."""

    def __init__(self, many: int, then: Callable[[], Future[Any]]) -> None:
        self.left = many
        self.then = then

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.left -= 1
        if self.left < 0:
            return self.then()
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


def refuses() -> Future[Any]:
    raise RuntimeError("closed")


def interrupts() -> Future[Any]:
    signal.raise_signal(signal.SIGINT)
    raise AssertionError


def fails(error: BaseException) -> Callable[[], Future[Any]]:
    def failing() -> Future[Any]:
        future: Future[Any] = Future()
        future.set_exception(error)
        return future

    return failing


def test_an_executor_that_takes_no_more_gives_the_report_so_far() -> None:
    report = fail.explore(body, points="corners.*", executor=Limited(2, refuses))
    assert report.counts == {"passed": 1, "crashed": 1}
    assert report.stopped == "the executor takes no more cases; 1 more case known"
    assert "closed" in report.failures[0].why


def test_ctrl_c_beside_an_executor_gives_the_report_so_far() -> None:
    report = fail.explore(body, points="corners.*", executor=Limited(2, interrupts))
    assert report.recording is not None
    assert str(report.stopped).startswith("interrupted")


def test_a_case_that_the_executor_loses_is_crashed_and_the_others_go_on() -> None:
    report = fail.explore(body, points="corners.*", executor=Limited(3, fails(CancelledError("lost"))))
    assert (report.counts, report.stopped) == ({"passed": 2, "crashed": 1}, None)


@pytest.mark.parametrize("error", [CancelledError("lost"), TimeoutError("of its own")])
def test_a_recording_that_the_executor_loses(error: Exception) -> None:
    report = fail.explore(body, points="corners.*", executor=Limited(0, fails(error)))
    assert f"the body fails without any fault: {type(error).__name__}: {error}" in str(report)
