"""Scopes that travel with tasks of Celery: a broker and results in memory, and a worker in a thread."""

from __future__ import annotations

import copy
import logging
import pickle
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery import Celery, chain, chord, group, signals
from celery.contrib.testing.worker import start_worker
from celery.exceptions import Ignore, Reject, Retry
from celery.exceptions import TimeoutError as ResultTimeout
from opentelemetry import baggage
from opentelemetry.instrumentation.celery import CeleryInstrumentor

from failpy import fail
from failpy._celery import _admissions, _tell_in_results
from failpy._config import config
from failpy._registry import armed
from failpy._visit import Visit
from tests.http_tools import until

KEY = "a-key-of-these-tests-alone"
ASKING = {"timeout": 20, "interval": 0.005}


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "propagation_keys", (KEY.encode(),))


@pytest.fixture(scope="module")
def made() -> Iterator[SimpleNamespace]:
    """An app, its tasks, and a worker."""
    level = logging.root.level  # a worker sets its own
    with Celery("mailer", broker="memory://", backend="cache+memory://", set_as_current=False) as app:
        app.conf.update(
            broker_transport_options={"polling_interval": 0.002},
            worker_hijack_root_logger=False,
            worker_redirect_stdouts=False,
            worker_enable_remote_control=False,
        )
        tasks = SimpleNamespace(app=app, **tasks_of(app))
        with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
            yield tasks
    logging.root.setLevel(level)


def tasks_of(app: Celery) -> dict[str, Any]:
    @app.task(name="run")
    def run(point: str, value: object = None) -> object:
        with fail.point(point):
            return value

    @app.task(name="headers", bind=True)
    def headers(self: Any) -> Any:
        return self.request.headers

    @app.task(name="ends")
    def ends(point: str, how: str) -> None:
        with fail.point(point):
            raise {"ignored": Ignore(), "rejected": Reject("no", requeue=False)}[how]

    @app.task(name="outer")
    def outer(point: str) -> object:
        return run.delay(point).id

    @app.task(name="total")
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    @app.task(name="stubborn", bind=True, max_retries=5, default_retry_delay=0)
    def stubborn(self: Any, point: str) -> int:
        try:
            with fail.point(point):
                return self.request.retries + 1  # type: ignore[no-any-return]
        except OSError as error:
            raise self.retry(exc=error) from error

    @app.task(name="replaced", bind=True)
    def replaced(self: Any, point: str) -> object:
        with fail.point(point):
            pass
        return self.replace(run.si(point, 1))

    @app.task(name="guests")
    def guests(point: str) -> dict[str, str]:
        with fail.point(point):
            return {key: str(value) for key, value in baggage.get_all().items()}

    return {task.__name__: task for task in (run, headers, ends, outer, total, stubborn, replaced, guests)}


@pytest.fixture
def tasks(made: SimpleNamespace, key: None, caplog: pytest.LogCaptureFixture) -> Iterator[SimpleNamespace]:
    """They are hooked, as the mailer."""
    caplog.set_level("WARNING", "failpy.propagation")  # a worker sets that of all
    fail.hook_celery(made.app, service="mailer")
    yield made
    made.app.conf.update(task_always_eager=False, task_eager_propagates=False)


# --- one task ---


def test_a_fault_is_for_the_task_that_is_sent_in_the_scope(tasks: SimpleNamespace, name: str) -> None:
    before = tasks.run.delay(name, 1)
    with fail.scope({name: "raise(OSError('gone'))"}, propagate=True) as scope:
        with pytest.raises(OSError, match="gone"):
            tasks.run.delay(name, 2).get(**ASKING)
    assert tasks.run.delay(name, 3).get(**ASKING) == 3
    assert before.get(**ASKING) == 1

    status = scope.status(name)
    assert (status.hits, status.fired) == (1, 1)
    (entry,) = scope.trace
    assert (entry.service, entry.action) == ("mailer", "raise")


def test_a_service_may_be_addressed(tasks: SimpleNamespace, name: str) -> None:
    terms = {f"mailer:{name}": "1*yield", f"shop:{name}": "raise"}
    with fail.scope(terms, strict=False, propagate=True) as scope:
        assert tasks.run.delay(name, 5).get(**ASKING) == 5

    assert [entry.point for entry in scope.trace] == [f"mailer:{name}"]


def test_the_header_joins_what_is_there(tasks: SimpleNamespace) -> None:
    with fail.scope({"shop:x": "off"}, propagate=True) as scope:
        mine = scope.headers()["baggage"]
        joined = tasks.headers.apply_async(headers={"baggage": "guest=ada"}).get(**ASKING)["baggage"]
        kept = tasks.headers.apply_async(headers={"baggage": mine}).get(**ASKING)["baggage"]
    without = tasks.headers.delay().get(**ASKING)

    assert joined.startswith("guest=ada,failpy=1.")
    assert kept == mine
    assert "baggage" not in (without or {})


