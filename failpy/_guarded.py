"""Actions that take over a process, end it or hold it up, and what a program says of who may arm them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from failpy._errors import FailpointError, did_you_mean
from failpy._specs import ExceptionSpec
from failpy._terms import Delay, Pause, Raise, Sleep, Term

__all__ = ["FROM_OUTSIDE", "OVER_HTTP", "Guard", "check_several", "guarded"]

_SECONDS = 60.0


class Guard(NamedTuple):
    """The actions that may be armed by one way only where the program allows them.

    Attributes:
        way: The way, in words.
        actions: Those that need leave.
    """

    way: str
    actions: tuple[str, ...]

    def check(self, allowed: Iterable[object]) -> None:
        """See that each of these is an action that can be allowed.

        Raises:
            FailpointError: naming the one that is not.
        """
        for action in allowed:
            if action not in self.actions:
                raise FailpointError(
                    f"{action!r} is no action that can be allowed {self.way}"
                    f"{did_you_mean(str(action), self.actions) or '.'} "
                    f"The others need no leave: name any of {', '.join(self.actions)}"
                )


OVER_HTTP = Guard("over HTTP", ("break", "call", "exit", "kill"))
FROM_OUTSIDE = Guard("to a scope from outside", ("break", "call", "delay", "exit", "kill", "pause", "sleep"))


def check_several(**given: object) -> None:
    """See that none of these arguments, which are to be several strings, is one.

    Raises:
        TypeError: naming the one that is.
    """
    for what, value in given.items():
        if isinstance(value, (str, bytes)):
            raise TypeError(f"{what} must be several strings, such as ({value!r},), not one")


def guarded(term: Term) -> str | None:
    """The action that has to be allowed for this term; None when it needs no leave.

    Raises:
        TermSyntaxError: when it names an exception that is not there.
    """
    if term.action in OVER_HTTP.actions:
        return term.action
    if isinstance(term, Pause) and term.timeout > _SECONDS:
        return term.action
    if isinstance(term, Sleep | Delay) and term.seconds > _SECONDS:
        return term.action
    if isinstance(term, Raise):
        kind = term.exc.resolve(importing=False) if isinstance(term.exc, ExceptionSpec) else term.exc
        # An event loop or a worker ends by what is no `Exception`, as by `exit`, and a future never does by
        # a `StopIteration`.
        if isinstance(kind, type) and (not issubclass(kind, Exception) or issubclass(kind, StopIteration)):
            return "exit"
    return None
