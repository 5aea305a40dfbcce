"""The HTTP endpoint on a server of its own, in threads of its own."""

from __future__ import annotations

import atexit
import logging
import os
import socket
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from threading import RLock, Thread
from types import TracebackType
from typing import Any, Self

from failpy._access import access_for
from failpy._address import Address, read_address
from failpy._connection import Connection
from failpy._context import declare_variable, mute_thread
from failpy._control import Control

__all__ = ["Server", "serve"]

_CONNECTIONS = 128
_LOOK_UP = 5.0  # where a shutdown does not wake who waits in `accept`
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 41\r\n"
    b"Connection: close\r\nRetry-After: 1\r\n\r\ntoo many connections are open: try again\n"
)

_log = logging.getLogger("failpy")


class Server:
    """A running HTTP endpoint. Leaving its `with` block closes it.

    Its threads are daemons, so that it never keeps a program alive, and no failpoint ever acts in them.
    A forked child does not have it: there its sockets are closed.
    """

    def __init__(self, listening: socket.socket, address: Address, control: Control) -> None:
        self._control = control
        self._lock = RLock()
        self._socket = listening
        listening.settimeout(_LOOK_UP)
        self._connections: set[socket.socket] = set()
        self._closed = False
        self._pid = os.getpid()
        self._file = None if address.path is None else Path(address.path).absolute()
        self._inode = None if self._file is None else self._file.stat().st_ino
        host, port = address.host, address.port
        if address.path is None:
            host, port = listening.getsockname()[:2]
        self._address = Address(host, port, address.path)
        self._thread = Thread(target=self._accept, name="failpy-http", daemon=True)
        _servers.add(self)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Server at {self.url}{', closed' if self._closed else ''}>"

    @property
    def address(self) -> str:
        """Where it listens: `127.0.0.1:1234` or `unix:/path`."""
        return str(self._address)

    @property
    def url(self) -> str:
        """The same as a URL: `http://127.0.0.1:1234`, or `unix:/path`."""
        return self.address if self._address.path is not None else f"http://{self.address}"

    @property
    def port(self) -> int:
        """The port, or 0 for a unix socket."""
        return self._address.port

    def close(self) -> None:
        """Stop listening, and end every connection. What is armed stays armed. Twice is no error."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            connections = tuple(self._connections)
        _servers.discard(self)
        for each in (self._socket, *connections):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits on it
        self._socket.close()
        self._unlink()

    def _unlink(self) -> None:
        file = self._file
        with suppress(OSError):
            if file is not None and self._pid == os.getpid() and file.stat().st_ino == self._inode:
                file.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        mute_thread()
        while not self._closed:
            try:
                connection, peer = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                if not self._closed:  # out of descriptors, perhaps, for a while
                    time.sleep(0.05)
                continue
            if not self._begin(connection, peer):
                with suppress(OSError):
                    connection.setblocking(False)
                    connection.send(_BUSY)
                self._drop(connection)

    def _begin(self, connection: socket.socket, peer: Any) -> bool:
        """Start a thread for the connection; False when there are too many."""
        with self._lock:
            if self._closed or len(self._connections) >= _CONNECTIONS:
                return False
            self._connections.add(connection)
        name = "failpy-http-connection"
        try:
            Thread(target=self._converse, args=(connection, peer), name=name, daemon=True).start()
        except RuntimeError:  # the system has no more
            return False
        return True

    def _drop(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def _converse(self, connection: socket.socket, peer: Any) -> None:
        mute_thread()
        try:
            Connection(connection, peer, self._control).run()
        except Exception:
            _log.exception("the HTTP endpoint failed")
        finally:
            self._drop(connection)

    def abandon(self) -> None:
        """In a forked child: close its copies of the sockets, which are the parent's."""
        self._lock = RLock()
        self._closed = True
        for each in (self._socket, *self._connections):
            with suppress(OSError):
                os.close(each.detach())
        self._connections.clear()


_servers: weakref.WeakSet[Server] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for server in tuple(_servers):
        server.abandon()
    _servers.clear()


def _at_exit() -> None:
    for server in tuple(_servers):
        server.close()


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)


def serve(
    address: str = "127.0.0.1:0",
    *,
    token: str | None = None,
    allow: Iterable[str] | None = None,
    hosts: Iterable[str] | None = None,
) -> Server:
    """Start the HTTP control endpoint in threads of its own. `FAILPY_HTTP` does it at import.

    Args:
        address: `HOST:PORT`, where port 0 lets the system choose, or `unix:/path`, where `{pid}` stands
            for the number of the process. A unix socket is open to the user of the process only.
        token: What clients must send as `Authorization: Bearer TOKEN`; `FAILPY_HTTP_TOKEN` unless given.
            An address that other machines can reach must have one.
        allow: Which of `exit`, `kill`, `call` and `break` may be armed; what `FAILPY_HTTP_ALLOW` says
            unless given.
        hosts: More names by which clients may call this host, in their `Host` header.

    Raises:
        FailpointError: when it cannot listen there, or without a token must not.

    Examples:
        >>> with serve() as server:  # doctest: +ELLIPSIS
        ...     print(server.url)
        http://127.0.0.1:...
    """
    access = access_for(token=token, allow=allow, hosts=hosts)
    place = read_address(address, token=access.token is not None)
    names = [place.host] if access.token is None else [place.host, socket.gethostname()]
    # A browser cannot be led to a unix socket, so there any name will do.
    access = access.known_as(names) if place.path is None else access._replace(hosts=None)
    declare_variable()  # an import, which no thread of the server must be in when the program forks
    listening = place.listen()
    try:
        return Server(listening, place, Control(access))
    except BaseException:
        listening.close()
        raise
