"""What the tests of scopes that travel share: a key, services in this process, clients for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from failpy import fail
from failpy._config import config
from failpy._context import Layer, current, process, set_current

if TYPE_CHECKING:
    from starlette.requests import Request

KEY = "a-key-of-some-length"
KEYS = (KEY.encode(),)
Work = Callable[[], Any]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> str:
    """That of this process."""
    monkeypatch.setattr(config, "propagation_keys", KEYS)
    return KEY


@pytest.fixture
def point(name: str) -> str:
    """A point that is declared."""
    fail.point(name, returns=str)
    return name


def travel(terms: Any, **options: Any) -> fail.Scope:
    """A scope that travels."""
    return fail.scope(terms, propagate=True, **options)


def starlette(work: Work, **options: Any) -> Starlette:
    """A service that does some work for each request, and lets scopes in as middleware of Starlette."""

    async def answer(request: Request) -> Response:
        del request
        result = work()
        return PlainTextResponse(str(await result if isinstance(result, Awaitable) else result))

    app = Starlette(routes=[Route("/", answer)])
    app.add_middleware(fail.ASGIMiddleware, **{"service": "pay", **options})
    return app


def asgi_client(app: Any) -> httpx.AsyncClient:
    """A client, hooked, of an application in this process. What comes out of it is left to it."""
    transport = httpx.ASGITransport(away(app), raise_app_exceptions=False)
    return fail.hook_httpx(httpx.AsyncClient(transport=transport, base_url="http://pay"))


def wsgi_client(app: Any) -> httpx.Client:
    """The same for WSGI."""
    transport = httpx.WSGITransport(away_wsgi(app), raise_app_exceptions=False)
    return fail.hook_httpx(httpx.Client(transport=transport, base_url="http://pay"))


def away(app: Any) -> Any:
    """The application as if in another process: the context of who asks does not reach it."""

    async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
        with outside():
            await app(scope, receive, send)

    return elsewhere


def away_wsgi(app: Any) -> Any:
    """The same for WSGI."""

    def elsewhere(environ: Any, start_response: Any) -> Iterator[bytes]:
        with outside():
            body = app(environ, start_response)
            try:
                yield from body
            finally:
                getattr(body, "close", lambda: None)()

    return elsewhere


class outside:
    """A block in no scope."""

    def __enter__(self) -> None:
        self._layer: Layer = current()
        set_current(process)

    def __exit__(self, *exc_info: object) -> None:
        assert current() is process, "a scope was left behind"
        set_current(self._layer)
