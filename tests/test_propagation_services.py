"""A scope travels in OpenTelemetry's baggage through real services: uvicorn, gunicorn, Celery and Redis."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import pytest

from failpy import fail
from failpy._config import config
from tests.http_tools import until

if sys.platform == "win32" or shutil.which("redis-server") is None:
    pytest.skip(
        "no redis-server on the PATH: on Debian, apt-get install redis-server", allow_module_level=True
    )

from celery import Celery, chain, chord, group
from opentelemetry import baggage, context
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from tests.services.running import FOLDER, KEY, Service, Services, running

pytestmark = pytest.mark.anyio

AT_ONCE = 32
"""How many connections there are. What is beyond waits for one, with its scope open: not in the pool of
httpx, which looks at all that waits each time."""


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    with running(tmp_path_factory.mktemp("services")) as started:
        yield started


@pytest.fixture(autouse=True)
def told(services: Services, request: pytest.FixtureRequest) -> Iterator[None]:
    """What the services have said during a test is printed, for whoever has to read how it failed."""
    before = {each.name: len(each.output) for each in services if isinstance(each, Service)}
    yield
    for each in services:
        if isinstance(each, Service):
            print(f"--- {each.name}\n{each.output[before[each.name] :][-10_000:]}")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "propagation_keys", (KEY.encode(),))


@pytest.fixture
def app(services: Services) -> Iterator[Celery]:
    """One who sends tasks, and works on none."""
    with Celery("caller", broker=services.broker, backend=services.broker, set_as_current=False) as made:
        yield fail.hook_celery(made)
        consumer = made.backend.result_consumer
        consumer.stop()
        consumer.cancel_for = lambda _: None  # else a result that is garbage later asks a Redis that is gone


class Outcome(NamedTuple):
    """What became of one request."""

    status: int
    told: dict[str, Any]
    reported: bool

    @property
    def failed(self) -> str | None:
        return self.told.get("failed")

    @property
    def processes(self) -> dict[str, int]:
        """Which process it was served by in each service."""
        at: dict[str, Any] = {"shop": self.told}
        at["payments"] = self.told.get("payments", {})
        at["mailer"] = self.told.get("mailer") or at["payments"].get("mailer") or {}
        return {service: each["process"] for service, each in at.items() if "process" in each}


class Shopper(NamedTuple):
    client: httpx.AsyncClient
    turns: asyncio.Semaphore

    async def checkout(self, order: int, mail: str = "none", times: int = 1) -> Outcome:
        async with self.turns:
            response = await self.client.post(f"/checkout/{order}", params={"mail": mail, "times": times})
        return Outcome(response.status_code, response.json(), "failpy-report" in response.headers)


@asynccontextmanager
async def shopping(services: Services) -> AsyncIterator[Shopper]:
    """OpenTelemetry carries the baggage of this client. The hook reads what comes back."""
    async with httpx.AsyncClient(base_url=services.url, timeout=60) as client:
        HTTPXClientInstrumentor().instrument_client(client)
        yield Shopper(fail.hook_httpx(client), asyncio.Semaphore(AT_ONCE))


def boom(text: object) -> str:
    return f'1*raise(ConnectionError("{text}"))'


# --- what is not good: first, since a service soon logs no more of it for a while ---


class Plain:
    """One connection to a service, on which a test says each header itself."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self._connection = http.client.HTTPConnection(address.hostname, address.port, timeout=60)

    def close(self) -> None:
        self._connection.close()

    def post(self, path: str, header: str | None = None) -> tuple[int, bool]:
        """The status, and whether there was a report."""
        headers = {} if header is None else {"baggage": header}
        self._connection.request("POST", path, headers=headers)
        response = self._connection.getresponse()
        response.read()
        return response.status, response.getheader("failpy-report") is not None


def address_of(services: Services, service: str) -> tuple[str, str]:
    """Where a request goes that passes the points of this service."""
    if service == "shop":
        return services.url, "/checkout/1"
    return services.payments_url, "/charge/1"


def header_for(service: str, propagate: float = 600.0) -> str:
    """A header with which this service fails."""
    with fail.scope({f"{service}:db.write": boom("x")}, propagate=propagate, strict=False) as scope:
        return scope.headers()["baggage"]


SERVED = 200, False
FAILED = 500, True


