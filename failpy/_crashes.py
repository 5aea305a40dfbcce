"""Exploring crashes: kill a program at every hit, and check what it leaves behind."""

from __future__ import annotations

import inspect
import os
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing import current_process
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from failpy._agenda import Bounds
from failpy._callables import is_async
from failpy._candidates import Points
from failpy._crash_process import why_not_fork
from failpy._crash_stage import Stage
from failpy._crash_state import Reused, States
from failpy._crash_tree import CrashTree, Plan
from failpy._errors import FailpointError
from failpy._exploration_report import Report
from failpy._explore import prepared
from failpy._literals import shown
from failpy._posix_caller import attached
from failpy._probe import Probe
from failpy._progress import progressing
from failpy._schedule import Schedule
from failpy._undo_log import LOGGED

__all__ = ["explore_crashes"]

_DESCRIPTORS = Path("/proc/self/fd")


def explore_crashes(
    run: Callable[..., object],
    check: Callable[..., object],
    *,
    setup: Callable[[], object] | None = None,
    points: Points = "*",
    depth: int = 1,
    tear: bool = False,
    limit: int | None = None,
    budget: float | None = None,
    timeout: float | None = 60.0,
    seed: int | None = None,
    progress: bool | None = None,
    method: Literal["fork", "spawn"] | None = None,
) -> Report:
    """Run a program once for each of its hits, kill it there, and check what it has left behind.

    Each case has a state of its own, such as an empty folder. `run(state)` does its work in a child
    process that dies of SIGKILL, as with `db.write=2*off->1*kill` armed, so that no `finally` and no
    `atexit` of it runs. Then `check(state)` is the program that starts again, in another child: it recovers,
    and asserts what must hold after any crash. A check that raises has found something.

    First nothing is killed: `run` goes to its end, `check` has to pass, and the hits of `run` are the cases.
    What a process starts is not killed at hits of its own, but with it: a case kills the process group.

    Args:
        run: Takes the state, or nothing.
        check: The same. It is the recovery too, so `depth=2` kills it, and another check follows.
        setup: Called in this process before each case. What it gives is the state; a context manager is
            entered, what that gives is the state, and it is left after the case. Without `setup` the
            state is the path of a new folder, where both also find themselves, and which is removed.
        points: Where it may die: a name or a pattern as of `fnmatch`, or several of these.
        depth: How often it is killed in one case at the most: with 2, once in `run` and once in `check`.
        tear: Whether each crash is tried as a power cut too, and one after `run` has ended. That takes what
            was written to files and not synced: any number of a file's last changes, the last that stays
            half written perhaps, while renames and removals stay. It is of files that were written through
            the points of `fail.attach_posix("io")`, so put that around the exploration. Linux only.
        limit: How many cases are run at the most.
        budget: After how many seconds no further case is begun.
        timeout: How long `run` and `check` may take, each, in seconds, or None.
        seed: Draws the order of the cases; without it they come in the order of the hits.
        progress: Whether to show a bar on stderr; None for where that is a terminal.
        method: How children begin. Unless given they are forked, if this is the only thread, no event loop
            runs in it, and the system is fit for it; else they are spawned, and the report says why. What a
            spawned child needs, `run`, `check` and the state, has to be fit for pickle.

    Returns:
        What was found, or with Ctrl-C what was found so far. A case that was killed and passed its check
        is `"passed"`, and one whose hit did not come is `"missed"`.

    Raises:
        TypeError, ValueError: when an argument is wrong, or cannot be sent to a spawned child.
        FailpointError: under `FAILPY=off`, without SIGKILL, and with `tear=True` without `/proc/self/fd`,
            or where only some of the points of `fail.attach_posix("io")` are attached.

    Examples:
        >>> from pathlib import Path
        >>> from failpy import fail
        >>> def run(folder: Path) -> None:
        ...     (folder / "lamp").write_text("on")
        ...     with fail.point("crashes.between"):
        ...         pass
        ...     (folder / "switch").write_text("on")
        >>> def check(folder: Path) -> None:
        ...     names = sorted(file.name for file in folder.iterdir())
        ...     assert names in ([], ["lamp", "switch"]), names
        >>> report = fail.explore_crashes(run, check, points="crashes.*", method="fork")
        >>> report.failures[0].text
        'crashes.between=1*kill'
    """
    _check(points, method, setup, tear)
    _, rules = prepared(points=points, depth=depth, limit=limit, budget=budget, timeout=timeout, seed=seed)
    why = why_not_fork() if method is None else None
    notes = () if why is None else (f"each process was spawned, since a fork is not safe: {why}",)
    # Else each forked child would import what an open scope needs, and compile what an armed point does.
    with suppress(ImportError):
        import_module("ctypes")
    probe = Probe(rules.suspects, Schedule(), seed)
    probe.open()
    probe.close()
    tree = CrashTree(rules, Bounds(depth, False, limit, budget, seed), notes, tears=tear)
    default = "fork" if why is None else "spawn"
    with (
        TemporaryDirectory(prefix="failpy-crashes-", ignore_cleanup_errors=True) as folder,
        progressing(progress) as tell,
    ):
        stage = Stage(
            _takes_state("run", run), _takes_state("check", check), run, check, States(setup), rules,
            method or default, Path(folder), depth if tear else 0,
        )  # fmt: skip
        try:
            tree.begin(stage.play(Plan()))
            is_odd = False
            while (plan := tree.next()) is not None:
                steps = stage.play(plan)
                fails = steps[-1].outcome.failed
                case = tree.take(plan, steps, stage.play(plan) if fails else None)
                is_odd = is_odd or case.failed or case.divergence is not None
                tell(tree)
            if is_odd:
                tree.check(stage.play(Plan()))
        except Reused as problem:
            tree.stop("setup gave a state that was used before", problem)
        except KeyboardInterrupt:
            tree.stop("interrupted")
    return tree.report()


