"""A scope that travels: what its requests carry, and what comes back into it."""

from __future__ import annotations

import contextvars
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from failpy import FailpointError, Failure, NeverFired, ScopeError, UnknownFailpoint, fail
from failpy._baggage import _api, member_of
from failpy._collector import Collector
from failpy._config import config
from failpy._feedback import Account, Feedback, Run
from failpy._ticket import Ticket, separate
from tests.surroundings import plain_environ
from tests.travelling import KEY, KEYS, key

pytest.importorskip("opentelemetry.baggage")
from opentelemetry import baggage, context, propagate

__all__ = ["key"]


def tickets(headers: dict[str, str]) -> list[Ticket]:
    member = member_of(headers.values())
    return [] if member is None else [Ticket.read(each, KEYS) for each in separate(member)]


def answer(ticket: Ticket, *accounts: Account, number: str = "1", **changes: Any) -> dict[str, str]:
    """The header of a response to a request with this ticket."""
    told = Feedback(ticket.scope, number, ["pay"], accounts, [], [])._replace(**changes).text(KEYS)
    assert told is not None
    return {"Failpy-Report": told}


def hits(name: str, count: int = 1, *, fired: int | None = None, service: str = "pay") -> Account:
    runs = [Run(count, 0, None)] if count else []
    return Account(service, 42, name, count, count, count if fired is None else fired, runs)


# --- what is carried ---


def test_the_header_has_what_text_can_say(name: str) -> None:
    terms = {
        name: '2*return("x")->raise',
        f"pay:{name}": "panic",
        f"{name}.object": fail.Return(object()),
        f"{name}.off": "off",
    }
    with fail.scope(terms, propagate=True, strict=False, seed=7) as scope:
        scope.enable(f"{name}.when", "panic", when=lambda hit: False)
        scope.order(f"{name}.one", f"{name}.two")
        (one,), (two,) = tickets(scope.headers()), tickets(scope.headers())
    assert one.terms == {name: '2*return("x")->raise', f"pay:{name}": "panic", f"{name}.off": "off"}
    assert (one.seed, one.number, two.number, one.scope == two.scope) == (7, 0, 1, True)
    assert 58 <= one.expires - time.time() <= 61


def test_each_header_has_what_is_armed_by_then(name: str) -> None:
    with fail.scope(propagate=0.5, strict=False) as scope:
        assert scope.headers() == {}
        scope.enable(name, "panic")
        (ticket,) = tickets(scope.headers())
        assert ticket.terms == {name: "panic"}
        assert ticket.expires - time.time() < 2
        scope.disable(name)
        assert scope.headers() == {}


def test_scopes_in_one_another_travel_together(name: str) -> None:
    with fail.scope({name: "panic"}, propagate=True, strict=False) as outer:
        with (
            fail.scope({name: "off"}, strict=False),
            fail.scope({name: "raise"}, propagate=True, strict=False) as s,
        ):
            assert [each.terms[name] for each in tickets(s.headers())] == ["panic", "raise"]
        assert [each.terms[name] for each in tickets(outer.headers())] == ["panic"]


def test_a_scope_needs_a_key_to_travel(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fail.point(name)
    monkeypatch.setattr(config, "propagation_keys", ())
    with pytest.raises(FailpointError, match="there is no key: set FAILPY_PROPAGATION_KEY"):
        fail.scope({name: "panic"}, propagate=True)
    with fail.scope({name: "off"}) as scope:
        for ask in (scope.headers, lambda: scope.collect({})):
            with pytest.raises(ScopeError, match="the scope stays here; make it with propagate=True"):
                ask()
    monkeypatch.setattr(config, "enabled", False)
    fail.scope(propagate=True)  # there, enabling is what says that nothing will happen


@pytest.mark.parametrize("wrong", [0, -1, 3601, float("nan"), float("inf")])
def test_a_time_out_of_range_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="propagate must be more than 0 and at most 3,600 seconds, not"):
        fail.scope(propagate=wrong)


@pytest.mark.parametrize("wrong", [None, "60", [60]])
def test_what_is_no_time_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="propagate must be True, False or a number of seconds, not"):
        fail.scope(propagate=wrong)


def test_headers_are_of_an_open_scope(name: str) -> None:
    fail.point(name)
    scope = fail.scope({name: "off"}, propagate=True)
    with pytest.raises(ScopeError, match="cannot make its headers: the scope is not open"):
        scope.headers()
    with scope:
        pass
    with pytest.raises(ScopeError, match="cannot collect a report: the scope is closed"):
        scope.collect({})


def test_collect_takes_headers_and_no_response(name: str) -> None:
    with fail.scope(propagate=True) as scope:
        with pytest.raises(TypeError, match="collect takes headers, such as response.headers, not <"):
            scope.collect(object())  # type: ignore[arg-type]