def test_what_is_not_good_has_no_effect(
    tasks: SimpleNamespace, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with fail.scope({name: "raise"}, propagate=True, strict=False) as scope:
        good = scope.headers()["baggage"]
    monkeypatch.setattr(config, "propagation_keys", (b"a-key-that-nobody-else-has",))
    with fail.scope({name: "raise"}, propagate=True, strict=False) as scope:
        other = scope.headers()["baggage"]

    for header in other, good[:-3], f"failpy={'x' * 5000}", 7:
        assert tasks.run.apply_async((name, 1), headers={"baggage": header}).get(**ASKING) == 1
    assert "its signature is of none of the keys here" in caplog.text
    assert "it has 5,000 characters" in caplog.text
    with pytest.raises(fail.Injected):
        tasks.run.apply_async((name, 1), headers={"baggage": good}).get(**ASKING)


def test_without_a_key_a_worker_does_nothing(
    tasks: SimpleNamespace, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with fail.scope({name: "raise"}, propagate=True, strict=False) as scope:
        good = scope.headers()["baggage"]
    monkeypatch.setattr(config, "propagation_keys", ())
    fail.hook_celery(tasks.app)
    assert tasks.run.apply_async((name, 1), headers={"baggage": good}).get(**ASKING) == 1
    assert "there is no key here" in caplog.text


def test_what_may_be_armed_is_limited(tasks: SimpleNamespace, name: str) -> None:
    fail.hook_celery(tasks.app, names=["other.*"])
    with pytest.raises(fail.NeverFired, match="none of the names that may be armed from outside"):
        with fail.scope({name: "raise"}, propagate=True):
            assert tasks.run.delay(name, 1).get(**ASKING) == 1
    fail.hook_celery(tasks.app)  # what is said last counts
    with pytest.raises(fail.NeverFired, match="FAILPY_PROPAGATION_ALLOW=sleep"):
        with fail.scope({name: "sleep(61s)"}, propagate=True):
            assert tasks.run.delay(name, 1).get(**ASKING) == 1
    fail.hook_celery(tasks.app, allow=["sleep"])
    with fail.scope({name: "1*yield->sleep(61s)"}, propagate=True):
        assert tasks.run.delay(name, 1).get(**ASKING) == 1


def test_an_app_that_is_not_hooked_serves_no_scope(tasks: SimpleNamespace, name: str) -> None:
    del _admissions[tasks.app]
    with fail.scope({name: "raise"}, propagate=True, strict=False) as scope:
        assert tasks.run.delay(name, 1).get(**ASKING) == 1
        assert scope.trace == []


def test_it_takes_an_app() -> None:
    with pytest.raises(TypeError, match=r"hook_celery takes a celery\.Celery, not 'shop'"):
        fail.hook_celery("shop")


@pytest.mark.parametrize("how", ["ignored", "rejected"])
def test_what_ends_otherwise_leaves_no_scope_open(tasks: SimpleNamespace, name: str, how: str) -> None:
    with fail.scope({name: "1*yield"}, propagate=True, strict=False) as scope:
        tasks.ends.delay(name, how)
        assert tasks.run.delay("another", 1).get(**ASKING) == 1  # they are worked on in order
        assert armed()[name] == 1  # by this scope
        assert scope.trace == []  # there is no result to tell it in


def test_a_task_sent_by_a_task_is_in_its_scope(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "1*yield"}, propagate=True) as scope:
        tasks.app.AsyncResult(tasks.outer.delay(name).get(**ASKING)).get(**ASKING)

    assert scope.status(name).fired == 1


def test_a_task_is_worked_on_in_the_scopes_in_one_another(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "1*yield"}, propagate=True) as outer:
        with fail.scope({name: "1*sleep(1ms)"}, propagate=True) as inner:
            assert tasks.run.delay(name, 1).get(**ASKING) == 1
        assert tasks.run.delay(name, 2).get(**ASKING) == 2

    assert [entry.action for entry in inner.trace] == ["sleep"]
    assert [entry.action for entry in outer.trace] == ["yield"]


# --- results ---


def test_a_report_is_merged_once_however_it_is_asked_for(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "yield"}, propagate=True) as scope:
        result = tasks.run.delay(name, 1)
        until(result.ready)
        assert scope.status(name).fired == 1
        assert result.state == "SUCCESS"
        assert result.get() == result.wait() == result.result == 1
        assert copy.copy(result).get(**ASKING) == 1
        assert tasks.app.AsyncResult(result.id).get(**ASKING) == 1
        assert scope.status(name).fired == 1


