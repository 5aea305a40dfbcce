"""A request that is served in a scope is served as without failpy, whatever is around the middleware."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Sized
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import requests
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from failpy import FailpointError, NeverFired, ScopeError, fail
from failpy._config import config
from failpy._feedback import Account, Feedback, drawn
from failpy._guest import Guest
from failpy._registry import armed, unknown
from failpy._ticket import NESTED, Ticket, separate
from tests.travelling import KEYS, asgi_client, away, key, point, starlette, travel

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["key", "point"]

pytestmark = pytest.mark.anyio


def raising(point: str) -> Callable[[], None]:
    def work() -> None:
        fail.point(point).hit()

    return work


# --- the caller ---


@pytest.mark.parametrize("kind", ["httpx", "requests"])
def test_a_request_that_is_sent_again_has_the_scope_of_that_time(name: str, kind: str) -> None:
    seen: list[str | None] = []

    def answer(request: Any) -> httpx.Response:
        seen.append(request.headers.get("baggage"))
        return httpx.Response(200)

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request: Any, *args: Any, **kwargs: Any) -> requests.Response:
            answer(request)
            response = requests.Response()
            response.status_code = 200
            return response

    client: Any
    if kind == "httpx":
        client = fail.hook_httpx(httpx.Client(transport=httpx.MockTransport(answer)))
        request = client.build_request("GET", "http://pay/")
    else:
        client = requests.Session()
        client.mount("http://", Adapter())
        fail.hook_requests(client)
        request = client.prepare_request(requests.Request("GET", "http://pay/"))
    for before in (None, "user=1"):
        seen.clear()
        if before is not None:
            request.headers["baggage"] = before
        with travel({name: "off"}, strict=False):
            client.send(request)
            client.send(request)
        with travel({name: "raise"}, strict=False):
            client.send(request)
        client.send(request)
        assert len(set(seen)) == 4, "each is made anew"
        assert seen[3] == before


def test_what_is_set_of_a_hooked_adapter_is_set_of_the_adapter() -> None:
    session = requests.Session()
    adapter = session.get_adapter("http://pay")
    fail.hook_requests(session)
    hooked: Any = session.get_adapter("http://pay")
    hooked.max_retries = 5
    assert adapter.max_retries == 5  # type: ignore[attr-defined]
    assert pickle.loads(pickle.dumps(hooked)).max_retries == 5


def test_a_seed_that_no_service_takes_is_refused_at_once(name: str) -> None:
    with pytest.raises(FailpointError, match="less than 2\\*\\*128, and not one of 129 bits"):
        travel({name: "off"}, seed=2**128).__enter__()
    with travel({name: "off"}, seed=1 - 2**128) as scope:
        fail.point(name).hit()
        (text,) = separate(scope.headers()["baggage"].removeprefix("failpy="))
        assert Ticket.read(text, KEYS).seed == 1 - 2**128


def test_more_scopes_in_one_another_than_a_service_takes_are_refused_at_once(name: str) -> None:
    with ExitStack() as stack:
        for _ in range(NESTED):
            scope = stack.enter_context(travel({name: "off"}, strict=False))
        assert len(separate(scope.headers()["baggage"])) == NESTED
        with pytest.raises(FailpointError, match="scope 5 of those in one another that travel, and 4 are"):
            travel({name: "off"}).__enter__()


def test_a_scope_inside_is_no_request_of_those_around_it(name: str) -> None:
    with pytest.raises(NeverFired, match="no request has carried it"), travel({f"pay:{name}": "raise"}):
        with travel({name: "off"}, strict=False) as scope:
            scope.enable(name, "raise")


def test_without_failpoints_a_scope_travels_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "enabled", False)
    monkeypatch.setattr(config, "propagation_keys", ())
    with travel({}) as scope:
        assert scope.headers() == {}
        assert not scope.collect({})


# --- reports ---


def report(scope: fail.Scope, *accounts: Account, **changes: Any) -> dict[str, str]:
    assert scope.propagation is not None
    told = Feedback(scope.propagation.identity, drawn(), ["pay"], accounts, [], [])._replace(**changes)
    return {"failpy-report": told.text(KEYS) or ""}


async def test_a_service_that_is_asked_very_often_is_reported_on(point: str) -> None:
    async with asgi_client(starlette(raising(point))) as pay:

        async def work() -> None:
            for _ in range(200):
                await pay.get("/")

        async with asgi_client(starlette(work)) as shop:
            with travel({point: "yield"}) as scope:
                await shop.get("/")
    assert (scope.status(point).fired, len(scope.trace)) == (200, 200)


async def test_very_many_points_are_reported_on(point: str) -> None:
    terms = {f"{point}.{each}": "off" for each in range(120)}
    async with asgi_client(starlette(raising(point))) as client:
        with pytest.raises(NeverFired, match="points were left out of a report, of service 'pay'") as story:
            with travel({**terms, f"{point}.119": "raise", point: "yield"}) as scope:
                await client.get("/")
    assert (scope.status(point).fired, "1 report came back" in str(story.value)) == (1, True)


async def test_a_report_that_is_handed_on_is_told_once(point: str) -> None:
    async with asgi_client(starlette(raising(point))) as pay:

        async def gateway(scope: Any, receive: Any, send: Any) -> None:
            response = await pay.get("/")
            start = {"type": "http.response.start", "status": 200, "headers": response.headers.raw}
            await send(start)
            await send({"type": "http.response.body", "body": response.content})

        async with asgi_client(fail.ASGIMiddleware(gateway, service="gate")) as client:
            with travel({point: "yield"}) as scope:
                response = await client.get("/")
    assert len(response.headers.get_list("failpy-report")) == 1
    assert (scope.status(point).hits, scope.trace[0].service) == (1, "pay")


def test_a_report_that_is_handed_on_by_wsgi_is_told_once(point: str) -> None:
    def work(environ: Any, start_response: Any) -> list[bytes]:
        fail.point(point).hit()
        start_response("200 OK", [])
        return []

    pay = Server(work)

    def gateway(environ: Any, start_response: Any) -> list[bytes]:
        scope = fail.current_scope()
        assert scope is not None
        body = pay.serve(scope)
        start_response("200 OK", [("X-Other", "1"), *pay.headers.items()])
        return [body]

    with travel({point: "yield"}) as scope:
        server = Server(gateway)
        server.serve(scope)
    assert set(server.headers) == {"X-Other", "failpy-report"}
    assert (scope.status(point).hits, scope.trace[0].service) == (1, "pay")


def test_who_answers_does_not_decide_how_much_is_logged(
    name: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with travel({name: "off"}, strict=False) as scope:
        scope.collect({"failpy-report": "1.x.y~" * 10})
        assert len(caplog.records) == 1
        scope.collect({"failpy-report": "~" * 60_000})
        assert len(caplog.records) == 2
    answers = httpx.MockTransport(lambda _: httpx.Response(200, headers={"failpy-report": "junk"}))
    monkeypatch.setattr(config, "propagation_keys", ())
    fail.hook_httpx(httpx.Client(transport=answers)).get("http://pay/")
    assert len(caplog.records) == 2


async def test_a_wait_for_a_hit_that_is_only_counted_ends_at_once(name: str) -> None:
    counted = Account("pay", 42, name, 50, 0, 0, [])
    with travel({name: "off"}, strict=False) as scope:
        waiting = asyncio.create_task(scope.await_for_hit(name, 50, timeout=60))
        await asyncio.sleep(0)
        scope.collect(report(scope, counted))
        with pytest.raises(ScopeError, match="hit 50 of .* happened in another service, and its report has"):
            await waiting
        with pytest.raises(ScopeError, match="happened in another service"):
            scope.wait_for_hit(name, 50, timeout=60)


# --- what is not for this service ---


async def test_unknown_names_are_compared_once(point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    def counting(name: str) -> Exception:
        compared.append(name)
        return unknown(name)

    monkeypatch.setattr("failpy._guest.unknown", counting)
    monkeypatch.setattr("failpy._guest._COMPARED", 10**6)  # other tests may have declared very many
    async with asgi_client(starlette(raising(point))) as client:
        for _ in range(5):
            with travel({f"{point}.other": "raise"}, strict=False):
                await client.get("/")
        assert compared == [f"{point}.other"]
        monkeypatch.setattr("failpy._guest._COMPARED", 0)
        with pytest.raises(NeverFired, match="no code has declared a failpoint"):
            with travel({f"pay:{point}.another": "raise"}):
                await client.get("/")
    assert len(compared) == 1


async def test_scopes_that_cannot_be_opened_leave_none_armed(
    point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    open_guest = Guest.open

    def second_fails(self: Any) -> None:
        opened.append(self)
        open_guest(self)
        if len(opened) == 2:
            raise RuntimeError("a mistake")

    monkeypatch.setattr(Guest, "open", second_fails)
    async with asgi_client(starlette(lambda: "done")) as client:
        with travel({point: "raise"}, strict=False), travel({point: "raise"}, strict=False):
            assert (await client.get("/")).text == "done"
            assert armed()[point] == 2
    assert [each.closed for each in opened] == [True, True]


# --- exceptions that nobody handles ---


class Handling:
    """A middleware that makes a response of an exception, as programs have them."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception as exc:
            await PlainTextResponse(f"handled {exc}", 503)(scope, receive, send)


