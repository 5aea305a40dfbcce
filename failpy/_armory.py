"""The armory of a scope: the points armed in it, and the steering of their hits."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from failpy._actions import warn_if_blocking
from failpy._activation import Activation
from failpy._arming import Status, When, chain_for, disable, enable, status, statuses
from failpy._errors import ScopeError, WaitTimeout
from failpy._gate import Gate
from failpy._hit import Hit
from failpy._names import check_name
from failpy._order import Order, refuse_contradiction
from failpy._record import Record
from failpy._registry import declared, lock, settle, unknown
from failpy._scanner import MAX_SECONDS
from failpy._terms import Off, Term, Terms
from failpy._waiting import who_waits

__all__ = ["Armory"]


class Armory(Record):
    """What can be done with the points of a scope while it is open, and read of them afterwards."""

    __slots__ = ("_entered", "_orders")

    def __init__(self, seed: int | None) -> None:
        super().__init__(seed=seed)
        self._entered = False
        self._orders: list[Order] = []

    def _check_open(self, what: str) -> None:
        if not self._entered or self.closed:
            state = "is closed: open a new one" if self.closed else "is not open: enter it with `with` first"
            raise ScopeError(f"cannot {what}: the scope {state}")

    # --- arming ---

    def enable(self, name: str, terms: str | Term | Terms, *, when: When | None = None) -> None:
        """Arm a point in this scope, in place of what was armed there.

        Args:
            name: The point; one that is not declared yet is armed as soon as it is.
            terms: Text such as `3*return("hello")`, or typed terms.
            when: A predicate over the hit; where it is false the hit passes and consumes nothing.

        Raises:
            ScopeError: when the scope is not open.
            TermSyntaxError: when the text is malformed; what was armed stays armed.
            ReturnTypeError: when a `return` is not of the declared type.
            FailpointError: when the scope travels, and its terms would be too long for that.
        """
        chain = chain_for(name, terms)
        self._check_open(f"enable {name!r}")
        if self.propagation is not None:
            self.propagation.check(self, {name: chain.text if when is None else None})
        self._change(name, partial(enable, self, {name: chain}, when=when))

    def disable(self, name: str) -> None:
        """Disarm a point in this scope; what waits there goes on. Twice is no error.

        Raises:
            ScopeError: when the scope is not open.
            UnknownFailpoint: when nothing has declared or armed the name.
        """
        self._check_open(f"disable {name!r}")
        if not self._observe(name, instead=True):
            self.disarm(name)

    def disarm(self, name: str) -> None:
        """Disarm a point, ordered or not; what waits there goes on.

        Raises:
            UnknownFailpoint: when nothing has declared or armed the name.
        """
        self._change(name, partial(disable, self, name))

    def _change(self, name: str, change: Callable[..., None]) -> None:
        """Arm or disarm a point, and keep count of the hits of what was armed there."""
        gone: list[Activation] = []

        def part() -> None:  # while nobody else can arm or disarm
            gone.extend(filter(None, [self.activations.get(name)]))
            self._leave(gone)

        try:
            change(guard=part)
        finally:
            self._left(gone)

    def order(self, *names: str, timeout: float = 5.0) -> None:
        """Make the next hits of these points happen in this order, across threads and tasks.

        A hit that comes too early waits for its turn, before it counts and before its term acts. A
        point that is not armed in this scope is only observed: outer scopes still decide on it.

        Args:
            names: The points, at least two different ones; a name may come again.
            timeout: How long a hit waits for its turn at the most, in seconds; then it raises
                `WaitTimeout`, which says who is paused where.

        Raises:
            ScopeError: when the scope is not open.
            ValueError: when fewer than two points are named, or the timeout is not positive.
            Deadlock: when this order contradicts another of the scope.

        Examples:
            >>> from failpy import fail
            >>> with fail.scope() as scope:
            ...     scope.order("first", "second")
            ...     for name in ("first", "second"):
            ...         _ = fail.point(name).hit()
        """
        for name in names:
            check_name(name)
        if len(set(names)) < 2:
            raise ValueError(
                f"an order needs at least two different points, not {', '.join(map(repr, names)) or 'none'}"
            )
        _check_timeout(timeout)
        self._check_open("order hits")
        order = Order(names, timeout)
        with lock:
            refuse_contradiction((*self._orders, order))
            self._orders.append(order)
            for name in dict.fromkeys(names):
                self._observe(name)

    def orders_of(self, name: str) -> tuple[Order, ...]:
        """What a hit of this point waits for its turn in."""
        return tuple(order for order in self._orders if name in order.names)

    def _observe(self, name: str, *, instead: bool = False) -> bool:
        """Let an ordered point be seen, whether it is armed here or not.

        Args:
            name: The point.
            instead: Whether to put the observer in the place of what is armed, without a moment between.

        Returns:
            Whether the point is ordered.
        """
        stale = []
        with lock:
            orders = self.orders_of(name)
            if not orders or self.closed:
                return bool(orders)
            held = self.activations.get(name)
            if held is None or (instead and not held.passive):
                self.activations[name] = Activation(name, _OBSERVED, layer=self, orders=orders, passive=True)
                stale = settle(self, [name])
                self._leave(stale)
            else:
                held.orders = orders
        for activation in stale:
            activation.retire()
        self._left(stale)
        return True

    # --- waiting ---

    def wait_for_hit(self, name: str, nth: int = 1, timeout: float = 5.0) -> Hit[Any]:
        """Wait until a point armed in this scope has been hit.

        Args:
            name: The point.
            nth: Which hit since the point was enabled, from 1; one that has happened is given at once.
            timeout: How long to wait at the most, in seconds.

        Returns:
            The hit. If it is paused, `.resume()`, `.return_(value)` and `.raise_(exc)` decide it.

        Raises:
            WaitTimeout: when it did not happen in time; it says who is paused where.
            ScopeError: when the scope is not open, or the point not armed in it or disarmed meanwhile.
            UnknownFailpoint: when no code has declared the name and it is not armed.
            ValueError: when `nth` or `timeout` is not positive.
        """
        activation, gate = self._wait(name, nth, timeout)
        if gate is not None:
            warn_if_blocking(f"wait_for_hit({name!r})", "use `await scope.await_for_hit(...)` there")
        try:
            opened = gate is None or gate.block()
        finally:
            activation.wait_no_more(gate)
        return self._waited(activation, nth, gate, opened)

    async def await_for_hit(  # the timeout says who is paused where, which a cancellation cannot
        self,
        name: str,
        nth: int = 1,
        timeout: float = 5.0,  # noqa: ASYNC109
    ) -> Hit[Any]:
        """As `wait_for_hit`, leaving the event loop free."""
        activation, gate = self._wait(name, nth, timeout)
        try:
            opened = gate is None or await gate.park()
        finally:
            activation.wait_no_more(gate)
        return self._waited(activation, nth, gate, opened)

    def _wait(self, name: str, nth: int, timeout: float) -> tuple[Activation, Gate | None]:
        check_name(name)
        _check_nth(nth)
        _check_timeout(timeout)
        self._check_open(f"wait for {name!r}")
        activation = self.activations.get(name)
        if activation is None:
            if declared(name) is None:
                raise unknown(name)
            raise ScopeError(
                f"cannot wait for {name!r}: it is not armed in this scope, so its hits are not seen; "
                f"enable it first, with 'off' if nothing shall happen"
            )
        gate = Gate(timeout)
        return activation, gate if activation.wait_for(nth, gate) else None

    def _waited(self, activation: Activation, nth: int, gate: Gate | None, opened: bool) -> Hit[Any]:
        name = activation.name
        hits, _, _ = activation.counts  # at one moment: a hit that is counted is in the trace by then
        if not opened and hits < nth:
            raise WaitTimeout(
                f"hit {nth} of failpoint {name!r} did not happen in time: "
                f"it was hit {hits} times{who_waits()}"
            )
        if gate is not None and gate.outcome is not None:
            hit: Hit[Any] = gate.outcome
            return hit
        for hit in self._trace.now:
            if hit.point == name and hit.nth == nth and hit.activation is activation:
                return hit
        if opened and hits >= nth and hits > self._trace.most:
            raise ScopeError(
                f"hit {nth} of {name!r} is out of the trace, which has the last {self._trace.most:,} hits"
            )
        if opened and hits >= nth and self._unlisted():
            raise ScopeError(
                f"hit {nth} of {name!r} happened in another service, and its report has only the number of it"
            )
        raise ScopeError(
            f"cannot wait for hit {nth} of {name!r}: the point was disarmed or enabled anew meanwhile"
        )

    # --- reading, also after the scope has closed ---

    def status(self, name: str) -> Status:
        """What this scope knows of a point.

        Raises:
            UnknownFailpoint: when nothing has declared or armed the name.
        """
        return status(name, self._armed)

    def points(self) -> list[Status]:
        """The points that are armed in this scope, sorted by name."""
        return statuses(self._armed, declared_too=False)


_OBSERVED = Terms((Off(),))


def _check_nth(nth: object) -> None:
    if isinstance(nth, bool) or not isinstance(nth, int) or nth < 1:
        raise ValueError(f"nth must be a whole number from 1, not {nth!r}")


def _check_timeout(timeout: object) -> None:
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= MAX_SECONDS:
        raise ValueError(f"timeout must be a positive number of seconds, at most 292 years, not {timeout!r}")