def test_a_result_that_is_not_there_yet_tells_nothing(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "yield"}, propagate=True, strict=False) as scope:
        with pytest.raises(ResultTimeout):
            tasks.app.AsyncResult("nobody's").get(timeout=0.01, interval=0.005)
        assert scope.trace == []


def test_a_result_that_is_asked_for_after_the_scope_is_left_aside(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "yield"}, propagate=True, strict=False) as scope:
        result = tasks.run.delay(name, 1)
    assert result.get(**ASKING) == 1
    assert scope.trace == []


def test_a_result_is_pickled_as_before(tasks: SimpleNamespace) -> None:
    tasks.app.set_current()
    result = tasks.app.AsyncResult("some-id")
    again = pickle.loads(pickle.dumps(result))
    assert again == result
    assert type(again) is type(result)
    assert repr(again) == "<AsyncResult: some-id>"


def test_hooked_twice_the_results_are_hooked_once(tasks: SimpleNamespace) -> None:
    app = tasks.app
    kinds = app.AsyncResult, app.ResultSet, app.GroupResult
    fail.hook_celery(app)
    assert (app.AsyncResult, app.ResultSet, app.GroupResult) == kinds


def together(tasks: SimpleNamespace, name: str) -> dict[str, tuple[Any, object, int]]:
    """What several tasks may be: how it is sent, what it gives, and how often it hits the point."""
    run, total = tasks.run, tasks.total
    three = [run.si(name, i) for i in range(3)]
    return {
        "group": (group(three), [0, 1, 2], 3),
        "groups": (group(group(three), run.si(name, 3)), [0, 1, 2, 3], 4),
        "chain": (chain(run.si(name, 1), run.si(name, 2), run.si(name, 3)), 3, 3),
        "chord": (chord(three, total.s()), 3, 3),
        "chord in a chain": (chain(group(three), total.s(), run.si(name, 7)), 7, 4),
    }


@pytest.mark.parametrize("kind", ["group", "groups", "chain", "chord", "chord in a chain"])
def test_each_of_several_tasks_tells(tasks: SimpleNamespace, name: str, kind: str) -> None:
    sent, given, hits = together(tasks, name)[kind]
    assert sent.apply_async().get(**ASKING) == given
    sent, given, hits = together(tasks, name)[kind]
    with fail.scope({name: "1*yield"}, propagate=True) as scope:
        assert sent.apply_async().get(**ASKING) == given
        assert scope.status(name).fired == hits


def test_results_that_are_joined_tell(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "1*yield"}, propagate=True) as scope:
        result = group(tasks.run.si(name, i) for i in range(3)).apply_async()
        assert result.join(**ASKING) == [0, 1, 2]
        assert scope.status(name).fired == 3


def test_who_waits_for_a_chain_is_told_where_it_failed(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "raise(KeyError('k'))"}, propagate=True) as scope:
        with pytest.raises(KeyError, match="k"):
            chain(tasks.run.si(name, 1), tasks.run.si("another", 2)).apply_async().get(**ASKING)
    assert scope.status(name).fired == 1