async def _dispatch(request: Request, call_next: Any) -> Any:
    try:
        return await call_next(request)
    except Exception as exc:
        return PlainTextResponse(f"handled {exc}", 503)


@pytest.mark.parametrize("kind", ["plain", "base"])
async def test_a_middleware_further_out_handles_what_it_always_handles(point: str, kind: str) -> None:
    app = starlette(raising(point))
    if kind == "plain":
        app.add_middleware(Handling)
    else:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_dispatch)
    async with asgi_client(app) as client:
        with travel({f"pay:{point}": 'raise(ValueError("boom"))'}, strict=False):
            response = await client.get("/")
    assert (response.status_code, response.text) == (503, "handled boom")


async def test_a_handler_of_the_application_around_a_mounted_one_is_asked(point: str) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        fail.point(point).hit()

    async def handle(request: Request, exc: Exception) -> PlainTextResponse:
        return PlainTextResponse(f"handled {exc}", 503)

    app = Starlette(
        routes=[Mount("/", fail.ASGIMiddleware(bare, service="pay"))], exception_handlers={ValueError: handle}
    )
    async with asgi_client(app) as client:
        with travel({f"pay:{point}": 'raise(ValueError("boom"))'}, strict=False):
            response = await client.get("/")
    assert (response.status_code, response.text) == (503, "handled boom")


