"""The outcome of one run of a body: what it raised, what it hit, and what became of the faults."""

from __future__ import annotations

import os
import pickle
import traceback
from array import array
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType

from failpy._errors import Failure
from failpy._failures import chain_of
from failpy._suspects import Suspects
from failpy._terms import Terms

__all__ = [
    "Injection",
    "Outcome",
    "Rules",
    "Transported",
    "escapes",
    "let_go",
    "place_of",
    "portable",
    "text_of",
]

_OURS = str(Path(__file__).parent)
_STDLIB = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - as in _posix_caller
_PACKAGES = tuple(_STDLIB + name + os.sep for name in ("site-packages", "dist-packages"))

MayEscape = bool | type[BaseException] | tuple[type[BaseException], ...]


class Transported(Failure):
    """Stands for an exception of another process that cannot be pickled."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How each run of a body is done and judged.

    Attributes:
        suspects: The points that may fail.
        seed: What the scopes get.
        timeout: How long one run may take, in seconds, or None.
        may_escape: Which injected exceptions may come out of the body.
        confirms: Whether a run that fails is done once more.
        attached: The points of the operating system that are to stand in a worker of an executor.
    """

    suspects: Suspects
    seed: int | None
    timeout: float | None
    may_escape: MayEscape
    confirms: bool = True
    attached: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault that was injected.

    Attributes:
        point: The point.
        nth: Which hit of the point, from 1.
        term: What acted.
        ending: What became of the exception, or None when none was raised.
    """

    point: str
    nth: int
    term: str
    ending: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run of a body came to.

    Attributes:
        verdict: `"passed"`, `"failed"`, `"escaped"`, `"timed out"`, `"exited"` or `"crashed"`.
        error: What it raised, or None.
        said: That in a line, as it was then, or `""`.
        traceback: The traceback as text, or `""`.
        where: The line that raised it, as `file:line`, or `""`.
        from_fault: Whether it is an injected exception or comes from one.
        is_fault: Whether it is an injected exception itself.
        names: The points that it hit, hit by hit.
        injections: The faults that were injected; of very many, the first 1,000.
        taken: For each hit that got a fault: its place in `names`, and which hit of its point it is.
        faults: What may be injected at the points that it hit.
        outside: The points that are armed around the exploration, and so are left alone.
        leaks: What it has left behind.
        seconds: How long it took.
        again: What a second run came to, where there was one.
    """

    verdict: str
    error: BaseException | None = None
    said: str = ""
    traceback: str = ""
    where: str = ""
    from_fault: bool = False
    is_fault: bool = False
    names: tuple[str, ...] = ()
    injections: tuple[Injection, ...] = ()
    taken: array[int] = field(default_factory=partial(array, "q"))
    faults: dict[str, tuple[Terms, ...]] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    leaks: tuple[str, ...] = ()
    seconds: float = 0.0
    again: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it is a failure."""
        return self.verdict not in ("passed", "escaped")


def place_of(error: BaseException) -> str:
    """The innermost line of the traceback in code of the program, as `file:line`.

    That is neither failpy's nor the standard library's, if there is one.
    """
    place = inner = ""
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith(_OURS):
            inner = f"{file}:{trace.tb_lineno}"
            if not _is_stdlib(file):
                place = inner
        trace = trace.tb_next
    if not inner and isinstance(error, BaseExceptionGroup):
        return place_of(error.exceptions[0])
    return place or inner


def _is_stdlib(file: str) -> bool:
    return file.startswith(("<frozen ", _STDLIB)) and not file.startswith(_PACKAGES)


def said_of(error: BaseException) -> str:
    """What it says, in a line. An assertion may hold what the program changes later."""
    try:
        said = str(error).partition("\n")[0]
    except Exception:  # it is somebody else's
        said = "(which cannot be shown)"
    name = type(error).__qualname__
    return f"{name}: {said}" if said else name


def text_of(error: BaseException) -> str:
    """The traceback from the first line that is not failpy's own, as text; its frames keep nothing alive."""
    try:
        whole = traceback.TracebackException.from_exception(error)
        begin = next((i for i, each in enumerate(whole.stack) if not each.filename.startswith(_OURS)), 0)
        del whole.stack[:begin]
        text = "".join(whole.format())
    except Exception:  # somebody's `__str__` or `__cause__` may do anything
        text = f"{type(error).__qualname__}, which cannot be shown"
    for each in chain_of(error):
        traceback.clear_frames(each.__traceback__)
    return text


def let_go(error: BaseException | None) -> None:
    """Keep nothing alive by failpy's own frames around a run that is over, whose exception is kept."""
    for each in chain_of(error):
        # A frame keeps the one that called it, which had not ended when the traceback was cleared.
        frame = each.__traceback__.tb_frame if each.__traceback__ is not None else None
        while frame is not None:
            if frame.f_code.co_filename.startswith(_OURS):
                try:
                    frame.clear()
                except RuntimeError:  # it still runs, and so does what called it
                    break
            frame = frame.f_back


def escapes(error: BaseException, injected: Iterable[BaseException], may: MayEscape) -> bool:
    """Whether this is a fault that may come out of a body."""
    known = {id(each) for each in injected}
    if isinstance(error, BaseExceptionGroup):
        return all(escapes(each, injected, may) for each in error.exceptions)
    if may is True:
        return id(error) in known
    return may is not False and isinstance(error, may) and any(id(each) in known for each in chain_of(error))


def portable(outcome: Outcome) -> Outcome:
    """The same, fit for another process."""
    try:
        pickle.loads(pickle.dumps(outcome.error))  # noqa: S301 - it was made in this line
    except Exception:
        try:
            said = str(outcome.error)
        except Exception:  # it is somebody else's
            said = "(which cannot be shown)"
        # What it says comes first: a report shows one line.
        error = Transported(f"{type(outcome.error).__qualname__}: {said}\n{outcome.traceback.strip()}")
        return replace(outcome, error=error)
    return outcome
