"""A client that sends exactly what a test says, and programs to send it to."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, Self
from urllib.parse import quote

from failpy import fail

SECONDS = 20.0
"""How long anything may take. Only what fails takes it."""

# Without this process's own settings; the rest, a coverage tool's say, stays.
BARE = {key: value for key, value in os.environ.items() if not key.startswith("FAILPY")}

TEXT = "text/plain; charset=utf-8"
JSON = {"Accept": "application/json"}
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"}


def until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Poll for what another thread or process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.002)


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        assert self.headers["Content-Type"] == "application/json"
        return json.loads(self.body)

    @property
    def etag(self) -> str:
        return self.headers["ETag"]


class Client:
    """One connection that is kept open."""

    def __init__(self, server: fail.Server | str, prefix: str = "", **headers: str) -> None:
        url = server if isinstance(server, str) else server.url
        self._headers = {key.replace("_", "-"): value for key, value in headers.items()}
        self._prefix = prefix
        if url.startswith("unix:"):
            self._connection = http.client.HTTPConnection("localhost", timeout=SECONDS)
            self._connection.sock = socket.socket(socket.AF_UNIX)
            self._connection.sock.settimeout(SECONDS)
            self._connection.sock.connect(url.removeprefix("unix:"))
        else:
            self._connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def ask(self, method: str, path: str, body: str | bytes | None = None, **headers: str) -> Answer:
        given = body.encode() if isinstance(body, str) else body
        more = {key.replace("_", "-"): value for key, value in headers.items()}
        self._connection.request(method, self._prefix + path, given, {**self._headers, **more})
        reply = self._connection.getresponse()
        return Answer(reply.status, dict(reply.getheaders()), reply.read())


def ask(
    server: fail.Server | str, method: str, path: str, body: str | bytes | None = None, **headers: str
) -> Answer:
    with Client(server) as client:
        return client.ask(method, path, body, **headers)


def path_of(name: str) -> str:
    return "/" + quote(name, safe="")


def connect(server: fail.Server | str) -> socket.socket:
    url = server if isinstance(server, str) else server.url
    if url.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(SECONDS)
        sock.connect(url.removeprefix("unix:"))
        return sock
    host, _, port = url.removeprefix("http://").rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS)


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while chunk := sock.recv(65536):
        received += chunk
    return received


def exchange(server: fail.Server | str, data: bytes, *, half: bool = False) -> bytes:
    """Send bytes, and read all that comes until the server closes."""
    with connect(server) as sock:
        sock.sendall(data)
        if half:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)


def request(line: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    """The bytes of a request after which the server closes."""
    lines = [line, *([f"Host: {host}"] if host else []), "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode("utf-8") + body


def status_of(reply: bytes) -> int:
    return int(reply.split(b" ", 2)[1])


class Stream:
    """The events of an endpoint, over a connection of their own."""

    def __init__(self, server: fail.Server | str, path: str = "/events", **headers: str) -> None:
        self._sock = connect(server)
        lines = [f"{key.replace('_', '-')}: {value}\r\n" for key, value in headers.items()]
        head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{''.join(lines)}\r\n"
        self._sock.sendall(head.encode())
        self._file = self._sock.makefile("rb")
        self.head = b"".join(iter(self._file.readline, b"\r\n")).decode()
        self._chunked = "transfer-encoding: chunked" in self.head.lower()
        self._lines = self._read()
        assert self.head.startswith("HTTP/1.1 200"), self.head
        assert next(self._lines).startswith(":")

    def _read(self) -> Iterator[str]:
        rest = b""
        while True:
            if self._chunked:
                size = int(self._file.readline(), 16)
                rest += self._file.read(size)
                self._file.readline()
                if not size:
                    return
            else:
                line = self._file.readline()
                if not line:
                    return
                rest += line
            *lines, rest = rest.split(b"\n")
            yield from (line.decode() for line in lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._sock.close()

    def line(self) -> str | None:
        return next(self._lines, None)

    def event(self) -> tuple[str, dict[str, Any]]:
        """The next one, whatever heartbeats come before it."""
        while not (line := next(self._lines)).startswith("event: "):
            pass
        data = next(self._lines)
        assert data.startswith("data: ")
        assert next(self._lines) == ""
        return line.removeprefix("event: "), json.loads(data.removeprefix("data: "))


class Paused:
    """A thread that hits a point, and waits there."""

    def __init__(self, name: str, thread: str | None = None) -> None:
        self.hit: object = "nothing yet"
        self._name = name
        self._thread = threading.Thread(target=self._run, name=thread)
        before = fail.status(name).paused
        self._thread.start()
        until(lambda: fail.status(name).paused > before)

    def _run(self) -> None:
        self.hit = fail.point(self._name).hit()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def join(self) -> None:
        self._thread.join(SECONDS)
        assert self.ended


class Program:
    """A program in a process of its own. It is told to go on by lines, and prints what it has to say."""

    def __init__(
        self, program: str, *arguments: str, seconds: float = 60, fd: int | None = None, **environ: str
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**BARE, **environ},
            pass_fds=() if fd is None else (fd,),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._watch = threading.Timer(seconds, self.process.kill)  # or `read` would wait for ever
        self._watch.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        self.process.kill()
        self.process.communicate()

    def read(self) -> str:
        """The next line that it prints."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.end()
        return line.rstrip("\n")

    def tell(self, line: str = "") -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self) -> str:
        """What it has said on stderr, once it is over."""
        return self.process.communicate(timeout=60)[1]


@contextmanager
def in_thread(body: Callable[[], object]) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=body)
    thread.start()
    yield thread
    thread.join(SECONDS)
    assert not thread.is_alive()
