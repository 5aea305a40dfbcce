"""The endpoint's own server: where it listens, what it makes of clients, and how it ends."""

from __future__ import annotations

import errno
import gc
import io
import os
import re
import signal
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from failpy import _address, _connection, _environment, _events, _server, _startup, fail
from failpy._config import config
from failpy._context import process
from failpy._events import readers
from failpy._exchange import Problem
from failpy._head import read_head
from failpy._server import Server
from tests.http_tools import (
    JSON,
    Client,
    Program,
    Stream,
    ask,
    connect,
    exchange,
    read_all,
    request,
    status_of,
    until,
)

HAS_IPV6 = socket.has_ipv6 and Path("/proc/net/if_inet6").exists()


@pytest.fixture
def server() -> Iterator[fail.Server]:
    with fail.serve() as server:
        yield server


@pytest.fixture
def path(name: str) -> str:
    fail.point(name, returns=str)
    return f"/{name}"


@pytest.fixture
def threads() -> Callable[[], list[threading.Thread]]:
    """The threads of the servers that the test started: those of others may take a moment to end."""
    before = set(threading.enumerate())
    return lambda: [
        each for each in threading.enumerate() if each.name.startswith("failpy-http") and each not in before
    ]


Threads = Callable[[], list[threading.Thread]]


# --- addresses ---


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("127.0.0.1:0", "127.0.0.1"),
        ("localhost:0", "127.0.0.1"),
        ("LocalHost:0", "127.0.0.1"),
        ("[127.0.0.1]:0", "127.0.0.1"),
        ("127.0.0.2:000", "127.0.0.2"),
        pytest.param("[::1]:0", "[::1]", marks=pytest.mark.skipif(not HAS_IPV6, reason="no IPv6 here")),
    ],
)
def test_where_it_listens(address: str, host: str, path: str) -> None:
    with fail.serve(address) as server:
        assert server.port > 0
        assert server.address == f"{host}:{server.port}"
        assert server.url == f"http://{host}:{server.port}"
        assert repr(server) == f"<Server at {server.url}>"
        assert ask(server, "GET", path).status == 200
    assert repr(server) == f"<Server at {server.url}, closed>"


def test_it_listens_on_this_machine_unless_told() -> None:
    with fail.serve() as server:
        assert server.address.startswith("127.0.0.1:")


def test_a_port_may_be_chosen(path: str) -> None:
    with fail.serve() as server:
        port = server.port
    with fail.serve(f"127.0.0.1:{port}") as server:  # at once, although connections of the last linger
        assert server.port == port
        assert ask(server, "GET", path).status == 200


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "is no address"),
        ("1234", "is no address"),
        ("127.0.0.1", "is no address"),
        ("127.0.0.1:", "is no address"),
        ("127.0.0.1:http", "is no address"),
        ("127.0.0.1:-1", "is no address"),
        ("127.0.0.1: 1", "is no address"),
        ("127.0.0.1:1 ", "is no address"),
        ("127.0.0.1:٣", "is no address"),
        ("127.0.0.1:65536", "is no address"),
        ("127.0.0.1:" + "9" * 5000, "is no address"),
        ("http://127.0.0.1:0", "is no address"),
        ("127.0.0.1:0/", "is no address"),
        ("user@127.0.0.1:0", "is no address"),
        ("local host:0", "is no address"),
        ("::1:0", "is no address"),
        ("[::1:0", "is no address"),
        ("[[::1]]:0", "is no address"),
        ("UNIX:/tmp/a", "is no address"),
        ("unix:", "has no path"),
        ("unix:a\0b", "has no path"),
        ("unix:/no/such/directory/s", "No such file or directory; choose another address"),
        ("unix:/" + "x" * 200, "too long; choose another address"),
        ("127.0.0.1%x:0", "cannot listen at 127.0.0.1%x:0"),
        ("192.0.2.1:0", "open to other machines"),
    ],
)
def test_an_address_that_cannot_be(address: str, said: str) -> None:
    with pytest.raises(fail.FailpointError, match=re.escape(said)):
        fail.serve(address)


@pytest.mark.parametrize("port", ["0000000999999", "000000" + "9" * 5000])
def test_a_port_with_many_zeros(port: str) -> None:
    with pytest.raises(fail.FailpointError, match="is no address"):
        fail.serve(f"127.0.0.1:{port}").close()


@pytest.mark.parametrize("address", [None, 1234, ("127.0.0.1", 0), b"127.0.0.1:0"])
def test_an_address_is_a_string(address: Any) -> None:
    with pytest.raises(TypeError, match="must be a string, not .*: give HOST:PORT"):
        fail.serve(address)


def test_an_address_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(fail.FailpointError, match="cannot listen at 192.0.2.1:0: Cannot assign"):
        fail.serve("192.0.2.1:0", token="x")


