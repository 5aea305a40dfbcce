"""The failures of a scope: what was reported, and what killed a thread or a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import current_thread
from types import FrameType

from failpy._errors import Failure, Unwind
from failpy._gate import current_task, task_name
from failpy._registry import lock

__all__ = ["Failures", "chain_of", "here", "without_unwinding"]


def here() -> str:
    """The thread and the task that run, for a message."""
    task = task_name(current_task())
    thread = f"thread {current_thread().name!r}"
    return thread if task is None else f"task {task!r} of {thread}"


class Failures:
    """What went wrong in the threads and tasks of one scope, in the order it was noticed."""

    __slots__ = ("_errors", "deaths")

    def __init__(self) -> None:
        self._errors: list[BaseException] = []
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
            if id(error) in self.deaths:
                return
            self.deaths[id(error)] = where
            self._errors.append(error)
        with suppress(Exception):  # a frozen exception takes no note
            error.add_note(f"in {where}")

    def add(self, error: BaseException) -> None:
        """Record a failure that needs no more words."""
        with lock:
            self._errors.append(error)

    def besides(self, own: BaseException | None) -> list[BaseException]:
        """All of them but those that the block's own exception is, holds or comes from."""
        known = {id(error) for error in chain_of(own)}
        with lock:
            return [error for error in self._errors if id(error) not in known]


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
