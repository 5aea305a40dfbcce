"""Scopes: layers of activations that one context opens, and that end with it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from threading import Thread, current_thread
from types import TracebackType
from typing import Any, Self, TypeVar

from failpy._arming import Status, When, disable, enable, named_terms, release, status, statuses
from failpy._context import Layer, current, process, set_current
from failpy._errors import ScopeError
from failpy._gate import task_name
from failpy._grammar import as_terms
from failpy._hit import Hit, TraceEntry
from failpy._names import check_name
from failpy._registry import lock
from failpy._strict import verdict
from failpy._terms import Term, Terms
from failpy._wrapping import wrap

__all__ = ["Scope", "current_scope", "scope"]

F = TypeVar("F", bound=Callable[..., Any])

_TRACE_LENGTH = 10_000


class Scope(Layer):
    """A layer of activations seen only by the context that opens it and by what inherits that context.

    Made by `failpy.scope`. It is a context manager, an async one, and a decorator for functions,
    coroutines, generators and async generators, each call of which opens a scope of its own.
    """

    __slots__ = ("_armed", "_entered", "_strict", "_terms", "_threads", "_trace")

    def __init__(self, terms: Mapping[str, Terms], seed: int | None, strict: bool, threads: bool) -> None:
        super().__init__(seed=seed)
        self._terms = terms
        self._strict = strict
        self._threads = threads
        self._entered = False
        self._armed = self.activations
        # As recorded, on the way of a hit; made readable when somebody reads.
        self._trace: deque[tuple[str, int, Term | None, Thread, str | None]] = deque(maxlen=_TRACE_LENGTH)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self._entered else "not entered"
        armed = ";".join(f"{name}={activation.terms}" for name, activation in self._armed.items())
        return f"<Scope {state}{': ' if armed else ''}{armed}>"

    # --- steering ---

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
        """
        check_name(name)
        chain = as_terms(terms)
        self._check_open(f"enable {name!r}")
        enable(self, {name: chain}, when=when)

    def disable(self, name: str) -> None:
        """Disarm a point in this scope; what waits there goes on. Twice is no error.

        Raises:
            ScopeError: when the scope is not open.
            UnknownFailpoint: when nothing has declared or armed the name.
        """
        self._check_open(f"disable {name!r}")
        disable(self, name)

    def _check_open(self, what: str) -> None:
        if not self._entered or self.closed:
            state = "is closed: open a new one" if self.closed else "is not open: enter it with `with` first"
            raise ScopeError(f"cannot {what}: the scope {state}")

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

    @property
    def trace(self) -> list[TraceEntry]:
        """Every hit of a point armed here, in order; of very many, the last 10,000."""
        return [
            TraceEntry(
                point,
                nth,
                "" if term is None else str(term),
                None if term is None else term.action,
                thread.name,
                task,
            )
            for point, nth, term, thread, task in tuple(self._trace)
        ]

    def record(self, hit: Hit[Any], chosen: Term | None) -> None:
        """Add a hit to the trace."""
        self._trace.append((hit.point, hit.nth, chosen, current_thread(), task_name()))

    # --- opening and closing ---

    def open(self) -> None:
        """Arm the points, without making this the scope of any context."""
        with lock:
            if self._entered:
                raise ScopeError(
                    "this scope has already been entered: a scope is used once, so make a new one"
                )
            self._entered = True
        parent = current()
        self.parent = parent.open_ancestor() if parent.closed else parent
        try:
            enable(self, self._terms)
        except BaseException:
            self.closed = True
            raise

    def close(self) -> None:
        """Disarm the points and wake what waits at them. The scope is inert wherever a context keeps it."""
        with lock:
            self.closed = True
            self._armed = dict(self.activations)
            gone = release(self, self._armed)
        for activation in gone:
            activation.retire()

    def finish(self, failed: bool) -> None:
        """Close, and raise what a strict scope has to say unless its block failed by itself."""
        __tracebackhide__ = True
        self.close()
        if self._strict and not failed:
            error = verdict(self._armed, self.seed)
            if error is not None:
                raise error

    def __enter__(self) -> Self:
        self.open()
        set_current(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        # Compared, not reset by token: the exit may come in another context, or out of order.
        if current() is self:
            set_current(self.open_ancestor())
        self.finish(failed=exc is not None)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.__exit__(kind, exc, tb)

    def __del__(self) -> None:
        if self._entered and not self.closed and self.activations:
            import warnings

            warnings.warn(
                f"{self!r} was never closed: use it in a `with` block", ResourceWarning, stacklevel=2
            )
            self.close()

    def __call__(self, function: F, /) -> F:
        """Decorate a function of any of the four shapes: each call opens a scope like this one."""
        if self._entered:
            raise ScopeError(
                "this scope has been entered, so it cannot decorate: make a new one with scope(...)"
            )
        terms, seed, strict, threads = self._terms, self._seed, self._strict, self._threads
        return wrap(function, lambda: Scope(terms, seed, strict, threads))


def scope(
    terms: Mapping[str, str | Term | Terms] | str | None = None,
    *,
    seed: int | None = None,
    strict: bool = True,
    threads: bool = True,
) -> Scope:
    """A scope: points armed for this test, task or request, and for nothing else.

    Args:
        terms: A mapping of names to terms, or a text such as `"A=panic;B=2*off->print"`.
        seed: What the probabilities are drawn from; else `FAILPY_SEED`, else drawn and shown in failures.
        strict: Whether closing raises when a name is unknown or terms never fired.
        threads: Whether the scope follows work into threads.

    Raises:
        TermSyntaxError: when a text is malformed.
        TypeError: when an argument is of the wrong type.

    Example:
        >>> from failpy import fail, failpoint
        >>> @failpoint("greeting", returns=str)
        ... def greeting() -> str:
        ...     return "hello"
        >>> with fail.scope({"greeting": '1*return("hi")'}) as scope:
        ...     print(greeting(), greeting())
        hi hello
        >>> scope.status("greeting").hits
        2
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise TypeError(f"seed must be an int or None, not {seed!r}")
    return Scope(named_terms(terms), seed, strict, threads)


def current_scope() -> Scope | None:
    """The innermost open scope of this context, or None."""
    layer: Layer | None = current()
    while layer is not None and layer is not process:
        if isinstance(layer, Scope) and not layer.closed:
            return layer
        layer = layer.parent
    return None