def test_terms_too_long_to_travel_are_refused_at_once(name: str) -> None:
    long = f"return({'x' * 3000!r})"
    with pytest.raises(FailpointError, match=r"too long to travel: they make a header of 4,\d+ characters"):
        with fail.scope({name: long}, propagate=True):
            pass
    with fail.scope({name: "off"}, propagate=True) as scope:
        with pytest.raises(FailpointError, match="too long to travel"):
            scope.enable(name, long)
        assert scope.status(name).terms == "off"
        scope.enable(f"{name}.here", long, when=lambda hit: False)
        half = f"return({'x' * 1500!r})"
        scope.enable(name, half)
        with pytest.raises(
            FailpointError, match="with those of the scopes around it, are too long to travel"
        ):
            with fail.scope({f"{name}.inner": half}, propagate=True):
                pass
        assert len(tickets(scope.headers())) == 1
        scope.disable(f"{name}.here")
        scope.enable(name, "off")


def test_a_decorated_function_travels_with_each_call(name: str) -> None:
    @fail.scope({name: "off"}, propagate=True)
    def call() -> Ticket:
        scope = fail.current_scope()
        assert scope is not None
        return tickets(scope.headers())[0]

    assert call().scope != call().scope


# --- OpenTelemetry ---


def injected() -> list[Ticket]:
    carrier: dict[str, str] = {}
    propagate.inject(carrier)
    return tickets(carrier)


def test_opentelemetry_carries_what_is_armed_when_it_writes(name: str) -> None:
    token = context.attach(baggage.set_baggage("other", "1"))
    try:
        with fail.scope({name: "off"}, propagate=True, strict=False) as scope:
            assert injected()[0].terms == {name: "off"}
            scope.enable(name, "panic")
            assert injected()[0].terms == {name: "panic"}
            with fail.scope({name: "raise"}, propagate=True, strict=False):
                assert [each.terms[name] for each in injected()] == ["panic", "raise"]
            assert [each.terms[name] for each in injected()] == ["panic"]
            assert dict(baggage.get_all()) == {"other": "1", "failpy": ""}
        assert dict(baggage.get_all()) == {"other": "1"}
    finally:
        context.detach(token)
    assert injected() == []