def test_a_chain_is_given_even_when_what_is_before_it_cannot_be_read(
    tasks: SimpleNamespace, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def lost(*_: object) -> None:
        raise OSError("no results")

    with fail.scope({name: "yield"}, propagate=True) as scope:
        result = chain(tasks.run.si("another", 1), tasks.run.si(name, 2)).apply_async()
        monkeypatch.setattr(type(result.parent), "state", property(lost))
        assert result.get(follow_parents=False, **ASKING) == 2
    assert scope.status(name).fired == 1
    assert "what the tasks before" in caplog.text


@pytest.mark.parametrize("eager", [False, True], ids=["worker", "eager"])
def test_a_report_that_cannot_be_made_is_none(
    tasks: SimpleNamespace,
    name: str,
    eager: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tasks.app.conf.task_always_eager = eager
    monkeypatch.setattr(Visit, "report", lambda *_: "")
    with fail.scope({name: "yield"}, propagate=True, strict=False) as scope:
        assert tasks.run.delay(name, 1).get(**ASKING) == 1
        assert scope.trace == []
    assert caplog.text == ""


def test_results_that_are_kept_otherwise_tell_nothing() -> None:
    _tell_in_results(object())  # and it is no error


# --- tries ---


@pytest.mark.parametrize("eager", [False, True], ids=["worker", "eager"])
def test_a_task_tried_again_goes_on_with_its_counts(tasks: SimpleNamespace, name: str, eager: bool) -> None:
    tasks.app.conf.task_always_eager = eager
    with fail.scope({name: "1*off->2*raise(OSError)"}, propagate=True, strict=False) as scope:
        assert tasks.stubborn.delay(name).get(**ASKING) == 1
        assert scope.status(name).hits == 1
        scope.enable(name, "2*raise(OSError)")
        for count in 1, 2:  # each task has counts of its own
            assert tasks.stubborn.delay(name).get(**ASKING) == 3
            assert (scope.status(name).hits, scope.status(name).fired) == (3 * count, 2 * count)

    assert [entry.action for entry in scope.trace] == ["off", *["raise", "raise", None] * 2]


def test_a_task_tried_again_goes_on_with_its_draws(tasks: SimpleNamespace, name: str) -> None:
    tries = set()
    for seed in range(20):
        with fail.scope({name: "60%raise(OSError)"}, propagate=True, seed=seed, strict=False) as scope:
            tasks.stubborn.delay(name).get(propagate=False, **ASKING)
            tries.add(scope.status(name).hits)
    assert len(tries) > 2, "made anew for each try, they would let a task pass at once or never"


def test_a_task_in_place_of_another_goes_on_too(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({name: "1*off->1*yield"}, propagate=True) as scope:
        assert tasks.replaced.delay(name).get(**ASKING) == 1
    assert [entry.action for entry in scope.trace] == ["off", "yield"]


@pytest.mark.parametrize("text", ["nonsense", "1.WzFd.x~y", ""])
def test_a_try_that_does_not_say_what_was_before_is_a_first_one(
    tasks: SimpleNamespace, name: str, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    def spoil(headers: Any, **_: object) -> None:
        headers["failpy-again"] = text

    signals.before_task_publish.connect(spoil)
    with fail.scope({name: "1*yield"}, propagate=True) as scope:
        assert tasks.run.delay(name, 1).get(**ASKING) == 1
    signals.before_task_publish.disconnect(spoil)
    assert scope.status(name).fired == 1
    assert ("another try begins with the counts of the first" in caplog.text) == bool(text)


# --- eager ---


def test_eagerly_a_task_is_as_far_away(tasks: SimpleNamespace, name: str) -> None:
    tasks.app.conf.task_always_eager = True
    with fail.scope({f"mailer:{name}": "1*raise(OSError)"}, propagate=True) as scope:
        with pytest.raises(OSError):
            tasks.run.delay(name).get()
        with pytest.raises(OSError):
            tasks.run.apply((name,)).get()
    assert scope.status(f"mailer:{name}").fired == 2
    assert [entry.service for entry in scope.trace] == ["mailer", "mailer"]

    with fail.scope({name: "1*raise(OSError)"}) as scope:  # one that does not travel is around it as ever
        with pytest.raises(OSError):
            tasks.run.delay(name).get()
        assert tasks.run.delay(name, 1).get() == 1
    assert [entry.service for entry in scope.trace] == [None, None]


def test_eagerly_an_error_may_be_raised_at_once(tasks: SimpleNamespace, name: str) -> None:
    tasks.app.conf.update(task_always_eager=True, task_eager_propagates=True)
    again = f"{name}.again"
    with fail.scope({name: "raise(OSError)", again: "raise(OSError)"}, propagate=True) as scope:
        with pytest.raises(OSError):
            tasks.run.delay(name)
        with pytest.raises(Retry):
            tasks.stubborn.delay(again)
    assert (scope.status(name).fired, scope.status(again).fired) == (1, 1)


def test_a_task_that_is_only_called_is_none(tasks: SimpleNamespace, name: str) -> None:
    with fail.scope({f"mailer:{name}": "raise"}, propagate=True, strict=False) as scope:
        assert tasks.run(name, 1) == 1
    assert scope.trace == []


# --- with OpenTelemetry ---


@pytest.mark.parametrize("hooked_first", [True, False])
def test_opentelemetry_finds_its_context_again(tasks: SimpleNamespace, name: str, hooked_first: bool) -> None:
    for signal in signals.before_task_publish, signals.task_prerun, signals.task_postrun:
        signal.disconnect(dispatch_uid="failpy")
    if not hooked_first:
        CeleryInstrumentor().instrument()
    fail.hook_celery(tasks.app)
    if hooked_first:
        CeleryInstrumentor().instrument()
    try:
        with fail.scope({name: "1*yield"}, propagate=True) as scope:
            during = tasks.guests.delay(name).get(**ASKING)
        after = tasks.guests.delay(name).get(**ASKING)
    finally:
        CeleryInstrumentor().uninstrument()
    assert during.keys() == {"failpy"}
    assert after == {}
    assert scope.status(name).fired == 1
