"""Who may ask the HTTP endpoint for what."""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import urlsplit

from failpy._config import config
from failpy._errors import FailpointError
from failpy._exchange import Problem, Request
from failpy._guarded import OVER_HTTP, check_several
from failpy._terms import Terms

__all__ = ["Access", "access_for", "is_loopback"]

_READING = ("GET", "HEAD", "OPTIONS")
_FORWARDED = re.compile("forwarded|via|x-forwarded-.*|.*-(client|connecting|real)-ip")


class Access(NamedTuple):
    """The rules of one endpoint.

    Attributes:
        token: What a client must show as `Authorization: Bearer`; None asks for nothing.
        allow: The guarded actions that may be armed.
        hosts: The names that `Host` may have, besides IP addresses where there is a token; None for any.
        peers: Whether to ask where a client is: without a token only those on this machine may come in.
    """

    token: str | None
    allow: frozenset[str]
    hosts: frozenset[str] | None
    peers: bool = False

    def check(self, request: Request) -> None:
        """Refuse what may not come in.

        Raises:
            Problem: with the status 400, 401 or 403.
        """
        self.check_way(request)
        _check_origin(request)
        if self.token is not None and not _shows(self.token, request.headers.get("authorization", "")):
            raise Problem(
                401,
                "the token is not that of this endpoint"
                if "authorization" in request.headers
                else "this endpoint needs its token: send it as 'Authorization: Bearer TOKEN'",
                headers=(("WWW-Authenticate", 'Bearer realm="failpy"'),),
            )

    def check_way(self, request: Request) -> None:
        """Refuse a client that comes from elsewhere, or by a name that some page has made lead here.

        Raises:
            Problem: with the status 403.
        """
        if self.token is None and self.peers:
            _check_peer(request)
        host = request.headers.get("host")
        if self.hosts is None or host is None:
            return
        name = _hostname(host)
        if name not in self.hosts and (self.token is None or not _is_ip(name)):
            raise Problem(
                403,
                f"the Host header {host!r} names no host of this endpoint: a page of another site may be "
                "behind the request; use the address it listens at, or start it with hosts=",
            )

    def known_as(self, names: Iterable[str]) -> Access:
        """The same rules, with more names that `Host` may have."""
        more = frozenset(map(_hostname, names)) - {""}
        return self._replace(hosts=more if self.hosts is None else self.hosts | more)

    def check_terms(self, terms: Mapping[str, Terms]) -> None:
        """Refuse actions that may not be armed over HTTP.

        Raises:
            Problem: with the status 403.
        """
        for name, chain in terms.items():
            for term in chain:
                if term.action in OVER_HTTP.actions and term.action not in self.allow:
                    raise Problem(
                        403,
                        f"failpoint {name!r}: {term.action} is not allowed over HTTP here: start the "
                        f"program with FAILPY_HTTP_ALLOW={term.action}, or the endpoint with "
                        f"allow=({term.action!r},)",
                    )


def access_for(
    *,
    token: str | None,
    allow: Iterable[str] | None,
    hosts: Iterable[str] | None,
    peers: bool = False,
) -> Access:
    """The rules, from what a program says and, where it says None, from the environment.

    Args:
        token: As for `failpy.serve`.
        allow: As for `failpy.serve`.
        hosts: As for `failpy.serve`.
        peers: Whether, without a token, a client must be on this machine.

    Raises:
        FailpointError: when the token is empty, or an action is none of those that can be allowed.
        TypeError: when something is of the wrong type.
    """
    token = config.http_token if token is None else token
    if token is not None and not isinstance(token, str):
        raise TypeError(f"token must be a string, not {type(token).__name__}")
    if token is not None and (not token.strip() or not token.isprintable() or token != token.strip()):
        raise FailpointError(
            "the token of the HTTP endpoint is empty, or has white space around it or a control character: "
            "give a long random one, such as from secrets.token_urlsafe()"
        )
    check_several(allow=allow, hosts=hosts)
    for name in hosts or ():
        if not isinstance(name, str):
            raise TypeError(f"hosts must be names, not {name!r}")
    actions = config.http_allow if allow is None else tuple(allow)
    OVER_HTTP.check(actions)
    return Access(token, frozenset(actions), None, peers).known_as((*_LOCAL, *(hosts or ())))


_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_loopback(address: str | None) -> bool:
    """Whether this is an address of the machine itself."""
    return address is not None and _is_ip(address) and ip_address(address.partition("%")[0]).is_loopback


def _is_ip(name: str) -> bool:
    try:
        ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _hostname(host: str) -> str:
    """The name in a `Host` header, without its port and the brackets of IPv6."""
    if host.count(":") > 1 and not host.startswith("["):  # a bare IPv6 address
        return host.lower()
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _shows(token: str, authorization: str) -> bool:
    scheme, _, shown = authorization.partition(" ")
    # Servers read headers as latin-1, whatever the client meant.
    given = shown.strip(" \t").encode("latin-1", "replace")
    return scheme.lower() == "bearer" and hmac.compare_digest(given, token.encode())


def _check_origin(request: Request) -> None:
    """No page of another site may do anything here, nor read it."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "none")
    own = request.headers.get("host", "").lower()
    foreign = origin is not None and (not own or origin.lower().partition("://")[2] != own)
    if site not in ("none", "same-origin"):
        # Following a link to the page is no danger: it is read by who follows it.
        reading = request.method in _READING and request.headers.get("sec-fetch-mode") == "navigate"
        foreign = foreign or not reading
    if foreign:
        raise Problem(
            403,
            f"a page of another origin ({origin or site}) asks for this, and none may: open the page here",
        )


def _check_peer(request: Request) -> None:
    forwarded = [name for name in request.headers if _FORWARDED.fullmatch(name)]
    if forwarded or not is_loopback(request.peer):
        via = (
            f"by way of a proxy ({forwarded[0]})"
            if forwarded
            else f"from {request.peer or 'an unknown peer'}"
        )
        raise Problem(
            403,
            f"the request comes {via}, and without a token only this machine may ask: mount the endpoint "
            "with token=, or set FAILPY_HTTP_TOKEN",
        )
