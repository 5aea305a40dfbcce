"""ASGI middleware that serves a request in the scope that came with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import contextmanager
from functools import partial, wraps
from inspect import iscoroutinefunction
from typing import Any

from failpy._admission import admission
from failpy._baggage import HEADER as BAGGAGE
from failpy._baggage import MEMBER
from failpy._errors import FailpointPanic
from failpy._feedback import HEADER as REPORT
from failpy._visit import Visit, visit

__all__ = ["ASGIMiddleware"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_BAGGAGE, _MEMBER, _REPORT = BAGGAGE.encode(), MEMBER.encode(), REPORT.encode()
_ASKED = "failpy.asked"


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
        app: Application,
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
                report = guests.report()
                if report:
                    headers = [*message.get("headers", ()), (_REPORT, report.encode())]
                    message = {**message, "headers": headers}
            await send(message)

        raised: BaseException | None = None
        try:
            with guests.working():
                await self.app(scope, receive, tell)
        except BaseException as exc:
            raised = exc
            is_ours = guests.began(exc)
            if not has_begun and (is_ours or isinstance(exc, Exception | FailpointPanic)):
                await _answer(exc, self, scope, receive, tell)
            if not is_ours:
                raise
        finally:
            guests.leave(raised)
            raised = None  # else it and this frame would keep each other alive


async def _answer(
    error: BaseException, me: ASGIMiddleware, scope: MutableMapping[str, Any], receive: Receive, tell: Send
) -> None:
    """Send the response to an exception that nobody handles, since only this one can bring a report.

    What is further out would send it otherwise: Starlette its own page, or that of the program; a server
    a bare one. It finds that the response has begun, and does with the exception what it always does.
    Where somebody else further out may handle the exception, it is left to them, without a report.
    """
    app = scope.get("app")
    if isinstance(error, Exception) and app is not None:
        page = _page(app, me)
        if page is not None:
            await _show(page, error, scope, receive, tell)
    else:  # no framework makes a page of another exception, and without one the server does
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")]
        await tell({"type": "http.response.start", "status": 500, "headers": headers})
        await tell({"type": "http.response.body", "body": b"Internal Server Error"})


def _page(app: Any, me: ASGIMiddleware) -> Any:
    """What makes the page of an exception in Starlette, if that is what it gets to next; else None."""
    if not hasattr(app, "build_middleware_stack"):
        return None
    from starlette.middleware.errors import ServerErrorMiddleware

    page = None
    each = getattr(app, "middleware_stack", None)
    while each is not None and each is not me:
        if isinstance(each, ServerErrorMiddleware):
            page = each
        elif not isinstance(each, ASGIMiddleware) and not type(each).__module__.startswith("opentelemetry."):
            page = None  # it may handle the exception, or change the page
        each = getattr(each, "app", None)
    return None if each is None else page


async def _show(
    page: Any, error: Exception, scope: MutableMapping[str, Any], receive: Receive, tell: Send
) -> None:
    async def fail(*_: object) -> None:
        raise error

    if page.handler is not None and not hasattr(page.handler, _ASKED):
        page.handler = _asked_once(page.handler)
    try:
        await type(page)(fail, page.handler, debug=page.debug)(scope, receive, tell)
    except Exception as exc:
        asked = scope.get(_ASKED)
        if exc is not error and (asked is None or exc is not asked[1]):
            raise


def _asked_once(handler: Callable[[Any, Exception], Any]) -> Callable[[Any, Exception], Any]:
    """What makes the program's own page, but for a second time of the same exception.

    Starlette asks for it even where a response has begun, and throws it away. What the handler does besides
    would be done twice.
    """
    called: Any = handler
    while isinstance(called, partial):
        called = called.func

    @contextmanager
    def asking(request: Any, error: Exception) -> Iterator[bool]:
        asked = request.scope.get(_ASKED)
        if asked is not None and asked[0] is error:
            if asked[1] is not None:
                raise asked[1]
            yield False
            return
        try:
            request.scope[_ASKED] = error, None
            yield True
        except Exception as exc:
            request.scope[_ASKED] = error, exc
            raise

    @wraps(handler)
    def answer(request: Any, error: Exception) -> Any:
        with asking(request, error) as is_first:
            return handler(request, error) if is_first else None

    @wraps(handler)
    async def answer_async(request: Any, error: Exception) -> Any:
        with asking(request, error) as is_first:
            return await handler(request, error) if is_first else None

    is_async = iscoroutinefunction(called) or iscoroutinefunction(getattr(called, "__call__", None))  # noqa: B004
    once = answer_async if is_async else answer
    setattr(once, _ASKED, True)
    return once
