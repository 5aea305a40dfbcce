"""The child process of a crash case: it runs one callable, and writes down each hit before its action."""

from __future__ import annotations

import faulthandler
import inspect
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, Protocol

from failpy._bodyrun import run
from failpy._context import Layer, current
from failpy._errors import FailpointError
from failpy._hit import Hit
from failpy._outcome import Outcome, Rules, place_of, portable, text_of
from failpy._posix import attach_named
from failpy._probe import Note, Probe
from failpy._schedule import Schedule
from failpy._suspects import Suspects
from failpy._undo_log import LOGGED, UndoLog

__all__ = ["HITS", "RESULT", "STACK", "UNDO", "Errand", "main"]

HITS, RESULT, STACK, UNDO = "hits", "result", "stack", "undo"
"""The files that a child writes. One that is killed leaves the first and the last, and no second."""

_RESULT_MODE = 0o600
_PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


@dataclass(frozen=True, slots=True)
class Errand:
    """What a child is to do.

    Attributes:
        what: How the report calls it: `"run"` or `"check"`.
        call: What to call.
        arguments: With what.
        schedule: What to inject.
        rules: How to do it; the timeout is for the parent to hold.
        folder: Where its files go.
        cwd: The folder to be in, or None for that of the parent.
        logs: Whether it logs how to undo what it writes to files.
        attached: The points of the operating system that are to stand there; a fork has them anyway.
    """

    what: str
    call: Callable[..., object]
    arguments: tuple[object, ...]
    schedule: Schedule
    rules: Rules
    folder: Path
    cwd: Path | None
    logs: bool = False
    attached: tuple[str, ...] = ()


class _Hook(Protocol):
    def __call__(self, *, after_in_child: Callable[[], None]) -> None: ...


def main(errand: Errand) -> None:
    """What the process does, from its begin to its end."""
    _die_with_parent()
    os.setsid()  # the parent kills the group, and Ctrl-C in a terminal is for the parent alone
    with (errand.folder / STACK).open("w", encoding="utf-8") as stack:
        # On a signal, and not by its timer: after a fork beside that of a parent, such as pytest's, it hangs.
        faulthandler.register(signal.SIGQUIT, file=stack)
        done(errand)
        faulthandler.unregister(signal.SIGQUIT)
    if _is_held_up():
        # As a program in the end, the process would wait for them; the report has named them.
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(0)


def _die_with_parent() -> None:
    """Ask Linux to end this process when that which explores is killed. Elsewhere it goes on to its end."""
    with suppress(ImportError, AttributeError):
        ctypes = import_module("ctypes")
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        parent = multiprocessing.parent_process()
        if parent is not None and os.getppid() != parent.pid:
            os.kill(os.getpid(), signal.SIGKILL)  # it was killed before this was asked


def done(errand: Errand, at_fork: _Hook | None = None) -> Outcome:
    """Do it, and write down what it came to.

    Args:
        errand: What to do.
        at_fork: Where to register what a fork does; the system's unless given.
    """
    if errand.cwd is not None:
        os.chdir(errand.cwd)
    journal = os.open(errand.folder / HITS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _RESULT_MODE)
    undo = UndoLog(errand.folder / UNDO) if errand.logs else None
    (at_fork or os.register_at_fork)(after_in_child=let_go)
    rules = replace(errand.rules, timeout=None, confirms=False)
    note = Note(_writing(journal, rules.suspects, undo), LOGGED if errand.logs else frozenset())
    with attach_named(errand.attached, "fail.explore_crashes"):
        try:
            outcome = run(_body(errand), errand.schedule, rules, errand.call, note)
        except KeyboardInterrupt as exc:  # its own: that of a terminal does not come here
            outcome = Outcome("failed", error=exc, where=place_of(exc), traceback=text_of(exc))
        finally:
            os.close(journal)
            if undo is not None:
                undo.close()
        # Here, since the parent does not know what was declared on the way.
        problem = rules.suspects.problem(outcome.names) if errand.what == "run" else None
    left = tuple(f"process {each.name!r} still runs" for each in multiprocessing.active_children())
    outcome = replace(outcome, leaks=(*outcome.leaks, *left))
    _write(errand.folder / RESULT, outcome, problem)
    return outcome


def _body(errand: Errand) -> Callable[[], object]:
    pid = os.getpid()

    def body() -> None:
        try:
            result = errand.call(*errand.arguments)
        except BaseException as exc:
            if os.getpid() != pid:
                _end_fork(exc)
            if not isinstance(exc, SystemExit) or exc.code not in (None, 0):
                raise
            return  # the end of many a program
        if os.getpid() != pid:
            _end_fork(None)
        if inspect.isawaitable(result):
            getattr(result, "close", lambda: None)()
            raise TypeError(f"{errand.what} gave an awaitable: wrap it, as in lambda: asyncio.run(...)")

    return body


def _end_fork(error: BaseException | None) -> NoReturn:
    """End a fork of the child that comes out of the call, as a program ends: it has no result to write."""
    code = error.code if isinstance(error, SystemExit) else error
    status = code & 0xFF if isinstance(code, int) else int(code is not None)
    if isinstance(code, BaseException):
        sys.excepthook(type(code), code, code.__traceback__)
    elif status and not isinstance(code, int):
        sys.stderr.write(f"{code}\n")
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status)


def _writing(journal: int, suspects: Suspects, undo: UndoLog | None) -> Callable[[Hit[Any]], None]:
    pid = os.getpid()

    def write(hit: Hit[Any]) -> None:
        fires = hit.chosen is not None and hit.chosen.action != "off"
        if os.getpid() != pid:
            return
        if hit.point in suspects:
            # Before the action, by one call: what the system has is not lost with the process.
            os.write(journal, f"{hit.point} {int(fires)}\n".encode("utf-8", "surrogatepass"))
        if undo is not None and not fires:  # else the call is never made
            undo.note(hit)

    return write


def let_go() -> None:
    """In a fork of the child: it is not the process that is to be killed."""
    layer: Layer | None = current()
    while layer is not None:
        if isinstance(layer, Probe):
            layer.close()
        layer = layer.behind or layer.parent


def _write(file: Path, outcome: Outcome, problem: FailpointError | None) -> None:
    # The faults are of no use here, and may be what cannot be pickled.
    whole = pickle.dumps((replace(portable(outcome), faults={}), problem))
    new = file.with_suffix(".new")
    new.write_bytes(whole)
    new.replace(file)


def _is_held_up() -> bool:
    others = set(threading.enumerate()) - {threading.current_thread()}
    return any(not each.daemon for each in others) or bool(multiprocessing.active_children())
