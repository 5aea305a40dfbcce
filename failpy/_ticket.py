"""Tickets: what a scope that travels says of itself, signed and good for a while."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from failpy._keys import LONGEST
from failpy._signing import Refused, by_signer, sign, verify

__all__ = ["HIGHEST", "NESTED", "Ticket", "joined", "separate", "signer_first"]

_KIND = "scope"
_BETWEEN = "~"

NESTED = 4
"""How many scopes in one another may come with a request."""

_SKEW = 60  # seconds that the clock of the service may be behind
HIGHEST = 2**128
"""What a seed has to be less than: long numbers take long."""


class Ticket(NamedTuple):
    """What one request knows of a scope that it belongs to.

    Attributes:
        scope: The identity of the scope, which what is told of it names.
        terms: The text of the terms, by the name of the point, which may begin with that of a service.
        seed: The seed of the scope.
        number: Which request of the scope this is: draws of each differ.
        expires: When it is good no more, in seconds of the Unix epoch.
    """

    scope: str
    terms: dict[str, str]
    seed: int
    number: int
    expires: int

    def text(self, keys: tuple[bytes, ...]) -> str:
        """It, signed."""
        return sign(_KIND, self, keys)

    @staticmethod
    def read(text: str, keys: tuple[bytes, ...]) -> Ticket:
        """The ticket in a signed text.

        Raises:
            Refused: when it is not good.
        """
        ticket = _sound(verify(_KIND, text, keys))
        left = ticket.expires - time.time()
        if left <= 0:
            raise Refused(f"it expired {-left:,.0f} s ago")
        if left > LONGEST + _SKEW:
            raise Refused(
                f"it is good for another {left:,.0f} s, and {LONGEST:,} are the most: compare the clocks"
            )
        return ticket


def signer_first(text: str, keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The keys, the first of them that which this ticket, which is good, was signed with.

    Who has sent it knows that key, and perhaps no other yet.
    """
    return by_signer(_KIND, text, keys)


def _sound(content: Any) -> Ticket:
    """What was signed is of a caller of ours, and perhaps of another version."""
    if not isinstance(content, list) or len(content) != len(Ticket._fields):
        raise Refused("it is signed, and no ticket")
    scope, terms, *numbers = content
    texts = terms.values() if isinstance(terms, dict) else (None,)
    is_said = all(isinstance(each, str) for each in (scope, *texts))
    if not is_said or not all(type(each) is int and abs(each) < HIGHEST for each in numbers):
        raise Refused("it is signed, and no ticket")
    return Ticket(*content)


def joined(tickets: list[str]) -> str:
    """Several tickets as one text: the scopes of one context, the outermost first."""
    return _BETWEEN.join(tickets)


def separate(text: str) -> list[str]:
    """The tickets in such a text.

    Raises:
        Refused: when there are too many.
    """
    tickets = text.split(_BETWEEN)
    if len(tickets) > NESTED:
        raise Refused(f"it has {len(tickets)} scopes in one another, and {NESTED} are the most")
    return tickets