class Passing:
    """A middleware that lets all through."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class Instrumentation(Passing):
    """What OpenTelemetry has between the page and the middleware."""


Instrumentation.__module__ = "opentelemetry.instrumentation.fastapi"


@pytest.mark.parametrize("between", [Instrumentation, fail.ASGIMiddleware])
async def test_what_leaves_exceptions_alone_may_be_around_the_middleware(point: str, between: Any) -> None:
    app = starlette(raising(point))
    app.add_middleware(between)
    async with asgi_client(app) as client:
        with travel({f"pay:{point}": "raise"}) as scope:
            assert (await client.get("/")).status_code == 500
    assert scope.status(f"pay:{point}").fired == 1


async def test_what_a_framework_has_of_its_own_may_be_around_the_middleware(point: str) -> None:
    class Framework(Starlette):
        def build_middleware_stack(self) -> Any:
            stack: Any = super().build_middleware_stack()
            stack.app = Passing(stack.app)
            return stack

    app = Framework(routes=starlette(raising(point)).routes)
    app.add_middleware(fail.ASGIMiddleware, service="pay")
    async with asgi_client(app) as client:
        with travel({f"pay:{point}": "raise"}) as scope:
            assert (await client.get("/")).status_code == 500
    assert scope.status(f"pay:{point}").fired == 1


async def test_a_panic_in_a_group_of_tasks_is_reported(point: str) -> None:
    async def hit() -> None:
        fail.point(point).hit()

    async def work() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(hit())

    app = starlette(work)
    with travel({f"pay:{point}": "panic"}) as scope:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(name.encode(), value.encode()) for name, value in scope.headers().items()]
        request = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
        await away(app)(request, asyncio.Event().wait, send)
        assert sent[0]["status"] == 500
        assert scope.collect({name.decode(): value.decode() for name, value in sent[0]["headers"]})


@pytest.mark.parametrize(("version", "expected"), [("1.1", "close"), ("2", None)])
async def test_the_page_of_a_bare_application_says_that_the_server_closes(
    point: str, version: str, expected: str | None
) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        fail.point(point).hit()

    async def over(scope: Any, receive: Any, send: Any) -> None:
        await fail.ASGIMiddleware(bare)({**scope, "http_version": version}, receive, send)

    async with asgi_client(over) as client:
        with travel({point: "raise"}):
            assert (await client.get("/")).headers.get("connection") == expected


@pytest.mark.parametrize("kind", ["sync", "async", "partial", "object"])
async def test_the_program_makes_its_page_once(point: str, kind: str) -> None:
    asked = []

    def sync_page(request: Request, exc: Exception) -> PlainTextResponse:
        asked.append(exc)
        return PlainTextResponse("sorry", 500)

    async def async_page(request: Request, exc: Exception) -> PlainTextResponse:
        return sync_page(request, exc)

    class Page:
        async def __call__(self, request: Request, exc: Exception) -> PlainTextResponse:
            return sync_page(request, exc)

    pages = {"sync": sync_page, "async": async_page, "partial": partial(async_page), "object": Page()}
    page: Any = pages[kind]
    app = starlette(raising(point))
    app.exception_handlers = {Exception: raising(point), 500: page}
    async with asgi_client(app) as client:
        for times in (1, 2):
            with travel({f"pay:{point}": "raise"}):
                assert (await client.get("/")).text == "sorry"
            assert len(asked) == times


async def test_a_page_that_fails_is_asked_once_and_fails_as_it_did(point: str) -> None:
    asked = []

    async def page(request: Request, exc: Exception) -> PlainTextResponse:
        asked.append(exc)
        raise KeyError("in the page")

    app = starlette(raising(point))
    app.exception_handlers[Exception] = page
    transport = httpx.ASGITransport(away(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://pay") as client:
        with travel({point: "raise"}, strict=False) as scope:
            with pytest.raises(KeyError, match="in the page"):
                await client.get("/", headers=scope.headers())
    assert len(asked) == 1


async def test_what_cannot_be_sent_of_a_page_goes_its_way(point: str) -> None:
    async def send(message: Any) -> None:
        raise OSError("gone")

    app = starlette(raising(point))
    with travel({point: "raise"}, strict=False) as scope:
        headers = [(name.encode(), value.encode()) for name, value in scope.headers().items()]
        request = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": headers}
        with pytest.raises(OSError, match="gone"):
            await away(app)(request, asyncio.Event().wait, send)


async def test_what_fatal_unwinds_with_in_a_group_is_an_answer_too(point: str) -> None:
    async def both() -> None:
        scope = fail.current_scope()
        assert scope is not None
        async with asyncio.TaskGroup() as group:
            group.create_task(_fatal())

    async with asgi_client(starlette(both)) as client:
        with pytest.raises(ExceptionGroup, match="1 failure") as group, travel({point: "off"}, strict=False):
            assert (await client.get("/")).text == "Internal Server Error"
    assert str(group.value.exceptions[0]) == "Failure: no more"


async def _fatal() -> None:
    _unwind()


def _unwind() -> None:
    scope = fail.current_scope()
    assert scope is not None
    scope.fatal("no more")


# --- WSGI ---


class Server:
    """A server of WSGI that checks what it is told, as PEP 3333 has it."""

    def __init__(self, app: Any) -> None:
        self.app = fail.WSGIMiddleware(app, service="pay")
        self.status = ""
        self.headers: dict[str, str] = {}
        self.sent: list[bytes] = []
        self.length: int | None = None

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info is not None and self.sent:
            raise exc_info[1].with_traceback(exc_info[2])
        assert exc_info is not None or not self.status, "the response has been started already"
        self.status, self.headers = status, dict(headers)
        return self.sent.append

    def serve(self, scope: fail.Scope) -> bytes:
        body = self.app({"HTTP_BAGGAGE": scope.headers()["baggage"]}, self.start_response)
        try:
            self.length = len(body) if isinstance(body, Sized) else None
            for chunk in body:
                assert self.status
                self.sent.append(chunk)
        finally:
            getattr(body, "close", lambda: None)()
        scope.collect(self.headers)
        return b"".join(self.sent)


@pytest.mark.parametrize("when", ["called", "started", "first", "lazily"])
def test_fatal_makes_a_page_as_long_as_nothing_is_sent(point: str, when: str) -> None:
    def called(environ: Any, start_response: Any) -> Any:
        if when == "started":
            start_response("200 OK", [])
        _unwind()

    def first(environ: Any, start_response: Any) -> Any:
        if when == "first":
            start_response("200 OK", [])
        _unwind()
        yield b"never"

    server = Server(called if when in ("called", "started") else first)
    with pytest.raises(ExceptionGroup) as group, travel({point: "off"}, strict=False) as scope:
        assert server.serve(scope) == b"Internal Server Error"
        assert armed()[point] == 1
    assert server.status == "500 Internal Server Error"
    assert str(group.value.exceptions[0]) == "Failure: no more"


@pytest.mark.parametrize("how", ["written", "yielded"])
def test_fatal_after_something_was_sent_ends_no_server(point: str, how: str) -> None:
    def written(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])(b"one")
        _unwind()

    def yielded(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        yield b"one"
        _unwind()

    server = Server(written if how == "written" else yielded)
    with travel({point: "off"}, strict=False) as scope:
        with pytest.raises(FailpointError, match="no more"):
            server.serve(scope)
        assert armed()[point] == 1
    assert server.sent == [b"one"]


def test_a_body_is_begun_in_the_scope_and_none_is_left_of_one_that_cannot(point: str) -> None:
    class Body:
        def __iter__(self) -> Any:
            found = fail.point(point).hit()
            return iter([str(found and found.value).encode()])

        def __len__(self) -> int:
            return 1

    def app(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])
        return Body()

    def wrong(environ: Any, start_response: Any) -> Any:
        start_response("200 OK", [])

    server = Server(app)
    with travel({point: 'return("x")'}, strict=False) as scope:
        assert (server.serve(scope), server.length) == (b"x", 1)
        with pytest.raises(TypeError):
            Server(wrong).serve(scope)
        assert armed()[point] == 1


async def test_a_report_that_no_header_has_room_for_is_logged(
    point: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("done")(scope, receive, send)

    async with asgi_client(fail.ASGIMiddleware(bare, service="p" * 5000)) as client:
        with travel({point: "off"}):
            response = await client.get("/")
    assert (response.text, "failpy-report" in response.headers) == ("done", False)
    assert "a report on a scope is too long for a header" in caplog.text


async def test_a_bare_application_that_is_cancelled_answers_nothing(point: str) -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        raise asyncio.CancelledError

    with travel({point: "off"}) as scope:
        headers = [(name.encode(), value.encode()) for name, value in scope.headers().items()]
        with pytest.raises(asyncio.CancelledError):
            await away(fail.ASGIMiddleware(bare))({"type": "http", "headers": headers}, None, None)
        assert armed()[point] == 1


async def test_a_page_without_headers_is_sent_as_it_is(point: str) -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await PlainTextResponse("sorry", 500)(scope, receive, send)

    app = starlette(raising(point))
    app.exception_handlers[500] = lambda request, exc: page
    async with asgi_client(app) as client:
        with travel({point: "raise"}, strict=False):
            assert (await client.get("/")).text == "sorry"
