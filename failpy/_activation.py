"""Terms enabled for one point in one layer, and the evaluation of each hit by them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from failpy._actions import waited, warn_if_blocking
from failpy._context import find_from, muted
from failpy._gate import Gate
from failpy._hit import Hit
from failpy._observer import observing
from failpy._running import Running
from failpy._telemetry import INFO, TRACE, telemetry
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


class Activation(Running):
    """Terms enabled for one point in one layer, and what becomes of each hit."""

    __slots__ = ()

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
