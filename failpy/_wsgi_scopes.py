"""WSGI middleware that serves a request in the scope that came with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from failpy._admission import admission
from failpy._baggage import MEMBER
from failpy._callables import is_async
from failpy._errors import Failure
from failpy._feedback import HEADER
from failpy._interfaces import Environ, StartResponse, WSGIApplication
from failpy._visit import Visit, visit

__all__ = ["WSGIMiddleware"]


class WSGIMiddleware:
    """Serve each request in the scope that came with it.

    What happened goes back in the header `failpy-report` of the response: all up to the moment at which
    the response begins. A request without a scope goes straight through, and so does each one where there
    is no key. One whose scope is not good is served as if it had none, and the reason is logged.

    Args:
        app: The application. As the outermost middleware it sees most.
        service: As for `fail.ASGIMiddleware`.
        names: As for `fail.ASGIMiddleware`.
        allow: As for `fail.ASGIMiddleware`.
        key: As for `fail.ASGIMiddleware`.

    Raises:
        FailpointError: when an action cannot be allowed, or a key is too short.
        TypeError: when something is of the wrong type.

    Examples:
        In Flask:

            app.wsgi_app = fail.WSGIMiddleware(app.wsgi_app, service="payments")
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        service: str | None = None,
        names: Iterable[str] | None = None,
        allow: Iterable[str] | None = None,
        key: str | None = None,
    ) -> None:
        if is_async(app):
            raise TypeError(f"{app!r} is an ASGI application: wrap it in fail.ASGIMiddleware")
        self.app = app
        self._admission = admission(service=service, names=names, allow=allow, key=key)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request."""
        header = environ.get("HTTP_BAGGAGE", "")
        guests = visit(self._admission, [header]) if MEMBER in header else None
        if guests is None:
            return self.app(environ, start_response)
        telling = _telling(guests, start_response)
        try:
            with guests.working():
                body = self.app(environ, telling)
        except BaseException as exc:
            try:
                return [_unwound(exc, guests, telling)]
            finally:
                guests.leave(exc)
        if isinstance(body, list | tuple):  # there is no more to it, and servers look at how many there are
            guests.leave(None)
            return body
        return (_Sized if hasattr(body, "__len__") else _Body)(body, guests, telling)


def _telling(guests: Visit, start_response: StartResponse) -> StartResponse:
    def start(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        own = [(name, value) for name, value in headers if name.lower() != HEADER or not guests.takes(value)]
        report = guests.report()
        return start_response(status, [*own, (HEADER, report)] if report else own, *exc_info)

    return start


def _unwound(error: BaseException, guests: Visit, start_response: StartResponse) -> bytes:
    """The page of a request that `fatal` or a panic has ended. What was sent stays, and the rest fails.

    Raises:
        BaseException: the error, when it is another.
    """
    if not guests.ends(error):
        raise error
    failure = Failure(str(error))  # no server is to be ended by what ends a request
    headers = [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "21")]
    start_response("500 Internal Server Error", headers, (Failure, failure, None))
    return b"Internal Server Error"


class _Body:
    """What is sent, made in the scope of the request. The server closes it when that is done."""

    def __init__(self, body: Iterable[bytes], guests: Visit, start_response: StartResponse) -> None:
        self._body = body
        self._chunks: Iterator[bytes] | None = None
        self._guests = guests
        self._start_response = start_response

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            with self._guests.working():
                if self._chunks is None:
                    self._chunks = iter(self._body)
                return next(self._chunks)
        except StopIteration:
            self._guests.leave(None)
            raise
        except BaseException as exc:
            try:
                page = _unwound(exc, self._guests, self._start_response)
            finally:
                self._guests.leave(exc)
            self._chunks = iter(())
            return page

    def close(self) -> None:
        """Close what was made for the request, and the scope."""
        close = getattr(self._body, "close", None)
        try:
            if close is not None:
                with self._guests.working():
                    close()
        finally:
            self._guests.leave(None)


class _Sized(_Body):
    """The same where servers can ask how many parts there are."""

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]  # it has a length
