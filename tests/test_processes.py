"""Child processes: what the environment gives them, what a fork copies, and that no fork hurts a child."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest

from failpy import fail, failpoint
from tests.surroundings import FORK_WITHOUT_GIL, HAS_GIL

VALUE = "processes.value"
OTHER = "processes.other"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")


@failpoint(VALUE, returns=str)
def value() -> str:
    return "body"


@failpoint(OTHER, returns=int)
def other() -> int:
    return 0


def value_and_terms() -> tuple[str, dict[str, str]]:
    """What a child sees, a spawned one that imports this module."""
    armed = {status.name: status.terms for status in fail.points() if status.terms}
    return value(), armed


def draws() -> list[int]:
    return [other() for _ in range(50)]


CHILD = """
import json, sys
from failpy import fail, failpoint

@failpoint("processes.value", returns=str)
def value():
    return "body"

@failpoint("processes.other", returns=int)
def other():
    return 0

"""


def child(program: str, environ: Mapping[str, str]) -> Any:
    """What a process of its own prints, as JSON."""
    ended = subprocess.run(
        [sys.executable, "-c", CHILD + textwrap.dedent(program)],
        env=dict(environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


SEEN = "print(json.dumps([value(), {s.name: s.terms for s in fail.points() if s.terms}]))"


# --- the environment ---


def test_environ_gives_a_child_the_terms_of_the_scope() -> None:
    with fail.scope({VALUE: '1*off->return("a;b->c=d")', OTHER: "return(3)"}, strict=False) as scope:
        environ = scope.environ()
    seen = child("value(); print(json.dumps([value(), other()]))", environ)
    assert seen == ["a;b->c=d", 3]


def test_environ_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROCESSES_TEST", "kept")
    monkeypatch.setenv("FAILPY_FAILPOINTS", "stale=panic")
    before = dict(os.environ)
    with fail.scope({VALUE: 'return("scope")'}, seed=3, strict=False) as scope:
        environ = scope.environ()
        assert dict(os.environ) == before
        environ["PROCESSES_TEST"] = "changed"
        assert scope.environ()["PROCESSES_TEST"] == "kept"
        assert os.environ["PROCESSES_TEST"] == "kept"
    assert environ["FAILPY_FAILPOINTS"] == f'{VALUE}=return("scope")'
    assert environ["FAILPY_SEED"] == "3"
    added = {"FAILPY_FAILPOINTS", "FAILPY_SEED", "PROCESSES_TEST"}
    assert {k: v for k, v in environ.items() if k not in added} == {
        k: v for k, v in before.items() if k not in added
    }


def test_environ_of_a_scope_that_arms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child has nothing armed either, whatever this process was started with."""
    monkeypatch.setenv("FAILPY_FAILPOINTS", "stale=panic")
    with fail.scope() as scope:
        assert "FAILPY_FAILPOINTS" not in scope.environ()
        assert child(SEEN, scope.environ()) == ["body", {}]


def test_the_inner_scope_wins_over_the_outer_and_that_over_the_process() -> None:
    names = ["processes.a", "processes.b", "processes.c", VALUE]
    for name in names[:3]:
        fail.point(name, returns=str)
    for name in names:
        fail.enable(name, 'return("process")')
    with (
        fail.scope(dict.fromkeys(names[1:], 'return("outer")'), strict=False) as outer,
        fail.scope(dict.fromkeys(names[2:], 'return("inner")'), strict=False) as inner,
    ):
        inner.enable(VALUE, "off")
        terms = child(SEEN, inner.environ())[1]
        assert terms == {
            "processes.a": 'return("process")',
            "processes.b": 'return("outer")',
            "processes.c": 'return("inner")',
            VALUE: "off",
        }
        assert child(SEEN, outer.environ())[1] == {
            "processes.a": 'return("process")',
            **dict.fromkeys(names[1:], 'return("outer")'),
        }


def test_environ_is_of_now() -> None:
    with fail.scope({VALUE: "off"}) as scope:
        scope.enable(OTHER, "2*return(1)")
        scope.disable(VALUE)
        assert scope.environ()["FAILPY_FAILPOINTS"] == f"{OTHER}=2*return(1)"
        other()


def test_counts_begin_anew_in_a_child() -> None:
    """It is the terms that travel, not what is left of them."""
    with fail.scope({VALUE: '1*return("once")'}) as scope:
        assert [value(), value()] == ["once", "body"]
        assert child("print(json.dumps([value(), value()]))", scope.environ()) == ["once", "body"]


