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

from failpy import FailpointError, NeverFired, fail
from failpy._config import config
from failpy._registry import armed
from failpy._ticket import NESTED, Ticket, separate
from tests.travelling import KEYS, asgi_client, away, key, starlette

if TYPE_CHECKING:
    from starlette.requests import Request

__all__ = ["key"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def point(name: str) -> str:
    fail.point(name, returns=str)
    return name


def travel(terms: Any, **options: Any) -> fail.Scope:
    return fail.scope(terms, propagate=True, **options)


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


class Instrumentation:
    """What OpenTelemetry has between the page and the middleware."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


Instrumentation.__module__ = "opentelemetry.instrumentation.fastapi"


@pytest.mark.parametrize("between", [Instrumentation, fail.ASGIMiddleware])
async def test_what_leaves_exceptions_alone_may_be_around_the_middleware(point: str, between: Any) -> None:
    app = starlette(raising(point))
    app.add_middleware(between)
    async with asgi_client(app) as client:
        with travel({f"pay:{point}": "raise"}) as scope:
            assert (await client.get("/")).status_code == 500
    assert scope.status(f"pay:{point}").fired == 1


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