def test_a_port_that_needs_rights(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(fail.FailpointError, match="127.0.0.1:1: Permission denied; choose another"):
        fail.serve("127.0.0.1:1")


def test_an_address_in_use(server: fail.Server) -> None:
    with pytest.raises(fail.FailpointError, match="somebody listens there already; choose another") as caught:
        fail.serve(server.address)
    assert server.address in str(caught.value)
    assert "unix:/run/app-{pid}.sock" in str(caught.value)


def test_many_servers(path: str) -> None:
    servers = [fail.serve() for _ in range(5)]
    assert len({each.port for each in servers}) == 5
    ask(servers[0], "PUT", path, "off")
    servers[0].close()
    for each in servers[1:]:
        assert ask(each, "GET", path).text == "off\n"
        each.close()


# --- unix sockets ---


def test_a_unix_socket_is_for_its_user(tmp_path: Path, path: str) -> None:
    place = tmp_path / "s"
    umask = os.umask(0)
    try:
        server = fail.serve(f"unix:{place}")
    finally:
        os.umask(umask)
    with server:
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(place.stat().st_mode)
        assert (server.address, server.url, server.port) == (f"unix:{place}", f"unix:{place}", 0)
        with Client(server) as client:
            assert client.ask("PUT", path, "off").status == 204
            assert client.ask("GET", path).text == "off\n"
    assert not place.exists()
    with socket.socket(socket.AF_UNIX) as sock, pytest.raises(FileNotFoundError):
        sock.connect(str(place))


def test_who_asks_over_a_unix_socket_has_no_address(
    tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "failpy")
    with fail.serve(f"unix:{tmp_path}/s") as server, Client(server) as client:
        client.ask("PUT", path, "off")
    assert caplog.messages == [f"failpoint '{path[1:]}' armed with off, over HTTP by a client of the socket"]


def test_the_number_of_the_process_in_a_path(tmp_path: Path) -> None:
    with fail.serve(f"unix:{tmp_path}/{{pid}}-{{pid}}") as server:
        assert server.address == f"unix:{tmp_path}/{os.getpid()}-{os.getpid()}"


def test_a_stale_socket_is_replaced(tmp_path: Path, path: str) -> None:
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(place))
        old.listen()
    with fail.serve(f"unix:{place}") as server, Client(server) as client:
        assert client.ask("GET", path).status == 200


def test_a_live_socket_is_left_alone(tmp_path: Path, path: str) -> None:
    address = f"unix:{tmp_path}/s"
    with fail.serve(address) as server:
        with pytest.raises(fail.FailpointError, match="somebody listens there already"):
            fail.serve(address)
        with Client(server) as client:
            assert client.ask("GET", path).status == 200


