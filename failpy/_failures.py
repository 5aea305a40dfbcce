"""The failures of a scope: what was reported, and what killed a thread or a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import current_thread
from types import FrameType
from typing import TYPE_CHECKING, Any

from failpy._errors import Failure, Unwind
from failpy._gate import current_task, task_name
from failpy._registry import lock

if TYPE_CHECKING:
    from asyncio import Task

    from failpy._carriers import Watched

__all__ = ["Failures", "chain_of", "here", "note", "without_unwinding"]


def here() -> str:
    """The thread and the task that run, for a message."""
    task = task_name(current_task())
    thread = f"thread {current_thread().name!r}"
    return thread if task is None else f"task {task!r} of {thread}"


class Failures:
    """What went wrong in the threads and tasks of one scope, in the order it was noticed."""

    __slots__ = ("_closed", "_errors", "_futures", "_tasks", "deaths")

    def __init__(self) -> None:
        self._closed = False
        self._errors: list[BaseException] = []
        self._futures: list[Watched] = []
        self._tasks: list[Task[Any]] = []
        self.deaths: dict[int, str] = {}
        """Where an exception killed something, by its `id`."""

    def report(self, message: str, frame: FrameType) -> None:
        """Record what `scope.error` or `scope.fatal` was told."""
        code = frame.f_code
        failure = Failure(message)
        failure.add_note(f"in {here()}, at {code.co_filename}:{frame.f_lineno} in {code.co_qualname}")
        with lock:
            self._errors.append(failure)

    def died(self, error: BaseException, where: str) -> None:
        """Record an exception that killed a thread or a task, or that nobody asked a future for."""
        with lock:
            if self._closed or isinstance(error, Unwind) or id(error) in self.deaths:
                return
            self.deaths[id(error)] = where
            self._errors.append(error)
        note(error, f"in {where}")

    def watch_future(self, future: Watched) -> None:
        """Remember a future that has failed: somebody may yet ask it for its exception, or nobody."""
        if not self._closed and future.failure() is not None:
            self._futures.append(future)

    def watch_task(self, task: Task[Any]) -> None:
        """Remember a task that has failed: somebody may yet await it, or nobody."""
        if task.cancelled() or not getattr(task, "_log_traceback", False):
            return
        if isinstance(task._exception, Unwind):
            task._log_traceback = False  # it was reported where it began
        elif not self._closed:
            self._tasks.append(task)

    def collect(self) -> None:
        """Record what died and was not asked for. What dies from now on is not of this scope any more."""
        for future in self._futures:
            error = future.failure()
            if error is not None:
                self.died(error, f"{future.where[-1]} of a pool, and nobody asked its future")
        for task in self._tasks:
            # `exception()` would mark it as asked for, and silence the handler of the loop.
            error = task._exception
            if task._log_traceback and error is not None:
                self.died(error, f"task {task.get_name()!r}, and nobody awaited it")
        self._closed = True
        self._futures.clear()
        self._tasks.clear()

    def add(self, error: BaseException) -> None:
        """Record a failure that needs no more words."""
        with lock:
            self._errors.append(error)

    def besides(self, own: BaseException | None) -> list[BaseException]:
        """All of them but those that the block's own exception is, holds or comes from."""
        known = {id(error) for error in chain_of(own)}
        with lock:
            return [error for error in self._errors if id(error) not in known]


def note(error: BaseException, text: str) -> None:
    """Add a note to an exception; a frozen one takes none."""
    with suppress(Exception):
        error.add_note(text)


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An exception with all that it holds or comes from: members, causes and contexts."""
    pending, seen = [error], set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        pending += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions


def without_unwinding(error: BaseException | None, scope: object) -> BaseException | None:
    """The exception without what `fatal` of this scope unwound with; None when that is all there is."""
    if isinstance(error, Unwind):
        return None if error.scope is scope else error
    if isinstance(error, BaseExceptionGroup):
        return error.split(lambda each: isinstance(each, Unwind) and each.scope is scope)[1]
    return error
