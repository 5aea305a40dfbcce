"""The errors of failpy: every one names the thing, says what is wrong, then the way out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = [
    "BlockingWarning",
    "Deadlock",
    "FailpointConflict",
    "FailpointError",
    "FailpointPanic",
    "Failure",
    "HitError",
    "Injected",
    "InvalidName",
    "LeftArmedWarning",
    "NeverFired",
    "PauseTimeout",
    "ReturnTypeError",
    "ScopeError",
    "Swallowed",
    "TermSyntaxError",
    "UnknownFailpoint",
    "Unwind",
    "WaitTimeout",
    "did_you_mean",
    "nearest",
    "suggestion",
]


class FailpointError(Exception):
    """The base of every error that failpy raises, but for `FailpointPanic`."""


class InvalidName(FailpointError, ValueError):
    """A name that no failpoint can have."""


class TermSyntaxError(FailpointError, ValueError):
    """A text that is not a chain of terms.

    Attributes:
        reason: What is wrong, and the way out.
        text: The whole text that was read.
        column: Where the fault is, counted in characters from 1.
    """

    def __init__(self, reason: str, text: str, column: int) -> None:
        super().__init__(reason, text, column)
        self.reason = reason
        self.text = text
        self.column = column

    @property
    def caret(self) -> str:
        """The line of the text that holds the fault, and under it a caret at the column."""
        start = self.text.rfind("\n", 0, self.column - 1) + 1
        end = self.text.find("\n", start)
        line = self.text[start : len(self.text) if end < 0 else end]
        at = self.column - 1 - start
        if at > _CARET_CONTEXT:
            cut = at - _CARET_CONTEXT
            line, at = "..." + line[cut:], _CARET_CONTEXT + 3
        if len(line) > at + _CARET_CONTEXT:
            line = line[: at + _CARET_CONTEXT] + "..."
        # A control character would move the caret away from its column.
        shown = "".join(char if char.isprintable() else " " for char in line)
        return f"{shown}\n{' ' * at}^"

    def __str__(self) -> str:
        indented = "\n".join("  " + line for line in self.caret.splitlines())
        return f"{self.reason} (column {self.column})\n{indented}"


_CARET_CONTEXT = 60


class UnknownFailpoint(FailpointError, LookupError):
    """A name that no code has declared.

    Attributes:
        near: The declared names that it may have meant, the nearest first.
    """

    near: tuple[str, ...] = ()


class FailpointConflict(FailpointError):
    """One name declared with two different `returns`."""


class ReturnTypeError(FailpointError, TypeError):
    """A `return` whose value is not of the type the failpoint declares."""


class ScopeError(FailpointError, RuntimeError):
    """A scope used before it is open, after it is closed, or twice."""


class NeverFired(FailpointError, AssertionError):
    """Terms that were armed in a strict scope and never acted."""


class PauseTimeout(FailpointError, TimeoutError):
    """A paused hit that nobody resumed in time."""


class WaitTimeout(FailpointError, TimeoutError):
    """What somebody waited for, a hit or its turn in an order, did not come in time."""


class Deadlock(FailpointError, RuntimeError):
    """Orders that contradict each other: no hit could ever be the next."""


class HitError(FailpointError, RuntimeError):
    """A hit decided that is not paused, or not any more."""


class Failure(FailpointError, AssertionError):
    """What `scope.error` and `scope.fatal` record."""


class Swallowed(FailpointError, AssertionError):
    """An injected exception that some code handled, in a scope where nothing may."""


class Unwind(BaseException):
    """What `scope.fatal` unwinds a thread or a task with. Only the scope catches it.

    Attributes:
        scope: The scope that it belongs to.
    """

    def __init__(self, scope: object, message: str) -> None:
        super().__init__(f"unwinding after scope.fatal({message!r})")
        self.scope = scope


class BlockingWarning(RuntimeWarning):
    """A sync failpoint sleeps or pauses in a thread that runs an event loop."""


class LeftArmedWarning(RuntimeWarning):
    """A test has left failpoints armed in the process scope, or a scope open; both were undone for it."""


class Injected(FailpointError):
    """What a bare `raise` raises: a failure that is nothing but injected."""


class FailpointPanic(BaseException):
    """What `panic` raises. `except Exception` cannot swallow it.

    Borrowed from gofail, whose `panic` ends the program unless somebody recovers.
    """


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that a misspelt one may have meant, the nearest first."""
    import difflib

    return difflib.get_close_matches(name, list(known), n=3, cutoff=0.6)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Say which of the known names are nearest: `"; did you mean 'a' or 'b'?"`, or nothing."""
    return suggestion(nearest(name, known))


def suggestion(near: Sequence[str]) -> str:
    """Say that one of these may be meant, if there is one."""
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
