"""Threads, signals and forks: counts are exact, no lock is held while an action runs, nothing is lost."""

from __future__ import annotations

import _thread
import dis
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from failpy import fail, failpoint
from failpy._activation import Activation
from failpy._registry import armed
from tests.surroundings import FORK_WITHOUT_GIL, HAS_GIL


@failpoint("concurrency.value", returns=int)
def value() -> int:
    return 0


VALUE = "concurrency.value"


def together(work: Callable[[int], Any], threads: int) -> list[Any]:
    """Run the work in that many threads, which all begin at once."""
    barrier = threading.Barrier(threads)

    def run(i: int) -> Any:
        barrier.wait()
        return work(i)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))


@pytest.fixture
def hasty() -> Any:
    """Switch threads as often as the interpreter can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
def test_counts_are_exact_under_contention() -> None:
    fail.enable(VALUE, "1000*return(1)")
    fired = together(lambda _: sum(value() for _ in range(5000)), 8)
    assert sum(fired) == 1000
    status = fail.status(VALUE)
    assert (status.hits, status.fired) == (40_000, 1000)


def test_no_lock_is_held_while_an_action_runs() -> None:
    """Fifty hits of one point sleep at the same time, and disarming does not wait for them."""
    fail.enable(VALUE, "sleep(200)")
    began = time.perf_counter()
    together(lambda _: value(), 50)
    took = time.perf_counter() - began
    assert took < 25 * 0.2  # one after the other they would take fifty sleeps

    fail.enable(VALUE, "sleep(10m)")
    threads = [threading.Thread(target=value) for _ in range(5)]
    for thread in threads:
        thread.start()
    while fail.status(VALUE).hits < 5:
        time.sleep(0)
    fail.disable(VALUE)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


@pytest.mark.usefixtures("hasty")
def test_arming_and_disarming_while_others_call() -> None:
    """Each call gives the value of the body or of some terms, and re-arming loses no hit."""
    stop = threading.Event()
    seen: list[set[int]] = []
    totals: list[int] = []

    def call(_: int) -> None:
        mine, calls = set(), 0
        while not stop.is_set():
            mine.add(value())
            calls += 1
        seen.append(mine)
        totals.append(calls)

    def rearm() -> None:
        try:
            for i in range(1, 2000):
                fail.enable(VALUE, f"return({i})")
                if i % 3 == 0:
                    fail.disable(VALUE)
        finally:
            stop.set()

    thread = threading.Thread(target=rearm)
    thread.start()
    together(call, 3)
    thread.join()
    assert set.union(*seen) <= set(range(2000))
    fail.disable(VALUE)
    assert value() == 0
    assert armed() == {}


@pytest.mark.usefixtures("hasty")
def test_rearming_never_lets_a_hit_pass_unseen() -> None:
    """With terms that always fire, a call between two of them must not run the body."""
    fail.enable(VALUE, "return(1)")
    stop = threading.Event()
    bodies: list[int] = []

    def call(_: int) -> None:
        while not stop.is_set():
            if value() == 0:
                bodies.append(1)

    def rearm() -> None:
        try:
            for _ in range(2000):
                fail.enable(VALUE, "return(1)")
        finally:
            stop.set()

    thread = threading.Thread(target=rearm)
    thread.start()
    together(call, 3)
    thread.join()
    assert bodies == []


@pytest.mark.usefixtures("hasty")
def test_scopes_open_and_close_in_many_threads() -> None:
    def work(i: int) -> bool:
        for n in range(1, 150):
            with fail.scope({VALUE: f"return({1000 * i + n})"}):
                if value() != 1000 * i + n:
                    return False
            if value() != 0:
                return False
        return True

    assert all(together(work, 8))
    assert armed() == {}


@pytest.mark.usefixtures("hasty")
def test_declaring_while_arming(name: str) -> None:
    def work(i: int) -> int:
        total = 0
        for n in range(100):
            each = f"{name}.{n}"
            if i % 2:
                fail.enable(each, "return(1)")
            else:
                failpoint(each, returns=int)(lambda: 0)
                total += 1
        return total

    together(work, 6)
    for n in range(100):
        assert failpoint(f"{name}.{n}", returns=int)(lambda: 0)() == 1


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no alarm signals on this platform")
def test_a_signal_handler_may_hit_the_point_it_interrupts() -> None:
    """The handler runs in the thread that may be choosing a term at this very moment."""
    handled = []
    before = signal.signal(signal.SIGALRM, lambda *_: handled.append(value()))
    fail.enable(VALUE, "return(1)")
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while len(handled) < 50:
            assert value() == 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert set(handled) == {1}


class _Interrupted(BaseException):
    pass


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no such signal on this platform")
def test_a_signal_that_follows_another_does_not_leave_the_lock_of_a_hit_taken() -> None:
    def interrupt(*_: object) -> None:
        raise _Interrupted

    # In C, so that the interpreter looks for signals only when all of it has happened: the lock is taken,
    # a handler has raised, and the next signal is there.
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with fail.scope({VALUE: "return(1)"}, strict=False) as scope:
            activation = scope.activations[VALUE]
            lock = activation._lock
            interrupts = partial(_thread.interrupt_main, signal.SIGUSR1)
            steps = (lock.acquire, interrupts, partial(operator.getitem, (), 0))
            acquire: Any = partial(list, map(operator.methodcaller("__call__"), steps))
            activation._lock = SimpleNamespace(acquire=acquire, release=lock.release)  # type: ignore[assignment]
            try:
                with pytest.raises(_Interrupted):
                    value()
            finally:
                activation._lock = lock
            with pytest.raises(RuntimeError, match="un-acquired"):
                lock.release()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_raised_before_the_lock_of_a_hit_is_taken_comes_out() -> None:
    with fail.scope({VALUE: "return(1)"}, strict=False) as scope:
        activation = scope.activations[VALUE]
        lock = activation._lock
        acquire = partial(operator.getitem, (), 0)
        activation._lock = SimpleNamespace(acquire=acquire, release=lock.release)  # type: ignore[assignment]
        try:
            with pytest.raises(IndexError):
                value()
        finally:
            activation._lock = lock
        assert value() == 1


def test_every_loop_under_the_lock_of_a_hit_jumps_back_inside_of_its_try() -> None:
    """A signal comes where a loop jumps back, and CPython 3.12 and 3.13 leave some of that out of a `try`."""
    code = dis.Bytecode(Activation._begin)
    guarded = [range(each.start, each.end) for each in code.exception_entries]  # type: ignore[attr-defined]
    back = [each.offset for each in code if each.opname.startswith("JUMP_BACKWARD")]
    assert back
    assert all(any(offset in each for each in guarded) for offset in back)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
@pytest.mark.skipif(not HAS_GIL, reason=FORK_WITHOUT_GIL)
def test_a_fork_in_the_middle_leaves_a_child_that_can_evaluate() -> None:
    """Forked while other threads hit, pause and arm, in a process of its own."""
    program = """if True:
        import os, threading, time, warnings
        from failpy import fail, failpoint
        warnings.simplefilter("ignore", DeprecationWarning)  # that is the very thing tried here

        @failpoint("value", returns=int)
        def value():
            return 0

        stop = threading.Event()

        def call():
            while not stop.is_set():
                value()

        def arm():
            while not stop.is_set():
                fail.enable("value", "return(1)")
                time.sleep(0)  # or the fork might wait long for the lock

        fail.enable("value", "return(1)")
        fail.enable("held", "pause")
        threads = [threading.Thread(target=call, daemon=True) for _ in range(3)]
        threads += [threading.Thread(target=arm, daemon=True)]
        threads += [threading.Thread(target=fail.point("held").hit, daemon=True)]
        for thread in threads:
            thread.start()
        while not fail.status("held").paused:
            time.sleep(0)
        for _ in range(100):
            child = os.fork()
            if not child:
                ok = value() == 1 and fail.status("held").paused == 0
                fail.enable("value", "return(2)")
                ok = ok and value() == 2
                fail.disable("held")
                fail.disable("value")
                os._exit(0 if ok and value() == 0 else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        stop.set()
        assert fail.status("held").paused == 1
        fail.disable("held")
        print("all children could")
    """
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ended.stdout == "all children could\n", ended.stderr


def test_a_library_that_makes_greenlets_of_threads_is_asked_each_time(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As gevent does, which patches `threading` when the plugin has imported failpy long before."""
    with fail.scope({name: "off"}) as scope:
        fail.point(name).hit()
        monkeypatch.setattr(threading, "local", object)
        monkeypatch.setattr(threading, "current_thread", lambda: SimpleNamespace(name="greenlet"))
        fail.point(name).hit()
        monkeypatch.undo()
        fail.point(name).hit()
    here = threading.current_thread().name
    assert [entry.thread for entry in scope.trace] == [here, "greenlet", here]


def test_a_thread_that_hits_before_it_is_known_is_named_once_it_is(name: str) -> None:
    """As a finalizer may, which the collector happens to run as the thread begins."""
    point = fail.point(name)
    with fail.scope({name: "off"}) as scope:

        class Early(threading.Thread):
            def _set_ident(self) -> None:
                super()._set_ident()  # type: ignore[misc]
                scope.bind(point.hit)()

            def run(self) -> None:
                point.hit()

        thread = Early(name="late")
        thread.start()
        thread.join()
    assert [entry.thread == "late" for entry in scope.trace] == [False, True]
