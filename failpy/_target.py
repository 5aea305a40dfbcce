"""The targets of the command line: where running programs listen, as a user or the environment says it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

import httpx

from failpy._complaint import Complaint, Unreachable
from failpy._literals import printable
from failpy._sockets import PID, listens, sockets_like

__all__ = ["Target", "Targets", "find_targets"]

_BARE = re.compile(r"(?:\[[^\]/]*\]|[^:/@\[\]]*):\d+")
_BETWEEN = re.compile(
    r"[\s,]+(?=unix:|https?://|(?:\[[^\]/\s,]*\]|[^:/@\[\]\s,]*):\d+(?:[\s,]|$))", re.IGNORECASE
)
_USERINFO = re.compile(r"(^|//)[^/]*@")
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


class Targets(NamedTuple):
    """What was named.

    Attributes:
        found: Each once, in the order in which they were named.
        several: Whether more than one was named, be they the same, or `{pid}` stands for any number.
        stale: The sockets that `{pid}` has found and at which nobody listens any more.
    """

    found: tuple[Target, ...]
    several: bool = False
    stale: tuple[str, ...] = ()


def find_targets(urls: Sequence[str], environ: Mapping[str, str]) -> Targets:
    """The targets that the option names, or else `FAILPY_URL`, or else the one that `FAILPY_HTTP` does.

    Args:
        urls: What the option was given, each time.
        environ: Where the variables are. Several addresses in `FAILPY_URL` have blanks or commas between.

    Raises:
        Complaint: when nothing names one, or when one is malformed.
        Unreachable: when there is no socket where `{pid}` stands for any.
    """
    if urls:
        return _targets(urls, "--url")
    for variable, split in (("FAILPY_URL", _split), ("FAILPY_HTTP", _alone)):
        if environ.get(variable, "").strip():
            return _targets(split(environ[variable]), variable)
    raise Complaint(
        "no program is named: give --url 127.0.0.1:1234 or --url unix:/run/app.sock, "
        "or set FAILPY_URL or FAILPY_HTTP"
    )


def _alone(text: str) -> list[str]:
    return [text]


def _split(text: str) -> list[str]:
    """Addresses, only where one begins: the path of a socket may have blanks and commas in it."""
    first, *more = _BETWEEN.split(text.strip())
    return [each.rstrip(", \t\n") for each in (first, *more)] if more else [text]


def _targets(given: Sequence[str], source: str) -> Targets:
    found: dict[str, Target] = {}
    stale: list[str] = []
    several = len(given) > 1
    for each in given:
        text = each.strip()
        if text.startswith("unix:") and PID in text:
            several = True
            paths = sockets_like(_path(text, source, each))
            live = [path for path in paths if listens(path)]
            stale += [f"unix:{printable(path)}" for path in paths if path not in live]
            if not live:
                raise Unreachable(
                    f"no process listens at {printable(text)}, whatever number {PID} is: "
                    "is the program running, with FAILPY_HTTP set to that?"
                )
            targets = [_socket(path) for path in live]
        else:
            targets = [_read(each, source)]
        for target in targets:
            found.setdefault(os.path.realpath(target.socket) if target.socket else target.text, target)
    return Targets(tuple(found.values()), several, tuple(stale))


def _read(given: str, source: str) -> Target:
    text = given.strip()
    if text.startswith("unix:"):
        return _socket(_path(text, source, given))
    if _BARE.fullmatch(text):
        host, _, port = text.rpartition(":")
        text = f"http://{_ANYWHERE.get(host.strip('[]'), host)}:{port}"
    if not text.lower().startswith(("http://", "https://")):
        way = "; give --url once for each of several" if len(_split(text)) > 1 else ""
        raise _malformed(source, given, _TAKES + way)
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


def _path(text: str, source: str, given: str) -> str:
    path = text.removeprefix("unix:")
    if not path or "\0" in path:
        raise _malformed(source, given, "a path is due after 'unix:'")
    return path


def _socket(path: str) -> Target:
    return Target(f"unix:{printable(path)}", "http://localhost", socket=path)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _malformed(source: str, given: str, reason: str) -> Complaint:
    shown = _USERINFO.sub(r"\1***@", given)  # there may be a password in it
    return Complaint(f"{source}={shown!r} is no address: {reason}")
