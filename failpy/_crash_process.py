"""The process of one step of a crash case, from the side of the parent: begun, waited for, killed, read."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
import select
import signal
import sys
import threading
import warnings
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NamedTuple

from failpy._crash_child import HITS, RESULT, STACK, UNDO, Errand, main
from failpy._errors import FailpointError, Failure
from failpy._literals import shown
from failpy._outcome import Outcome, Transported
from failpy._tear import Tears
from failpy._undo_log import File, read_log
from failpy._whereabouts import event_loop

__all__ = ["Step", "step", "why_not_fork"]

_OURS = str(Path(__file__).parent)
_GRACE = 0.3  # seconds in which a child that does not end writes where it is
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in ', re.MULTILINE)

_forking = [threading.RLock()]
"""Held while the filters of warnings are others: two threads would put them back in the wrong order."""


class Step(NamedTuple):
    """What became of one process.

    Attributes:
        name: `"run"`, `"check"`, `"setup"` where that has raised in this process, or `"power cut"` where
            there was nothing for it to take.
        outcome: Its verdict is `"killed"` where it died at a hit, as it was told.
        problem: Why it hit none of the points, or None.
        files: What it and those before it have written and not synced; None if no file was changed, or
            nothing was logged.
        tears: What a power cut after it might have taken of those.
    """

    name: str
    outcome: Outcome
    problem: FailpointError | None = None
    files: tuple[File, ...] | None = None
    tears: Tears = Tears()


def _after_fork_in_child() -> None:
    # The thread that forked holds it for good in the child, which may have others.
    _forking[:] = [threading.RLock()]


getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_after_fork_in_child)


def why_not_fork() -> str | None:
    """Why a fork is not safe here and now, or None where it is."""
    if not hasattr(os, "fork"):
        return "this system has no fork"
    if sys.platform == "darwin":
        return "the libraries of macOS do not survive it"
    here = threading.current_thread()
    for thread in threading.enumerate():
        if thread is not here:
            return f"thread {thread.name!r} runs too"
    loop = event_loop()
    return None if loop is None else f"an event loop of {loop} runs here"


def step(errand: Errand, method: str, before: tuple[File, ...] = ()) -> Step:
    """Run an errand in a process of its own, and leave nothing of that process.

    Args:
        errand: What to do. Its folder is there, and empty.
        method: `"fork"` or `"spawn"`.
        before: What processes before it have written and not synced.

    Raises:
        TypeError: when it cannot be sent to a spawned process.
    """
    context: Any = multiprocessing.get_context(method)
    if method == "spawn":
        _check_portable(errand)
    process: BaseProcess = context.Process(target=main, args=(errand,), name=f"failpy-{errand.what}")
    seconds = errand.rules.timeout
    try:
        if method == "fork":
            with _forking[0], warnings.catch_warnings():
                # Of threads that Python does not know, and that hold none of its locks.
                warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
                process.start()
        else:
            process.start()
        has_ended = _wait(process, seconds)
        if not has_ended:
            _ask(process)
    finally:
        _end(process)
    status = process.exitcode
    process.close()
    log = errand.folder / UNDO
    files = read_log(log, before) if before or (log.exists() and log.stat().st_size) else None
    return _read(errand, status if has_ended else None)._replace(files=files)


def _check_portable(errand: Errand) -> None:
    try:
        pickle.dumps(errand)
    except Exception as exc:
        why = why_not_fork()
        because = "" if why is None else f", and a fork is not safe: {why}"
        raise TypeError(
            f"{shown(errand.call)} or its state {shown(errand.arguments)} cannot be sent to a spawned process"
            f" ({exc}){because}; define it at the top level of a module, or give method='fork'"
        ) from None


def _wait(process: BaseProcess, seconds: float | None) -> bool:
    """Whether the process has ended within so many seconds."""
    if not hasattr(os, "pidfd_open"):
        process.join(seconds)
        return process.exitcode is not None
    assert process.pid is not None
    # The sentinel of multiprocessing is not enough: children of the child keep it open.
    descriptor = os.pidfd_open(process.pid)
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))
    finally:
        os.close(descriptor)


def _ask(process: BaseProcess) -> None:
    """Let it write where it is."""
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGQUIT)
    _wait(process, _GRACE)


def _end(process: BaseProcess) -> None:
    """Kill it with its process group, and leave no zombie."""
    if process.pid is None:
        return
    # Before it is waited for: until then nobody else can have its number.
    with suppress(ProcessLookupError, PermissionError):  # it has no group yet, or is gone with it
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.join()


def _read(errand: Errand, status: int | None) -> Step:
    """What the files say, with how it ended: None where it did not."""
    files = errand.folder
    names, is_killed = _journal(files / HITS)
    if (files / RESULT).exists():
        return _result(errand.what, files / RESULT)
    what, where, trace = errand.what, "", ""
    if status is None:
        where, trace = _stack(files / STACK)
        verdict = "timed out"
        error: Exception = TimeoutError(
            f"{what} did not end within {errand.rules.timeout:g} s, and was killed with its process group"
        )
    elif status == -signal.SIGKILL and is_killed:
        return Step(what, Outcome("killed", names=names))
    elif status < 0:
        verdict = "crashed"
        error = Failure(f"{what} died of {_signal(-status)}, which came from elsewhere")
    elif not (files / HITS).exists():
        verdict = "crashed"
        error = Failure(
            f"the process of {what} ended with status {status} before it began, and stderr says why: a "
            "spawned process imports the main module again, which has to guard what it does with "
            "`if __name__ == '__main__':`, and without setup= its folder has to be there"
        )
    else:
        verdict = "exited"
        # An exception that nothing has caught gives 1, and what it does in failpy's own code there.
        other = ", or failpy could not write what it came to, and stderr says why" if status == 1 else ""
        error = Failure(f"{what} ended its process itself, by os._exit({status}) or the like{other}")
    return Step(what, Outcome(verdict, error=error, where=where, traceback=trace, names=names))


def _journal(file: Path) -> tuple[tuple[str, ...], bool]:
    """The points that were hit, and whether the last of the hits was to kill."""
    lines = file.read_bytes().decode("utf-8", "surrogatepass").splitlines() if file.exists() else []
    hits = [line.rpartition(" ") for line in lines]
    return tuple(name for name, _, _ in hits), bool(hits) and hits[-1][2] == "1"


def _result(what: str, file: Path) -> Step:
    try:
        outcome, problem = pickle.loads(file.read_bytes())  # noqa: S301 - our child has written it
    except Exception as exc:
        error = Transported(f"what the child raised is of a class that this process cannot load: {exc}")
        return Step(what, Outcome("failed", error=error))
    if outcome.error is not None and outcome.traceback:
        # So that whoever shows the exception shows where it came from.
        outcome.error.__cause__ = Transported(f"in the child process:\n{outcome.traceback}")
    return Step(what, outcome, problem)


def _stack(file: Path) -> tuple[str, str]:
    """Where a child was that did not end, as `file:line` and as text."""
    text = file.read_text("utf-8", "replace") if file.exists() else ""
    # The main thread comes last, and its innermost frame first.
    for name, line in _FRAME.findall(text.rpartition("hread 0x")[2]):
        if not name.startswith(_OURS):
            return f"{name}:{line}", text
    return "", text


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
