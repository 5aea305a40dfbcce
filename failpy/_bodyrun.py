"""One run of a body: in a probe, under a time limit, with an eye on what it leaves behind."""

from __future__ import annotations

import inspect
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from types import CodeType
from typing import Any

from failpy._context import inside
from failpy._failures import chain_of
from failpy._outcome import Injection, Outcome, Rules, escapes, let_go, place_of, portable, said_of, text_of
from failpy._probe import Note, Probe
from failpy._schedule import Schedule
from failpy._surroundings import Exited, Surroundings, end_fork, left_open, without_exit
from failpy._timelimit import TimeUp, cancelling, within
from failpy._whereabouts import event_loop

__all__ = ["Body", "code_of", "run", "run_async", "run_remotely"]

Body = Callable[[], object]


def code_of(body: Any) -> CodeType | None:
    """The code of a body, however it is wrapped."""
    seen = 0
    while seen < 10 and not hasattr(body, "__code__"):
        body = getattr(body, "func", None) or getattr(body, "__func__", None) or type(body).__call__
        seen += 1
    code = getattr(body, "__code__", None)
    return code if isinstance(code, CodeType) else None


class _Run:
    """One run, from before the body to after it."""

    def __init__(
        self, body: Any, schedule: Schedule, rules: Rules, home: Any = None, note: Note | None = None
    ) -> None:
        self.rules = rules
        self.probe = Probe(rules.suspects, schedule, rules.seed, note)
        self.probe.at_home(code_of(home or body))
        self.open: list[str] = []
        self.error: BaseException | None = None
        # In a thread of a pool, others run cases of their own, and what changes may be theirs.
        is_alone = threading.current_thread() is threading.main_thread()
        self._before = Surroundings(whole=home is None) if is_alone else None
        self._pid = os.getpid()
        self._began = time.monotonic()

    def call(self, body: Body) -> BaseException | None:
        """Run the body, and give what it raises."""
        __tracebackhide__ = True
        with inside(self.probe):
            try:
                result = body()
            except BaseException as exc:
                return exc
            finally:
                self.open = left_open(self.probe)
        if not inspect.isawaitable(result):
            return None
        getattr(result, "close", lambda: None)()
        return TypeError(
            "the body gave an awaitable, which nobody awaits here: use `await fail.aexplore(...)` for async "
            "code, or let the body call asyncio.run"
        )

    async def await_(self, body: Callable[[], Awaitable[object]]) -> BaseException | None:
        """The same for an async body."""
        with inside(self.probe):
            try:
                await body()
            except BaseException as exc:
                if _is_cancelled(exc) and not self.is_fault(exc):
                    raise
                return exc
            finally:
                self.open = left_open(self.probe)
        return None

    def comes_from_fault(self, error: BaseException | None) -> bool:
        """Whether it is an injected exception, or comes from one."""
        known = {id(each) for each in self.probe.errors.now}
        return any(id(each) in known for each in chain_of(error))

    def is_fault(self, error: BaseException | None) -> bool:
        """Whether it is an injected exception itself."""
        return any(each is error for each in self.probe.errors.now)

    def end(self, error: BaseException | None) -> Outcome:
        """Take everything down, and judge.

        Raises:
            KeyboardInterrupt: when somebody has pressed Ctrl-C.
        """
        seconds = time.monotonic() - self._began
        probe = self.probe
        if os.getpid() != self._pid:  # pragma: no cover
            probe.close()
            end_fork()
        said: BaseException | None = None
        try:
            probe.finish(None if isinstance(error, TimeUp) else error)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            said = exc
            if isinstance(exc, BaseExceptionGroup) and len(exc.exceptions) == 1:
                said = exc.exceptions[0]  # which says itself where it died
        if isinstance(error, KeyboardInterrupt) and not self.is_fault(error):
            raise error
        if isinstance(error, TimeUp):
            limit = self.rules.timeout
            said = TimeoutError(f"the body did not end within {limit:g} s, and was stopped")
            said.__traceback__ = error.__traceback__
        raised = said or error
        kept = {id(each) for each in chain_of(raised)}
        for each in probe.errors.now:
            if id(each) not in kept:
                # A fault may be an instance, which outlives its case.
                each.__traceback__ = None
        read = probe.reader()
        leaks = (*self.open, *(self._before.leaks() if self._before is not None else ()))
        return Outcome(
            verdict=self._verdict(error, said),
            error=raised,
            from_fault=self.comes_from_fault(raised),
            is_fault=said is None and self.is_fault(raised),
            said="" if raised is None else said_of(raised),
            where="" if raised is None else place_of(raised),
            traceback="" if raised is None else text_of(raised),
            names=tuple(probe.names),
            injections=tuple(
                Injection(hit.point, hit.nth, str(hit.term), read(hit).end) for hit in probe.fired
            ),
            taken=probe.taken,
            faults={
                name: self.rules.suspects.faults(name)
                for name in dict.fromkeys(probe.names)
                if name not in probe.outside
            },
            outside=tuple(sorted(probe.outside)),
            leaks=tuple(leaks),
            seconds=seconds,
        )

    def _verdict(self, error: BaseException | None, said: BaseException | None) -> str:
        if isinstance(error, TimeUp):
            return "timed out"
        if isinstance(error, Exited):
            return "exited"
        if said is not None:
            return "failed"
        if error is None:
            return "passed"
        may = self.rules.may_escape
        return "escaped" if escapes(error, self.probe.errors.now, may) else "failed"