def test_a_scope_that_closes_in_another_context_leaves_no_error(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    scope = fail.scope({name: "off"}, propagate=True)
    inner = contextvars.copy_context()
    inner.run(scope.__enter__)
    assert len(inner.run(injected)) == 1
    scope.__exit__(None, None, None)
    assert inner.run(injected) == []  # it is closed, so it says nothing wherever a context keeps it
    assert caplog.records == []


def test_a_scope_that_cannot_be_written_down_is_not_carried(
    name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    fail.point(name)
    with fail.scope({name: "off"}, propagate=True) as scope:
        monkeypatch.setattr(scope.propagation, "keys", ())
        assert injected() == []
    assert [each.message for each in caplog.records] == [
        "a scope could not be put into the baggage of a request"
    ]


def test_without_opentelemetry_the_scope_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    _api.cache_clear()
    try:
        with fail.scope({name: "off"}, propagate=True, strict=False) as scope:
            assert tickets(scope.headers())[0].terms == {name: "off"}
    finally:
        _api.cache_clear()


# --- what comes back ---


def test_hits_elsewhere_count_as_hits_here(name: str) -> None:
    with fail.scope({f"pay:{name}": "raise"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        account = Account("pay", 42, f"pay:{name}", 3, 2, 2, [Run(1, -1, None), Run(2, 0, "handled by x")])
        assert scope.collect(answer(ticket, account))
        status = scope.status(f"pay:{name}")
    assert (status.hits, status.selected, status.fired) == (3, 2, 2)
    assert [str(entry) for entry in scope.trace] == [
        f"pay:{name} #1 passed in pay, process 42",
        f"pay:{name} #2 raise in pay, process 42: handled by x",
        f"pay:{name} #3 raise in pay, process 42: handled by x",
    ]
    assert [(entry.service, entry.thread, entry.task, entry.action) for entry in scope.trace][1] == (
        "pay",
        "process 42",
        None,
        "raise",
    )


def test_hits_here_and_elsewhere_are_one_count(name: str) -> None:
    with fail.scope({name: "off"}, propagate=True) as scope:
        point = fail.point(name)
        point.hit()
        (ticket,) = tickets(scope.headers())
        scope.collect(answer(ticket, hits(name, 2, fired=0)))
        point.hit()
    assert [(entry.nth, entry.service) for entry in scope.trace] == [
        (1, None),
        (2, "pay"),
        (3, "pay"),
        (4, None),
    ]


def test_a_term_that_the_scope_has_no_more_is_none(name: str) -> None:
    with fail.scope({name: "off"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        scope.collect(answer(ticket, Account("pay", 42, name, 1, 1, 0, [Run(1, 5, None)])))
        scope.collect(answer(ticket, hits(f"{name}.other"), number="2"))
        scope.order(name, f"{name}.b")
        scope.disable(name)
        scope.collect(answer(ticket, hits(name), number="3"))
        fail.point(name).hit()
        fail.point(f"{name}.b").hit()
    assert [entry.term for entry in scope.trace if entry.service] == [""]


def test_what_is_told_twice_is_counted_once(name: str) -> None:
    with fail.scope({name: "off"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        told = answer(ticket, hits(name))
        assert scope.collect(told)
        scope.collect(told)
        scope.collect(answer(ticket, hits(name), number="2"))
        assert scope.status(name).hits == 2


def test_very_many_answers_are_all_counted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("failpy._propagation._KEPT", 5)
    with fail.scope({name: "off"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        for number in range(20):
            scope.collect(answer(ticket, hits(name), number=str(number)))
        assert scope.propagation is not None
        assert len(scope.propagation._seen) == 5
    assert scope.status(name).hits == 20


def test_hits_that_are_only_counted_are_dropped_ones_of_the_trace(name: str) -> None:
    with fail.scope({name: "raise"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        scope.collect(answer(ticket, Account("pay", 42, name, 5000, 5000, 5000, [Run(2, 0, None)])))
    assert (len(scope.trace), scope.trace.dropped) == (2, 4998)


def test_a_wait_ends_with_a_hit_elsewhere(name: str) -> None:
    with fail.scope({name: "off"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        thread = threading.Thread(target=scope.collect, args=(answer(ticket, hits(name, 3)),))
        begun = []
        activation = scope.activations[name]
        wait_for = type(activation).wait_for

        def note(self: Any, nth: int, gate: Any) -> bool:
            found = wait_for(self, nth, gate)
            if not begun:
                begun.append(thread.start())
            return found

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(activation), "wait_for", note)
            hit = scope.wait_for_hit(name, nth=2)
        thread.join()
        assert (hit.nth, hit.thread, hit.point) == (2, "process 42", name)
        assert scope.wait_for_hit(name, nth=3).nth == 3
        with pytest.raises(fail.HitError):
            hit.resume()


def test_failures_elsewhere_come_out_of_the_scope(name: str) -> None:
    with pytest.raises(ExceptionGroup) as group:
        with fail.scope({name: "off"}, propagate=True) as scope:
            (ticket,) = tickets(scope.headers())
            scope.collect(answer(ticket, failures=[["pay", "Failure: lost a cent"]]))
    (failure,) = group.value.exceptions
    assert isinstance(failure, Failure)
    assert (str(failure), failure.__notes__) == ("Failure: lost a cent", ["in service 'pay'"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"scope": "another"}, "its scope has closed"),
        (None, "its signature is of none of the keys here"),
    ],
)
def test_what_is_not_for_a_scope_here_is_left_aside(
    name: str, change: dict[str, str] | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "failpy.propagation")
    with fail.scope({name: "off"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        told = answer(ticket, hits(name), **change or {})
        if change is None:
            told = {"failpy-report": told["Failpy-Report"].replace("1.", "1.e", 1)}
        assert not scope.collect(told)
        assert not scope.collect({"other": "x"})
    assert scope.status(name).hits == 0
    assert [each.message for each in caplog.records] == [f"a report of a service is left aside: {reason}"]


def test_what_comes_after_the_scope_has_closed_is_left_aside(name: str) -> None:
    with fail.scope({f"{name}.outer": "off"}, propagate=True) as outer:
        with fail.scope({name: "off"}, propagate=True) as scope:
            _, ticket = tickets(scope.headers())
        assert not outer.collect(answer(ticket, hits(name)))
        assert scope.propagation is not None
        scope.propagation.merge(scope, Feedback(ticket.scope, "1", ["pay"], [hits(name)], [], []))
    assert scope.status(name).hits == 0


def test_an_answer_finds_its_scope_from_any_context(name: str) -> None:
    with fail.scope({name: "off"}, propagate=True) as one:
        (ticket,) = tickets(one.headers())

        def elsewhere() -> None:
            with fail.scope(propagate=True) as other:
                assert other.collect(answer(ticket, hits(name)))

        contextvars.Context().run(elsewhere)
        assert one.status(name).hits == 1


def test_an_answer_finds_the_scope_of_a_generator(name: str) -> None:
    @fail.scope({name: "off"}, propagate=True)
    def generator() -> Iterator[fail.Scope]:
        scope = fail.current_scope()
        assert scope is not None
        yield scope
        yield scope

    running = generator()
    scope = next(running)
    with fail.scope(propagate=True) as other:
        (ticket,) = tickets(scope.headers())
        assert other.collect(answer(ticket, hits(name)))
    assert scope.status(name).hits == 1
    assert list(running) == [scope]


def test_scopes_are_forgotten() -> None:
    program = """
import gc
from failpy import fail
from failpy._propagation import _begun

for _ in range(3):
    with fail.scope({"a": "off"}, propagate=True, strict=False) as scope:
        assert scope.propagation.identity in _begun and scope.headers()
    del scope
    gc.collect()
    assert not _begun
"""
    environ = plain_environ() | {"FAILPY_PROPAGATION_KEY": KEY, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environ, check=True, timeout=60)


# --- strictness ---


def verdict(terms: dict[str, str], told: Any = None) -> BaseException | None:
    try:
        with fail.scope(terms, propagate=True, seed=1) as scope:
            if told is not None:
                told(scope)
    except FailpointError as error:
        return error
    return None


def test_what_has_fired_elsewhere_has_done_its_work(name: str) -> None:
    def told(scope: fail.Scope) -> None:
        (ticket,) = tickets(scope.headers())
        scope.collect(answer(ticket, *(hits(each) for each in ticket.terms)))

    assert verdict({name: "raise", f"pay:{name}": "panic", f"{name}.c": "50%raise"}, told) is None


def test_terms_that_stay_here_say_so_when_they_never_fired(name: str) -> None:
    with pytest.raises(NeverFired, match="its terms do not travel, since no text says an object"):
        with fail.scope({f"pay:{name}": fail.Return(object())}, propagate=True) as scope:
            scope.headers()
    with pytest.raises(NeverFired, match="its terms do not travel, since no text says an object"):
        with fail.scope(propagate=True) as scope:
            scope.enable(f"pay:{name}", "raise", when=lambda call: True)


def test_nothing_that_never_fired_is_silent(name: str) -> None:
    fail.point(f"{name}.here").hit()

    def sent(scope: fail.Scope) -> None:
        scope.headers()

    def told(scope: fail.Scope) -> None:
        (ticket,) = tickets(scope.headers())
        scope.collect(answer(ticket, *(hits(each, 0) for each in ticket.terms if "known" in each)))

    def refused(scope: fail.Scope) -> None:
        (ticket,) = tickets(scope.headers())
        scope.collect(answer(ticket, refusals=[["pay", each, "not here"] for each in ticket.terms]))

    said = {
        (
            f"pay:{name}",
            None,
        ): "no code here has declared it, and no request has carried it: call fail.hook_httpx",
        (f"pay:{name}", sent): "and it was sent along, and no report came back: let the service have",
        (f"pay:{name}", told): "and it was sent along, and 1 report came back, from 'pay'",
        (f"pay:{name}", refused): "no code here has declared it, and service 'pay' did not arm it: not here",
        (f"{name}.known", told): "came back, from 'pay': it was armed there, and execution did not reach it",
        (f"pya:{name}", told): "from 'pay', with nothing of service 'pya'; did you mean 'pay'?",
        (f"ship:{name}", told): "from 'pay', with nothing of service 'ship': see that this is its name, that",
        (
            f"{name}.here",
            told,
        ): "did not reach it in this scope, and elsewhere neither (it was sent along",
    }
    for (point, way), words in said.items():
        error = verdict({point: "raise"}, way)
        assert isinstance(error, NeverFired), (point, error)
        assert words in str(error)
    assert isinstance(verdict({f"{name}.her": "raise"}), UnknownFailpoint)
    with pytest.raises(UnknownFailpoint) as unknown:
        with fail.scope({f"pay:{name}": "raise"}):
            pass
    assert unknown.value.__notes__ == ["if it is one of a service 'pay', make the scope with propagate=True"]


# --- pytest ---


def test_the_report_of_a_run_has_hits_under_the_name_of_the_service(name: str, collector: Collector) -> None:
    with fail.scope({name: "1*off->raise"}, propagate=True) as scope:
        (ticket,) = tickets(scope.headers())
        runs = [Run(1, 0, None), Run(1, 1, "handled by x"), Run(1, -1, None)]
        scope.collect(answer(ticket, Account("pay", 42, name, 3, 2, 1, runs)))
    tally = collector.tally()[f"pay:{name}"]
    assert (tally.hits, tally.fired, dict(tally.others)) == (3, 1, {"raise": 1})
    assert dict(tally.endings) == {"handled by x": 1}
