"""The turns that one hit waits for, in every order that names its point."""

from __future__ import annotations

from collections.abc import Iterator
from threading import current_thread
from typing import TypeVar

from failpy._errors import WaitTimeout
from failpy._gate import Gate
from failpy._order import Order
from failpy._registry import declared, unknown
from failpy._waiting import who_waits

__all__ = ["Turns"]

T = TypeVar("T")


class Turns:
    """Iterating gives the gates to wait at, one order after the other.

    Args:
        orders: The orders.
        name: The point.
    """

    __slots__ = ("_arrived", "_happened", "_name", "_orders")

    def __init__(self, orders: tuple[Order, ...], name: str) -> None:
        self._orders = orders
        self._name = name
        self._arrived: list[tuple[Order, Gate | None]] = []
        self._happened = False

    def __iter__(self) -> Iterator[Gate]:
        for order in self._orders:
            gate = order.arrive(self._name)
            self._arrived.append((order, gate))
            if gate is not None:
                yield gate

    @property
    def long(self) -> bool:
        """Whether the wait for the latest turn may be long."""
        return self._arrived[-1][0].long

    @property
    def barred(self) -> bool:
        """Whether a hit that cannot wait is to pass, since who it waits for is this thread."""
        return any(order.bars(current_thread()) for order in self._orders)

    def came(self, gate: Gate, opened: bool) -> None:
        """Refuse to go on when the turn did not come in time."""
        order = self._arrived[-1][0]
        remaining = order.remaining  # once: others may go on meanwhile
        if not opened and remaining:
            due = remaining[0]
            happened = len(order.names) - len(remaining)
            stranger = "" if declared(due) is not None else f" ({unknown(due)})"
            raise WaitTimeout(
                f"failpoint {self._name!r} waited {gate.seconds:g} s for its turn in the order {order}, "
                f"where {due!r} is next, after {happened} of {len(order.names)}{stranger}: "
                f"let that be hit, or give the order a longer timeout{who_waits()}"
            )

    def through(self, hit: T | None) -> T | None:
        """Remember whether it was a hit at all."""
        self._happened = hit is not None
        return hit

    def leave(self) -> None:
        """Let the next ones go on."""
        for order, gate in self._arrived:
            order.done(self._name, happened=self._happened, gate=gate)
