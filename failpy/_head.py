"""The head of an HTTP/1 request: its first line and its headers, read strictly."""

from __future__ import annotations

import re
from io import BufferedReader
from typing import Any, NamedTuple

from failpy._exchange import Problem

__all__ = ["Head", "read_head"]

_LINE = 64 * 1024
_HEADERS = 100

# What is not exactly this is refused: what two readers understand differently is how requests are smuggled.
_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([\x21-\x7e\x80-\xff]+) HTTP/([0-9])\.([0-9])")
# Possessive, so that a header is looked at once, however long it is.
_HEADER = re.compile(
    rb"(" + _TOKEN + rb"):[ \t]*+((?:[\x21-\x7e\x80-\xff]++(?:[ \t]++[\x21-\x7e\x80-\xff]++)*+)?+)[ \t]*+"
)
_ONCE = ("host", "content-length", "authorization", "transfer-encoding", "origin", "if-match")


class Head(NamedTuple):
    """What comes before the body.

    Attributes:
        method: As it was sent.
        target: Percent-encoded.
        lasting: Whether the client wants to ask more over the same connection.
        headers: By their names in small letters.
        fault: Why the request is to be refused, or None.
    """

    method: str
    target: str
    lasting: bool
    headers: dict[str, str]
    fault: str | None


def read_head(stream: BufferedReader[Any]) -> Head | None:
    """Read it. None when there is no request any more.

    Raises:
        Problem: when it is malformed or too large.
        ConnectionError: when it ends in the middle.
    """
    line = _first_line(stream)
    if line is None:
        return None
    match = _REQUEST.fullmatch(line)
    if match is None:
        raise Problem(400, f"{shown(line)} is no request: it is METHOD /PATH HTTP/1.1")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise Problem(
            505 if major > b"1" else 400,
            f"HTTP/{major.decode()}.{minor.decode()} is not spoken here: HTTP/1.1 is",
        )
    headers, fault = _headers(stream)
    if "host" not in headers and minor != b"0":
        fault = "the request has no Host header, which HTTP/1.1 asks for"
    # Plain UTF-8 in a path is not what a URL has, but what people type.
    encoded = re.sub(rb"[\x80-\xff]", lambda byte: b"%%%02X" % byte[0][0], target).decode("ascii")
    connection = headers.get("connection", "").lower()
    lasting = "keep-alive" in connection or (minor != b"0" and "close" not in connection)
    return Head(method.decode("ascii"), encoded, lasting, headers, fault)


def _first_line(stream: BufferedReader[Any]) -> bytes | None:
    for _ in range(2):  # some clients send an empty one after a body (RFC 9112, 2.2)
        line = stream.readline(_LINE + 1)
        if not line:
            return None
        if line not in (b"\r\n", b"\n"):
            return _content(line, Problem(414, "the first line of the request is longer than 64 KiB"))
    return None


def _headers(stream: BufferedReader[Any]) -> tuple[dict[str, str], str | None]:
    headers: dict[str, str] = {}
    fault = None
    for _ in range(_HEADERS + 1):
        line = _content(stream.readline(_LINE + 1), Problem(431, "a header is longer than 64 KiB"))
        if not line:
            return headers, fault
        match = _HEADER.fullmatch(line)
        if match is None:
            raise Problem(400, f"{shown(line)} is no header: it is NAME: VALUE, on one line")
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1")
        if name in headers and name in _ONCE:
            fault = f"the header {name} is there twice"
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    raise Problem(431, f"the request has more than {_HEADERS} headers")


def _content(line: bytes, too_long: Problem) -> bytes:
    if len(line) > _LINE:
        raise too_long
    if not line.endswith(b"\n"):
        raise ConnectionError("the request was cut off")
    return line[:-2] if line.endswith(b"\r\n") else line[:-1]


def shown(line: bytes) -> str:
    """A line as an error shows it: not all of it when it is long."""
    text = line.decode("latin-1")
    return repr(text if len(text) <= 80 else text[:77] + "...")