def run(
    body: Body, schedule: Schedule, rules: Rules, home: Body | None = None, note: Note | None = None
) -> Outcome:
    """Run the body once with this injected; once more if it fails.

    Args:
        body: What to call.
        schedule: What to inject.
        rules: How to do it, and how to judge.
        home: The function that is the test, if the body only calls it.
        note: Told of each hit before its action.
    """
    outcome = _once(body, schedule, rules, home, note)
    let_go(outcome.error)
    if rules.confirms and schedule and outcome.verdict == "failed":
        again = _once(body, schedule, rules, home, note)
        let_go(again.error)
        return replace(outcome, again=again.verdict)
    return outcome


def _once(body: Body, schedule: Schedule, rules: Rules, home: Body | None, note: Note | None) -> Outcome:
    with without_exit():
        one = _Run(body, schedule, rules, home, note)
        try:
            one.probe.open()
            try:
                error = within(rules.timeout, partial(one.call, body))
            except TimeUp as up:
                error = up
            return one.end(error)
        finally:
            one.probe.close()


def run_remotely(body: Body, schedule: Schedule, rules: Rules) -> Outcome:
    """The same in a worker of an executor."""
    from failpy._posix import attach_named  # for workers alone

    try:
        with attach_named(rules.attached, "fail.explore"):
            return portable(run(body, schedule, rules))
    except KeyboardInterrupt:  # of the whole process group: the parent tells of it
        return Outcome("crashed", where="interrupted")


async def run_async(body: Callable[[], Awaitable[object]], schedule: Schedule, rules: Rules) -> Outcome:
    """The async twin of `run`, under asyncio and trio."""
    outcome = await _once_async(body, schedule, rules)
    let_go(outcome.error)
    if rules.confirms and schedule and outcome.verdict == "failed":
        again = await _once_async(body, schedule, rules)
        let_go(again.error)
        return replace(outcome, again=again.verdict)
    return outcome


async def _once_async(body: Callable[[], Awaitable[object]], schedule: Schedule, rules: Rules) -> Outcome:
    with without_exit():
        one = _Run(body, schedule, rules)
        before = _tasks()
        try:
            one.probe.open()
            outcome = one.end(await _within(rules.timeout, partial(one.await_, body)))
            left = [f"task {task.get_name()!r} still runs" for task in _tasks() - before]
            return replace(outcome, leaks=(*outcome.leaks, *left))
        finally:
            one.probe.close()


def _tasks() -> set[Any]:
    """The tasks of asyncio that run here. Those of trio end with their nursery."""
    import asyncio

    return set() if event_loop() == "trio" else asyncio.all_tasks()


async def _within(
    seconds: float | None, call: Callable[[], Awaitable[BaseException | None]]
) -> BaseException | None:
    if event_loop() == "trio":
        import trio

        with trio.move_on_after(float("inf") if seconds is None else seconds) as scope:
            return await call()
        assert scope.cancelled_caught
        return TimeUp()
    import asyncio

    task: Any = asyncio.current_task()
    with cancelling(seconds, task) as alarm:
        try:
            return await call()
        except asyncio.CancelledError:
            if task.cancelling() > alarm.tries:  # by somebody else, too
                raise
            return TimeUp()


def _is_cancelled(error: BaseException) -> bool:
    if event_loop() == "trio":
        return any(isinstance(each, sys.modules["trio"].Cancelled) for each in chain_of(error))
    import asyncio

    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0
