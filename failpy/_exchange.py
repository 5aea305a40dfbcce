"""One HTTP exchange as data: what was asked, and what is answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes

from failpy._events import Events

__all__ = ["HTML", "JSON", "TEXT", "Problem", "Request", "Response", "preferred", "read_name", "too_long"]

TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
HTML = "text/html"

_REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    408: "RequestTimeout",
    411: "LengthRequired",
    412: "Conflict",
    413: "ContentTooLarge",
    500: "InternalError",
    503: "Unavailable",
}


class Request(NamedTuple):
    """What a client asks for.

    Attributes:
        method: In capitals.
        name: The path below the endpoint, decoded and without its first slash.
        query: The part after the question mark, as it is.
        headers: By their names in small letters.
        body: All of it.
        peer: Who asks, for the log and for the rules: an address, or None where there is none.
        prefix: The path at which the endpoint is mounted, as it stands in a URL.
        bare: Whether not even the slash behind the prefix was there.
        streams: How many readers of events there may be, since each holds a thread of the server; None
            for the endpoint's own limit.
        beat: How often a stream must say something, in seconds; None for the endpoint's own choice.
    """

    method: str
    name: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str | None
    prefix: str = ""
    bare: bool = False
    streams: int | None = None
    beat: float | None = None


class Problem(Exception):
    """A request that is answered with an error.

    Attributes:
        status: The HTTP status.
        message: What is wrong, and the way out.
        kind: The name of the error in JSON.
        details: More of it for JSON.
        headers: More headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = _REASONS.get(status, "Error") if kind is None else kind
        self.details = details or {}
        self.headers = headers


def too_long(limit: int) -> Problem:
    """The answer to a body over the limit."""
    return Problem(413, f"the body is longer than {limit // 1024} KiB: send less at a time")


def _nothing() -> None:
    """Nothing to do."""


class Response(NamedTuple):
    """What is answered.

    Attributes:
        status: The HTTP status.
        headers: All but what belongs to the connection.
        body: All of it, unless there are events.
        events: A stream that has no end, in place of a body.
        sent: To be called in any case, once the reply is on the wire or cannot get there.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    events: Events | None = None
    sent: Callable[[], None] = _nothing

    @property
    def reason(self) -> str:
        """The phrase that goes with the status."""
        return HTTPStatus(self.status).phrase

    def with_length(self) -> Response:
        """With the length of the body among the headers, where there is to be one."""
        if (
            self.events is not None
            or self.status == 204
            or any(name == "Content-Length" for name, _ in self.headers)
        ):
            return self
        return self._replace(headers=(*self.headers, ("Content-Length", str(len(self.body)))))

    def without_body(self) -> Response:
        """What answers HEAD: all but the body."""
        return (self.with_length() if self.body else self)._replace(body=b"")


def preferred(accept: str) -> str:
    """The media type to answer with: what an `Accept` header likes best, else text.

    Only what it names in full counts: curl sends `*/*` and gets text, as from gofail.
    """
    best, quality = TEXT, 0.0
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        liked = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    liked = float(parameter[2:])
                except ValueError:
                    liked = 0.0
        if kind in (HTML, JSON, "text/plain") and liked > quality:
            best, quality = kind, liked
    return best


def read_name(path: str) -> str:
    """The name in a path of a request line: percent-encoded, or as plain UTF-8 bytes.

    Raises:
        Problem: when it is not UTF-8.
    """
    try:
        return unquote_to_bytes(path.encode("latin-1")).decode().removeprefix("/")
    except UnicodeError:
        raise Problem(400, f"the path {path!r} is not UTF-8: percent-encode the name as UTF-8") from None