@pytest.mark.parametrize("seed", [7, -1, None])
def test_the_seed_travels_and_gives_the_same_draws(seed: int | None) -> None:
    """Also when it was drawn: it is the scope's from then on."""
    with fail.scope({OTHER: "50%return(1)"}, seed=seed) as scope:
        environ = scope.environ()
        assert environ["FAILPY_SEED"] == str(scope.seed)
        mine = draws()
    assert child("print(json.dumps([other() for _ in range(50)]))", environ) == mine
    assert 0 < sum(mine) < 50


def test_a_scope_in_the_child_has_the_seed_too() -> None:
    program = """
        with fail.scope({"processes.other": "50%return(1)"}) as scope:
            print(json.dumps([scope.seed, [other() for _ in range(50)]]))
    """
    with fail.scope({OTHER: "50%return(1)"}, seed=11) as scope:
        assert child(program, scope.environ()) == [11, draws()]


def test_points_that_are_only_ordered_are_left_out(name: str) -> None:
    with (
        fail.scope({VALUE: 'return("outer")'}, strict=False),
        fail.scope({OTHER: "return(1)"}, strict=False) as scope,
    ):
        scope.order(VALUE, name, OTHER)
        terms = child(SEEN, scope.environ())[1]
    assert terms == {OTHER: "return(1)", VALUE: 'return("outer")'}


INEXPRESSIBLE = {
    "a value": fail.Return(object()),
    "an exception": fail.Raise(ValueError(object())),
    "a callable": fail.Call(lambda hit: None),
    "one of a chain": fail.Off() >> fail.Return(object()),
}


@pytest.mark.parametrize("what", INEXPRESSIBLE)
@pytest.mark.parametrize("where", ["inner", "outer", "process"])
def test_what_no_text_can_say_is_refused(what: str, where: str, name: str) -> None:
    """Rather than a child that runs without it, and a test that passes for it."""
    fail.point(name, returns=Any)
    terms: Any = {name: INEXPRESSIBLE[what]}
    if where == "process":
        fail.enable_all(terms)
    with fail.scope(terms if where == "outer" else None, strict=False):
        with fail.scope(terms if where == "inner" else None, strict=False) as scope:
            with pytest.raises(fail.FailpointError, match=rf"failpoint '{name}' .* cannot be said in text"):
                scope.environ()


def test_a_predicate_is_refused() -> None:
    with fail.scope() as scope:
        scope.enable(VALUE, "off", when=lambda call: True)
        with pytest.raises(fail.FailpointError, match=rf"'{VALUE}' .* its when= predicate cannot be said"):
            scope.environ()


def test_what_is_masked_need_not_be_expressible() -> None:
    with fail.scope({VALUE: fail.Call(lambda hit: None)}, strict=False):
        with fail.scope({VALUE: "off"}) as scope:
            assert scope.environ()["FAILPY_FAILPOINTS"] == f"{VALUE}=off"


def test_environ_needs_an_open_scope() -> None:
    scope = fail.scope()
    with pytest.raises(fail.ScopeError, match="is not open"):
        scope.environ()
    with scope:
        pass
    with pytest.raises(fail.ScopeError, match="is closed"):
        scope.environ()


@pytest.mark.parametrize("text", ["", "é ü ß", 'a"b\\c', "a;b->c)=(`", "\n\t\x00'"])
def test_any_text_arrives(text: str) -> None:
    with fail.scope({VALUE: fail.Return(text)}, strict=False) as scope:
        environ = {**scope.environ(), "PYTHONUTF8": "1"}
        assert child("print(json.dumps(value()))", environ) == text


# --- processes that Python starts ---


def in_process(call: Callable[[], Any], results: Any) -> None:
    results.put(call())


