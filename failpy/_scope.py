"""Scopes: layers of activations that one context opens, and that end with it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from types import CodeType, TracebackType
from typing import Any, NamedTuple, NoReturn, Self, TypeVar

from failpy._arming import disable_all, enable
from failpy._childenv import child_environ
from failpy._context import current, set_current
from failpy._endings import Allowed
from failpy._errors import FailpointError, ScopeError, Unwind
from failpy._failures import tell, without_unwinding
from failpy._observer import observing
from failpy._registry import lock
from failpy._strict import complaint_of, verdict
from failpy._terms import Terms
from failpy._traveller import Traveller
from failpy._wrapping import bound, wrap

__all__ = ["Scope", "Settings"]

F = TypeVar("F", bound=Callable[..., Any])


class Settings(NamedTuple):
    """What a scope was made with."""

    terms: Mapping[str, Terms]
    seed: int | None
    strict: bool
    threads: bool
    allowed: tuple[Allowed, ...] | None
    propagate: float | None = None


class Scope(Traveller):
    """A layer of activations seen only by the context that opens it and by what inherits that context.

    Made by `failpy.scope`. It is a context manager, an async one, and a decorator for functions,
    coroutines, generators and async generators, each call of which opens a scope of its own.
    """

    __slots__ = ("_excused", "_settings", "follows_threads")

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.seed)
        self._settings = settings
        self.travels = settings.propagate is not None
        self._excused = False
        self.follows_threads = False

    def __repr__(self) -> str:
        state = "closed" if self.closed else "open" if self._entered else "not entered"
        armed = ";".join(f"{name}={activation.terms}" for name, activation in list(self._armed.items()))
        return f"<Scope {state}{': ' if armed else ''}{armed}>"

    @property
    def given(self) -> Mapping[str, Terms]:
        """What it was made with, as far as that is still armed."""
        armed = {name: each.terms for name, each in list(self._armed.items())}
        return {name: terms for name, terms in self._settings.terms.items() if armed.get(name) is terms}

    # --- failures, from any thread or task ---

    def error(self, message: str) -> None:
        """Record a failure and go on. It comes out of the scope where that was opened.

        May be called in any thread or task, as Go's `t.Error` may.

        Raises:
            ScopeError: when the scope is not open.
        """
        self._check_open("record a failure")
        self.failures.report(message, sys._getframe(1))

    def fatal(self, message: str) -> NoReturn:
        """Record a failure and unwind the current thread or task, running every `finally`.

        Go's `t.Fatal` ends only its own goroutine, and the test passes. This one comes out of the scope.

        Raises:
            ScopeError: when the scope is not open.
        """
        self._check_open("record a failure")
        self.failures.report(message, sys._getframe(1))
        raise Unwind(self, message)

    # --- reaching ---

    def bind(self, function: F) -> F:
        """The function, run in this scope wherever it is called: what carries the scope by hand.

        Raises:
            ScopeError: when the scope is not open.
            TypeError: when it is no function, or a generator function.
        """
        self._check_open("bind a function")
        return bound(function, self)

    def environ(self) -> dict[str, str]:
        """The environment for a child process that shall have the same terms, and the same seed.

        It is a copy of `os.environ`, with what this scope, those around it and the process have armed.

        Raises:
            ScopeError: when the scope is not open.
            FailpointError: when terms cannot be said in text.
        """
        self._check_open("give a child its terms")
        return child_environ(self, os.environ)

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
            if self._settings.propagate is not None:
                self._set_out(self._settings.propagate, self._settings.terms)
            enable(self, self._settings.terms)
        except BaseException:
            self.closed = True
            raise
        if self._settings.threads:
            from failpy._carriers import install  # concurrent.futures loads logging, which not all need

            install()
            self.follows_threads = True

    def close(self) -> None:
        """Disarm the points and wake what waits at them. The scope is inert wherever a context keeps it."""
        with lock:
            if self.closed:
                return
            self.failures.collect()
            self.failures.end()
            self.closed = True
            self._armed = dict(self.activations)
        disable_all(self)
        if self.follows_threads:
            from failpy._carriers import remove

            remove()

    def at_home(self, code: CodeType | None) -> None:
        """What this code catches has reached the test: it is the test."""
        self._endings.home = code

    def finish(self, raised: BaseException | None) -> None:
        """Close, and raise what there is to say besides what the block raised itself.

        Raises:
            FailpointError: what a strict scope has to say, if that is all.
            BaseExceptionGroup: of what failed in threads and tasks, and of the block's own exception.
        """
        __tracebackhide__ = True
        unfinished = self._unfinished()
        self.close()
        observing.scope_closed(self)
        for order in self._orders:
            order.close()
        self._tell(raised, unfinished)

    def conclude(self, raised: BaseException | None, *, strict: bool = True) -> None:
        """Raise what `finish` would, and stay open: the body is over, and its set-up still to be taken down.

        What waits in a `pause` goes on, and its point is disarmed, since nobody is left to resume it. What
        has been said here is not said again by `finish`.

        Args:
            raised: What the body raised.
            strict: Whether to say what a strict scope would.
        """
        __tracebackhide__ = True
        unfinished = self._unfinished() if strict else None
        self.excuse()
        self.failures.collect()
        for name, activation in list(self.activations.items()):
            if any(term.action == "pause" for term in activation.terms):
                self.disarm(name)
        for order in self._orders:
            order.close()
        self._tell(raised, unfinished)

    def dismiss(self, raised: BaseException | None) -> None:
        """Close, and raise nothing, for who has told already what there was to say.

        Args:
            raised: What the block raised.
        """
        self.close()
        observing.scope_closed(self)
        for order in self._orders:
            order.close()
        self._endings.settle(raised, None)

    def excuse(self) -> None:
        """From now on, do not ask whether terms fired."""
        self._excused = True

    def copy(self) -> Scope:
        """A scope that arms anew what is armed here, but for what has a predicate, with counts of its own.

        What has done its work here need not do it there.
        """
        plain = [each for each in list(self.activations.values()) if not each.passive and each.when is None]
        terms = {
            each.name: Terms(each.terms, each.terms.source, optional=complaint_of(each) is None)
            for each in plain
        }
        return Scope(self._settings._replace(terms=terms, seed=self.seed))

    def _unfinished(self) -> FailpointError | None:
        if self._excused or not self._settings.strict:
            return None
        waiting = [order for order in self._orders if order.remaining]
        return verdict(dict(self.activations), waiting, self)

    def _tell(self, raised: BaseException | None, unfinished: FailpointError | None) -> None:
        __tracebackhide__ = True
        own = None if raised is None else without_unwinding(raised, self)
        self._endings.settle(own, self._settings.allowed)
        failures = self.failures.news(own)
        if raised is None and unfinished is not None:
            failures.append(unfinished)
        if own is None and not failures:
            return
        # A strict scope's complaint, where it is the only one, says it all by itself.
        alone = own is None and unfinished is not None and failures == [unfinished]
        tell(own, failures, alone=alone, endings=self._endings.told, seed=self.seed)

    def __enter__(self) -> Self:
        self.open()
        self._endings.home = sys._getframe(1).f_code
        set_current(self)
        if self.propagation is not None:
            self.propagation.enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self._check_open("exit")
        # Compared, not reset by token: the exit may come in another context, or out of order.
        if current() is self:
            set_current(self.open_ancestor())
        if self.propagation is not None:
            self.propagation.leave()
        self.finish(exc)

    async def __aenter__(self) -> Self:
        self.__enter__()
        self._endings.home = sys._getframe(1).f_code
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        self.__exit__(kind, exc, tb)

    def __del__(self) -> None:
        if getattr(self, "_entered", False) and not self.closed and not sys.is_finalizing():
            described = repr(self)
            self.close()
            import warnings

            warnings.warn(
                f"{described} was never closed: use it in a `with` block", ResourceWarning, stacklevel=2
            )

    def __copy__(self) -> NoReturn:
        raise TypeError("a scope cannot be copied or pickled: it is one layer of one context; make a new one")

    def __deepcopy__(self, memo: object) -> NoReturn:
        self.__copy__()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        self.__copy__()

    def __call__(self, function: F, /) -> F:
        """Decorate a function of any of the four shapes: each call opens a scope like this one."""
        if self._entered:
            raise ScopeError(
                "this scope has been entered, so it cannot decorate: make a new one with scope(...)"
            )
        settings = self._settings
        return wrap(function, lambda: Scope(settings))
