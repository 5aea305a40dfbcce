"""Terms enabled for one point in one layer, and each hit that they meet."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from threading import RLock, current_thread
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from failpy._actions import perform, seconds_to_wait, waited, warn_if_blocking
from failpy._context import Layer, find, muted
from failpy._gate import Gate, event_loop
from failpy._points import declared
from failpy._returns import check_value
from failpy._terms import Chance, Count, Off, Term, Terms

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from random import Random

__all__ = ["Activation", "Hit", "TraceEntry"]

T = TypeVar("T")

_NOTHING: Mapping[str, Any] = {}
_NOTE = "injected by failpoint "


class Hit(Generic[T]):
    """Execution reached an armed point. A block or an expression gets it only when `return` fired.

    Attributes:
        point: The name of the point.
        value: The value of the `return` that fired.
        nth: Which hit of the activation this is, from 1.
        term: The term that acts, or `Off()` when none was allowed.
        terms: The whole chain.
        args: The positional arguments of the decorated call, defaults filled in.
        kwargs: Every parameter of the decorated call that has a name to pass it by, however the
            caller passed it, and its other keyword arguments.
        values: What the code gave to `hit(...)` or `ahit(...)`.
    """

    __slots__ = (
        "_awaitable",
        "args",
        "diverted",
        "error",
        "gate",
        "kwargs",
        "nth",
        "point",
        "term",
        "terms",
        "value",
        "values",
        "waiting",
    )

    value: T

    def __init__(
        self, point: str, terms: Terms, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Mapping[str, Any]
    ) -> None:
        self.point = point
        self.terms = terms
        self.args = args
        self.kwargs = kwargs
        self.values = values
        self.nth = 0
        self.term: Term = _OFF
        self.value = None  # type: ignore[assignment]  # until a `return` fires
        self.error: BaseException | None = None
        self.diverted = False
        self.gate: Gate | None = None
        self.waiting: dict[Gate, Hit[Any]] | None = None
        self._awaitable: Awaitable[Any] | None = None

    def __repr__(self) -> str:
        return f"<Hit {self.nth} of {self.point!r}: {self.term}>"

    def leave(self) -> None:
        """Wait no more."""
        if self.waiting is not None and self.gate is not None:
            self.waiting.pop(self.gate, None)

    def divert(self, value: T) -> None:
        """Let the site return this value."""
        self.value = value
        self.diverted = True

    def inject(self, error: BaseException) -> None:
        """Let the site raise this exception, with a note (PEP 678) that says where it is from."""
        chain = "" if len(self.terms) == 1 else f", of {self.terms}"
        note = f"{_NOTE}{self.point!r}: hit {self.nth}, {self.term}{chain}"
        try:
            earlier = getattr(error, "__notes__", ())
            if earlier:  # the same instance was raised before
                error.__notes__ = [each for each in earlier if not each.startswith(_NOTE)]
            error.add_note(note)
        except Exception:  # noqa: S110 - a frozen exception takes no note, and is raised without
            pass
        self.error = error
        self.diverted = True

    def take_error(self) -> BaseException:
        """The exception to raise, which the hit then forgets: the two would keep each other alive."""
        error, self.error = self.error, None
        assert error is not None
        return error

    def answer(self, result: Any) -> None:
        """Take what a callable said: None lets execution pass, anything else is its `return`."""
        if hasattr(type(result), "__await__"):
            self._awaitable = result
        elif result is not None:
            point = declared(self.point)
            if point is not None:
                try:
                    check_value(self.point, point.returns, point.accepted, result, str(self.term))
                except TypeError as exc:
                    self.inject(exc)
                    return
            self.divert(result)

    def settle(self) -> Hit[T] | None:
        """The hit if it diverts execution, else None. For a site that cannot await."""
        if self._awaitable is not None:
            awaitable, self._awaitable = self._awaitable, None
            getattr(awaitable, "close", lambda: None)()
            self.inject(
                TypeError(
                    f"{self.term} at failpoint {self.point!r} gave an awaitable, and the site is not async: "
                    "give it a plain function, or use `async with` or `await ...ahit()` there"
                )
            )
        return self if self.diverted else None

    async def asettle(self) -> Hit[T] | None:
        """The same for a site that can."""
        if self._awaitable is not None:
            awaitable, self._awaitable = self._awaitable, None
            with muted():
                try:
                    result = await awaitable
                except Exception as exc:
                    self.inject(exc)
                else:
                    self.answer(result)
        return self if self.diverted else None


_OFF = Off()


class TraceEntry:
    """One hit in a scope's trace.

    Attributes:
        point: The name of the point.
        nth: Which hit of the activation, from 1.
        thread: The name of the thread.
        task: The name of the asyncio or trio task, or None.
    """

    __slots__ = ("_chosen", "nth", "point", "task", "thread")

    def __init__(self, hit: Hit[Any], chosen: Term | None) -> None:
        self.point = hit.point
        self.nth = hit.nth
        self.thread = current_thread().name
        self.task = _task_name()
        self._chosen = chosen

    @property
    def term(self) -> str:
        """The text of the term that acted, or `""` when none was allowed."""
        return "" if self._chosen is None else str(self._chosen)

    @property
    def action(self) -> str | None:
        """The action of that term, or None."""
        return None if self._chosen is None else self._chosen.action

    def __repr__(self) -> str:
        where = self.thread if self.task is None else f"{self.thread}, {self.task}"
        return f"<{self.point} #{self.nth} {self.term or 'passed'} in {where}>"


def _task_name() -> str | None:
    loop = event_loop()
    if loop == "trio":
        return str(sys.modules["trio"].lowlevel.current_task().name)
    task = sys.modules["asyncio"].current_task() if loop == "asyncio" else None
    return None if task is None else str(task.get_name())


class Activation:
    """The running state of terms enabled for one point in one layer.

    Args:
        name: The point.
        terms: The chain, resolved.
        when: A predicate over the hit; where it is false the hit passes and consumes nothing.
        layer: Where it is enabled. Kept weakly, so that a scope nobody closes can still be collected.
    """

    __slots__ = (
        "_gates",
        "_layer",
        "_left",
        "_lock",
        "_random",
        "_retired",
        "fired",
        "hits",
        "name",
        "selected",
        "terms",
        "when",
    )

    def __init__(
        self,
        name: str,
        terms: Terms,
        *,
        when: Callable[[Hit[Any]], object] | None,
        layer: Layer,
    ) -> None:
        self.name = name
        self.terms = terms
        self.when = when
        self.hits = 0
        self.selected = 0
        self.fired = 0
        self._layer = weakref.ref(layer)
        self._random: Random | None = None
        self._retired = False
        # Reentrant: a signal handler may hit the point while its own thread is choosing.
        self._lock = RLock()
        self._gates: dict[Gate, Hit[Any]] = {}
        self._left = {
            (i, j): modifier.count
            for i, term in enumerate(terms)
            for j, modifier in enumerate(term.modifiers)
            if isinstance(modifier, Count)
        }

    @property
    def paused(self) -> int:
        """How many hits wait at a `pause` now."""
        with self._lock:
            return sum(hit.term.action == "pause" for hit in tuple(self._gates.values()))

    def hit(
        self,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NOTHING,
        values: Mapping[str, Any] = _NOTHING,
    ) -> Hit[Any] | None:
        """Evaluate the terms for one hit, in this thread.

        Returns:
            The hit when it diverts execution: then its error, if it has one, is to be raised, else
            its value returned. None when execution goes on.
        """
        hit = self._begin(args, kwargs, values)
        if hit is None:
            return None
        if hit.gate is not None:
            try:
                warn_if_blocking(hit)
                waited(hit, hit.gate.block())
            finally:
                hit.leave()
        return hit.settle()

    async def ahit(
        self,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] = _NOTHING,
        values: Mapping[str, Any] = _NOTHING,
    ) -> Hit[Any] | None:
        """The same in a task: it waits without holding up the event loop."""
        hit = self._begin(args, kwargs, values)
        if hit is None:
            return None
        if hit.gate is not None:
            try:
                waited(hit, await hit.gate.park())
            finally:
                hit.leave()
        return await hit.asettle()

    def _begin(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], values: Mapping[str, Any]
    ) -> Hit[Any] | None:
        hit: Hit[Any] = Hit(self.name, self.terms, args, kwargs, values)
        if self.when is not None:
            with muted():
                if not self.when(hit):
                    return None
        with self._lock:
            retired = self._retired
            term = None if retired else self._admit(hit)
        if retired:
            # Re-armed or disarmed between the look-up and here: the hit is for what is there now.
            successor = find(self.name)
            return None if successor is None or successor is self else successor._begin(args, kwargs, values)
        if term is None:
            return None
        perform(hit)
        return hit

    def _admit(self, hit: Hit[Any]) -> Term | None:
        self.hits += 1
        hit.nth = self.hits
        term = self._choose()
        if term is not None:
            hit.term = term
            self.selected += 1
            self.fired += term.action != "off"
            seconds = seconds_to_wait(term)
            if seconds is not None:
                hit.gate = Gate(seconds)
                hit.waiting = self._gates
                self._gates[hit.gate] = hit
        layer = self._layer()
        if layer is not None:
            layer.record(hit, term)
        return term

    def _choose(self) -> Term | None:
        for i, term in enumerate(self.terms):
            for j, modifier in enumerate(term.modifiers):
                if isinstance(modifier, Chance):
                    if self._draw() >= modifier.probability:
                        break
                elif self._left[i, j] == 0:
                    break
                else:
                    self._left[i, j] -= 1
            else:
                return term
        return None

    def _draw(self) -> float:
        if self._random is None:
            from random import Random

            # Of the seed and the name, so that the draws of one point are the same whatever others do.
            layer = self._layer()
            self._random = Random(f"{layer.seed if layer is not None else 0}:{self.name}")
        return self._random.random()

    def retire(self) -> None:
        """Choose no more terms, and let go of every hit that waits here."""
        with self._lock:
            self._retired = True
            gates = tuple(self._gates)
        for gate in gates:
            gate.open()

    def forget_threads(self) -> None:
        """In a forked child: no other thread is left to hold the lock or to wait."""
        self._lock = RLock()
        self._gates.clear()