def _check(points: object, method: object, setup: object, tear: object) -> None:
    """Check what `fail.explore` does not have.

    Raises:
        TypeError, ValueError, FailpointError: when one of them is wrong.
    """
    if isinstance(points, Mapping):
        raise TypeError(f"points must be names or patterns, not {shown(points)}: the fault is always kill")
    if method not in (None, "fork", "spawn"):
        raise ValueError(f"method must be 'fork', 'spawn' or None, not {shown(method)}")
    if not hasattr(signal, "SIGKILL") or not hasattr(os, "setsid"):
        raise FailpointError("cannot explore crashes: this system has no SIGKILL, and no process groups")
    if not isinstance(tear, bool):
        raise TypeError(f"tear must be True or False, not {shown(tear)}")
    if tear and not _DESCRIPTORS.is_dir():
        raise FailpointError(f"tear=True needs {_DESCRIPTORS}, as Linux has it: leave tear= out")
    missing = sorted(LOGGED - attached)
    if tear and missing and LOGGED & attached:
        raise FailpointError(
            f"tear=True has to see all that is done to files, and {missing[0]!r} is not attached as others "
            "are: put `with fail.attach_posix('io'):` around the exploration"
        )
    if current_process().daemon:
        raise FailpointError(
            "cannot explore crashes in a daemonic process, such as a worker of multiprocessing.Pool: it may "
            "have no children; use a ProcessPoolExecutor"
        )
    if setup is not None and not callable(setup):
        raise TypeError(f"setup must be a callable without arguments, not {shown(setup)}")
    if inspect.isgeneratorfunction(setup):
        raise TypeError(f"{shown(setup)} is a generator function: put @contextlib.contextmanager on it")


def _takes_state(name: str, call: object) -> bool:
    """Whether this is to be called with the state, or with nothing."""
    if not callable(call):
        raise TypeError(f"{name} must be a callable that takes the state or nothing, not {shown(call)}")
    if is_async(call):
        raise TypeError(f"{name} is async: wrap it, as in lambda state: asyncio.run({name}(state))")
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        raise TypeError(f"{shown(call)} is a generator function, whose body a call does not run")
    try:
        signature = inspect.signature(call)
    except ValueError:  # written in C, without a word
        return True
    for arguments in ((None,), ()):
        with suppress(TypeError):
            signature.bind(*arguments)
            return bool(arguments)
    raise TypeError(f"{name} must take the state or nothing, and {shown(call)} takes {signature}")
