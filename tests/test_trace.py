"""The trace of a scope is bounded, and says how many hits it no longer has."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failpy import _record, fail
from failpy._trace import Past

_LENGTH = 5


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_record, "_TRACE_LENGTH", _LENGTH)


def hit(name: str, times: int) -> None:
    for _ in range(times):
        fail.point(name).hit()


def test_a_trace_is_a_list_that_has_dropped_nothing(name: str) -> None:
    with fail.scope({name: "off"}) as scope:
        assert (scope.trace, scope.trace.dropped, repr(scope.trace)) == ([], 0, "[]")
        hit(name, _LENGTH)
        whole = scope.trace
    assert isinstance(whole, list)
    assert isinstance(whole, fail.Trace)
    assert whole == [fail.TraceEntry(name, n, "off", "off", "MainThread", None) for n in range(1, 6)]
    assert whole.dropped == 0
    assert repr(whole) == repr(list(whole))


@pytest.mark.parametrize(
    ("more", "said"), [(1, "1 earlier hit is not kept"), (1234, "1,234 earlier hits are not kept")]
)
def test_what_it_has_dropped_is_said(name: str, more: int, said: str) -> None:
    with fail.scope({name: "off"}) as scope:
        hit(name, _LENGTH + more)
        assert scope.trace.dropped == more
    assert scope.trace.dropped == more  # after it has closed, too
    assert [entry.nth for entry in scope.trace] == list(range(more + 1, more + 6))
    assert repr(scope.trace).startswith(f"[<{said}>, TraceEntry(point={name!r}, nth={more + 1}, ")


def test_one_that_has_only_dropped() -> None:
    assert repr(fail.Trace((), 2)) == "[<2 earlier hits are not kept>]"


def test_it_can_be_copied_and_pickled(name: str) -> None:
    with fail.scope({name: "off"}) as scope:
        hit(name, _LENGTH + 2)
        trace = scope.trace
    for again in (copy.copy(trace), copy.deepcopy(trace), pickle.loads(pickle.dumps(trace))):
        assert (again, again.dropped) == (trace, 2)


def test_hits_of_what_was_armed_before_count(name: str) -> None:
    """They are numbered from 1 again."""
    other = f"{name}.other"
    fail.point(other)
    with fail.scope({name: "off"}, strict=False) as scope:
        hit(name, 4)
        scope.enable(name, "off")
        hit(name, 4)
        assert (len(scope.trace), scope.trace.dropped) == (_LENGTH, 3)
        scope.disable(name)
        hit(name, 100)
        assert scope.trace.dropped == 3
        scope.enable(name, "off")
        hit(name, 20)
        assert scope.trace.dropped == 23
        assert [entry.nth for entry in scope.trace] == [16, 17, 18, 19, 20]
        scope.order(name, other)
        hit(name, 1)
        hit(other, 1)
        assert scope.trace.dropped == 25
        scope.disable(name)  # is only observed from now on
        hit(name, 1)
        assert scope.trace.dropped == 26
        scope.disable(name)
        assert scope.trace.dropped == 26
    assert (len(scope.trace), scope.trace.dropped) == (_LENGTH, 26)


def test_what_is_not_armed_after_all_counts_once(name: str) -> None:
    with fail.scope({name: "off"}) as scope:
        hit(name, 7)
        with pytest.raises(fail.ReturnTypeError):
            scope.enable(name, 'return("x")')
        with pytest.raises(fail.TermSyntaxError):
            scope.enable(name, "raise(NoSuchError)")
        assert scope.trace.dropped == 2
        hit(name, 1)
        assert scope.trace.dropped == 3


def test_while_it_is_being_disarmed(name: str) -> None:
    """Between the moment that it is armed no more and the end of its last hit, it counts once."""
    with fail.scope({name: "off"}) as scope:
        hit(name, 7)
        before = scope.activations[name]
        past = Past(scope.activations, lambda each: each.hits)
        past.leave([before])
        assert past.hits(scope.activations) == 7
        scope.enable(name, "off")
        hit(name, 1)
        assert past.hits(scope.activations) == 8
        past.left([before])
        past.left([before])
        assert past.hits(scope.activations) == 8


def test_what_was_armed_before_is_not_kept_alive(name: str) -> None:
    """A scope may be open for days, and a point be armed anew every second."""
    with fail.scope({name: "off"}) as scope:
        for _ in range(50):
            hit(name, 1)
            scope.enable(name, "off")
        scope.order(name, f"{name}.other")
        scope.disable(name)
        assert scope._past is not None
        assert scope._past._leaving == {}
        for each in (name, f"{name}.other"):
            hit(each, 1)
        assert scope.trace.dropped == 52 - _LENGTH


def test_a_conclusion_disarms_what_pauses(name: str) -> None:
    """As the pytest plugin has it: the body is over, and the scope still open."""
    with fail.scope({name: "7*off->pause"}, strict=False) as scope:
        hit(name, 7)
        scope.conclude(None)
        assert scope.status(name).terms == ""
        assert scope.trace.dropped == 2


@given(st.lists(st.sampled_from(["a", "b", "enable a", "enable b", "disable a", "disable b"]), max_size=60))
def test_what_it_has_and_what_it_has_dropped_are_all_hits(steps: list[str]) -> None:
    for each in "ab":
        fail.point(f"trace.{each}")
    armed: set[str] = set()
    hits = 0
    with fail.scope(strict=False) as scope:
        for step in steps:
            how, _, name = step.rpartition(" ")
            if how == "enable":
                scope.enable(f"trace.{name}", "off")
                armed.add(name)
            elif how == "disable":
                scope.disable(f"trace.{name}")
                armed.discard(name)
            else:
                hit(f"trace.{name}", 1)
                hits += name in armed
            assert len(scope.trace) == min(hits, _LENGTH)
            assert scope.trace.dropped + len(scope.trace) == hits
    assert scope.trace.dropped + len(scope.trace) == hits


def test_hits_of_many_threads(name: str) -> None:
    """Each is in the trace or counted as dropped, whoever arms the point anew meanwhile."""
    with fail.scope({name: "off"}, strict=False) as scope:
        threads = [threading.Thread(target=hit, args=(name, 2000)) for _ in range(4)]
        for thread in threads:
            thread.start()
        seen = 0
        while any(thread.is_alive() for thread in threads):
            scope.enable(name, "off")
            trace = scope.trace
            assert trace.dropped + len(trace) <= 8000
            seen = max(seen, trace.dropped)
        for thread in threads:
            thread.join()
        assert scope.trace.dropped + len(scope.trace) == 8000
        assert seen <= scope.trace.dropped


def test_what_an_exploration_injects(name: str) -> None:
    """The scope of a case has the hits that got a fault in its trace, and no others."""
    traces: list[fail.Trace] = []

    def body() -> None:
        for _ in range(12):
            try:
                fail.point(name).hit()
            except fail.Injected:
                pass
        scope = fail.current_scope()
        assert scope is not None
        traces.append(scope.trace)

    report = fail.explore(body, points=name, persistent=True, limit=13)
    assert report.counts == {"passed": 13}
    recording, once, *_, stays = traces
    assert [(len(each), each.dropped) for each in (recording, once, stays)] == [(0, 0), (1, 0), (5, 7)]
    assert stays[-1].nth == 12
