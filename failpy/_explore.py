"""Exploring: run a body once for every hit that it makes, with a fault injected there."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from failpy._agenda import Bounds
from failpy._bodyrun import Body, run, run_async
from failpy._callables import is_async
from failpy._candidates import Points
from failpy._config import config
from failpy._errors import FailpointError
from failpy._exploration import Exploration
from failpy._exploration_report import Report
from failpy._failures import note
from failpy._literals import shown
from failpy._outcome import MayEscape, Rules
from failpy._point import Fault
from failpy._posix_caller import attached
from failpy._progress import progressing
from failpy._scanner import MAX_SECONDS
from failpy._schedule import Schedule
from failpy._suspects import Suspects
from failpy._workers import side_by_side

__all__ = ["aexplore", "explore", "prepared"]


def explore(
    body: Body,
    *,
    points: Points = "*",
    depth: int = 1,
    faults: Iterable[Fault] | None = None,
    persistent: bool = False,
    limit: int | None = None,
    budget: float | None = None,
    timeout: float | None = 60.0,
    seed: int | None = None,
    may_escape: MayEscape = False,
    progress: bool | None = None,
    executor: Executor | None = None,
) -> Report:
    """Run a body once to see what it hits, then once for each hit and each fault, with just that injected.

    The body is a test without faults: it sets up what it needs, runs the program, and asserts what must hold
    whatever went wrong. One case is one run of it with `db.write=2*off->1*raise(ENOSPC)` armed, so it has to
    be fit to run many times. The idea is that of SQLite's fault simulation, of fail-nth in Linux, and of the
    crate faine for Rust.

    A body that raises has failed, also when what it raises is the injected exception itself: nothing that it
    asserts further down has been looked at then. Let it expect what may come, or say so in `may_escape`.

    Args:
        body: A callable without arguments.
        points: What may fail: a name or a pattern as of `fnmatch`, several of these, or a mapping of either
            to lists of faults. Points that are declared while the body runs are found too. What a scope
            around it has armed is left alone.
        depth: How many faults one case has at the most. With 2, every hit that comes after the fault
            of a case, such as those of its error handling, gets a fault as well.
        faults: The faults for every point. Unless given, a point has those of its `faults=`; without them,
            `raise` and the emptiest values of its `returns=`.
        persistent: Whether each fault is also tried from its hit on for good, as of a disk that stays full.
        limit: How many cases are run at the most.
        budget: After how many seconds no further case is begun.
        timeout: How long one run of the body may take, in seconds, or None. In the main thread a timer
            interrupts it; in others it runs in a thread of its own, which is then left behind.
        seed: Draws the order of the cases, for a sample where `limit` or `budget` is short. Without it
            they come in the order of the hits, single faults first.
        may_escape: Which injected exceptions may come out of the body, or become the cause of what does:
            a class, or a tuple of classes. True allows every injected exception itself.
        progress: Whether to show a bar on stderr; None for where that is a terminal.
        executor: Runs the cases side by side. That of processes needs a body that can be pickled.

    Returns:
        What was found, or with Ctrl-C what was found so far. A body that hits nothing and a pattern that
        matches no point are told there, and raised by its `raise_for_failures()`.

    Raises:
        TypeError, ValueError: when an argument is wrong, or the body async or not fit for the executor.
        FailpointError: under `FAILPY=off`, and when the executor takes no work.

    Examples:
        >>> from failpy import fail, failpoint
        >>> @failpoint("explore.save", faults=("raise(ENOSPC)",))
        ... def save(disk: dict[str, str], key: str, value: str) -> None:
        ...     disk[key] = value
        >>> def body() -> None:
        ...     disk = {"lamp": "1"}
        ...     try:
        ...         del disk["lamp"]
        ...         save(disk, "lamp", "2")
        ...     except OSError:
        ...         pass
        ...     assert "lamp" in disk
        >>> report = fail.explore(body)
        >>> report.failures[0].text
        'explore.save=1*raise(ENOSPC)'
    """
    exploration, rules = prepared(
        points=points, depth=depth, faults=faults, persistent=persistent, limit=limit, budget=budget,
        timeout=timeout, seed=seed, may_escape=may_escape,
    )  # fmt: skip
    _check_body(body, wants_async=False)
    if executor is not None and not callable(getattr(executor, "submit", None)):
        raise TypeError(f"executor must be one of concurrent.futures or of that kind, not {shown(executor)}")
    with progressing(progress) as tell:
        try:
            if executor is not None:
                if not isinstance(executor, ThreadPoolExecutor):
                    rules = replace(rules, attached=tuple(sorted(attached)))
                side_by_side(exploration, body, rules, executor, tell)
            else:
                exploration.begin(run(body, Schedule(), rules))
                while (plan := exploration.next()) is not None:
                    exploration.take(plan, run(body, plan.schedule, rules))
                    tell(exploration)
                if exploration.failed:
                    exploration.check(run(body, Schedule(), rules))
        except KeyboardInterrupt:
            exploration.stop("interrupted")
    return exploration.report()


async def aexplore(
    body: Callable[[], Awaitable[object]],
    *,
    points: Points = "*",
    depth: int = 1,
    faults: Iterable[Fault] | None = None,
    persistent: bool = False,
    limit: int | None = None,
    budget: float | None = None,
    timeout: float | None = 60.0,  # noqa: ASYNC109 - of each case, not of the call
    seed: int | None = None,
    may_escape: MayEscape = False,
    progress: bool | None = None,
) -> Report:
    """The async twin of `explore`, under asyncio and trio.

    The body is awaited in the task that calls this, one case after the other. A timeout cancels it,
    and cancels it again where it goes on. Under asyncio, in the main thread, a body that never awaits is
    interrupted a second later. Where the task itself is cancelled, as asyncio does for
    Ctrl-C, the report so far is a note on that exception.

    Examples:
        >>> import asyncio
        >>> from failpy import fail
        >>> async def body() -> None:
        ...     async with fail.point("aexplore.send", faults=("raise(TimeoutError)",)):
        ...         pass
        >>> print(asyncio.run(fail.aexplore(body, may_escape=TimeoutError)))
        explored 1 case of 1 failpoint: 1 escaped
    """
    exploration, rules = prepared(
        points=points, depth=depth, faults=faults, persistent=persistent, limit=limit, budget=budget,
        timeout=timeout, seed=seed, may_escape=may_escape,
    )  # fmt: skip
    _check_body(body, wants_async=True)
    with progressing(progress) as tell:
        try:
            exploration.begin(await run_async(body, Schedule(), rules))
            while (plan := exploration.next()) is not None:
                exploration.take(plan, await run_async(body, plan.schedule, rules))
                tell(exploration)
            if exploration.failed:
                exploration.check(await run_async(body, Schedule(), rules))
        except KeyboardInterrupt:
            exploration.stop("interrupted")
        except BaseException as exc:
            exploration.stop(f"interrupted by {type(exc).__name__}")
            note(exc, str(exploration.report()))
            raise
    return exploration.report()


def prepared(
    *,
    points: Points = "*",
    depth: int = 1,
    faults: Iterable[Fault] | None = None,
    persistent: bool = False,
    limit: int | None = None,
    budget: float | None = None,
    timeout: float | None = 60.0,
    seed: int | None = None,
    may_escape: MayEscape = False,
) -> tuple[Exploration, Rules]:
    """An exploration that has yet to begin, from arguments as a user gives them.

    Raises:
        TypeError, ValueError: when one is wrong.
        FailpointError: under `FAILPY=off`.
    """
    _check_whole("depth", depth)
    if limit is not None:
        _check_whole("limit", limit)
    for argument, seconds in (("budget", budget), ("timeout", timeout)):
        if seconds is not None:
            _check_seconds(argument, seconds)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise TypeError(f"seed must be an int or None, not {shown(seed)}")
    if not isinstance(persistent, bool):
        raise TypeError(f"persistent must be True or False, not {shown(persistent)}")
    _check_escape(may_escape)
    if not config.enabled:
        raise FailpointError(
            "cannot explore: FAILPY=off compiled failpoints out of this process; start it without FAILPY=off"
        )
    rules = Rules(Suspects(points, faults), seed, timeout, may_escape)
    return Exploration(rules, Bounds(depth, persistent, limit, budget, seed)), rules


def _check_whole(argument: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{argument} must be an integer, not {shown(value)}: give at least 1")
    if value < 1:
        raise ValueError(f"{argument} must be at least 1, not {value}")


def _check_seconds(argument: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{argument} must be a number of seconds or None, not {shown(value)}")
    if not 0 < value <= MAX_SECONDS:
        raise ValueError(f"{argument} must be a positive number of seconds, at most 292 years, not {value!r}")


def _check_escape(value: Any) -> None:
    every = value if isinstance(value, tuple) else (value,)
    if isinstance(value, bool) or all(isinstance(e, type) and issubclass(e, BaseException) for e in every):
        return
    raise TypeError(
        f"may_escape must be True, False, or classes of exceptions, not {shown(value)}: "
        "give one such as OSError, or (OSError, ValueError)"
    )


def _check_body(body: object, *, wants_async: bool) -> None:
    if not callable(body):
        raise TypeError(f"body must be a callable without arguments, not {shown(body)}: write lambda: ...")
    if is_async(body) and not wants_async:
        raise TypeError(
            f"{shown(body)} is async: use `await fail.aexplore(...)`, or where no event loop runs, and on an "
            "executor, a plain function that calls asyncio.run"
        )
    if inspect.isgeneratorfunction(body) or inspect.isasyncgenfunction(body):
        raise TypeError(f"{shown(body)} is a generator function, whose body a call does not run")
