"""The HTTP endpoint as a WSGI application."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote

from failpy._access import access_for
from failpy._context import muted
from failpy._control import BODY_LIMIT, Control, refusal
from failpy._exchange import Problem, Request, Response, too_long
from failpy._interfaces import Environ, StartResponse, WSGIApplication

__all__ = ["wsgi"]

_STREAMS = 2  # a server may have as few as four threads


class _Body:
    """What is sent. The server closes it when that is done."""

    def __init__(self, response: Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        if self._response.events is None:
            yield self._response.body
            self._response.sent()  # also for who never closes what it has read to the end
        else:
            yield from self._response.events

    def close(self) -> None:
        self._response.sent()
        if self._response.events is not None:
            self._response.events.close()


def wsgi(
    *, token: str | None = None, allow: Iterable[str] | None = None, hosts: Iterable[str] | None = None
) -> WSGIApplication:
    """The HTTP control endpoint as a WSGI application, to mount in the program's own.

    It answers in the program's own workers: one that is paused answers nothing. Without a token it
    serves clients on this machine only, and no proxy; with one it leaves the `Host` header to the
    application around it, unless `hosts` is given.

    Args:
        token: As for `fail.serve`.
        allow: As for `fail.serve`.
        hosts: As for `fail.serve`.

    Raises:
        FailpointError: when the token or an action cannot be.

    Examples:
        In Flask, and likewise under any dispatcher of WSGI applications:

            from werkzeug.middleware.dispatcher import DispatcherMiddleware

            app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/failpoints": fail.wsgi()})
    """
    control = mounted(token, allow, hosts)

    def application(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        response = _answer(control, environ).with_length()
        try:
            start_response(f"{response.status} {response.reason}", list(response.headers))
        except BaseException:
            _Body(response).close()
            raise
        return _Body(response)

    return application


def mounted(token: str | None, allow: Iterable[str] | None, hosts: Iterable[str] | None) -> Control:
    """The endpoint for somebody else's server."""
    access = access_for(token=token, allow=allow, hosts=hosts, peers=True)
    if access.token is not None and hosts is None:
        access = access._replace(hosts=None)
    return Control(access)


def _answer(control: Control, environ: Environ) -> Response:
    headers = {
        key.removeprefix("HTTP_").replace("_", "-").lower(): str(value)
        for key, value in environ.items()
        if key.startswith("HTTP_")
    }
    try:
        with muted():
            # WSGI gives the path decoded, as latin-1.
            path = environ.get("PATH_INFO", "")
            name = _utf8(path).removeprefix("/")
            body = _body(environ)
    except Problem as problem:
        return refusal(problem, headers.get("accept", ""))
    prefix = environ.get("SCRIPT_NAME", "")
    return control.answer(
        Request(
            environ["REQUEST_METHOD"],
            name,
            environ.get("QUERY_STRING", ""),
            headers,
            body,
            environ.get("REMOTE_ADDR") or None,
            quote(prefix.encode("latin-1", "replace")),
            bare=bool(prefix) and not path,
            streams=_STREAMS if environ.get("wsgi.multithread") else 0,
            beat=1.0,
        )
    )


def _utf8(path: str) -> str:
    try:
        return path.encode("latin-1").decode()
    except UnicodeError:
        raise Problem(400, f"the path {path!r} is not UTF-8: percent-encode the name as UTF-8") from None


def _body(environ: Environ) -> bytes:
    length = str(environ.get("CONTENT_LENGTH") or "0").strip()
    if not re.fullmatch("[0-9]{1,18}", length):
        raise Problem(400, f"Content-Length: {length} is not a number of bytes")
    if "HTTP_TRANSFER_ENCODING" in environ and not environ.get("CONTENT_LENGTH"):
        length = str(BODY_LIMIT + 1 if environ.get("wsgi.input_terminated") else 0)
        if length == "0":
            raise Problem(411, "send the body with a Content-Length, and not in chunks")
    elif int(length) > BODY_LIMIT:
        raise too_long(BODY_LIMIT)
    body: bytes = environ["wsgi.input"].read(int(length)) if int(length) else b""
    if len(body) > BODY_LIMIT:
        raise too_long(BODY_LIMIT)
    if environ.get("CONTENT_LENGTH") and len(body) < int(length):
        raise Problem(400, "the body was cut off: nothing is done")
    return body