@pytest.mark.parametrize("how", ["process", "pool", "executor"])
def test_a_spawned_process_has_the_environment_of_the_scope(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scope itself stays here: a spawned process begins with nothing but its environment."""
    context = multiprocessing.get_context("spawn")
    with fail.scope({VALUE: 'return("scope")'}, strict=False) as scope:
        for variable, text in scope.environ().items():
            monkeypatch.setenv(variable, text)
        if how == "executor":
            with ProcessPoolExecutor(1, mp_context=context) as executor:
                seen = executor.submit(value_and_terms).result(60)
        elif how == "pool":
            with context.Pool(1) as pool:
                seen = pool.apply_async(value_and_terms).get(60)
        else:
            results = context.SimpleQueue()
            process = context.Process(target=in_process, args=(value_and_terms, results))
            process.start()
            seen = results.get()
            process.join(60)
            assert process.exitcode == 0
            process.close()
            results.close()
    assert seen == ("scope", {VALUE: 'return("scope")'})


def test_a_spawned_process_without_it_has_nothing() -> None:
    context = multiprocessing.get_context("spawn")
    with fail.scope({VALUE: 'return("scope")'}, strict=False):
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            assert executor.submit(value_and_terms).result(60) == ("body", {})


def test_a_spawned_process_has_the_same_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    with fail.scope({OTHER: "50%return(1)"}, seed=5) as scope:
        for variable, text in scope.environ().items():
            monkeypatch.setenv(variable, text)
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as executor:
            assert executor.submit(draws).result(60) == draws()


# --- forks: in a program of their own, since a fork beside threads warns, and hurts what is not ours ---

FORKS = """
import faulthandler, os, signal, sys, threading, time, warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
import multiprocessing
from failpy import fail, failpoint

warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside threads is the very thing tried here
fork = multiprocessing.get_context("fork")
# Alarms, because faulthandler's own timer does not survive a fork; chained, so that they end the process.
faulthandler.register(signal.SIGALRM, chain=True)
signal.alarm(50)

@failpoint("value", returns=str)
def value():
    return "body"

@failpoint("other", returns=str)
def other():
    return "body"

def forked(work):
    child = os.fork()
    if not child:
        signal.alarm(20)  # a child has no alarm of its parent
        code = 1
        try:
            code = 0 if work() else 2
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

def until(condition):
    while not condition():
        time.sleep(0)
"""


def run_forks(program: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"{FORKS}\n{textwrap.dedent(program)}\nprint('done')"],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert (ended.returncode, ended.stdout) == (0, "done\n"), ended.stderr


@needs_fork
def test_a_forked_process_has_a_copy_of_the_scope() -> None:
    run_forks("""
        def look():
            scope = fail.current_scope()
            return value(), other(), scope is not None and scope.status("value").hits

        def put(results):
            results.put(look())

        with fail.scope({"value": 'return("scope")'}) as scope, fail.scope({"other": 'return("inner")'}):
            value(), other()
            scope_seen = ("scope", "inner")
            with ProcessPoolExecutor(1, mp_context=fork) as executor:
                assert executor.submit(look).result(20)[:2] == scope_seen
            with fork.Pool(1) as pool:
                assert pool.apply_async(look).get(20)[:2] == scope_seen
            results = fork.SimpleQueue()
            process = fork.Process(target=put, args=(results,))
            process.start()
            assert results.get()[:2] == scope_seen
            process.join(20)
            assert process.exitcode == 0
            assert scope.status("value").hits == 1  # what the copies counted is theirs
    """)


@needs_fork
def test_what_a_fork_does_to_its_copy_stays_there() -> None:
    run_forks("""
        from failpy._registry import armed

        start = threading.Thread.start

        def work():
            assert value() == "scope"
            scope.enable("value", 'return("child")')
            results = []
            thread = threading.Thread(target=lambda: results.append(value()))
            thread.start()
            thread.join()
            assert results == ["child"]
            with fail.scope({"other": 'return("of the child")'}):
                assert other() == "of the child"
            scope.__exit__(None, None, None)
            return value() == "body" and armed() == {} and threading.Thread.start is start

        with fail.scope({"value": 'return("scope")'}) as scope:
            forked(work)
            assert value() == "scope"
            assert threading.Thread.start is not start
        assert threading.Thread.start is start
    """)


@needs_fork
def test_the_process_scope_is_copied_to_a_fork() -> None:
    run_forks("""
        fail.enable("value", '2*return("process")')
        assert value() == "process"
        forked(lambda: [value(), value()] == ["process", "body"])
        assert [value(), value()] == ["process", "body"]
    """)


@needs_fork
def test_a_fork_draws_what_its_parent_would_have_drawn() -> None:
    run_forks("""
        with fail.scope({"value": '50%return("x")'}, seed=1):
            [value() for _ in range(10)]
            read, write = os.pipe()
            forked(lambda: os.write(write, "".join(value()[0] for _ in range(50)).encode()))
            assert os.read(read, 50).decode() == "".join(value()[0] for _ in range(50))
    """)


@needs_fork
def test_a_fork_while_a_thread_is_paused_does_not_wait_for_it() -> None:
    run_forks("""
        with fail.scope({"value": "1*pause->return('second')"}) as scope:
            thread = threading.Thread(target=value)
            thread.start()
            scope.wait_for_hit("value")

            def work():
                assert scope.status("value").paused == 0
                assert value() == "second"
                assert scope.wait_for_hit("value", 2).nth == 2
                scope.disable("value")
                return value() == "body"

            forked(work)
            assert scope.status("value").paused == 1
            scope.wait_for_hit("value").resume()
            thread.join()
    """)


@needs_fork
def test_a_fork_while_a_thread_waits_its_turn() -> None:
    """In the child nobody is left to take that turn, so it is for whoever comes there."""
    run_forks("""
        with fail.scope() as scope:
            scope.order("value", "other", "value", "other", timeout=15)
            thread = threading.Thread(target=other)
            thread.start()
            until(lambda: scope._orders[0]._gates)

            def work():
                [call() for call in (value, other, value, other)]
                return not scope._orders[0].remaining

            forked(work)
            value()
            thread.join()
            value(), other()
    """)


@needs_fork
def test_a_fork_while_a_thread_has_its_turn() -> None:
    run_forks("""
        deciding, decided = threading.Event(), threading.Event()

        def decide(hit):
            if threading.current_thread() is not threading.main_thread():
                deciding.set()
                decided.wait()
            return True

        with fail.scope() as scope:
            scope.enable("value", "off", when=decide)
            scope.order("value", "other", timeout=15)
            thread = threading.Thread(target=value)
            thread.start()
            deciding.wait()
            forked(lambda: bool(value() and other()) and not scope._orders[0].remaining)
            decided.set()
            thread.join()
            other()
    """)


@needs_fork
def test_a_fork_by_the_hit_whose_turn_it_is_goes_on_in_both() -> None:
    run_forks("""
        pids = []

        def fork_here(hit):
            pids.append(os.fork())
            return True

        with fail.scope() as scope:
            scope.enable("value", "off", when=fork_here)
            scope.order("value", "other", timeout=15)
            value(), other()
            assert not scope._orders[0].remaining
            if pids == [0]:
                os._exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]) == 0
    """)


@needs_fork
def test_a_fork_while_a_failure_is_recorded() -> None:
    run_forks("""
        with fail.scope() as scope:
            stop = threading.Event()

            def complain():
                while not stop.is_set():
                    scope.failures.report("again", sys._getframe())
                    scope.failures._errors.clear()

            sys.setswitchinterval(1e-6)
            threads = [threading.Thread(target=complain) for _ in range(3)]
            for thread in threads:
                thread.start()
            try:
                for _ in range(60):
                    forked(lambda: scope.error("in the child") is None)
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
                scope.failures._errors.clear()
    """)


@needs_fork
@pytest.mark.skipif(not HAS_GIL, reason=FORK_WITHOUT_GIL)
def test_forks_beside_threads_that_use_everything() -> None:
    """Hit, pause, arm, open and close, order, wait: whatever is held at the moment, a child can go on."""
    run_forks("""
        from failpy._registry import armed

        stop = threading.Event()
        sys.setswitchinterval(1e-5)

        def loop(work):
            def run():
                while not stop.is_set():
                    work()
            return run

        def arm():
            fail.enable("value", 'return("process")')

        def pause_and_resume():
            with fail.scope({"other": "pause"}, strict=False) as mine:
                thread = threading.Thread(target=other)
                thread.start()
                mine.wait_for_hit("other", timeout=20).resume()
                thread.join()

        def pool():
            with fail.scope({"other": 'return("pool")'}), ThreadPoolExecutor(1) as executor:
                assert executor.submit(other).result() == "pool"

        def ordered():
            with fail.scope() as mine:
                mine.order("value", "other", timeout=20)
                thread = threading.Thread(target=other)
                thread.start()
                value()
                thread.join()

        def wait_in_vain():
            try:
                shared.wait_for_hit("never", timeout=0.001)
            except fail.WaitTimeout:
                pass

        def look():
            shared.trace, fail.points(), shared.points(), shared.environ()

        def in_child():
            name = "of the child"
            fail.enable("value", 'return("child")')
            assert value() == "child"
            fail.disable("value")
            assert value() == "body"
            assert shared.status("held").paused == 0
            shared.disable("held")
            with fail.scope({"other": 'return("scope")', "value": "pause"}, strict=False) as mine:
                thread = threading.Thread(target=lambda: [other(), value()])
                thread.start()
                mine.wait_for_hit("value", timeout=15).resume()
                thread.join()
                assert [entry.point for entry in mine.trace] == ["other", "value"]
                mine.order("other", "value", timeout=15)
                mine.enable("value", "off")
                other(), value()
            shared.error("in the child")
            shared.trace, shared.environ()
            return True

        fail.enable("value", 'return("process")')
        with fail.scope({"held": "pause", "never": "off"}, strict=False) as shared:
            fail.point("never"), fail.point("held")
            works = [value, arm, pause_and_resume, pool, ordered, wait_in_vain, look]
            threads = [threading.Thread(target=loop(work)) for work in works]
            threads.append(threading.Thread(target=fail.point("held").hit))
            for thread in threads:
                thread.start()
            shared.wait_for_hit("held", timeout=20)
            try:
                for _ in range(60):
                    forked(in_child)
            finally:
                stop.set()
                shared.disable("held")
                for thread in threads:
                    thread.join()
        fail.disable("value")
        assert armed() == {}
    """)
