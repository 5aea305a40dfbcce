"""ASGI middleware that serves a request in the scope that came with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping
from functools import partial
from typing import Any

from failpy._admission import admission
from failpy._baggage import HEADER as BAGGAGE
from failpy._baggage import MEMBER
from failpy._callables import is_async
from failpy._feedback import HEADER as REPORT
from failpy._interfaces import ASGIApplication, Message, Receive, Send
from failpy._visit import Visit, visit

__all__ = ["ASGIMiddleware"]

_BAGGAGE, _MEMBER, _REPORT = BAGGAGE.encode(), MEMBER.encode(), REPORT.encode()
_REPORTED = "failpy_report"


class ASGIMiddleware:
    """Serve each request, and each websocket, in the scope that came with it.

    What happened goes back in the header `failpy-report` of the response: all up to the moment at which
    the response begins. A request without a scope goes straight through, and so does each one where there
    is no key. One whose scope is not good is served as if it had none, and the reason is logged.

    Args:
        app: The application. As the outermost middleware it sees most.
        service: The name of this service, by which a scope may address it; else `FAILPY_SERVICE`, else
            `OTEL_SERVICE_NAME`.
        names: Patterns of the points that may be armed so, as of `fnmatch`; else `FAILPY_PROPAGATION_NAMES`,
            else any.
        allow: The guarded actions that may be armed so: `exit`, `kill`, `break`, `call`, and `pause`,
            `sleep` and `delay` for more than a minute; else `FAILPY_PROPAGATION_ALLOW`, else none.
        key: What scopes have to be signed with; else `FAILPY_PROPAGATION_KEY`. Several, with commas
            between, are all accepted.

    Raises:
        FailpointError: when an action cannot be allowed, or a key is too short.
        TypeError: when something is of the wrong type.

    Examples:
        In Starlette and FastAPI:

            app.add_middleware(fail.ASGIMiddleware, service="payments")
    """

    def __init__(
        self,
        app: ASGIApplication,
        *,
        service: str | None = None,
        names: Iterable[str] | None = None,
        allow: Iterable[str] | None = None,
        key: str | None = None,
    ) -> None:
        self.app = app
        self._admission = admission(service=service, names=names, allow=allow, key=key)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Serve one request."""
        found = [
            value.decode("latin-1")
            for name, value in scope.get("headers", ())
            if name == _BAGGAGE and _MEMBER in value
        ]
        guests = visit(self._admission, found) if found else None
        if guests is None:
            await self.app(scope, receive, send)
        else:
            await self._serve(guests, scope, receive, send)

    async def _serve(
        self, guests: Visit, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        has_begun = scope["type"] != "http"

        async def tell(message: Message) -> None:
            nonlocal has_begun
            if message["type"] == "http.response.start":
                has_begun = True
                headers = list(message.get("headers", ()))
                own = [
                    (name, value)
                    for name, value in headers
                    if name.lower() != _REPORT or not guests.takes(value.decode("latin-1"))
                ]
                report = guests.report()
                if report:
                    own.append((_REPORT, report.encode()))
                if own != headers:
                    message = {**message, "headers": own}
            await send(message)

        raised: BaseException | None = None
        try:
            with guests.working():
                await self.app(scope, receive, tell)
        except BaseException as exc:
            raised = exc
            is_over = guests.ends(exc)
            if not has_begun:
                app = scope.get("app")
                if is_over or (isinstance(exc, Exception) and app is None):
                    await _answer(scope, tell)
                elif app is not None:
                    # There may be another of these middlewares inside.
                    scope[_REPORTED] = ",".join(filter(None, (scope.get(_REPORTED), guests.report(exc))))
                    _let_pages_tell(app)
            if not is_over:
                raise
        finally:
            guests.leave(raised)
            raised = None  # else it and this frame would keep each other alive


async def _answer(scope: MutableMapping[str, Any], tell: Send) -> None:
    """Send what a server sends when an exception comes out of the application: that brings no report."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
    if str(scope.get("http_version", "")).startswith("1"):
        headers.append((b"connection", b"close"))  # as the server does, which is going to close it
    await tell({"type": "http.response.start", "status": 500, "headers": headers})
    await tell({"type": "http.response.body", "body": b"Internal Server Error"})


def _let_pages_tell(app: Any) -> None:
    """Let the page that Starlette, or the program, makes of an exception have the report in its headers.

    It is made further out than any middleware that the program adds, and sent past it.
    """
    each = getattr(app, "middleware_stack", None)
    while each is not None:
        if hasattr(each, "error_response") and not hasattr(each, _REPORTED):
            setattr(each, _REPORTED, True)
            each.error_response = _telling(each.error_response)
            each.debug_response = _telling(each.debug_response)
            if each.handler is not None:
                each.handler = _telling(each.handler)
        each = getattr(each, "app", None)


def _telling(make: Callable[[Any, Exception], Any]) -> Callable[[Any, Exception], Any]:
    """What makes a page, with the report of the request if there is one."""
    called: Any = make
    while isinstance(called, partial):
        called = called.func
    if is_async(called):

        async def tell_async(request: Any, error: Exception) -> Any:
            return _told(await make(request, error), request)

        return tell_async

    def tell(request: Any, error: Exception) -> Any:
        return _told(make(request, error), request)

    return tell


def _told(page: Any, request: Any) -> Any:
    report = request.scope.get(_REPORTED)
    if report and hasattr(page, "headers"):
        page.headers[REPORT] = report
    return page
