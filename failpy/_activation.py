"""Terms enabled for one point in one layer, as they run: counts left, draws, hits that wait."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from threading import RLock
from typing import Any

from failpy._actions import Step, waited, warn_if_blocking
from failpy._allowance import Allowance
from failpy._context import Layer, find_from, muted
from failpy._gate import Gate
from failpy._hit import Hit
from failpy._observer import observing
from failpy._order import Order
from failpy._telemetry import INFO, TRACE, telemetry
from failpy._terms import Terms
from failpy._turns import Turns

__all__ = ["Activation"]

_modules = sys.modules
_new = object.__new__
_INSTEAD = "use `async with` or `await ...ahit()` there, or decorate an async function"


class _Retired(Exception):  # noqa: N818 - it is no error
    """The hit is for what is armed in place of this activation, if anything is.

    Args:
        successor: That.
    """

    def __init__(self, successor: Activation | None) -> None:
        super().__init__()
        self.successor = successor


class Activation:
    """The running state of terms enabled for one point in one layer.

    Args:
        name: The point.
        terms: The chain, resolved.
        when: A predicate over the hit; where it is false the hit passes and consumes nothing.
        layer: Where it is enabled. Kept weakly, so that a scope nobody closes can still be collected.
        orders: What a hit waits for its turn in.
        passive: Whether it only observes, and the hit is then for what an outer layer has armed.

    Attributes:
        revision: Which change of the layer this is.
    """

    __slots__ = (
        "_allowance",
        "_gates",
        "_layer",
        "_lock",
        "_retired",
        "_steps",
        "_waiters",
        "fired",
        "hits",
        "missed_before",
        "name",
        "orders",
        "passive",
        "refused",
        "revision",
        "selected",
        "terms",
        "when",
    )

    def __init__(
        self,
        name: str,
        terms: Terms,
        *,
        when: Callable[[Hit[Any]], object] | None = None,
        layer: Layer,
        orders: tuple[Order, ...] = (),
        passive: bool = False,
    ) -> None:
        self.name = name
        self.orders = orders
        self.passive = passive
        self.missed_before = 0
        self.revision = layer.revision + 1
        self.terms = terms
        self.when = when
        self.hits = 0
        self.selected = 0
        self.fired = 0
        self.refused = 0
        self._layer = weakref.ref(layer)
        self._retired = False
        # Reentrant: a signal handler may hit the point while its own thread is choosing.
        self._lock = RLock()
        self._gates: dict[Gate, Hit[Any]] = {}
        self._waiters: list[tuple[int, Gate]] = []
        self._steps = tuple([Step(i, term, terms) for i, term in enumerate(terms)])
        self._allowance = Allowance(terms)

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many hits there were, were selected for, and fired: at one moment."""
        with self._lock:
            return self.hits, self.selected, self.fired

    @property
    def layer(self) -> Layer | None:
        """Where it is enabled; None when that is gone."""
        return self._layer()

    @property
    def paused(self) -> int:
        """How many hits wait at a `pause` now."""
        with self._lock:
            return sum(hit.term.action == "pause" for hit in self.waiting)

    def hit(
        self,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Hit[Any] | None:
        """Evaluate the terms for one hit, in this thread.

        Returns:
            The hit when it diverts execution: then its error, if it has one, is to be raised, else
            its value returned. None when execution goes on.
        """
        try:
            hit = self._in_turn(args, kwargs, values) if self.orders else self._begin(args, kwargs, values)
        except _Retired as retired:
            return None if retired.successor is None else retired.successor.hit(args, kwargs, values)
        if hit is None or (hit.diverted and hit.error is None):
            return hit
        at: Activation = hit.activation  # another than this one, if this one was replaced meanwhile
        if hit.gate is not None:
            try:
                if hit.gate.seconds:
                    warn_if_blocking(f"{hit.term} at failpoint {hit.point!r}", _INSTEAD)
                waited(hit, hit.gate.block())
            finally:
                at._gates.pop(hit.gate, None)
        if at.passive:
            outer = at._outer()
            return None if outer is None else outer.hit(args, kwargs, values)
        if hit.awaitable is not None:
            hit.settle()
        if hit.error is not None:
            at._tell(hit)
        return hit if hit.diverted else None

    def _in_turn(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, values: Mapping[str, Any] | None
    ) -> Hit[Any] | None:
        """The same as `_begin` when it is its turn, in every order that names the point."""
        turns = Turns(self.orders, self.name)
        if turns.barred:
            return None
        try:
            for gate in turns:
                if turns.long:
                    warn_if_blocking(f"the turn of failpoint {self.name!r} in an order", _INSTEAD)
                turns.came(gate, gate.block())
            return turns.through(self._begin(args, kwargs, values))
        finally:
            turns.leave()

    async def ahit(
        self,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        values: Mapping[str, Any] | None = None,
    ) -> Hit[Any] | None:
        """The same in a task: it waits without holding up the event loop."""
        try:
            if self.orders:
                turns = Turns(self.orders, self.name)
                try:
                    for gate in turns:
                        turns.came(gate, await gate.park())
                    hit = turns.through(self._begin(args, kwargs, values))
                finally:
                    turns.leave()
            else:
                hit = self._begin(args, kwargs, values)
        except _Retired as retired:
            return None if retired.successor is None else await retired.successor.ahit(args, kwargs, values)
        if hit is None or (hit.diverted and hit.error is None):
            return hit
        at: Activation = hit.activation
        if hit.gate is not None:
            try:
                waited(hit, await hit.gate.park())
            finally:
                at._gates.pop(hit.gate, None)
        if at.passive:
            outer = at._outer()
            return None if outer is None else await outer.ahit(args, kwargs, values)
        if hit.awaitable is not None:
            await hit.asettle()
        if hit.error is not None:
            at._tell(hit)
        return hit if hit.diverted else None

    def _outer(self) -> Activation | None:
        layer = self._layer()
        return None if layer is None else find_from(layer.parent, self.name)

    def _tell(self, hit: Hit[Any]) -> None:
        """Tell of the exception that this hit is about to raise."""
        layer = self._layer()
        if layer is not None:
            assert hit.error is not None
            layer.injected(hit, hit.error)
            for observer in observing.now:
                observer.injected(hit, hit.error, layer)

    def _begin(  # noqa: C901, PLR0912 - measured: each call that it is made of takes 5 to 10 % of a hit
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None, values: Mapping[str, Any] | None
    ) -> Hit[Any] | None:
        """Count a hit and begin what its term does; None when it is no hit after all.

        Raises:
            _Retired: when it was re-armed or disarmed since it was looked up.
        """
        hit: Hit[Any] = _new(Hit)  # measured: the call of the class takes half as long again
        hit.activation = self
        hit.args, hit._kwargs, hit._values = args, kwargs, values
        hit.nth, hit.diverted = 0, False
        hit.step = hit.value = hit.error = hit.gate = hit.awaitable = None
        hit.in_thread = hit.task = hit.ending = None
        if self.when is not None and not self._wants(hit):
            return None
        # Measured: `with` takes more than twice as long. What a signal handler raises comes after the lock
        # was taken, or before; only then it cannot be released.
        try:
            self._lock.acquire()
        except BaseException:
            try:  # noqa: SIM105 - the next signal would come before the body of a `with`
                self._lock.release()
            except RuntimeError:
                pass
            raise
        try:
            if self._retired:
                raise self._retirement()
            self.hits = hit.nth = self.hits + 1
            # The first step whose modifiers allow it. The loop ends in a statement, and not in the `if`: from
            # there CPython 3.12 and 3.13 jump back outside of the `try`, and that is where a signal comes.
            step = None
            for step in self._steps:
                if not step.modifiers or self._allowance.takes(step, self._seed):
                    break
                step = None  # noqa: PLW2901 - as above
            if step is not None:
                hit.step = step
                self.selected += 1
                if step.fires:
                    self.fired += 1
                if step.seconds is not None:
                    hit.gate = Gate(step.seconds)
                    self._gates[hit.gate] = hit
            layer = self._layer()
            if layer is not None:
                layer.record(hit)
            if observing.now and not self.passive:
                for observer in observing.now:
                    observer.hit(hit, layer)
            if self._waiters:
                self._tell_waiters(hit)
        finally:
            self._lock.release()
        if step is not None and step.fires:
            # Measured: where nobody listens, to ask takes 5 % of a hit, and a call would take as much again.
            if telemetry.levels.get(INFO) is not False or TRACE in _modules:
                self._tell_program(hit)
            if step.effect is not None:
                step.effect(hit, step.term)
        return hit

    def _tell_program(self, hit: Hit[Any]) -> None:
        """Tell the logs and traces of the program that this hit fires, before it does what may never end."""
        if self._lock._is_owned():  # type: ignore[attr-defined] # a signal handler came while it was held
            return
        try:
            telemetry.tell(hit)
        except BaseException:
            if hit.gate is not None:
                self._gates.pop(hit.gate, None)
            raise

    def _wants(self, hit: Hit[Any]) -> bool:
        """Whether the predicate lets it be a hit."""
        assert self.when is not None
        with muted():
            wanted = self.when(hit)
            if hasattr(type(wanted), "__await__"):
                getattr(wanted, "close", lambda: None)()
                raise TypeError(
                    f"the when= of failpoint {self.name!r} gave an awaitable: give a plain function"
                )
            if wanted:
                return True
        with self._lock:
            self.refused += 1
        return False

    def _retirement(self) -> _Retired:
        """What a hit is told that comes too late."""
        layer = self._layer()
        successor = find_from(layer, self.name)
        return _Retired(None if successor is self else successor)

    def resume(self, hits: int) -> None:
        """Use up what so many hits have used up elsewhere, and count none of them here."""
        with self._lock:
            for _ in range(hits):
                next((each for each in self._steps if self._allowance.takes(each, self._seed)), None)

    def step(self, index: int) -> Step | None:
        """The term of this place in the chain, if there is one."""
        return self._steps[index] if 0 <= index < len(self._steps) else None

    def reported(self, told: Sequence[Hit[Any]], hits: int, selected: int, fired: int) -> None:
        """Count hits that happened in another process.

        Args:
            told: Those that there is more to say of, in order.
            hits: How many there were.
            selected: For how many a term was selected.
            fired: How many fired.
        """
        with self._lock:
            for nth, hit in enumerate(told, self.hits + 1):
                hit.nth = nth
            self.hits += hits
            self.selected += selected
            self.fired += fired
            for hit in told:
                self._tell_waiters(hit)
            untold = [waiter for waiter in self._waiters if waiter[0] <= self.hits]
            for waiter in untold:
                self._waiters.remove(waiter)
                waiter[1].open()

    def _tell_waiters(self, hit: Hit[Any]) -> None:
        for nth, gate in tuple(self._waiters):
            if nth <= hit.nth:
                self._waiters.remove((nth, gate))
                gate.open(hit)

    def wait_for(self, nth: int, gate: Gate) -> bool:
        """Let the gate be opened by the nth hit. False when that has happened already."""
        with self._lock:
            if self.hits < nth and not self._retired:
                self._waiters.append((nth, gate))
                return True
            return False

    def wait_no_more(self, gate: Gate | None) -> None:
        """Forget the gate."""
        with self._lock:
            self._waiters = [waiter for waiter in self._waiters if waiter[1] is not gate]

    def _seed(self) -> str:
        # Of the seed and the name, so that the draws of one point are the same whatever others do.
        layer = self._layer() or Layer(seed=0)
        return f"{layer.seed}:{layer.salt}{self.name}"

    def retire(self) -> None:
        """Choose no more terms, and let go of every hit that waits here."""
        with self._lock:
            self._retired = True
            gates = (*self._gates, *(gate for _, gate in self._waiters))
        for gate in gates:
            gate.open()

    @property
    def waiting(self) -> list[Hit[Any]]:
        """The hits that sleep or are paused here now."""
        with self._lock:
            return list(self._gates.values())

    def forget_threads(self) -> None:
        """In a forked child: no other thread is left to hold the lock or to wait."""
        self._lock = RLock()
        self._gates.clear()
        self._waiters.clear()
        for order in self.orders:
            order.forget_threads()
