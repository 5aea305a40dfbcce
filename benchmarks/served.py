"""The sides that serve a request: the same small application, with and without failpy's middleware."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from benchmarks.row import NotHere
from benchmarks.timing import Clock, Loop
from failpy import fail

__all__ = ["BAD", "asgi", "wsgi"]

KEY = "a-key-that-only-benchmarks-have"
BAD = f"failpy=1.{'x' * 200}.{'y' * 43}"
"""A header with a signature that is wrong, as long as a good one."""

# As a browser sends them.
HEADERS = {
    "host": "shop.example",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.5",
    "accept-encoding": "gzip, deflate, br",
    "cookie": "session=0123456789abcdef0123456789abcdef",
}


@contextmanager
def asgi(seconds: float, *, hooked: bool, baggage: str | None = None) -> Iterator[Clock]:
    """A request to a Starlette application."""
    try:
        from starlette.applications import Starlette
        from starlette.requests import Request  # noqa: TC002 - as its neighbours
        from starlette.responses import JSONResponse
        from starlette.routing import Route
    except ImportError:
        raise NotHere("pip install starlette") from None

    async def order(request: Request) -> JSONResponse:
        return JSONResponse({"order": request.path_params["number"], "state": "sent"})

    app: Any = Starlette(routes=[Route("/orders/{number:int}", order)])
    if hooked:
        app.add_middleware(fail.ASGIMiddleware, service="shop", key=KEY)
    headers = [(name.encode(), value.encode()) for name, value in headers_with(baggage).items()]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/orders/7",
        "raw_path": b"/orders/7",
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        pass

    def serve() -> None:
        finish(app(dict(scope), receive, send))

    with quietly():
        yield Loop("serve()", {"serve": serve}, seconds)


@contextmanager
def wsgi(seconds: float, *, hooked: bool, baggage: str | None = None) -> Iterator[Clock]:
    """A request to a Flask application."""
    try:
        from flask import Flask
    except ImportError:
        raise NotHere("pip install flask") from None
    from wsgiref.util import setup_testing_defaults

    app = Flask("shop")

    @app.get("/orders/<int:number>")
    def order(number: int) -> dict[str, object]:
        return {"order": number, "state": "sent"}

    served: Callable[..., Any] = fail.WSGIMiddleware(app, service="shop", key=KEY) if hooked else app
    environ: dict[str, Any] = {"PATH_INFO": "/orders/7"}
    environ |= {
        f"HTTP_{name.upper().replace('-', '_')}": value for name, value in headers_with(baggage).items()
    }
    setup_testing_defaults(environ)

    def start(*_: object) -> None:
        pass

    def serve() -> None:
        body = served(dict(environ), start)
        for _ in body:
            pass
        body.close()

    with quietly():
        yield Loop("serve()", {"serve": serve}, seconds)


def headers_with(baggage: str | None) -> dict[str, str]:
    return HEADERS if baggage is None else {**HEADERS, "baggage": baggage}


def finish(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run it to its end, which it gets to without waiting for anything: no loop is timed."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise RuntimeError("the application waits for something")


@contextmanager
def quietly() -> Iterator[None]:
    """A block in which the reason why a header has no effect is logged, and nobody prints it."""
    logger, handler = logging.getLogger("failpy.propagation"), logging.NullHandler()
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = True
        logger.removeHandler(handler)
