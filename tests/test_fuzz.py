"""The endpoint against whatever a socket can carry: garbage, halves, floods, and clients that never read.

After each attack it answers the next client as if nothing had been, nothing is armed that no well-formed
request armed, every reply was HTTP, and no thread, descriptor or message is left behind.
"""

from __future__ import annotations

import asyncio
import gc
import http.client
import io
import json
import logging
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from failpy import _connection, _server, fail
from failpy._context import process
from failpy._events import readers

A, B = "fuzz.a", "fuzz/ü"
PATIENCE = 30.0
"""How long anything may take, in seconds; what works never needs it."""
TIMES = int(os.environ.get("FAILPY_TEST_FUZZ", "1"))
"""How many times as much to try."""

HOST = b"Host: 127.0.0.1\r\n"
PUT = b"PUT /fuzz.a HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\noff"
DELETE = b"DELETE /fuzz.a HTTP/1.1\r\n" + HOST + b"\r\n"
GET = b"GET /fuzz.a HTTP/1.1\r\n" + HOST + b"\r\n"


def tries(count: int) -> settings:
    """As many examples, always the same."""
    return settings(
        max_examples=count * TIMES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """What came over a socket, as `http.client` wants to read it."""

    def __init__(self, data: bytes) -> None:
        self.file = io.BufferedReader(io.BytesIO(data))  # type: ignore[type-var]

    def makefile(self, mode: str) -> io.BytesIO:
        wire = self

        class File(io.BytesIO):
            """Closing it leaves the rest for the next reply."""

            def read(self, size: int | None = -1, /) -> bytes:
                return wire.file.read(size)

            def read1(self, size: int | None = -1, /) -> bytes:
                return wire.file.read1(-1 if size is None else size)

            def readline(self, size: int | None = -1, /) -> bytes:
                return wire.file.readline(-1 if size is None else size)

        return File()


_HEAD = re.compile(
    rb"HTTP/1\.1 [1-5][0-9]{2} [\x20-\x7e]*\r\n(?:[!#$%&'*+.^_`|~\w-]+: [\x20-\x7e]*\r\n)*\r\n"
)


def read_replies(data: bytes, *methods: str) -> list[Reply]:
    """Take the stream apart; anything in it that is no HTTP fails."""
    wire = Wire(data)
    replies = []
    while wire.file.peek(1):
        rest = wire.file.peek()
        assert _HEAD.match(rest), rest[:200]
        method = methods[len(replies)] if len(replies) < len(methods) else "GET"
        response = http.client.HTTPResponse(wire, method=method)  # type: ignore[arg-type]
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        assert len(headers) == len(response.getheaders())
        assert response.status in (204, 304) or "content-length" in headers
        replies.append(Reply(response.status, headers, response.read()))
        if response.status >= 400 and method != "HEAD":
            assert replies[-1].body.endswith(b"\n")
            assert replies[-1].body.decode().strip()
    return replies


class Endpoint:
    """The endpoint under attack, in this process."""

    def __init__(self, server: fail.Server) -> None:
        self.server = server

    def connect(self, *, buffer: int | None = None) -> socket.socket:
        connection = socket.socket()
        connection.settimeout(PATIENCE)
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.connect(("127.0.0.1", self.server.port))
        return connection

    def send(self, *pieces: bytes, half_close: bool = True) -> bytes:
        """Send it, and read to the end of what comes back."""
        with self.connect() as connection:
            with suppress(ConnectionError):  # it may have been refused by now
                for piece in pieces:
                    connection.sendall(piece)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
            return drain(connection)

    def ask(self, data: bytes, method: str = "GET") -> Reply:
        (reply,) = read_replies(self.send(data), method)
        return reply

    def is_well(self) -> bool:
        assert self.ask(GET).status == 200
        assert self.ask(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n").status == 200
        return True

    def settle(self) -> None:
        """Wait until nobody is connected any more."""
        end = time.monotonic() + PATIENCE
        while self.server._connections:
            assert time.monotonic() < end, "a connection is never let go of"
            time.sleep(0.001)


def drain(connection: socket.socket) -> bytes:
    data = bytearray()
    with suppress(ConnectionError):
        while piece := connection.recv(65536):
            data += piece
    return bytes(data)


def armed() -> dict[str, str]:
    return {name: str(activation.terms.source) for name, activation in process.activations.items()}


def running() -> set[threading.Thread]:
    """The threads that there are, but for the one that stays until the last `ttl` is over."""
    return {thread for thread in threading.enumerate() if thread.name != "failpy-expiry"}


def descriptors() -> int:
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


@pytest.fixture(scope="module", autouse=True)
def points() -> None:
    """Many more than are under test, so that the list of all is long."""
    fail.point(A)
    fail.point(B)
    for i in range(500):
        fail.point(f"fuzz.{'long' * 20}.{i}")


@pytest.fixture
def endpoint(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Iterator[Endpoint]:
    threads, before = running(), descriptors()
    with caplog.at_level(logging.WARNING), fail.serve() as server:
        endpoint = Endpoint(server)
        yield endpoint
        endpoint.settle()
        assert endpoint.is_well()
        endpoint.settle()
    end = time.monotonic() + PATIENCE
    while running() - threads:
        assert time.monotonic() < end, running() - threads
        time.sleep(0.001)
    gc.collect()
    assert descriptors() == before
    assert caplog.records == []
    assert capfd.readouterr().err == ""


# --- what is no request ---

HIDDEN = b"PUT /fuzz.a HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nyield"

MALFORMED = {
    "no version": (b"GET /fuzz.a\r\n\r\n", 400),
    "HTTP/0.9": (b"GET /fuzz.a HTTP/0.9\r\n" + HOST + b"\r\n", 400),
    "another protocol": (b"GET /fuzz.a FTP/1.1\r\n" + HOST + b"\r\n", 400),
    "small letters": (b"GET /fuzz.a http/1.1\r\n" + HOST + b"\r\n", 400),
    "no number": (b"GET /fuzz.a HTTP/x.y\r\n" + HOST + b"\r\n", 400),
    "three numbers": (b"GET /fuzz.a HTTP/1.1.1\r\n" + HOST + b"\r\n", 400),
    "four words": (b"GET /fuzz.a now HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "one word": (b"GET\r\n" + HOST + b"\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0", 505),
    "HTTP/3": (b"GET /fuzz.a HTTP/3\r\n" + HOST + b"\r\n", 400),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(range(9)) + b"\n", 400),
    "a proxy's greeting": (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", 400),
    "SOCKS": (b"\x05\x01\x00\n", 400),
    "no host": (b"GET /fuzz.a HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /fuzz.a HTTP/1.1\r\n" + 2 * HOST + b"\r\n", 400),
    "no colon": (b"GET /fuzz.a HTTP/1.1\r\n" + HOST + b"nonsense\r\n\r\n", 400),
    "no colon, then a request": (b"GET /fuzz.a HTTP/1.1\r\n" + HOST + b"nonsense\r\n" + HIDDEN, 400),
    "a space before the colon": (b"GET /fuzz.a HTTP/1.1\r\n" + HOST + b"Content-Length : 3\r\n\r\n", 400),
    "nothing before the colon": (b"GET /fuzz.a HTTP/1.1\r\n" + HOST + b": x\r\n\r\n", 400),
    "a space before the first": (b"GET /fuzz.a HTTP/1.1\r\n X: y\r\n" + HOST + b"\r\n", 400),
    "two lengths": (PUT.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n"), 400),
    "two lengths that differ": (PUT.replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n"), 400),
    "two lengths in one": (PUT.replace(b"h: 3", b"h: 3, 3"), 400),
    "a length and chunks": (PUT.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"), 411),
    "chunks": (PUT.replace(b"Content-Length: 3", b"Transfer-Encoding: chunked"), 411),
    "chunks, in words of their own": (PUT.replace(b"Content-Length: 3", b"TRANSFER-ENCODING:xchunked"), 411),
    "identity": (PUT.replace(b"Content-Length: 3", b"Transfer-Encoding: identity"), 411),
    "chunks twice": (PUT.replace(b"Content-Length: 3", b"Transfer-Encoding: a\r\nTransfer-Encoding: b"), 400),
    **{
        f"a length of {length.decode('latin-1')!r}": (PUT.replace(b"h: 3", b"h: " + length), 400)
        for length in (b"+3", b"-3", b"-0", b"0x3", b"3_0", b"3.0", b"3e0", b"", b"3 3", b"\xb2", b"9" * 19)
    },
    "a body too long": (PUT.replace(b"h: 3", b"h: 65537"), 413),
    "a body much too long": (PUT.replace(b"h: 3", b"h: " + b"9" * 18), 413),
    "a path that is no UTF-8": (b"GET /%FF HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a line too long": (b"GET /" + b"a" * 66000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a header too long": (b"GET / HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 66000 + b"\r\n\r\n", 431),
    "too many headers": (b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 101 + b"\r\n", 431),
}


@pytest.mark.parametrize("case", MALFORMED)
@pytest.mark.parametrize("before", [0, 2])
def test_the_first_malformed_request_is_the_last(endpoint: Endpoint, case: str, before: int) -> None:
    """One error for it, and nothing that follows is read as a request."""
    data, status = MALFORMED[case]
    *good, error = read_replies(endpoint.send(GET * before + data + HIDDEN * 3))
    assert [reply.status for reply in good] == [200] * before
    assert error.status == status
    assert error.headers["connection"] == "close"
    assert armed() == {}


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X: a\rContent-Length: 3\r\n", id="a lone CR"),
        pytest.param(b"X: a\r\rContent-Length: 3\r\n", id="two of them"),
        pytest.param(b"X: a\r\r\nContent-Length: 3\r\n", id="one too many"),
        pytest.param(b"X: a\0b\r\nContent-Length: 3\r\n", id="a NUL"),
        pytest.param(b"X: a\r\n b\r\nContent-Length: 3\r\n", id="a folded line"),
        pytest.param(b"Content-Length:\r\n 3\r\n", id="a folded length"),
        pytest.param(b"Content-Length: 3\r\nFrom here\r\n", id="a line of a mailbox"),
        pytest.param(b"Content-Length: \x0b3\r\n", id="white space that is none"),
        pytest.param(b"Cont@nt: 1\r\nContent-Length: 3\r\n", id="a name that is none"),
    ],
)
def test_a_header_is_one_line(endpoint: Endpoint, line: bytes) -> None:
    data = b"PUT /fuzz.a HTTP/1.1\r\n" + HOST + line + b"\r\noff"
    replies = read_replies(endpoint.send(data + HIDDEN))
    assert [reply.status for reply in replies] == [400]
    assert armed() == {}


def test_the_type_of_a_body_is_nobodys_business(endpoint: Endpoint) -> None:
    for kind in (b"text/html", b"application/json", b"a/b/c", b";;;", b'x/y; z="'):
        assert endpoint.ask(GET.replace(HOST, HOST + b"Content-Type: " + kind + b"\r\n")).status == 200


def test_not_even_if_it_is_that_of_a_mail(endpoint: Endpoint) -> None:
    """To find its boundary takes the parser of mail seconds."""
    for kind in (b"multipart/mixed", b"multipart/form-data; boundary=x", b"message/rfc822"):
        assert endpoint.ask(GET.replace(HOST, HOST + b"Content-Type: " + kind + b"\r\n")).status == 200


def test_an_empty_line_before_a_request_is_left_out(endpoint: Endpoint) -> None:
    """RFC 9112, 2.2: some clients send one after a body."""
    statuses = [reply.status for reply in read_replies(endpoint.send(b"\r\n" + GET + b"\r\n" + GET))]
    assert statuses == [200, 200]


# --- half of a request ---


@pytest.mark.parametrize("request_", [PUT, PUT.replace(b"\r\n\r\n", b"\r\nIf-Match: *\r\n\r\n")])
def test_a_request_to_arm_that_is_cut_off(endpoint: Endpoint, request_: bytes) -> None:
    for end in range(len(request_)):
        replies = read_replies(endpoint.send(request_[:end]))
        assert all(reply.status >= 400 for reply in replies), request_[:end]
        assert armed() == {}, request_[:end]
    assert endpoint.ask(request_).status == 204
    assert armed() == {A: "off"}


def test_a_request_to_disarm_that_is_cut_off(endpoint: Endpoint) -> None:
    """A condition might have followed."""
    fail.enable(A, "off")
    request = DELETE.replace(b"\r\n\r\n", b'\r\nIf-Match: "1.1"\r\n\r\n')
    for end in range(len(request)):
        replies = read_replies(endpoint.send(request[:end]))
        assert all(reply.status >= 400 for reply in replies), request[:end]
        assert armed() == {A: "off"}, request[:end]


def test_half_requests_that_are_then_reset(endpoint: Endpoint) -> None:
    for end in range(len(PUT)):
        reset(endpoint, PUT[:end])
    endpoint.settle()
    assert armed() == {}


def reset(endpoint: Endpoint, data: bytes) -> None:
    """Send it, and be gone at once: the other side gets an RST."""
    with endpoint.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(data)


# --- several requests at once ---


class Known(NamedTuple):
    """A request and what is to come of it."""

    data: bytes
    method: str
    status: int
    terms: str | None
    """What it arms; empty when it disarms; None when it only reads."""


def known(method: str, path: bytes, status: int, terms: str | None = None, body: bytes = b"") -> Known:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return Known(
        b"%s %s HTTP/1.1\r\n%s%s\r\n%s" % (method.encode(), path, HOST, length, body), method, status, terms
    )


REQUESTS = [
    known("GET", b"/fuzz.a", 200),
    known("GET", b"/fuzz.a/count", 200),
    known("HEAD", b"/", 200),
    known("GET", b"/nope", 404),
    known("HEAD", b"/nope", 404),
    known("OPTIONS", b"*", 204),
    known("OPTIONS", b"/fuzz.a", 204),
    known("PATCH", b"/fuzz.a", 405, None, b"yield"),
    known("PUT", b"/fuzz.a", 204, "off", b"off"),
    known("PUT", b"/fuzz.a", 204, "2*yield", b"2*yield"),
    known("PUT", b"/fuzz.a?ttl=1h", 204, "3*yield", b"3*yield"),
    known("PUT", b"/failpoints", 204, "yield", b"fuzz.a=yield"),
    known("PUT", b"/fuzz.a", 400, None, b"3*"),
    known("PUT", b"/fuzz.a", 400, None, b"\xff"),
    known("PUT", b"/fuzz.a", 403, None, b"kill"),
    known("PUT", b"/failpoints", 404, None, b"fuzz.a=yield;nope=off"),
    known("PUT", b"http://127.0.0.1/fuzz.a", 204, "5*off", b"5*off"),
    known("DELETE", b"/fuzz.a", 204, ""),
    known("DELETE", b"/failpoints", 204, ""),
    known("POST", b"/fuzz.a/resume", 200),
]


@tries(100)
@given(
    before=st.lists(st.sampled_from(REQUESTS), max_size=12),
    garbage=st.sampled_from(["", *MALFORMED]),
    after=st.lists(st.sampled_from(REQUESTS), max_size=3),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_pipelining(
    endpoint: Endpoint, before: list[Known], garbage: str, after: list[Known], cuts: list[int]
) -> None:
    """As many replies as requests, in their order, up to the first that is none; however they are cut up."""
    fail.disable(A)
    first = before if garbage else before + after
    end = MALFORMED[garbage][0] + b"".join(each.data for each in after) if garbage else b""
    data = b"".join(each.data for each in first) + end
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[i:j] for i, j in pairwise(places)]
    replies = read_replies(endpoint.send(*pieces), *(each.method for each in first))
    statuses = [each.status for each in first]
    assert [reply.status for reply in replies] == statuses + ([MALFORMED[garbage][1]] if garbage else [])
    expected = ""
    for each in first:
        expected = expected if each.terms is None else each.terms
    assert armed().get(A, "") == expected


def test_clients_that_never_read(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are given up on; meanwhile others are served, and the program runs."""
    monkeypatch.setattr(_connection, "_REPLY", 0.3)
    many = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    with ExitStack() as stack:
        deaf = [stack.enter_context(endpoint.connect(buffer=4096)) for _ in range(8)]
        for connection in deaf:
            connection.settimeout(0)
            with suppress(BlockingIOError, ConnectionError):
                for _ in range(100):
                    connection.sendall(many * 100 + PUT)
        assert endpoint.is_well()
        fail.enable(B, "return")
        assert fail.point(B).hit()
        endpoint.settle()
    assert armed() in ({B: "return"}, {A: "off", B: "return"})


# --- slow and many ---


def test_slow_senders(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for a request is for all of it: bytes that trickle in do not prolong it."""
    monkeypatch.setattr(_connection, "_REQUEST", 0.3)
    for data in (PUT[:3], PUT[:-1], PUT[:60], PUT.replace(b"h: 3", b"h: 300")):
        (reply,) = read_replies(endpoint.send(data, half_close=False))
        assert (reply.status, reply.headers["connection"]) == (408, "close")
    with endpoint.connect() as connection:
        connection.settimeout(0.01)
        got = b""
        slow = iter(PUT[:30] + b"a" * 100_000)
        while not got:
            with suppress(ConnectionError):
                connection.send(bytes([next(slow)]))
            with suppress(TimeoutError):
                got = connection.recv(65536)
        connection.settimeout(PATIENCE)
        assert read_replies(got + drain(connection))[0].status == 408
    assert armed() == {}


@pytest.mark.slow
def test_silent_clients(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_connection, "_IDLE", 0.1)
    assert endpoint.send(half_close=False) == b""
    assert [reply.status for reply in read_replies(endpoint.send(GET, half_close=False))] == [200]


def test_more_connections_than_there_may_be(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "_CONNECTIONS", 8)
    with ExitStack() as stack:
        held = [stack.enter_context(endpoint.connect()) for _ in range(8)]
        for connection in held:
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
        for _ in range(100):
            (refused,) = read_replies(endpoint.send())
            assert (refused.status, refused.headers["connection"]) == (503, "close")
        for connection in held:  # those who were there before notice nothing
            connection.sendall(GET)
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    endpoint.settle()
    assert endpoint.is_well()


def test_a_flood_of_connections(endpoint: Endpoint) -> None:
    """Opened and dropped in every state that they can be in."""
    states: list[Callable[[], None]] = [
        lambda: reset(endpoint, b""),
        lambda: reset(endpoint, b"G"),
        lambda: reset(endpoint, GET),
        lambda: reset(endpoint, GET * 50),
        lambda: reset(endpoint, PUT[:-1]),
        lambda: reset(endpoint, b"GET /events HTTP/1.1\r\n" + HOST + b"\r\n"),
        lambda: endpoint.connect().close(),
        lambda: reset(endpoint, b"\xff" * 1000),
    ]
    for nth in range(2000 * TIMES):
        states[nth % len(states)]()
        if nth % 100 == 99:  # more than may wait to be accepted would be made to try again, in a second
            assert endpoint.is_well()
    endpoint.settle()
    assert readers() == []


# --- whatever there may be ---


class Parsed(NamedTuple):
    """What a strict reader of RFC 9112 makes of a stream.

    Attributes:
        requests: How many there are.
        harmless: Whether they only read.
    """

    requests: int
    harmless: bool


# Between the words, and around them, RFC 9112 leaves any white space to the reader. What the words are
# is not for the reader of a stream: a method that is none gets its 405, and a name that is none its 400.
_WHITE, _WORD = rb"[ \t\x0b\x0c\r\x1c-\x1f]", rb"([^\s\x1c-\x1f]+)"
_LINE = re.compile(
    _WHITE + b"*" + (_WORD + _WHITE + b"+") * 2 + rb"HTTP/[0-9]+\.[0-9]+" + _WHITE + rb"*\r?\n"
)
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*((?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)[ \t]*\r?\n")
_END = re.compile(rb"\r?\n")


def strict(data: bytes) -> Parsed:
    """Read requests up to the first that is none, or is not all there."""
    at, count, harmless = 0, 0, True
    while line := _LINE.match(data, _skip_empty(data, at)):
        at = line.end()
        length = 0
        while field := _FIELD.match(data, at):
            at = field.end()
            name, value = field[1].lower(), field[2]
            if name == b"content-length":
                if not re.fullmatch(rb"[0-9]{1,5}", value):
                    return Parsed(count, harmless)
                length = int(value)
        end = _END.match(data, at)
        if end is None or end.end() + length > len(data):
            break
        at = end.end() + length
        count += 1
        harmless = harmless and line[1] not in (b"PUT", b"DELETE", b"POST")
    return Parsed(count, harmless)


def _skip_empty(data: bytes, at: int) -> int:
    empty = _END.match(data, at)
    return at if empty is None else empty.end()


def survives(endpoint: Endpoint, data: bytes) -> None:
    """Nothing but a well-formed request changes anything, and no reply is for anything else."""
    fail.enable(A, "2*off")
    said = endpoint.send(data)
    parsed = strict(data)
    if b"HEAD" not in data and b"/events" not in data:  # whose replies cannot be told apart without more
        replies = read_replies(said)
        assert len([reply for reply in replies if reply.status < 400]) <= parsed.requests, data
        assert all(reply.status != 500 for reply in replies), data
    if parsed.harmless:
        assert armed() == {A: "2*off"}, data


@tries(200)
@given(st.binary(max_size=300))
def test_bytes(endpoint: Endpoint, data: bytes) -> None:
    survives(endpoint, data)


FRAGMENTS = [
    *(b"GET", b"PUT", b"DELETE", b"POST", b"OPTIONS", b" ", b"/", b"*", b"/fuzz.a", b"/failpoints", b"/nope"),
    *(
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"\t",
        b":",
        b"?",
        b"%",
        b"%2F",
        b"%00",
        b"\x80",
    ),
    *(
        b"Host: 127.0.0.1\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"off",
        b"Expect: 100-continue\r\n",
    ),
    *(
        b"Transfer-Encoding: chunked\r\n",
        b"3\r\noff\r\n0\r\n\r\n",
        b"Connection: close\r\n",
        b"If-Match: *\r\n",
    ),
    *(
        b"Authorization: Bearer x\r\n",
        b"Origin: null\r\n",
        b"Accept: application/json\r\n",
        b"?pending=1",
        b"&ttl=1s",
    ),
    *(GET, PUT, DELETE, HIDDEN),
]


@tries(200)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=20))
def test_fragments_of_requests(endpoint: Endpoint, fragments: list[bytes]) -> None:
    survives(endpoint, b"".join(fragments))


EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.sampled_from(["insert", "replace", "delete", "repeat"]),
        st.one_of(
            st.binary(min_size=1, max_size=3), st.sampled_from([b"\n", b" ", b":", b"\r\n", b"0", b"%"])
        ),
    ),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[float, str, bytes]]) -> bytes:
    for where, how, what in edits:
        at = int(where * len(data))
        if how == "insert":
            data = data[:at] + what + data[at:]
        elif how == "replace":
            data = data[:at] + what + data[at + len(what) :]
        elif how == "delete":
            data = data[:at] + data[at + len(what) :]
        else:
            data = data[:at] + data[at : at + 10] * len(what) + data[at:]
    return data


@tries(400)
@given(
    st.sampled_from([GET, PUT, DELETE, PUT + GET, GET + DELETE]).flatmap(
        lambda data: EDITS.map(lambda edits: edited(data, edits))
    )
)
def test_requests_with_faults(endpoint: Endpoint, data: bytes) -> None:
    survives(endpoint, data)


# --- whatever well-formed requests may carry ---

NAMES = st.one_of(
    st.text(min_size=1, max_size=20),
    st.sampled_from(
        [
            A,
            B,
            "failpoints",
            "Failpoints",
            "count",
            "x/count",
            "/",
            "//",
            "..",
            "a/../b",
            "x/resume",
            "*",
            "a;b",
        ]
    ),
)
ARGUMENTS = st.recursive(
    st.one_of(
        st.integers(),
        st.floats(),
        st.text(max_size=8).map(json.dumps),
        st.sampled_from(
            ["ValueError", 'OSError(28, "full")', "ENOSPC", "True", "none", "10ms", "1m30s", "-1", "x.y"]
        ),
    ).map(str),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: f"[{', '.join(each)}]"),
        st.lists(st.tuples(inner, inner), max_size=3).map(
            lambda each: "{" + ", ".join(f"{key}: {value}" for key, value in each) + "}"
        ),
    ),
    max_leaves=4,
)
ACTIONS = st.sampled_from(
    [
        "off",
        "return",
        "raise",
        "panic",
        "sleep",
        "delay",
        "print",
        "pause",
        "yield",
        "break",
        "exit",
        "kill",
        "call",
    ]
)
TERM = st.builds(
    lambda modifiers, action, argument: modifiers + action + argument,
    st.sampled_from(["", "3*", "50%", "0*", "100%2*", ".5%", "-1*", "101%", "99999999999999999999*", "3"]),
    ACTIONS,
    st.one_of(st.just(""), st.just("()"), ARGUMENTS.map(lambda each: f"({each})"), st.just("(")),
)
TERMS = st.one_of(
    st.lists(TERM, min_size=1, max_size=4).map("->".join),
    st.lists(TERM, min_size=1, max_size=3).map("; ".join),
    st.text(max_size=30),
    st.sampled_from(
        [f"{A}=off;{B}=off", f"{A}=off;{A}=off", f"{A}=off;nope=off", "=off", ";", "A=", f"{B}=3*"]
    ),
)
QUERIES = st.sampled_from(
    ["", "?pending=1", "?pending=0", "?pending=x", "?ttl=1h", "?ttl=0s", "?ttl=", "?x=1", "?"]
)


def quoted(name: str) -> str:
    return "".join(f"%{byte:02X}" for byte in name.encode("utf-8", "surrogatepass"))


def sayable(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@tries(150)
@given(name=NAMES, terms=TERMS, query=QUERIES, method=st.sampled_from(["PUT", "PUT", "PUT", "GET", "DELETE"]))
def test_names_and_terms(endpoint: Endpoint, name: str, terms: str, query: str, method: str) -> None:
    """Each has one of a few answers, and an error changes nothing."""
    fail.enable(B, "off")
    before = (armed(), process.revision)
    body = sayable(terms)
    line = f"{method} /{quoted(name)}{query} HTTP/1.1\r\n"
    headers = f"Accept: application/json\r\nContent-Length: {len(body)}\r\n"
    reply = endpoint.ask(line.encode() + HOST + headers.encode() + b"\r\n" + body)
    assert reply.status in ((200, 400, 404) if method == "GET" else (204, 400, 403, 404, 405)), reply
    if reply.status == 204:
        assert reply.body == b""
        if method == "PUT" and name.lower() != "failpoints":
            assert armed()[name].strip() == terms.strip()
    elif reply.status == 200:
        assert json.loads(reply.body)
    else:
        error = json.loads(reply.body)["error"]
        assert error["type"]
        assert error["message"]
    if reply.status != 204:
        assert (armed(), process.revision) == before
    for each in tuple(process.activations):
        fail.disable(each)


# --- mounted in somebody else's server ---

ODD = st.one_of(
    st.text(alphabet=st.characters(max_codepoint=255), max_size=12),
    st.sampled_from(
        ["", "/", "//", "127.0.0.1", "[::1]:80", "[", "::1", "*/*", "application/json;q=x", "chunked", "null"]
    ),
    st.sampled_from(
        ["-1", "0", "3", "65537", "0x1", "\xb2", "\u0663", "off", "/fuzz.a", "/failpoints", "/events"]
    ),
)
METHODS = st.sampled_from(["GET", "PUT", "DELETE", "POST", "HEAD", "OPTIONS", "PATCH", "", "get", "\xff"])


@tries(200)
@given(
    METHODS,
    ODD,
    st.binary(max_size=12),
    st.dictionaries(
        st.sampled_from(
            [
                *("CONTENT_LENGTH", "HTTP_HOST", "HTTP_ORIGIN", "HTTP_ACCEPT", "HTTP_TRANSFER_ENCODING"),
                *("HTTP_AUTHORIZATION", "HTTP_IF_MATCH", "REMOTE_ADDR", "QUERY_STRING", "SCRIPT_NAME"),
                *("HTTP_SEC_FETCH_SITE", "HTTP_X_FORWARDED_FOR", "CONTENT_TYPE", "HTTP_EXPECT"),
            ]
        ),
        ODD,
    ),
)
def test_a_wsgi_server(
    caplog: pytest.LogCaptureFixture, method: str, path: str, body: bytes, environ: dict[str, str]
) -> None:
    fail.enable(B, "off")
    before = (armed(), process.revision)
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        statuses.append(status)
        assert all(type(name) is type(value) is str and "\n" not in name + value for name, value in headers)

    base = {"REQUEST_METHOD": method, "PATH_INFO": path, "REMOTE_ADDR": "127.0.0.1", "HTTP_HOST": "localhost"}
    reply = fail.wsgi()({**base, "wsgi.input": io.BytesIO(body), **environ}, start_response)
    pieces = iter(reply)
    assert isinstance(next(pieces), bytes)
    reply.close()  # type: ignore[attr-defined]
    status = int(statuses[0].partition(" ")[0])
    assert status in (200, 204, 308, 400, 401, 403, 404, 405, 411, 412, 413, 503)
    if status not in (200, 204):
        assert (armed(), process.revision) == before
    assert caplog.records == []
    assert readers() == []
    for each in tuple(process.activations):
        fail.disable(each)


MOUNTED = {
    "REQUEST_METHOD": "PUT",
    "PATH_INFO": f"/{A}",
    "REMOTE_ADDR": "127.0.0.1",
    "HTTP_HOST": "localhost",
}


@pytest.mark.parametrize(
    "length",
    [
        pytest.param("14", id="cut off"),
        pytest.param("9" * 5000, id="many digits"),
        pytest.param("65537", id="too long"),
        pytest.param("x", id="no number"),
    ],
)
def test_a_length_that_is_not_that_of_the_body(length: str) -> None:
    """Half of some terms may be terms, too."""
    statuses: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        statuses.append(status)

    fail.wsgi()({**MOUNTED, "CONTENT_LENGTH": length, "wsgi.input": io.BytesIO(b"2*yield")}, start_response)
    assert statuses[0].split()[0] in ("400", "413")
    assert armed() == {}


@tries(200)
@given(
    METHODS,
    st.one_of(ODD, st.text(max_size=8)),
    st.lists(st.binary(max_size=8), max_size=3),
    st.lists(
        st.tuples(
            st.sampled_from(["Host", "origin", "accept", "Authorization", "if-match", "content-length", "x"]),
            ODD.map(lambda text: text.encode("utf-8")),
        ),
        max_size=3,
    ),
    st.binary(max_size=8),
    st.booleans(),
)
def test_an_asgi_server(
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    body: list[bytes],
    headers: list[tuple[str, bytes]],
    query: bytes,
    gone: bool,
) -> None:
    fail.enable(B, "off")
    before = (armed(), process.revision)
    messages: list[dict[str, Any]] = [
        *({"type": "http.request", "body": piece, "more_body": True} for piece in body),
        *([] if gone else [{"type": "http.request"}]),
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": [(b"host", b"localhost"), *((name.encode(), value) for name, value in headers)],
        "client": ("127.0.0.1", 1),
    }
    asyncio.run(fail.asgi()(scope, receive, send))
    if gone:
        assert sent == []
    else:
        start, *rest = sent
        assert start["status"] in (200, 204, 308, 400, 401, 403, 404, 405, 411, 412, 413, 503)
        assert rest[-1].get("more_body", False) is False
        assert all(type(name) is type(value) is bytes for name, value in start["headers"])
    if gone or sent[0]["status"] not in (200, 204):
        assert (armed(), process.revision) == before
    assert caplog.records == []
    assert readers() == []
    for each in tuple(process.activations):
        fail.disable(each)
