"""Where the HTTP endpoint listens: `127.0.0.1:1234`, `[::1]:0`, `unix:/run/app.sock`."""

from __future__ import annotations

import os
import re
import socket
import stat
from pathlib import Path
from typing import NamedTuple

from failpy._access import is_loopback
from failpy._errors import FailpointError

__all__ = ["Address", "InUseError", "read_address"]

_FORM = "give HOST:PORT, such as 127.0.0.1:1234, or unix:/path"
_BACKLOG = 128


class InUseError(FailpointError):
    """Somebody else listens at this address."""


class Address(NamedTuple):
    """An address as it was given.

    Attributes:
        host: A name or an IP address; empty for every interface, or for a unix socket.
        port: From 0, which lets the system choose, to 65535.
        path: The path of a unix socket, or None.
    """

    host: str
    port: int
    path: str | None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def listen(self) -> socket.socket:
        """A socket that listens there.

        Raises:
            InUseError: when somebody else does.
            FailpointError: when it cannot be, saying why.
        """
        try:
            return self._listen_tcp() if self.path is None else _listen_unix(self.path)
        except FailpointError:
            raise
        except OSError as exc:
            reason = exc.strerror or str(exc)
            raise FailpointError(
                f"the HTTP endpoint cannot listen at {self}: {reason}; choose another address"
            ) from exc

    def _listen_tcp(self) -> socket.socket:
        found = socket.getaddrinfo(
            self.host or None, self.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        # "localhost" may be both: IPv4 first, as most clients try that when the other is refused.
        family, kind, protocol, _, place = min(found, key=lambda each: each[0] != socket.AF_INET)
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
            listening.listen(_BACKLOG)
        except OSError as exc:
            listening.close()
            if isinstance(exc, PermissionError) or "in use" not in str(exc):
                raise
            raise InUseError(_in_use(self)) from exc
        return listening


def _in_use(address: Address) -> str:
    return (
        f"the HTTP endpoint cannot listen at {address}: somebody listens there already; choose another, and "
        "where several processes share the setting one of their own each, such as unix:/run/app-{pid}.sock"
    )


def _listen_unix(path: str) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise FailpointError("this system has no unix sockets: give HOST:PORT")
    listening = socket.socket(socket.AF_UNIX)
    try:
        _make_room(path)
        listening.bind(path)
        Path(path).chmod(0o600)  # before anybody can connect: it does not listen yet
        listening.listen(_BACKLOG)
    except BaseException:
        listening.close()
        raise
    return listening


def _make_room(path: str) -> None:
    """Take away the socket of a process that has ended; never one in use, and never another file."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FailpointError(
            f"the HTTP endpoint cannot listen at unix:{path}: a file that is no socket is there; "
            "take it away, or choose another path"
        )
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            Path(path).unlink(missing_ok=True)
            return
    raise InUseError(_in_use(Address("", 0, path)))


def read_address(text: str, *, token: bool) -> Address:
    """Read an address, and refuse one that is open to other machines without a token.

    `{pid}` in the path of a unix socket stands for the number of the process.

    Args:
        text: The address.
        token: Whether the endpoint asks for one.

    Raises:
        TypeError: when it is not a string.
        FailpointError: when it is no address, or open to others without a token.
    """
    if not isinstance(text, str):
        raise TypeError(f"the address of the HTTP endpoint must be a string, not {text!r}: {_FORM}")
    scheme, colon, path = text.partition(":")
    if scheme == "unix" and colon:
        if not path or "\0" in path:
            raise FailpointError(f"{text!r} has no path: give one, such as unix:/run/app.sock")
        return Address("", 0, path.replace("{pid}", str(os.getpid())))
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535:
        raise FailpointError(f"{text!r} is no address of an HTTP endpoint: {_FORM}")
    host = host[1:-1] if bracketed else host
    if (":" in host and not bracketed) or any(char in host for char in "/@ []"):
        raise FailpointError(f"{text!r} is no address of an HTTP endpoint: {_FORM}")
    address = Address(host, int(port), None)
    if not token and not (is_loopback(host) or host.lower() == "localhost"):
        raise FailpointError(
            f"an HTTP endpoint at {text!r} is open to other machines, and needs a token: set "
            f"FAILPY_HTTP_TOKEN or give token=, or listen at 127.0.0.1:{port}"
        )
    return address
