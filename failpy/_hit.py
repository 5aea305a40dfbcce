"""One hit: execution reached an armed point, and what is to come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from failpy._context import muted
from failpy._errors import HitError
from failpy._gate import Gate
from failpy._registry import declared
from failpy._returns import check_value
from failpy._terms import Off, Raise, Term, Terms

if TYPE_CHECKING:
    from failpy._actions import Step

__all__ = ["Hit", "TraceEntry"]

T = TypeVar("T")

_NOTE = "injected by failpoint "
_NO_TERM = Off()


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
        thread: The name of the thread it happened in.
        task: The name of the asyncio or trio task, or None.
    """

    # Slots: thousands of hits are kept, and what a hit costs is mostly the memory it touches.
    __slots__ = (
        "_kwargs",
        "_values",
        "activation",
        "args",
        "awaitable",
        "diverted",
        "ending",
        "error",
        "gate",
        "in_thread",
        "nth",
        "step",
        "task",
        "value",
    )

    activation: Any
    awaitable: Awaitable[Any] | None
    ending: str | None
    in_thread: Thread | None
    task: str | None

    def __init__(
        self,
        activation: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        values: Mapping[str, Any] | None,
    ) -> None:
        self.activation = activation
        self.args = args
        self._kwargs: Mapping[str, Any] | None = kwargs
        self._values: Mapping[str, Any] | None = values
        self.nth = 0
        self.step: Step | None = None
        self.value: T = None  # type: ignore[assignment]  # until a `return` fires
        self.diverted = False
        self.error: BaseException | None = None
        self.gate: Gate | None = None
        self.in_thread = self.task = self.ending = self.awaitable = None

    # Most hits have none, and are spared an empty mapping each; one for all would be everybody's to change.

    @property
    def kwargs(self) -> Mapping[str, Any]:
        """The keyword arguments of the decorated call."""
        if self._kwargs is None:
            self._kwargs = {}
        return self._kwargs

    @property
    def values(self) -> Mapping[str, Any]:
        """What the code gave to `hit(...)` or `ahit(...)`."""
        if self._values is None:
            self._values = {}
        return self._values

    @property
    def point(self) -> str:
        """The name of the point."""
        name: str = self.activation.name
        return name

    @property
    def terms(self) -> Terms:
        """The whole chain."""
        terms: Terms = self.activation.terms
        return terms

    @property
    def term(self) -> Term:
        """The term that acts, or `Off()` when none was allowed."""
        return _NO_TERM if self.step is None else self.step.term

    @property
    def chosen(self) -> Term | None:
        """The term that acts, or None when none was allowed."""
        return None if self.step is None else self.step.term

    def __repr__(self) -> str:
        return f"<Hit {self.nth} of {self.point!r}: {self.term}>"

    @property
    def thread(self) -> str:
        """The name of the thread it happened in."""
        return "" if self.in_thread is None else self.in_thread.name

    def entry(self, end: str | None) -> TraceEntry:
        """It, as an entry of a trace.

        Args:
            end: What became of the exception that it injected.
        """
        chosen = self.chosen
        term, action = ("", None) if chosen is None else (str(chosen), chosen.action)
        return TraceEntry(self.point, self.nth, term, action, self.thread, self.task, end)

    # --- deciding what a paused hit does ---

    def resume(self) -> None:
        """Let a paused hit go on, as if nothing were there.

        Raises:
            HitError: when it is not paused, or not any more.
        """
        self._decide(None)

    def return_(self, value: Any = None) -> None:
        """Let a paused hit return this value.

        Raises:
            HitError: when it is not paused, or not any more.
            ReturnTypeError: when the value is not of the type the point declares.
        """
        self._check(value, f"return_({value!r})")
        self._decide(lambda: self.divert(value))

    def raise_(self, exc: BaseException | type[BaseException]) -> None:
        """Let a paused hit raise this exception.

        Raises:
            HitError: when it is not paused, or not any more.
            TypeError: when it is no exception.
        """
        error = Raise(exc).make()
        self._decide(lambda: self.inject(error))

    def _decide(self, outcome: Callable[[], None] | None) -> None:
        if self.gate is None or self.term.action != "pause":
            raise HitError(
                f"{self!r} is not paused, so there is nothing to decide: enable the point with `pause`"
            )
        if not self.gate.open(outcome):
            raise HitError(
                f"{self!r} is not paused any more: it was decided before, its point was disarmed, "
                "or its time was up; each hit is decided once"
            )

    # --- what becomes of it ---

    def _check(self, value: Any, source: object) -> None:
        point = declared(self.point)
        assert point is not None  # it has been hit
        check_value(self.point, point.returns, point.accepted, value, source)

    def divert(self, value: T) -> None:
        """Let the site return this value."""
        self.value = value
        self.diverted = True

    def inject(self, error: BaseException) -> None:
        """Let the site raise this exception, with a note (PEP 678) that says where it is from."""
        note = f"{_NOTE}{self.point!r}: hit {self.nth}, {_NO_TERM if self.step is None else self.step.words}"
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
            self.awaitable = result
        elif result is not None:
            try:
                self._check(result, self.term)
            except TypeError as exc:
                self.inject(exc)
            else:
                self.divert(result)

    def settle(self) -> None:
        """Refuse the awaitable that a callable gave at a site that cannot await."""
        awaitable, self.awaitable = self.awaitable, None
        getattr(awaitable, "close", lambda: None)()
        self.inject(
            TypeError(
                f"{self.term} at failpoint {self.point!r} gave an awaitable, and the site is not async: "
                "give it a plain function, or use `async with` or `await ...ahit()` there"
            )
        )

    async def asettle(self) -> None:
        """Wait for it at a site that can."""
        while self.awaitable is not None:
            awaitable, self.awaitable = self.awaitable, None
            with muted():
                try:
                    result = await awaitable
                except Exception as exc:
                    self.inject(exc)
                else:
                    self.answer(result)


class TraceEntry(NamedTuple):
    """One hit in a scope's trace.

    Attributes:
        point: The name of the point.
        nth: Which hit of the activation, from 1.
        term: The text of the term that acted, or `""` when none was allowed.
        action: Its action, or None.
        thread: The name of the thread.
        task: The name of the asyncio or trio task, or None.
        end: What became of the exception that was injected, or None.
        service: The name of the service that it happened in, or None when it was here.
    """

    point: str
    nth: int
    term: str
    action: str | None
    thread: str
    task: str | None
    end: str | None = None
    service: str | None = None

    def __str__(self) -> str:
        where = ", ".join(filter(None, (self.service, self.thread, self.task)))
        end = "" if self.end is None else f": {self.end}"
        return f"{self.point} #{self.nth} {self.term or 'passed'} in {where}{end}"
