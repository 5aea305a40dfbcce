"""What each action does to a hit: its effect is data on the hit, which the site then applies."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from failpy._context import muted
from failpy._errors import BlockingWarning, FailpointPanic, PauseTimeout
from failpy._terms import Call, Delay, Exit, Panic, Pause, Print, Raise, Return, Sleep, Term, Terms, Yield
from failpy._whereabouts import event_loop

if TYPE_CHECKING:
    from failpy._hit import Hit

Effect = Callable[["Hit[Any]", Any], None]

__all__ = ["Effect", "Step", "effect_of", "seconds_to_wait", "waited", "warn_if_blocking"]


def seconds_to_wait(term: Term) -> float | None:
    """How long the hit waits before it goes on, in seconds; None when it does not wait."""
    if isinstance(term, Sleep):
        return term.seconds
    if isinstance(term, Pause):
        return term.timeout
    return 0.0 if isinstance(term, Yield) else None


def effect_of(term: Term) -> Effect | None:
    """What the term does to a hit, but for the waiting, which differs between a thread and a task."""
    return _EFFECTS.get(term.action)


def waited(hit: Hit[Any], opened: bool) -> None:
    """What follows when a wait is over: a pause whose time is up is an error."""
    if opened:
        outcome = None if hit.gate is None else hit.gate.outcome
        if outcome is not None:
            outcome()
    elif isinstance(hit.term, Pause):
        hit.inject(
            PauseTimeout(
                f"failpoint {hit.point!r} was paused for {hit.term.timeout:g} s and nobody resumed it: "
                "resume or disable it in time, or give it longer with pause(5m)"
            )
        )


def warn_if_blocking(what: str, instead: str) -> None:
    """Warn when a wait in this thread is about to hold up a whole event loop.

    Args:
        what: What waits.
        instead: What does not hold it up.
    """
    loop = event_loop()
    if loop is None:
        return
    import warnings

    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "failpy":
        frame = frame.f_back
    site, line = (frame.f_code.co_filename, frame.f_lineno) if frame else ("?", 0)
    warnings.warn_explicit(
        f"{what} blocks the {loop} event loop of this thread, and every task on it, "
        f"at {site}:{line}: {instead}",
        BlockingWarning,
        site,
        line,
        registry=frame.f_globals.setdefault("__warningregistry__", {}) if frame else None,
    )


def _return(hit: Hit[Any], term: Return) -> None:
    hit.value = term.fresh() if term._read else term.value
    hit.diverted = True


def _raise(hit: Hit[Any], term: Raise) -> None:
    with muted():
        error = term.make()
        if error is term.exc:  # the same instance again, which starts clean
            error = BaseException.with_traceback(error, None)  # a frozen exception can be told so, too
            vars(BaseException)["__context__"].__set__(error, term.context)
        hit.inject(error)


def _panic(hit: Hit[Any], term: Panic) -> None:
    hit.inject(FailpointPanic(f"failpoint panic: {hit.point if term.msg is None else term.msg}"))


def _delay(hit: Hit[Any], term: Delay) -> None:
    end = time.perf_counter() + term.seconds
    while time.perf_counter() < end:
        pass


def _print(hit: Hit[Any], term: Print) -> None:
    message = "" if term.msg is None else f": {term.msg}"
    with muted():
        try:
            print(f"failpoint print: {hit.point}{message}", flush=True)
        except Exception as exc:  # stdout may be closed, or somebody else's
            hit.inject(exc)


def _break(hit: Hit[Any], term: Term) -> None:
    with muted():
        breakpoint()


def _exit(hit: Hit[Any], term: Exit) -> None:
    os._exit(term.code)


def _kill(hit: Hit[Any], term: Term) -> None:
    # Windows has no SIGKILL; there, any other signal ends a process as abruptly.
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def _call(hit: Hit[Any], term: Call) -> None:
    with muted():
        try:
            result = term.function(hit)
        except Exception as exc:
            hit.inject(exc)
            return
    hit.answer(result)


_EFFECTS: dict[str, Effect] = {
    "return": _return,
    "raise": _raise,
    "panic": _panic,
    "delay": _delay,
    "print": _print,
    "break": _break,
    "exit": _exit,
    "kill": _kill,
    "call": _call,
}


class Step:
    """One term of the chain with all that a hit would else have to ask it."""

    __slots__ = ("_chain", "_text", "_words", "effect", "fires", "index", "modifiers", "seconds", "term")

    def __init__(self, index: int, term: Term, chain: Terms) -> None:
        self._chain = chain
        self._text: str | None = None
        self._words: str | None = None
        self.index = index
        self.term = term
        self.modifiers = term.modifiers
        self.fires = term.action != "off"
        self.seconds = seconds_to_wait(term)
        self.effect = effect_of(term)

    @property
    def text(self) -> str:
        """The term. Rendered once."""
        if self._text is None:
            with muted():  # a term may hold an object with a `repr` of its own
                self._text = str(self.term)
        return self._text

    @property
    def words(self) -> str:
        """The term, and of what chain it is if there are others in it. Rendered once."""
        if self._words is None:
            with muted():  # as above
                chain = "" if len(self._chain) == 1 else f", of {self._chain}"
                self._words = f"{self.text}{chain}"
        return self._words
