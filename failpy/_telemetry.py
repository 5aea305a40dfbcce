"""Telemetry: what a hit that fires leaves in the traces and logs of the program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from threading import local
from types import FrameType
from typing import TYPE_CHECKING, Any

from failpy._context import muted

if TYPE_CHECKING:
    from failpy._hit import Hit

__all__ = ["INFO", "TRACE", "telemetry"]

INFO = 20
"""The level of the records, as in `logging`, which is not imported for it."""

TRACE = "opentelemetry.trace"
"""The module in which OpenTelemetry keeps the current span."""

_LOGGER = "failpy.fired"
_EVENT = "failpoint.fired"
_LONGEST = 1000
_OURS = ("failpy", "wrapt")
_modules = sys.modules


class _Here(local):
    """What this thread is about."""

    asking = False


_here = _Here()


class Telemetry:
    """Who is told of hits that fire: the current span of OpenTelemetry, and the logger `failpy.fired`.

    Neither is imported for it: what the program has not loaded has nothing to tell.

    Attributes:
        levels: Which levels the logger is known to take, or not. It is what `logging` itself keeps, and
            empties when a level changes, so that to ask whether anybody listens is one look-up in C.
    """

    __slots__ = ("_logger", "levels")

    def __init__(self) -> None:
        self._logger: Any = None
        self.levels: Mapping[int, bool] = {}

    def tell(self, hit: Hit[Any]) -> None:
        """Tell of a hit whose action is about to run. No lock is held here: a handler takes its own.

        What a handler, a filter or a span raises is none of the program's: it goes to `sys.unraisablehook`,
        as it does from a `__del__`. What is no `Exception`, such as a `KeyboardInterrupt`, is raised.
        """
        # Who listens is asked without muting: a signal handler that comes meanwhile hits what it hits. But
        # should what is asked be a failpoint itself, and fire, there would be no end of asking.
        if _here.asking:
            return
        try:
            _here.asking = True
            logger = None if self.levels.get(INFO) is False else _safely(self._listening)
            span = _safely(_recording)
        finally:
            _here.asking = False
        if logger is None and span is None:
            return
        with muted():
            around = _Around(sys._getframe())
            if span is not None and not around.tracing:
                _safely(_tell_span, hit, span)
            # What the SDK does may be to export a record: the next one would follow it for ever.
            if logger is not None and not around.tracing and not around.logging:
                _safely(_tell_logger, hit, logger, around.depth)

    def _listening(self) -> Any:
        """The logger, if it takes the records."""
        logger = self._logger
        if logger is None:
            # Another thread may be in the middle of importing it.
            get = getattr(_modules.get("logging"), "getLogger", None)
            if get is None:
                return None
            logger = self._logger = get(_LOGGER)
            # Not where a class of the program's own decides otherwise.
            if type(logger).isEnabledFor is _modules["logging"].Logger.isEnabledFor:
                self.levels = getattr(logger, "_cache", self.levels)
        return logger if logger.isEnabledFor(INFO) else None


telemetry = Telemetry()


def _recording() -> Any:
    """The current span of OpenTelemetry, if it records."""
    current = getattr(_modules.get(TRACE), "get_current_span", None)
    span = None if current is None else current()
    return span if span is not None and span.is_recording() else None


def _tell_span(hit: Hit[Any], span: Any) -> None:
    attributes = {
        "failpoint.name": hit.point,
        "failpoint.term": _text(hit),
        "failpoint.nth": hit.nth,
        "failpoint.action": hit.term.action,
    }
    span.add_event(_EVENT, attributes)


def _tell_logger(hit: Hit[Any], logger: Any, depth: int) -> None:
    term = _text(hit)
    fields = {
        "failpoint": hit.point,
        "failpoint_term": term,
        "failpoint_nth": hit.nth,
        "failpoint_action": hit.term.action,
    }
    # The record names the line at which the point stands: this function and `_safely` come before it, too.
    logger.log(
        INFO,
        "failpoint %r fired: %s (hit %d)",
        hit.point,
        term,
        hit.nth,
        extra=fields,
        stacklevel=depth + 3,
    )


def _text(hit: Hit[Any]) -> str:
    assert hit.step is not None  # it fires
    text = hit.step.text
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class _Around:
    """What the hit happened in the middle of.

    A handler or a span that is at work in this thread may hold a lock which nobody may take twice, or be
    in the middle of a file; a signal handler or a `__del__` can come to a point there, and so can itself.

    Attributes:
        depth: How many frames there are before that of the program.
        logging: Whether a record is being written.
        tracing: Whether the SDK of OpenTelemetry is at work.
    """

    __slots__ = ("depth", "logging", "tracing")

    def __init__(self, frame: FrameType | None) -> None:
        self.depth = 0
        self.logging = self.tracing = False
        ours = True
        while frame is not None:
            module = str(frame.f_globals.get("__name__"))
            ours = ours and module.partition(".")[0] in _OURS
            self.depth += ours
            self.logging = self.logging or module == "logging"
            self.tracing = self.tracing or module.startswith("opentelemetry.sdk.")
            frame = frame.f_back


def _safely(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function gives; None when it raises an exception, which is then shown and not raised."""
    try:
        return function(*arguments)
    except Exception as exc:
        _Unheard(exc)
        return None


class _Unheard:
    """An exception that nobody is there to catch. Python shows it when this goes, which is at once."""

    __slots__ = ("_exc",)

    def __init__(self, exc: Exception) -> None:
        self._exc = exc

    def __del__(self) -> None:
        raise self._exc
