"""A request that is served in a scope is served as without failpy, whatever is around the middleware."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from failpy import fail
from tests.travelling import asgi_client, away, key, starlette

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

    page: Any = {"sync": sync_page, "async": async_page, "partial": partial(async_page), "object": Page()}[kind]
    app = starlette(raising(point))
    app.exception_handlers = {Exception: partial(async_page, None), 500: page}
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