async def test_a_header_is_good_until_it_expires(services: Services) -> None:
    header = header_for("payments", propagate=0.1)

    with closing(Plain(services.payments_url)) as plain:
        before = len(services.payments.output)
        assert plain.post("/charge/1", header) == FAILED
        until(lambda: plain.post("/charge/1", header) == SERVED)
        while "it expired" not in services.payments.output[before:]:
            assert plain.post("/charge/1", header) == SERVED


BAD = {
    "wrong key": (lambda good, other: other, "its signature is of none of the keys here"),
    "cut": (lambda good, other: good[:-20], "its signature is of none of the keys here"),
    "cut to the bone": (lambda good, other: good[:20], "it is malformed"),
    "no ticket": (lambda good, other: "failpy=hello", "it is malformed"),
    "twice": (lambda good, other: f"{good},{other}", "it is there more than once"),
    "oversized": (lambda good, other: f"failpy={'x' * 5000}", "it has 5,000 characters"),
    "oversized by others": (lambda good, other: f"{good},a={'x' * 7000}", None),  # which is no fault
    "of another version": (lambda good, other: good.replace("=1.", "=7.", 1), "it is of version '7'"),
}


@pytest.mark.parametrize("service", ["shop", "payments"])
async def test_what_is_not_good_has_no_effect_and_its_reason_is_logged(
    services: Services, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, path = address_of(services, service)
    log: Service = getattr(services, service)
    good = header_for(service)
    monkeypatch.setattr(config, "propagation_keys", (b"a-key-that-nobody-else-has-here",))
    with fail.scope({f"{service}:db.write": boom("x")}, propagate=600.0, strict=False) as scope:
        other = scope.headers()["baggage"]

    with closing(Plain(url)) as plain:
        assert plain.post(path, good) == FAILED
        deadline = time.monotonic() + 60
        for name, (make, reason) in BAD.items():
            bad = make(good, other)
            if reason is None:
                assert plain.post(path, bad) == FAILED, name
                continue
            before = len(log.output)
            assert plain.post(path, bad) == SERVED, name

            while reason not in log.output[before:]:  # of very many, some are left out
                assert plain.post(path, bad) == SERVED, name
                assert time.monotonic() < deadline, name


# --- one request among many ---


async def test_of_1000_requests_at_once_exactly_the_ten_with_a_fault_fail(services: Services) -> None:
    points = {
        "shop:db.write": "shop",
        "shop:cart.save": "shop",
        "cart.save": "shop",
        "db.write": "shop",
        "payments:db.write": "payments",
        "payments:card.charge": "payments",
        "card.charge": "payments",
        "mailer:mail.send": "mailer",
        "mail.send": "mailer",
    }
    faults = dict(zip(range(50, 1000, 100), [*points.items(), ("mailer:mail.send", "mailer")], strict=True))
    # A few others also have a mail sent, by shop or by payments.
    mails = {order: ("shop", "payments")[order // 25 % 2] for order in range(0, 1000, 25)}
    scopes: dict[int, fail.Scope] = {}

    async def one(order: int) -> Outcome:
        mail = mails.get(order, "none")
        if order not in faults:
            return await shopper.checkout(order, mail)
        name, _ = faults[order]
        with fail.scope({name: boom(order)}, propagate=True) as scope:
            scopes[order] = scope
            return await shopper.checkout(order, mail)

    async with shopping(services) as shopper:
        outcomes = await asyncio.gather(*map(one, range(1000)))

    failed = {order: each.failed for order, each in enumerate(outcomes) if each.status != 200}
    assert failed == {order: service for order, (_, service) in faults.items()}
    assert {order for order, each in enumerate(outcomes) if each.reported} == faults.keys()
    assert all(each.told["order"] == order for order, each in enumerate(outcomes))
    for order, (name, service) in faults.items():
        outcome, status = outcomes[order], scopes[order].status(name)
        told = outcome.told if service != "payments" else outcome.told["payments"]
        if mails.get(order) == "payments" and service == "mailer":
            told = outcome.told["payments"]
        assert told["error"] == f"ConnectionError('{order}')"
        assert (status.hits, status.fired) == (1, 1)
        (entry,) = scopes[order].trace
        assert (entry.point, entry.service, entry.action) == (name, service, "raise")
        if service in outcome.processes:  # a task that has failed does not say where it was
            assert entry.thread == f"process {outcome.processes[service]}"


async def test_what_has_fired_is_an_event_of_the_span_that_it_was_in(services: Services) -> None:
    terms = {
        "shop:cart.save": "1*yield",
        "payments:db.write": "1*off->1*yield",
        "mailer:mail.send": boom("!"),
    }
    before = services.spans.stat().st_size if services.spans.exists() else 0
    async with shopping(services) as shopper:
        with fail.scope(terms, propagate=True):
            outcome = await shopper.checkout(1, mail="payments", times=2)
    assert outcome.failed == "mailer"

    def fired() -> dict[str, tuple[str, dict[str, Any]]]:
        lines = services.spans.read_bytes()[before:].splitlines() if services.spans.exists() else []
        spans = [json.loads(line) for line in lines]
        assert len({span["trace"] for span in spans}) <= 1
        return {
            span["service"]: (span["span"], event)
            for span in spans
            for event in span["events"]
            if event.pop("name") == "failpoint.fired"
        }

    until(lambda: len(fired()) == 3)  # a span ends after the response
    assert fired() == {
        "shop": ("POST /checkout/{order}", event_of("cart.save", "1*yield", 1)),
        "payments": ("POST /charge/<int:order>", event_of("db.write", "1*yield", 2)),
        "mailer": ("run/receipt", event_of("mail.send", boom("!"), 1)),
    }


def event_of(name: str, term: str, nth: int) -> dict[str, Any]:
    action = term.partition("*")[2].partition("(")[0]
    return {
        f"failpoint.{key}": it
        for key, it in {"name": name, "term": term, "nth": nth, "action": action}.items()
    }


class Case(NamedTuple):
    """What a scope arms, and what comes of each of its requests: where it fails, and the hits and fires."""

    name: str
    terms: str
    failed: str | None
    hits: int
    fired: int
    mail: str = "none"
    times: int = 1


CASES = [
    Case("shop:db.write", '1*raise(ConnectionError("{}"))', "shop", 1, 1),
    Case("shop:db.write", '1*off->1*raise(ConnectionError("{}"))', None, 1, 0),
    Case("shop:db.write", "1*sleep(1ms)", None, 1, 1),
    Case("shop:cart.save", 'raise(ConnectionError("{}"))', "shop", 1, 1),
    Case("shop:cart.save", '0*raise(ConnectionError("{}"))', None, 1, 0),
    Case("cart.save", '1*raise(ConnectionError("{}"))', "shop", 1, 1),
    Case("payments:db.write", '1*raise(ConnectionError("{}"))', "payments", 1, 1),
    Case("payments:db.write", '2*off->1*raise(ConnectionError("{}"))', "payments", 3, 1, times=3),
    Case("payments:db.write", '3*off->1*raise(ConnectionError("{}"))', None, 3, 0, times=3),
    Case("payments:db.write", "2*sleep(1ms)", None, 3, 2, times=3),
    Case("payments:db.write", "sleep(1ms)", None, 2, 2, times=2),
    Case("payments:card.charge", '1*raise(ConnectionError("{}"))', "payments", 1, 1),
    Case("payments:card.charge", "1*yield", None, 1, 1),
    Case("card.charge", 'raise(ConnectionError("{}"))', "payments", 1, 1, times=2),
    Case("mailer:mail.send", '1*raise(ConnectionError("{}"))', "mailer", 1, 1, mail="shop"),
    Case("mailer:mail.send", '1*raise(ConnectionError("{}"))', "mailer", 1, 1, mail="payments"),
    Case("mail.send", "2*yield", None, 1, 1, mail="shop"),
    Case("mailer:mail.send", '1*off->1*raise(ConnectionError("{}"))', None, 1, 0, mail="payments"),
    Case("payments:mail.send", 'raise(ConnectionError("{}"))', None, 0, 0),  # it is no point of payments
    Case("nowhere:db.write", 'raise(ConnectionError("{}"))', None, 0, 0),
]


async def test_twenty_scopes_at_once_have_fifty_requests_each_to_themselves(services: Services) -> None:
    async def one(number: int, case: Case) -> tuple[fail.Scope, list[Outcome]]:
        with fail.scope({case.name: case.terms.format(number)}, propagate=True, strict=False) as scope:
            orders = range(number * 50, number * 50 + 50)
            return scope, await asyncio.gather(*(shopper.checkout(i, case.mail, case.times) for i in orders))

    async with shopping(services) as shopper:
        everything = await asyncio.gather(*(one(number, case) for number, case in enumerate(CASES)))

    for number, (case, (scope, outcomes)) in enumerate(zip(CASES, everything, strict=True)):
        assert {each.failed for each in outcomes} == {case.failed}, case
        assert {each.status == 200 for each in outcomes} == {case.failed is None}, case
        assert [each.told["order"] for each in outcomes] == list(range(number * 50, number * 50 + 50))
        if case.failed is not None:
            assert all(f"ConnectionError('{number}')" in repr(each.told) for each in outcomes), case
        status = scope.status(case.name)
        assert (status.hits, status.fired) == (50 * case.hits, 50 * case.fired), case
        assert len(scope.trace) == 50 * case.hits
        assert {entry.point for entry in scope.trace} <= {case.name}


# --- how it travels ---


async def test_opentelemetry_alone_carries_it_and_other_baggage_too(services: Services) -> None:
    token = context.attach(baggage.set_baggage("guest", "ada"))
    try:
        async with httpx.AsyncClient(base_url=services.url, timeout=60) as client:
            HTTPXClientInstrumentor().instrument_client(client)
            with fail.scope({"mailer:mail.send": "1*yield"}, propagate=True) as scope:
                response = await client.post("/checkout/1", params={"mail": "payments"})
                assert scope.trace == []
                assert scope.collect(response.headers)
    finally:
        context.detach(token)

    told = response.json()
    assert [told["guest"], told["payments"]["guest"], told["payments"]["mailer"]["guest"]] == ["ada"] * 3
    (entry,) = scope.trace
    assert (entry.service, entry.thread) == ("mailer", f"process {told['payments']['mailer']['process']}")


async def test_a_fault_reaches_a_task_through_two_services_and_its_report_comes_back(
    services: Services,
) -> None:
    terms = {
        "shop:cart.save": "1*yield",
        "payments:card.charge": "1*yield",
        "mailer:mail.send": boom("at the end"),
    }
    async with shopping(services) as shopper:
        with fail.scope(terms, propagate=True) as scope:
            outcome = await shopper.checkout(1, mail="payments")
        untouched = await shopper.checkout(2, mail="payments")

    assert (outcome.status, outcome.failed) == (502, "mailer")
    assert outcome.told["payments"]["error"] == "ConnectionError('at the end')"
    assert untouched.status == 200
    entries = {entry.service: entry for entry in scope.trace}
    assert {service: entry.point for service, entry in entries.items()} == {
        "shop": "shop:cart.save",
        "payments": "payments:card.charge",
        "mailer": "mailer:mail.send",
    }
    for service in "shop", "payments":
        assert entries[service].thread == f"process {outcome.processes[service]}"


async def test_counts_are_those_of_each_request_in_each_process(services: Services) -> None:
    seen: Counter[int] = Counter()
    async with shopping(services) as shopper:
        with fail.scope({"payments:db.write": "1*off->1*sleep(5ms)"}, propagate=True) as scope:
            for _ in range(20):
                outcomes = await asyncio.gather(*(shopper.checkout(i, times=3) for i in range(30)))
                seen.update(each.processes["payments"] for each in outcomes)
                if len(seen) == 2:
                    break

    assert len(seen) == 2, "one worker of gunicorn has served it all"
    requests = seen.total()
    status = scope.status("payments:db.write")
    assert (status.hits, status.fired) == (3 * requests, requests)
    hits = Counter(entry.thread for entry in scope.trace)
    assert hits == {f"process {process}": 3 * count for process, count in seen.items()}
    fired = Counter(entry.thread for entry in scope.trace if entry.action == "sleep")
    assert fired == {f"process {process}": count for process, count in seen.items()}


# --- what is not good, often ---


@pytest.mark.slow
@pytest.mark.parametrize("service", ["shop", "payments"])
async def test_any_character_that_is_another_one_is_enough(services: Services, service: str) -> None:
    url, path = address_of(services, service)
    good = header_for(service)

    with closing(Plain(url)) as plain:
        for i in range(len("failpy="), len(good)):
            flipped = good[:i] + chr(ord(good[i]) ^ 1) + good[i + 1 :]
            assert plain.post(path, flipped) == SERVED, flipped
        assert plain.post(path, good) == FAILED


@pytest.mark.slow
@pytest.mark.parametrize("service", ["shop", "payments"])
async def test_what_is_not_good_takes_no_longer(services: Services, service: str) -> None:
    url, _ = address_of(services, service)
    good = header_for(service)
    # Beside baggage of the same length that is not failpy's: OpenTelemetry reads all of it, and logs what is
    # too long for it.
    pairs = {
        "none": (None, None),
        "flipped": (good[:-1] + chr(ord(good[-1]) ^ 1), f"guests={'x' * (len(good) - 7)}"),
        "long": (f"failpy={'x' * 8000}", f"guests={'x' * 8000}"),
    }
    took: dict[tuple[str, int], list[float]] = {(name, which): [] for name in pairs for which in (0, 1)}
    with closing(Plain(url)) as plain:
        for _ in range(300):
            for (name, which), times in took.items():
                began = time.perf_counter()
                assert plain.post("/missing", pairs[name][which]) == (404, False)
                times.append(time.perf_counter() - began)

    medians = {key: statistics.median(each) for key, each in took.items()}
    ratios = {name: medians[name, 0] / medians[name, 1] for name in pairs}
    assert all(ratio < 1.5 for ratio in ratios.values()), ratios


# --- tasks ---


async def test_a_task_tried_again_goes_on_with_its_counts(app: Celery) -> None:
    with fail.scope({"mailer:mail.retry": '2*raise(ConnectionError("x"))'}, propagate=True) as scope:
        assert app.send_task("stubborn", (7,)).get(timeout=20) == {"order": 7, "tries": 3}

    tries = Counter((entry.action, entry.service) for entry in scope.trace)  # in what process each was
    assert tries == {("raise", "mailer"): 2, (None, "mailer"): 1}
    status = scope.status("mailer:mail.retry")
    assert (status.hits, status.fired) == (3, 2)


async def test_a_task_that_never_succeeds_tells_of_every_try(app: Celery) -> None:
    with fail.scope({"mail.retry": 'raise(ConnectionError("x"))'}, propagate=True) as scope:
        with pytest.raises(ConnectionError, match="x"):
            app.send_task("stubborn", (7,)).get(timeout=20)

    assert scope.status("mail.retry").fired == 4


async def test_each_task_of_a_group_a_chain_and_a_chord_tells(app: Celery) -> None:
    count, total = app.signature("count"), app.signature("sum")
    with fail.scope({"mail.count": "1*yield"}, propagate=True) as scope:
        assert group(count.clone((i,)) for i in range(5)).apply_async().get(timeout=20) == [0, 1, 2, 3, 4]
        assert scope.status("mail.count").fired == 5
        assert chain(count.clone((3,)), count, count).apply_async().get(timeout=20) == 3
        assert scope.status("mail.count").fired == 8
        scope.enable("mail.total", "1*yield")
        assert chord([count.clone((i,)) for i in range(4)], total).apply_async().get(timeout=20) == 6
        assert scope.status("mail.count").fired == 12
        assert scope.status("mail.total").fired == 1


async def test_a_chord_whose_header_fails_tells_where(app: Celery) -> None:
    count, total = app.signature("count"), app.signature("sum")
    with fail.scope({"mailer:mail.count": boom("here")}, propagate=True) as scope:
        with pytest.raises(Exception, match="here"):
            chord([count.clone((1,))], total).apply_async().get(timeout=20)

    (entry,) = scope.trace
    assert (entry.point, entry.service) == ("mailer:mail.count", "mailer")


# --- what the tests start ---


def test_a_service_ends_with_the_test_even_when_that_is_killed(tmp_path: Any) -> None:
    program = """
import os, sys
from pathlib import Path
from tests.services.running import Service
service = Service("sleeper", ["sh", "-c", "echo $$; sleep 600"], Path(sys.argv[1]), {})
service.wait(lambda: "\\n" in service.log.read_text())
print(service.log.read_text().strip(), flush=True)
os.kill(os.getpid(), 9)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=FOLDER.parents[1],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    process = int(re.fullmatch(r"(\d+)\n", ended.stdout)[1])  # type: ignore[index]

    def has_ended() -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return True
        return False

    until(has_ended)
