"""Actions that take over a process, end it or hold it up: from outside only where they are allowed."""

from __future__ import annotations

from collections.abc import Iterable

from failpy._errors import FailpointError, did_you_mean
from failpy._specs import ExceptionSpec
from failpy._terms import Delay, Pause, Raise, Sleep, Term

__all__ = ["ALLOWABLE", "check_allowed", "guarded"]

ALLOWABLE = ("break", "call", "delay", "exit", "kill", "pause", "sleep")
_ALWAYS = frozenset({"break", "call", "exit", "kill"})
_SECONDS = 60.0


def check_allowed(actions: Iterable[object]) -> None:
    """See that each of these is an action that can be allowed.

    Raises:
        FailpointError: naming the one that is not.
    """
    for action in actions:
        if action not in ALLOWABLE:
            raise FailpointError(
                f"{action!r} is no action that can be allowed to a scope from outside"
                f"{did_you_mean(str(action), ALLOWABLE) or '.'} "
                f"The others need no leave: name any of {', '.join(ALLOWABLE)}"
            )


def guarded(term: Term) -> str | None:
    """The action that has to be allowed for this term; None when it needs no leave.

    Raises:
        TermSyntaxError: when it names an exception that is not there.
    """
    if term.action in _ALWAYS:
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
