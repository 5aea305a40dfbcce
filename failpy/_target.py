"""The target of the command line: where a running program listens, as a user or the environment says it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import httpx

from failpy._complaint import Complaint
from failpy._literals import printable

__all__ = ["Target", "find_target"]

_BARE = re.compile(r"(?:\[[^\]/]*\]|[^:/@\[\]]*):\d+")
# What a server binds to listen on every interface is nothing to connect to.
_ANYWHERE = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - nothing is bound here
_TAKES = "it is none of HOST:PORT, http://HOST:PORT, https://HOST and unix:/PATH"


@dataclass(frozen=True)
class Target:
    """Where an endpoint is.

    Attributes:
        text: As a person reads it, without a password.
        base: What every path is appended to; without a slash at the end.
        socket: The path of the unix socket, or None.
        local: Whether it is on this machine, with no proxy on the way.
    """

    text: str
    base: str
    socket: str | None = None
    local: bool = True


def find_target(url: str | None, environ: Mapping[str, str]) -> Target:
    """The target that the option names, or else `FAILPY_URL`, or else `FAILPY_HTTP`.

    Raises:
        Complaint: when nothing names one, or when it is malformed.
    """
    if url is not None:
        return _read(url, "--url")
    for variable in ("FAILPY_URL", "FAILPY_HTTP"):
        if environ.get(variable, "").strip():
            return _read(environ[variable], variable)
    raise Complaint(
        "no program is named: give --url 127.0.0.1:1234 or --url unix:/run/app.sock, "
        "or set FAILPY_URL or FAILPY_HTTP"
    )


def _read(given: str, source: str) -> Target:
    text = given.strip()
    if text.startswith("unix:"):
        return _unix(text.removeprefix("unix:"), source, given)
    if _BARE.fullmatch(text):
        host, _, port = text.rpartition(":")
        text = f"http://{_ANYWHERE.get(host.strip('[]'), host)}:{port}"
    if not text.lower().startswith(("http://", "https://")):
        raise _malformed(source, given, _TAKES)
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError) as exc:
        raise _malformed(source, given, printable(exc)) from None
    if not url.host:
        raise _malformed(source, given, "it has no host")
    if url.port is not None and not 0 < url.port < 65536:
        raise _malformed(source, given, "a port is a number from 1 to 65535: give the one that it listens at")
    if url.query or url.fragment:
        raise _malformed(source, given, "leave out what follows '?' or '#', and give a token as --token")
    shown = str(url.copy_with(userinfo=b"")).rstrip("/")
    return Target(shown, str(url).rstrip("/"), local=_is_loopback(url.host))


def _unix(path: str, source: str, given: str) -> Target:
    if not path or "\0" in path:
        raise _malformed(source, given, "a path is due after 'unix:'")
    if "{pid}" in path:
        raise _malformed(source, given, "give --url with the process ID of the program in place of {pid}")
    return Target(f"unix:{printable(path)}", "http://localhost", socket=path)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _malformed(source: str, given: str, reason: str) -> Complaint:
    return Complaint(f"{source}={given!r} is no address: {reason}")
