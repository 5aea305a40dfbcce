"""One connection to the HTTP endpoint's own server, and the requests that come over it."""

from __future__ import annotations

import io
import re
import socket
import time
from contextlib import suppress
from email.utils import formatdate
from threading import Thread
from typing import Any

from failpy._context import mute_thread
from failpy._control import BODY_LIMIT, Control, refusal
from failpy._events import Events
from failpy._exchange import Problem, Request, Response, read_name, too_long
from failpy._head import Head, read_head

__all__ = ["Connection"]

_IDLE = 60.0
_REQUEST = 10.0
_REPLY = 10.0
_LINGER = 1.0
_LINGER_READS = 64
_LENGTH = re.compile(r"[0-9]{1,18}")


class _Reader(io.RawIOBase):
    """Reads from a socket until a moment that is the same for all of a request, however it trickles in."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.until = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        return self._socket.recv_into(buffer)


class Connection:
    """Reads requests, and writes what the control answers.

    Args:
        connection: The socket.
        peer: Its address; empty for a unix socket.
        control: Who answers.
    """

    def __init__(self, connection: socket.socket, peer: Any, control: Control) -> None:
        self._socket = connection
        self._peer: str | None = peer[0] if peer else None
        self._control = control
        self._reader = _Reader(connection)
        self._patience = _REQUEST  # then it has shown that it asks for something
        self._stream: io.BufferedReader[Any] = io.BufferedReader(self._reader, 64 * 1024)

    def run(self) -> None:
        """Answer one request after the other. The client may be slow, gone, or no HTTP client at all."""
        with suppress(OSError):
            if self._socket.family != getattr(socket, "AF_UNIX", None):
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            while self._exchange():
                pass
            self._linger()

    def _exchange(self) -> bool:
        """Answer one request: whether there may be another."""
        self._reader.until = time.monotonic() + self._patience
        if not self._stream.peek(1):
            return False
        self._reader.until = time.monotonic() + _REQUEST
        self._patience = _IDLE
        head = None
        try:
            head = read_head(self._stream)
            if head is None:
                return False
            if head.fault is not None:
                raise Problem(400, head.fault)  # noqa: TRY301 - it is answered like all the others
            request = self._request(head)
        except TimeoutError:
            return self._refuse(
                Problem(408, f"the request took longer than {_REQUEST:g} s to come: send it at once"), head
            )
        except Problem as problem:
            return self._refuse(problem, head)
        return self._send(self._control.answer(request), head.lasting)

    def _request(self, head: Head) -> Request:
        headers, target = head.headers, head.target
        if target.lower().startswith(("http://", "https://")):
            authority, _, rest = target.partition("://")[2].partition("/")
            headers["host"], target = authority, f"/{rest}"
        path, _, query = target.partition("?")
        return Request(head.method, read_name(path), query, headers, self._body(headers), self._peer)

    def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            raise Problem(411, "send the body with a Content-Length, and not in chunks")
        length = headers.get("content-length", "0")
        if not _LENGTH.fullmatch(length):
            raise Problem(400, f"Content-Length: {length} is not a number of bytes")
        if int(length) > BODY_LIMIT:
            raise too_long(BODY_LIMIT)
        if headers.get("expect", "").lower() == "100-continue":  # it waits for leave to send the body
            self._socket.settimeout(_REPLY)
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        body = self._stream.read(int(length))
        if len(body) < int(length):
            raise ConnectionError("the body was cut off")
        return body

    def _refuse(self, problem: Problem, head: Head | None) -> bool:
        response = refusal(problem, "" if head is None else head.headers.get("accept", ""))
        if head is not None and head.method == "HEAD":
            response = response.without_body()
        return self._send(response, lasting=False)

    def _send(self, response: Response, lasting: bool) -> bool:
        lasting = lasting and response.events is None
        try:
            self._write(response, lasting)
        finally:
            response.sent()
            if response.events is not None:
                response.events.close()
        return lasting

    def _write(self, response: Response, lasting: bool) -> None:
        lines = [f"HTTP/1.1 {response.status} {response.reason}"]
        lines += [f"{name}: {value}" for name, value in response.with_length().headers]
        lines.append(f"Date: {formatdate(usegmt=True)}")
        # To say so of what lasts is for clients of HTTP/1.0.
        lines.append(f"Connection: {'keep-alive' if lasting else 'close'}")
        head = "\r\n".join((*lines, "", "")).encode("latin-1", "replace")
        self._socket.settimeout(_REPLY)
        self._socket.sendall(head + response.body)
        if response.events is not None:
            Thread(
                target=self._watch, args=(response.events,), name="failpy-http-events", daemon=True
            ).start()
            for chunk in response.events:
                self._socket.sendall(chunk)

    def _watch(self, events: Events) -> None:
        """End the events when the client goes, which it says by sending no more."""
        mute_thread()
        while not events.closed:
            try:
                if not self._socket.recv(4096):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        events.close()

    def _linger(self) -> None:
        """Read what may still come, for a while: closed before that, the client might lose the last reply."""
        self._socket.shutdown(socket.SHUT_WR)
        self._reader.until = time.monotonic() + _LINGER
        for _ in range(_LINGER_READS):
            if not self._stream.read1():
                break
