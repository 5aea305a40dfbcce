"""The HTTP endpoint as an ASGI application, under asyncio and under trio."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from typing import Any
from urllib.parse import quote

from failpy._context import muted
from failpy._control import BODY_LIMIT, Control, refusal
from failpy._events import Events
from failpy._exchange import Problem, Request, Response, too_long
from failpy._interfaces import ASGIApplication, Receive, Send
from failpy._whereabouts import event_loop
from failpy._wsgi import mounted

__all__ = ["asgi"]


def asgi(
    *, token: str | None = None, allow: Iterable[str] | None = None, hosts: Iterable[str] | None = None
) -> ASGIApplication:
    """The HTTP control endpoint as an ASGI application, to mount in the program's own.

    It answers on the program's own event loop: one that is held up answers nothing. Without a token
    it serves clients on this machine only, and no proxy; with one it leaves the `Host` header to the
    application around it, unless `hosts` is given.

    Args:
        token: As for `fail.serve`.
        allow: As for `fail.serve`.
        hosts: As for `fail.serve`.

    Raises:
        FailpointError: when the token or an action cannot be.

    Examples:
        In Starlette and FastAPI:

            app.mount("/failpoints", fail.asgi())
    """
    control = mounted(token, allow, hosts)

    async def application(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            with muted():
                await _answer(control, scope, receive, send)

    return application


async def _live(receive: Receive, send: Send) -> None:
    """There is nothing to set up or to take down."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return


async def _answer(control: Control, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        key = raw.decode("latin-1").lower()
        text = value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    try:
        body = await _body(receive)
    except Problem as problem:
        response = refusal(problem, headers.get("accept", ""))
    else:
        if body is None:
            return  # the client is gone
        response = control.answer(_request(scope, headers, body))
    try:
        await _send(response.with_length(), receive, send)
    finally:
        response.sent()
        if response.events is not None:
            response.events.close()


def _request(scope: MutableMapping[str, Any], headers: dict[str, str], body: bytes) -> Request:
    prefix = scope.get("root_path", "").rstrip("/")
    path = scope["path"]
    if path == prefix or path.startswith(f"{prefix}/"):
        path = path.removeprefix(prefix)
    client = scope.get("client")
    return Request(
        scope["method"],
        path.removeprefix("/"),
        scope.get("query_string", b"").decode("latin-1"),
        headers,
        body,
        client[0] if client else None,
        quote(prefix),
        bare=bool(prefix) and not path,
    )


async def _body(receive: Receive) -> bytes | None:
    body: bytes = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_LIMIT:
            raise too_long(BODY_LIMIT)
        if not message.get("more_body", False):
            return body


async def _send(response: Response, receive: Receive, send: Send) -> None:
    headers = [
        (name.lower().encode(), value.encode("latin-1", "replace")) for name, value in response.headers
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    if response.events is None:
        await send({"type": "http.response.body", "body": response.body})
    else:
        await _stream(response.events, receive, send)


async def _stream(events: Events, receive: Receive, send: Send) -> None:
    """Send events until the client goes: only `receive` tells of that."""

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        events.close()

    async def write() -> None:
        async for chunk in events:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    if event_loop() == "trio":
        import trio

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await write()
            nursery.cancel_scope.cancel()
        return
    import asyncio

    watching = asyncio.ensure_future(watch())
    try:
        await write()
    finally:
        watching.cancel()
