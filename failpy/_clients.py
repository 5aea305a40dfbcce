"""Hooks for HTTP clients: they send the scope of this context along, and read what comes back."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeVar

from failpy._baggage import HEADER as BAGGAGE
from failpy._baggage import member_of, with_member
from failpy._context import current, muted
from failpy._feedback import HEADER as REPORT
from failpy._propagation import collect, tickets_of
from failpy._signing import Refused
from failpy._ticket import joined

__all__ = ["carry", "hook_httpx", "hook_requests", "merge_told"]

T = TypeVar("T")
_PUT = "_failpy_put"  # of a request: the header as it was made here, and what was there before


def hook_httpx(client: T) -> T:
    """Let a client of httpx send the scope of each request along, and merge what the response tells.

    A scope travels that was made with `propagate=True`, or came with the request that is worked on. Any
    host that the client asks gets it: give a client of its own to hosts that are not yours. Hooked twice,
    a client is hooked once.

    Args:
        client: An `httpx.Client` or an `httpx.AsyncClient`.

    Returns:
        The client.

    Raises:
        TypeError: when it is no client of httpx.
    """
    hooks: Any = getattr(client, "event_hooks", None)
    if not isinstance(hooks, dict) or not {"request", "response"} <= hooks.keys():
        raise TypeError(f"hook_httpx takes an httpx.Client or an httpx.AsyncClient, not {client!r}")
    for event, hook in (("request", _before), ("response", _after)):
        if hook not in hooks[event]:
            hooks[event].append(hook)
    return client


class _Done:
    """What an async client awaits after a hook that has nothing to wait for."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


_DONE = _Done()


def _before(request: Any) -> _Done:
    _carry(request)
    return _DONE


def _after(response: Any) -> _Done:
    told = response.headers.get(REPORT)
    if told:
        merge_told(told)
    return _DONE


def hook_requests(session: T) -> T:
    """Let a session of requests send the scope of each request along, and merge what the response tells.

    As `hook_httpx`, for the adapters that the session has now.

    Args:
        session: A `requests.Session`.

    Returns:
        The session.

    Raises:
        TypeError: when it is no session of requests.
    """
    adapters = getattr(session, "adapters", None)
    mount = getattr(session, "mount", None)
    if adapters is None or mount is None:
        raise TypeError(f"hook_requests takes a requests.Session, not {session!r}")
    for prefix, adapter in list(adapters.items()):
        if not isinstance(adapter, _Adapter):
            mount(prefix, _Adapter(adapter))
    return session


class _Adapter:
    """An adapter of requests around another: what the protocol of adapters has is `send` and `close`."""

    def __init__(self, inner: Any) -> None:
        vars(self)["_inner"] = inner

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send the request with the scope of this context."""
        _carry(request)
        response = self._inner.send(request, *args, **kwargs)
        told = response.headers.get(REPORT)
        if told:
            merge_told(told)
        return response

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # what pickle asks for before there is an adapter
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)  # such as `max_retries`


def _carry(request: Any) -> None:
    """Put the tickets of this context into a request, which may have those of another time it was sent."""
    headers = request.headers
    with muted():
        ours, before = vars(request).pop(_PUT, (None, None))
        if ours is not None and headers.get(BAGGAGE) == ours:  # sent again, perhaps in no scope any more
            del headers[BAGGAGE]
            if before is not None:
                headers[BAGGAGE] = before
        before = headers.get(BAGGAGE)
    if carry(headers):
        setattr(request, _PUT, (headers[BAGGAGE], before))


def carry(headers: Any) -> bool:
    """Put the tickets of this context into the header, unless OpenTelemetry has put them there.

    Returns:
        Whether there were any.
    """
    layer = current()
    with muted():
        before = headers.get(BAGGAGE)
        if before is not None and _has_member(before):
            return False
        tickets = joined(tickets_of(layer))
        if tickets:
            headers[BAGGAGE] = with_member(before, tickets)
        return bool(tickets)


def _has_member(header: str) -> bool:
    try:
        return member_of([header]) is not None
    except Refused:
        return True


def merge_told(told: str) -> bool:
    """Merge a report into the scopes of this context, or open ones; and whether it was for any."""
    layer = current()
    with muted():
        return collect([told], layer) > 0
