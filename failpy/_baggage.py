"""W3C Baggage: the member in which a scope travels, in a header and in the context of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Self
from urllib.parse import unquote

from failpy._signing import Refused

__all__ = ["HEADER", "MEMBER", "Carried", "attach", "detach", "member_of", "with_member"]

HEADER = "baggage"
MEMBER = "failpy"
_LONGEST = 8192  # of W3C Baggage, 3.3.2: what every platform has to carry


def member_of(headers: Iterable[str]) -> str | None:
    """What failpy's member says in these headers of one request; None when there is none, or it is empty.

    Raises:
        Refused: when it is there and cannot be read.
    """
    found: dict[str, None] = {}
    for header in headers:
        if MEMBER not in header:
            continue
        mine = list(_values(header))
        if mine and len(header) > _LONGEST:
            raise Refused(f"the header has {len(header):,} characters, and {_LONGEST:,} are the most")
        found.update(dict.fromkeys(filter(None, mine)))
    if len(found) > 1:
        raise Refused("it is there more than once")
    return next(iter(found), None)


def with_member(header: str | None, value: str) -> str:
    """The header with failpy's member in it, in place of the one that it has."""
    others = [
        member.strip() for member in (header or "").split(",") if member.partition("=")[0].strip() != MEMBER
    ]
    return ",".join([*filter(None, others), f"{MEMBER}={value}"])


def _values(header: str) -> Iterable[str]:
    for member in header.split(","):
        key, _, value = member.partition("=")
        if key.strip() == MEMBER:
            value = value.partition(";")[0].strip()  # what follows are its properties
            yield unquote(value) if "%" in value else value


class Carried(str):
    """A value of baggage that is made anew each time OpenTelemetry writes it down.

    A plain string would say what was armed when the scope opened, and expire while that is open. As a
    string it is empty, so that one who copies it into a span has nothing in it that could be replayed.

    Args:
        make: Gives the value of the moment.
    """

    __slots__ = ("make",)
    make: Callable[[], str]

    def __new__(cls, make: Callable[[], str]) -> Self:
        """An empty string that knows how to be made."""
        carried = super().__new__(cls)
        carried.make = make
        return carried

    def __str__(self) -> str:
        return self.make()

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)


@cache  # to look for what is not installed takes long
def _api() -> tuple[Any, Any] | None:
    """OpenTelemetry's baggage and context, if they are installed: the extra `otel`."""
    try:
        from opentelemetry import baggage, context
    except ImportError:
        return None
    return baggage, context


def attach(carried: Carried) -> object:
    """Put a value into the baggage of OpenTelemetry's current context, if OpenTelemetry is installed.

    Returns:
        The value that was there before, for `detach`.
    """
    api = _api()
    if api is None:
        return None
    baggage, context = api
    before: object = baggage.get_baggage(MEMBER)
    context.attach(baggage.set_baggage(MEMBER, carried))
    return before


def detach(carried: Carried, before: object) -> None:
    """Take the value out again, if it is in this context."""
    api = _api()
    if api is None:
        return
    baggage, context = api
    # Compared, not reset by token: OpenTelemetry logs an error where the exit comes in another context.
    if baggage.get_baggage(MEMBER) is carried:
        context.attach(
            baggage.remove_baggage(MEMBER) if before is None else baggage.set_baggage(MEMBER, before)
        )