@pytest.mark.parametrize("kind", ["file", "directory", "link", "fifo"])
def test_another_file_is_left_alone(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "s"
    if kind == "file":
        place.write_text("precious")
    elif kind == "directory":
        place.mkdir()
    elif kind == "fifo":
        os.mkfifo(place)
    else:
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(fail.FailpointError, match="a file that is no socket is there; take it away"):
        fail.serve(f"unix:{place}")
    assert place.is_symlink() or place.exists()
    assert not (tmp_path / "elsewhere").exists()


def test_the_socket_of_a_successor_is_left_alone(tmp_path: Path, path: str) -> None:
    place = tmp_path / "s"
    first = fail.serve(f"unix:{place}")
    place.unlink()
    with fail.serve(f"unix:{place}") as second:
        first.close()
        with Client(second) as client:
            assert client.ask("GET", path).status == 200
    assert not place.exists()


def test_a_socket_that_has_gone_does_not_matter(tmp_path: Path) -> None:
    with fail.serve(f"unix:{tmp_path}/s"):
        (tmp_path / "s").unlink()


def test_a_system_without_unix_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with pytest.raises(fail.FailpointError, match="no unix sockets: give HOST:PORT"):
        fail.serve(f"unix:{tmp_path}/s")


def test_a_socket_file_goes_when_the_program_ends(tmp_path: Path) -> None:
    program = f"import failpy; print(failpy.serve('unix:{tmp_path}/s').url, flush=True); input()"
    with Program(program) as running:
        assert running.read() == f"unix:{tmp_path}/s"
        assert (tmp_path / "s").exists()
        running.tell()
        assert running.end() == ""
    assert not (tmp_path / "s").exists()


def test_a_server_that_cannot_start_lets_go_of_its_address(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    listening: list[socket.socket] = []
    real = _address.Address.listen

    def listen(address: _address.Address) -> socket.socket:
        listening.append(real(address))
        return listening[-1]

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_address.Address, "listen", listen)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            fail.serve()
    assert listening[0].fileno() == -1


# --- the end ---


def test_closing_twice_is_no_error(server: fail.Server) -> None:
    server.close()
    server.close()
    with pytest.raises(ConnectionRefusedError):
        connect(server)


def test_what_is_armed_stays_armed(path: str) -> None:
    with fail.serve() as server:
        ask(server, "PUT", path, "off")
    assert fail.status(path[1:]).terms == "off"


def test_closing_ends_connections_and_threads(path: str, threads: Threads) -> None:
    with fail.serve() as server:
        idle, half, silent = Client(server), connect(server), connect(server)
        assert idle.ask("GET", path).status == 200
        half.sendall(b"PUT /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\noff")
        until(lambda: len(threads()) == 4)
    for each in (half, silent):
        with each:
            assert read_all(each) == b""
    with idle, pytest.raises(ConnectionError):
        idle.ask("GET", path)
    until(lambda: not threads())


def test_closing_ends_at_once_while_nobody_asks(threads: Threads) -> None:
    server = fail.serve()
    accepting = threads()
    assert len(accepting) == 1
    server.close()
    accepting[0].join(_server._LOOK_UP / 2)
    assert not accepting[0].is_alive()


def test_closing_ends_streams_of_events(threads: Threads) -> None:
    with fail.serve() as server, Stream(server) as stream:
        assert stream.line() == ""
        until(lambda: any(each for each in threads() if each.name != "failpy-http"))
        server.close()
        assert stream.line() is None
        until(lambda: not threads() and not readers(), _events._HEARTBEAT / 2)


def test_a_client_of_events_that_goes_is_noticed_at_once(server: fail.Server) -> None:
    """Not only when there is something to tell it."""
    for ending in ("close", "reset", "half"):
        with Stream(server) as stream:
            until(lambda: len(readers()) == 1)
            if ending == "reset":
                stream._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            if ending == "half":
                stream._sock.shutdown(socket.SHUT_WR)
                until(lambda: not readers(), _events._HEARTBEAT / 2)
        until(lambda: not readers(), _events._HEARTBEAT / 2)
    until(lambda: not server._connections, _events._HEARTBEAT / 2)


def test_what_a_client_of_events_still_sends_is_nothing(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_REPLY", 0.02)
    monkeypatch.setattr(_events, "_HEARTBEAT", 0.05)
    with Stream(server) as stream:
        for _ in range(3):
            stream._sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            while stream.line() != ": still here":
                pass
    until(lambda: not readers())


def test_a_stream_may_be_ended_on_this_side(
    server: fail.Server, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_REPLY", 0.02)
    with Stream(server) as stream:
        until(lambda: readers())
        readers()[0].close()
        while stream.line() is not None:
            pass
        until(lambda: not any(each.name == "failpy-http-events" for each in threads()))


def test_a_server_that_nobody_holds_goes_on(path: str) -> None:
    url = fail.serve().url
    gc.collect()
    assert ask(url, "GET", path).status == 200
    for each in tuple(_server._servers):
        each.close()


def test_a_program_does_not_wait_for_its_server() -> None:
    program = "import failpy; print(failpy.serve().url, flush=True); input()"
    with Program(program) as running:
        url = running.read()
        with connect(url), Stream(url):
            running.tell()
            assert running.end() == ""
        assert running.process.returncode == 0


def test_at_exit_every_server_closes() -> None:
    server = fail.serve()
    _server._at_exit()
    with pytest.raises(ConnectionRefusedError):
        connect(server)


# --- too many, too slow, too much ---


def test_there_are_only_so_many_connections(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_server, "_CONNECTIONS", 3)
    held = [connect(server) for _ in range(3)]
    until(lambda: len(server._connections) == 3)
    for _ in range(3):
        with connect(server) as sock:
            reply = read_all(sock)
            assert reply.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 1\r\n" in reply
            assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in reply
            assert reply.endswith(b"\r\n\r\ntoo many connections are open: try again\n")
    answer = ask(server, "GET", path)
    assert (answer.status, answer.text) == (503, "too many connections are open: try again\n")
    held.pop().close()
    until(lambda: len(server._connections) == 2)
    assert ask(server, "GET", path).status == 200
    for each in held:
        each.close()


def test_a_connection_for_which_there_is_no_thread(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Unstartable(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(_server, "Thread", Unstartable)
        assert ask(server, "GET", path).status == 503
    until(lambda: not server._connections)
    assert ask(server, "GET", path).status == 200


class Failing:
    """A listening socket that fails before it works."""

    def __init__(self, sock: socket.socket, *errors: OSError) -> None:
        self._sock = sock
        self.errors = list(errors)

    def accept(self) -> Any:
        if self.errors:
            raise self.errors.pop(0)
        return self._sock.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_it_gets_over_errors_while_it_accepts(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    listening = fail.serve()._socket
    for each in tuple(_server._servers):
        each.close()
    real = _address.Address.listen
    failing: list[Any] = []

    def listen(address: _address.Address) -> Any:
        errors = (OSError(errno.EMFILE, "Too many open files"), TimeoutError(), ConnectionAbortedError())
        failing.append(Failing(real(address), *errors))
        return failing[-1]

    monkeypatch.setattr(_address.Address, "listen", listen)
    assert listening.fileno() == -1
    with fail.serve() as server:
        assert ask(server, "GET", path).status == 200
        assert failing[0].errors == []


def test_a_request_that_comes_too_slowly(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_REQUEST", 0.05)
    whole = request(f"PUT {path} HTTP/1.1", "Content-Length: 3", body=b"off")
    for length in (1, 10, whole.index(b"\r\n\r\n"), len(whole) - 1):
        reply = exchange(server, whole[:length])
        assert status_of(reply) == 408
        assert reply.endswith(b"the request took longer than 0.05 s to come: send it at once\n")
    assert fail.status(path[1:]).terms == ""


def test_a_client_whose_time_is_up_before_it_is_read(
    server: fail.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_REQUEST", 0)
    assert exchange(server, b"") == b""


def test_a_request_that_trickles_in(server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time is not enough: it is for all of them."""
    monkeypatch.setattr(_connection, "_REQUEST", 0.1)
    with connect(server) as sock:
        sock.settimeout(0.01)
        reply = b""
        for byte in request(f"GET {path} HTTP/1.1", "X: " + "x" * 1000):
            try:
                sock.sendall(bytes([byte]))
                reply += sock.recv(65536)
                break
            except TimeoutError:
                continue
    assert status_of(reply) == 408


def test_a_client_that_says_nothing(server: fail.Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not waited for as long as one that has asked before."""
    monkeypatch.setattr(_connection, "_REQUEST", 0.05)
    assert exchange(server, b"") == b""


def test_a_connection_that_is_idle_between_requests(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_IDLE", 0.1)
    with connect(server) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert read_all(sock).startswith(b"HTTP/1.1 200")


def test_a_client_that_does_not_read(server: fail.Server, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(_connection, "_REPLY", 0.1)
    monkeypatch.setattr("failpy._control.listing", lambda: ("x" * 50_000_000, "0"))
    with connect(server) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: server._connections)
        until(lambda: not server._connections)
    assert ask(server, "GET", path).status == 200


def test_an_answer_that_nobody_reads_does_not_hold_up_hits(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(_connection.Connection, "_write", broken)
    exchange(server, request(f"PUT {path} HTTP/1.1", "Content-Length: 11", body=b'return("x")'))
    assert process.activations[path[1:]].orders == ()
    assert fail.point(path[1:], returns=str).hit().value == "x"


def test_a_client_that_resets_the_connection(server: fail.Server, path: str) -> None:
    for data in (b"", b"GET", f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()):
        sock = connect(server)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.sendall(data)
        sock.close()
    until(lambda: not server._connections)
    assert ask(server, "GET", path).status == 200


@pytest.mark.parametrize("size", [64 * 1024 + 1, 3_000_000])
def test_a_body_that_is_too_long_is_refused_and_the_client_hears_of_it(
    server: fail.Server, path: str, size: int
) -> None:
    """Although it sends all of it before it reads."""
    reply = exchange(server, request(f"PUT {path} HTTP/1.1", f"Content-Length: {size}", body=b"x" * size))
    assert status_of(reply) == 413
    assert reply.endswith(b"the body is longer than 64 KiB: send less at a time\n")


def test_a_body_of_just_the_limit(server: fail.Server, path: str) -> None:
    body = b"off" + b" " * (64 * 1024 - 3)
    assert ask(server, "PUT", path, body).status == 204


def test_a_body_without_an_end(server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not read for ever."""
    monkeypatch.setattr(_connection, "_LINGER", 0.05)
    head = f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**15}\r\n\r\n"
    with connect(server) as sock:
        sock.sendall(head.encode())
        with pytest.raises(ConnectionError):
            while True:
                sock.sendall(b"x" * 65536)
    until(lambda: not server._connections)


def test_a_client_that_never_hangs_up(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_LINGER", 0.05)
    with connect(server) as sock:
        sock.sendall(request(f"GET {path} HTTP/1.1"))
        assert read_all(sock).startswith(b"HTTP/1.1 200")
        until(lambda: not server._connections)


# --- requests as they should be ---


def test_a_connection_is_kept(server: fail.Server, path: str) -> None:
    with Client(server) as client:
        for _ in range(3):
            assert client.ask("PUT", path, "off").status == 204
            assert client.ask("GET", path).status == 200
            assert client.ask("GET", "/no.such.point").status == 404
        assert len(server._connections) == 1


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("1.1", "X: y", True),
        ("1.1", "Connection: close", False),
        ("1.1", "connection: Close", False),
        ("1.0", "X: y", False),
        ("1.0", "Connection: keep-alive", True),
    ],
)
def test_a_connection_is_closed_where_the_client_wants_it(
    server: fail.Server, path: str, version: str, header: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = f"GET {path} HTTP/{version}\r\nHost: localhost\r\n{header}\r\n\r\n".encode()
    reply = exchange(server, line + line, half=True)
    assert reply.count(b"HTTP/1.1 200 OK\r\n") == (2 if kept else 1)
    assert (b"\r\nConnection: close\r\n" in reply) is not kept


def test_requests_may_come_at_once(server: fail.Server, path: str) -> None:
    ends = request(f"GET {path}/count HTTP/1.1")
    puts = f'PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\nreturn("x")'.encode()
    gets = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    reply = exchange(server, puts + gets + gets + ends)
    assert re.findall(rb"^HTTP/1.1 (\d+)", reply, re.MULTILINE) == [b"204", b"200", b"200", b"200"]
    assert reply.count(b'\r\n\r\nreturn("x")\n') == 2
    assert reply.endswith(b"\r\n\r\n0")


def test_a_request_may_come_in_pieces(server: fail.Server, path: str) -> None:
    data = request(f"PUT {path} HTTP/1.1", "Content-Length: 3", body=b"off")
    with connect(server) as sock:
        for byte in data:
            sock.sendall(bytes([byte]))
        assert status_of(read_all(sock)) == 204


def test_a_client_may_close_its_half(server: fail.Server, path: str) -> None:
    asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    assert status_of(exchange(server, asked, half=True)) == 200


@pytest.mark.parametrize("body", [b"", b"o", b"of"])
def test_a_body_that_is_cut_off_does_nothing(server: fail.Server, path: str, body: bytes) -> None:
    asked = request(f"PUT {path} HTTP/1.1", "Content-Length: 3", body=body)
    assert exchange(server, asked, half=True) == b""
    assert fail.status(path[1:]).terms == ""


def test_leave_to_send_the_body(server: fail.Server, path: str) -> None:
    with connect(server) as sock:
        sock.sendall(request(f"PUT {path} HTTP/1.1", "Expect: 100-continue", "Content-Length: 3"))
        assert sock.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(b"off")
        assert status_of(read_all(sock)) == 204
    assert fail.status(path[1:]).terms == "off"


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_plain_lines_and_odd_spaces(server: fail.Server, path: str, version: str) -> None:
    data = f"PUT {path} HTTP/{version}\nHost: localhost\ncontent-length:  3 \nConnection:close\n\noff"
    assert status_of(exchange(server, data.encode())) == 204


def test_there_are_the_headers_that_http_asks_for(server: fail.Server, path: str) -> None:
    headers = ask(server, "GET", path).headers
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers["Date"])
    assert "Server" not in headers  # which Python it is is nobody's business


# --- requests as they should not be ---

MALFORMED = [
    ("GET {}\r\n\r\n", 400, "is no request"),
    ("PUT {}\r\n\r\n", 400, "is no request"),
    ("GET\r\n\r\n", 400, "is no request"),
    ("nonsense\r\n\r\n", 400, "is no request"),
    ("GET {} x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "is no request"),
    ("GET {} FTP/1.1\r\nHost: localhost\r\n\r\n", 400, "is no request"),
    ("GET {} HTTP/x\r\nHost: localhost\r\n\r\n", 400, "is no request"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "HTTP/2.0 is not spoken here"),
    ("GET {} HTTP/3\r\n\r\n", 400, "is no request"),
    ("\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "is no request"),
    ("GET {} HTTP/1.1\r\n\r\n", 400, "no Host header"),
    ("x" * 70_000, 414, "longer than 64 KiB"),
    ("GET /" + "x" * 70_000 + " HTTP/1.1\r\nHost: localhost\r\n\r\n", 414, "longer than 64 KiB"),
]
MALFORMED_HEADERS = [
    ("Host: localhost", 400, "host is there twice"),
    ("Content-Length: 3\r\ncontent-length: 4", 400, "twice"),
    ("Content-Length: 3\r\ncontent-length: 3", 400, "twice"),
    ("If-Match: *\r\nIf-Match: *", 400, "if-match is there twice"),
    ("Origin: a\r\nOrigin: a", 400, "twice"),
    ("no colon here", 400, "is no header"),
    ("X : y", 400, "is no header"),
    (": y", 400, "is no header"),
    ("Transfer-Encoding: chunked", 411, "not in chunks"),
    ("Transfer-Encoding: chunked\r\nContent-Length: 3", 411, "not in chunks"),
    ("Transfer-Encoding: gzip\r\nContent-Length: 3", 411, "Content-Length"),
    ("Content-Length: -1", 400, "number of bytes"),
    ("Content-Length: +3", 400, "number of bytes"),
    ("Content-Length: 3.0", 400, "number of bytes"),
    ("Content-Length: 0x3", 400, "number of bytes"),
    ("Content-Length: 3, 3", 400, "number of bytes"),
    ("Content-Length: ", 400, "number of bytes"),
    ("Content-Length: 1_0", 400, "number of bytes"),
    ("Content-Length: " + "9" * 19, 400, "number of bytes"),
    ("X: " + "x" * 70_000, 431, "longer than 64 KiB"),
    ("X: y\r\n" * 200 + "X: y", 431, "more than 100 headers"),
]


@pytest.mark.parametrize(
    ("data", "status", "said"),
    [
        *MALFORMED,
        ("GET {} HTTP/1.1\r\n Host: localhost\r\n\r\n", 400, "is no header"),
        *(
            (f"PUT {{}} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\noff", status, said)
            for header, status, said in MALFORMED_HEADERS
        ),
    ],
)
def test_a_malformed_request(server: fail.Server, path: str, data: str, status: int, said: str) -> None:
    more = request(f"PUT {path} HTTP/1.1", "Content-Length: 3", body=b"off")  # is not taken for another
    reply = exchange(server, data.replace("{}", path).encode("latin-1") + more, half=True)
    head, _, body = reply.decode().partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ")
    assert "\r\nConnection: close" in head
    assert "\r\nContent-Type: text/plain; charset=utf-8" in head
    assert said in body
    assert body.endswith("\n")
    assert body.count("\n") == 1
    assert fail.status(path[1:]).terms == ""


def test_a_client_that_gives_up_before_the_request_is_whole(server: fail.Server) -> None:
    for data in (b"\r\n", b"\r\n\r\n", b"", b"GET", b"GET / HTTP/1.1\r\nHost: loc"):
        assert exchange(server, data, half=True) == b""


def test_a_request_of_http_0_9_has_no_headers(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_connection, "_REQUEST", 0.2)
    assert status_of(exchange(server, f"GET {path}\r\n".encode())) == 400


def test_an_empty_line_before_a_request_is_ignored(server: fail.Server, path: str) -> None:
    assert exchange(server, b"\r\n" + request(f"GET {path} HTTP/1.1")).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("header", "status"),
    [("Content-Length: 99999", 413), ("Transfer-Encoding: chunked", 411), ("Host: b", 400)],
)
def test_a_malformed_request_is_told_in_json(
    server: fail.Server, path: str, header: str, status: int
) -> None:
    reply = exchange(server, request(f"PUT {path} HTTP/1.1", "Accept: application/json", header))
    assert status_of(reply) == status
    assert b"\r\nContent-Type: application/json\r\n" in reply


def test_a_malformed_head_has_no_body_in_its_answer(server: fail.Server, path: str) -> None:
    reply = exchange(server, request(f"HEAD {path} HTTP/1.1", host=""))
    assert status_of(reply) == 400
    assert reply.endswith(b"\r\n\r\n")


def test_no_leave_to_send_a_body_that_is_too_long(server: fail.Server, path: str) -> None:
    asked = request(f"PUT {path} HTTP/1.1", "Expect: 100-continue", "Content-Length: 99999")
    assert status_of(exchange(server, asked)) == 413


def test_a_long_header_takes_no_more_than_it_is_long() -> None:
    def seconds(header: bytes) -> float:
        best = float("inf")
        for _ in range(5):
            stream = io.BufferedReader(io.BytesIO(b"GET / HTTP/1.1\r\n" + header + b"\0\r\n\r\n"))
            start = time.perf_counter()
            with pytest.raises(Problem, match="is no header"):
                read_head(stream)
            best = min(best, time.perf_counter() - start)
        return best

    for start, repeated in ((b"X:", b" "), (b"X: a", b" "), (b"X:", b" a"), (b"X:", b"a  "), (b"", b"X")):
        short, long = (seconds(start + repeated * count) for count in (500, 8000))
        assert long < 64 * short  # 16 times as long; the square of it would be 256


def test_what_the_server_did_not_expect(
    server: fail.Server, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(_connection, "read_name", lambda _: 1 / 0)
        assert exchange(server, request(f"GET {path} HTTP/1.1")) == b""
        until(lambda: not server._connections)
    assert caplog.messages == ["the HTTP endpoint failed"]
    assert "ZeroDivisionError" in caplog.text
    assert ask(server, "GET", path).status == 200


# --- forks ---

FORKING = """if True:
    import os, socket, sys, threading
    from failpy import fail
    import failpy._server

    fail.point("p")
    fail.enable("p", "off")  # imports what it needs, which the fork would else come in the middle of
    fail.disable("p")

    def sockets():
        found = []
        for each in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{each}")
            except OSError:
                continue
            if target.startswith("socket:"):
                found.append(target)
        return sorted(found)

    def fork(work):
        child = os.fork()
        if not child:
            try:
                work()
            finally:
                os._exit(0)
        return child
"""

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the test looks into /proc")


def forking(program: str, *arguments: str, **environ: str) -> Program:
    text = FORKING + program.replace("\n", "\n    ")
    # Python 3.12 warns of any fork beside threads.
    return Program(text, *arguments, PYTHONWARNINGS="ignore::DeprecationWarning", **environ)


@needs_proc
def test_a_forked_child_holds_no_socket_of_its_parent() -> None:
    program = """
server = fail.serve()
print(server.url, flush=True)
input()
def work():
    # In one piece: the parent writes at the same time.
    os.write(1, f"{sockets()} {server} {len(failpy._server._servers)}\\n".encode())
    server.close()
    sys.stdin.readline()
child = fork(work)
server.close()
os.write(1, b"closed\\n")
os.waitpid(child, 0)
"""
    with forking(program) as running:
        url = running.read()
        with connect(url) as sock, Client(url) as client, Stream(url) as stream:
            assert client.ask("GET", "/p").status == 200
            assert stream.line() == ""
            running.tell()
            said = sorted([running.read(), running.read()])
            assert said == [f"[] <Server at {url}, closed> 0", "closed"]
            assert read_all(sock) == b""  # while the child lives
            assert stream.line() is None
            with pytest.raises(ConnectionRefusedError):
                connect(url)
            with fail.serve(url.removeprefix("http://")) as server:  # the port is free
                assert server.url == url
        running.tell()
        assert running.end() == ""


def test_the_parent_goes_on_and_the_child_can_serve_its_own(tmp_path: Path) -> None:
    program = """
server = fail.serve(f"unix:{sys.argv[1]}/{{pid}}")
def work():
    mine = fail.serve(f"unix:{sys.argv[1]}/{{pid}}")
    print(mine.url, flush=True)
    sys.stdin.readline()
    mine.close()
child = fork(work)
print(server.url, flush=True)
os.waitpid(child, 0)
print(os.path.exists(server.url[5:]), flush=True)
"""
    with forking(program, str(tmp_path)) as running:
        urls = {running.read(), running.read()}
        pids = [ask_unix(url)["pid"] for url in urls]
        assert {f"unix:{tmp_path}/{pid}" for pid in pids} == urls
        running.tell()
        assert running.read() == "True"
        assert running.end() == ""
    assert list(tmp_path.iterdir()) == []


def ask_unix(url: str) -> Any:
    with Client(url) as client:
        return client.ask("GET", "/", **JSON).json


@needs_proc
def test_multiprocessing_forks_as_well() -> None:
    program = """
import multiprocessing
def work():
    print(sockets(), flush=True)
    server = fail.serve()
    print(server.url, flush=True)
    sys.stdin = open(0)
    sys.stdin.readline()
server = fail.serve()
print(server.url, flush=True)
child = multiprocessing.get_context("fork").Process(target=work)
child.start()
child.join()
print(child.exitcode, flush=True)
"""
    with forking(program) as running:
        url = running.read()
        inherited, theirs = running.read(), running.read()
        assert inherited == "[]"
        assert url != theirs
        for each in (url, theirs):
            with Client(each) as client:
                assert client.ask("GET", "/p").status == 200
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(10)


def test_a_fork_right_after_the_start() -> None:
    program = """if True:
        import os
        from failpy import fail
        server = fail.serve()
        child = os.fork()
        if not child:
            print(fail.serve().url, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        """
    with Program(program, seconds=20, PYTHONWARNINGS="ignore::DeprecationWarning") as running:
        assert running.read().startswith("http://")
        assert running.end() == ""


def test_what_a_child_does_to_the_servers_of_its_parent(
    path: str, tmp_path: Path, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the hook does, without a fork."""
    monkeypatch.setattr(_server, "_LOOK_UP", 0.05)  # the thread that accepts does not notice, here
    with fail.serve(f"unix:{tmp_path}/s") as server, connect(server) as sock:
        until(lambda: server._connections)
        _server._after_fork_in_child()
        assert not server._connections
        assert repr(server).endswith(", closed>")
        assert server not in _server._servers
        server.close()
        assert (tmp_path / "s").exists()  # it is the parent's
        sock.close()
        until(lambda: not threads())


def test_a_connection_that_was_closed_in_between(server: fail.Server) -> None:
    with connect(server):
        until(lambda: server._connections)
        for each in tuple(server._connections):
            os.close(each.detach())
        _server._after_fork_in_child()
        assert not server._connections


def test_terms_end_in_a_forked_child_too() -> None:
    program = """
import time
server = fail.serve()
print(server.url, flush=True)
input()
def work():
    while fail.status("p").terms:
        time.sleep(0.001)
    print("ended", flush=True)
os.waitpid(fork(work), 0)
"""
    with forking(program) as running:
        url = running.read()
        ask(url, "PUT", "/p?ttl=300ms", "off")
        running.tell()
        assert running.read() == "ended"
        assert running.end() == ""


# --- the environment ---

SERVING = """if True:
    import os, subprocess, sys
    from failpy import fail
    import failpy._startup
    fail.point("p")
    own = failpy._startup._own
    print(own and own.url, flush=True)
"""


def serving(program: str = "input()", *arguments: str, **environ: str) -> Program:
    return Program(SERVING + "    " + program.replace("\n", "\n    "), *arguments, **environ)


def test_the_environment_starts_it_at_import() -> None:
    with serving(FAILPY_HTTP=" 127.0.0.1:0 ") as running:
        url = running.read()
        assert url.startswith("http://127.0.0.1:")
        assert ask(url, "PUT", "/p", "off").status == 204
        assert ask(url, "GET", "/p").text == "off\n"
        running.tell()
        assert running.end() == f"the HTTP endpoint listens at {url}\n"  # said nowhere else
    with pytest.raises(ConnectionRefusedError):
        connect(url)


def test_without_it_nothing_is_started() -> None:
    for environ in ({}, {"FAILPY_HTTP": ""}, {"FAILPY_HTTP": " "}, {"FAILPY_HTTP_TOKEN": "x"}):
        with serving("", **environ) as running:
            assert running.read() == "None"
            assert running.end() == ""


def test_a_token_and_actions_of_the_environment(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/s"
    with serving(FAILPY_HTTP=address, FAILPY_HTTP_TOKEN="sésame", FAILPY_HTTP_ALLOW="exit,kill") as running:
        running.read()
        with Client(address, Authorization="Bearer sésame".encode().decode("latin-1")) as client:
            assert client.ask("PUT", "/p", "0*exit->0*kill").status == 204
            assert client.ask("PUT", "/p", "0*break").status == 403
        with Client(address) as client:
            assert client.ask("GET", "/p").status == 401
        running.tell()
        assert running.end() == ""


def test_what_the_environment_says_is_for_other_endpoints_too() -> None:
    program = "print(fail.serve().url, flush=True)\ninput()"
    with serving(program, FAILPY_HTTP_TOKEN="sesame", FAILPY_HTTP_ALLOW="exit") as running:
        assert running.read() == "None"
        url = running.read()
        assert ask(url, "GET", "/p").status == 401
        assert ask(url, "PUT", "/p", "0*exit", Authorization="Bearer sesame").status == 204
        running.tell()
        assert running.end() == ""


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"FAILPY_HTTP": "1234"}, "FAILPY_HTTP='1234' cannot be applied: '1234' is no address"),
        ({"FAILPY_HTTP": "0.0.0.0:0"}, "FAILPY_HTTP='0.0.0.0:0' cannot be applied"),
        ({"FAILPY_HTTP": "unix:"}, "FAILPY_HTTP='unix:' cannot be applied"),
        ({"FAILPY_HTTP": "unix:/no/such/place"}, "No such file or directory"),
        ({"FAILPY_HTTP_ALLOW": "exit,sleep"}, "FAILPY_HTTP_ALLOW"),
        ({"FAILPY_HTTP": "127.0.0.1:0", "FAILPY_HTTP_TOKEN": " "}, "FAILPY_HTTP_TOKEN"),
    ],
)
def test_what_is_malformed_stops_the_import(environ: dict[str, str], said: str) -> None:
    with serving("", **environ) as running:
        assert said in running.end()
        assert running.process.returncode == 1


def test_an_address_in_use_stops_the_import(server: fail.Server) -> None:
    with serving("", FAILPY_HTTP=server.address) as running:
        assert "somebody listens there already" in running.end()
        assert running.process.returncode == 1


CHILD = """
done = subprocess.run([sys.executable, "-c", sys.argv[1]], capture_output=True, text=True)
print(done.returncode, done.stdout.strip(), flush=True)
sys.stderr.write(done.stderr)
"""


def test_a_child_of_a_process_that_serves_only_warns() -> None:
    """Its parent has the address that it inherits."""
    program = "import failpy, failpy._startup; print(failpy._startup._own)"
    with fail.serve() as free:
        port = free.port
    address = f"127.0.0.1:{port}"
    with serving(CHILD, program, FAILPY_HTTP=address) as running:
        assert running.read() == f"http://{address}"
        assert running.read() == "0 None"
        said = running.end()
    assert f"FAILPY_HTTP='{address}': a process above this one listens there" in said
    assert "give each its own, such as unix:/run/app-{pid}.sock" in said


def test_a_child_with_a_socket_of_its_own(tmp_path: Path) -> None:
    program = "import os, failpy._startup as s; print(s._own.url.endswith(f'/{os.getpid()}'))"
    with serving(CHILD, program, FAILPY_HTTP=f"unix:{tmp_path}/{{pid}}") as running:
        assert running.read() == f"unix:{tmp_path}/{running.process.pid}"
        assert running.read() == "0 True"
        assert running.end() == ""
    assert list(tmp_path.iterdir()) == []


def test_a_forked_child_gets_a_socket_of_its_own(tmp_path: Path) -> None:
    program = """
def work():
    print(failpy._startup._own.url, flush=True)
    grandchild = fork(lambda: print(failpy._startup._own.url, flush=True) or sys.stdin.readline())
    os.waitpid(grandchild, 0)
import failpy._startup
print(failpy._startup._own.url, flush=True)
os.waitpid(fork(work), 0)
"""
    with forking(program, FAILPY_HTTP=f"unix:{tmp_path}/{{pid}}") as running:
        urls = [running.read() for _ in range(3)]
        assert len(set(urls)) == 3
        for url in urls:
            assert url == f"unix:{tmp_path}/{ask_unix(url)['pid']}"
        running.tell()
        assert running.end() == ""


def test_off_wins_and_says_so(tmp_path: Path) -> None:
    with serving("", FAILPY="off", FAILPY_HTTP=f"unix:{tmp_path}/s") as running:
        assert running.read() == "None"
        assert "FAILPY_HTTP has no effect" in running.end()
        assert running.process.returncode == 0
    assert list(tmp_path.iterdir()) == []


# --- the same in this process ---


@pytest.fixture
def starting(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is registered for forks; the server that is started is closed."""
    hooks: list[Any] = []
    monkeypatch.setattr(config, "http_token", None)
    monkeypatch.setattr(config, "http_allow", ())
    monkeypatch.setattr(_startup, "_own", None)
    monkeypatch.setattr(os, "register_at_fork", lambda **given: hooks.append(given["after_in_child"]))
    yield hooks
    for each in tuple(_server._servers):
        each.close()


def started() -> Server:
    assert _startup._own is not None
    return _startup._own


def test_starting(starting: list[Any], path: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "failpy")
    inherited: dict[str, str] = {}
    _startup.start({"FAILPY_HTTP": "127.0.0.1:0"}, inherited)
    assert ask(started(), "GET", path).status == 200
    assert caplog.messages == [f"the HTTP endpoint listens at {started().url}"]
    assert inherited == {"FAILPY_HTTP_SERVED": "127.0.0.1:0"}
    assert starting == []


def test_starting_what_the_environment_asks_for(starting: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "enabled", True)
    monkeypatch.setattr(config, "seed", None)
    monkeypatch.delenv("FAILPY_HTTP_SERVED", raising=False)
    monkeypatch.setenv("FAILPY_HTTP_SERVED", "")  # so that it is put back
    _environment.load({"FAILPY_HTTP": "127.0.0.1:0", "FAILPY_HTTP_TOKEN": "t", "FAILPY_HTTP_ALLOW": "exit"})
    assert ask(started(), "GET", "/").status == 401
    assert (config.http_token, config.http_allow) == ("t", ("exit",))


def test_starting_nothing(starting: list[Any]) -> None:
    _startup.start({"FAILPY_HTTP_ALLOW": "exit"}, {})
    assert _startup._own is None


def test_starting_where_a_process_above_listens(
    starting: list[Any], server: fail.Server, caplog: pytest.LogCaptureFixture
) -> None:
    inherited: dict[str, str] = {}
    _startup.start({"FAILPY_HTTP": server.address, "FAILPY_HTTP_SERVED": server.address}, inherited)
    assert _startup._own is None
    assert inherited == {}
    assert f"so process {os.getpid()} has no HTTP endpoint" in caplog.messages[0]
    for served in ("", "127.0.0.1:1"):
        with pytest.raises(fail.FailpointError, match="FAILPY_HTTP=.* cannot be applied: .* already"):
            _startup.start({"FAILPY_HTTP": server.address, "FAILPY_HTTP_SERVED": served}, inherited)


def test_starting_at_an_address_that_cannot_be(starting: list[Any]) -> None:
    with pytest.raises(fail.FailpointError, match="FAILPY_HTTP='x' cannot be applied: 'x' is no address"):
        _startup.start({"FAILPY_HTTP": "x"}, {})
    config.http_allow = ("sleep",)
    with pytest.raises(fail.FailpointError, match="FAILPY_HTTP_ALLOW or FAILPY_HTTP_TOKEN cannot be applied"):
        _startup.start({}, {})


def test_starting_again_in_a_forked_child(
    starting: list[Any], tmp_path: Path, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    _startup.start({"FAILPY_HTTP": f"unix:{tmp_path}/{{pid}}"}, {})
    first = started()
    first.close()
    (again,) = starting
    again()
    assert started() is not first
    with Client(started()) as client:
        assert client.ask("GET", path).status == 200
    again()  # now it is in use
    assert "a forked child has no HTTP endpoint: " in caplog.messages[0]
