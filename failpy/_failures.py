"""The failures of a scope: what was reported, and what killed a thread or a task."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import current_thread
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import ref

from failpy._errors import Failure, Unwind
from failpy._registry import lock
from failpy._whereabouts import current_task, task_name

if TYPE_CHECKING:
    from asyncio import Task

    from failpy._carriers import Watched

__all__ = ["Failures", "chain_of", "here", "is_recorded", "note", "tell", "without_unwinding"]


_KEPT = 1000
# By the `id` of an exception, which is no other's as long as the scope that recorded it lives.
_recorded: dict[int, ref[Failures]] = {}


def is_recorded(error: BaseException) -> bool:
    """Whether this exception killed a thread or a task, and a scope that still lives tells of it."""
    found = _recorded.get(id(error))
    failures = None if found is None else found()
    return failures is not None and id(error) in failures.deaths


def here() -> str:
    """The thread and the task that run, for a message."""
    task = task_name(current_task())
    thread = f"thread {current_thread().name!r}"
    return thread if task is None else f"task {task!r} of {thread}"


class Failures:
    """What went wrong in the threads and tasks of one scope, in the order it was noticed."""

    __slots__ = ("__weakref__", "_closed", "_errors", "_futures", "_tasks", "_told", "deaths")

    def __init__(self) -> None:
        self._closed = False
        self._errors: list[BaseException] = []
        self._futures: list[Watched] = []
        self._tasks: list[Task[Any]] = []
        self._told: frozenset[int] = frozenset()
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
            _recorded[id(error)] = ref(self)
            if len(_recorded) > _KEPT:
                del _recorded[next(iter(_recorded))]
            self._errors.append(error)
        note(error, f"in {where}")

    def watch_future(self, future: Watched) -> None:
        """Remember a future that has failed: somebody may yet ask it for its exception, or nobody."""
        if future.failure() is not None:
            with lock:
                if not self._closed:
                    self._futures.append(future)

    def watch_task(self, task: Task[Any]) -> None:
        """Remember a task that has failed: somebody may yet await it, or nobody."""
        if task.cancelled() or not getattr(task, "_log_traceback", False):
            return
        if isinstance(task._exception, Unwind):
            task._log_traceback = False  # it was reported where it began
        else:
            with lock:
                if not self._closed:
                    self._tasks.append(task)

    def collect(self) -> None:
        """Record what died and was not asked for."""
        with lock:
            futures, self._futures = self._futures, []
            tasks, self._tasks = self._tasks, []
        for future in futures:
            error = future.failure()
            if error is not None:
                self.died(error, f"{future.where[-1]} of a pool, and nobody asked its future")
        for task in tasks:
            # `exception()` would mark it as asked for, and silence the handler of the loop.
            error = task._exception
            if task._log_traceback and error is not None:
                self.died(error, f"task {task.get_name()!r}, and nobody awaited it")

    def end(self) -> None:
        """Record nothing more that dies: it is not of this scope."""
        self._closed = True

    def add(self, error: BaseException) -> None:
        """Record a failure that needs no more words."""
        with lock:
            self._errors.append(error)

    def besides(self, own: BaseException | None) -> list[BaseException]:
        """All of them but those that the block's own exception is, holds or comes from."""
        known = {id(error) for error in chain_of(own)}
        with lock:
            return [error for error in self._errors if id(error) not in known]

    def news(self, own: BaseException | None) -> list[BaseException]:
        """The same, without those that were told before; they count as told now."""
        if not self._errors:
            return []
        errors = self.besides(own)
        with lock:
            news = [error for error in errors if id(error) not in self._told]
            self._told = self._told.union(id(error) for error in self._errors)
        return news


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


def tell(
    own: BaseException | None, failures: list[BaseException], *, alone: bool, endings: list[str], seed: int
) -> None:
    """Raise the failures of a scope whose body is over, or note them on what the body raised itself.

    There is something to tell: the one or the other.

    Args:
        own: That, if it raised something.
        failures: What else there is to tell.
        alone: Whether the one failure says it all by itself.
        endings: What became of injected exceptions.
        seed: The seed of the scope.
    """
    __tracebackhide__ = True
    if own is not None and (not failures or _is_cancellation(own)):
        for failure in failures:
            note(own, f"besides, in this scope: {type(failure).__name__}: {failure}")
        for line in endings:
            note(own, line)
    else:
        error = failures[0] if alone else _group(own, failures, seed)
        for line in endings:
            error.add_note(line)
        raise error from None


def _group(own: BaseException | None, failures: list[BaseException], seed: int) -> BaseException:
    besides = "" if own is None else ", besides the block's own exception"
    count = f"{len(failures)} failure{'s' * (len(failures) > 1)}"
    every = failures if own is None else [own, *failures]
    group = BaseExceptionGroup(f"{count} in a failpy scope{besides}", every)
    group.add_note(f"(seed {seed})")
    return group


# Of asyncio, anyio and trio, of Hypothesis, and of pytest, which know their own only by their class.
_STEERING = ("CancelledError", "Cancelled", "StopTest", "UnsatisfiedAssumption", "Exit")


def _is_cancellation(error: BaseException) -> bool:
    """Whether it steers the interpreter, an event loop or a search, and so must stay what it is."""
    steering = isinstance(error, KeyboardInterrupt | SystemExit | GeneratorExit)
    return steering or type(error).__name__ in _STEERING
