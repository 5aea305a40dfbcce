"""A time limit on a call that need not cooperate."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from faulthandler import dump_traceback
from types import FrameType
from typing import Any, TypeVar

__all__ = ["TimeUp", "cancelling", "within"]

T = TypeVar("T")

_AGAIN = 0.1  # seconds until the next try, where code has caught the first
_TRIES = 100
_HELD_UP = 1.0  # seconds that an event loop is late


class TimeUp(BaseException):
    """The time is up. No `except Exception` is to catch it."""


def within(seconds: float | None, call: Callable[[], T]) -> T:
    """The result of the call, or `TimeUp`.

    In the main thread a timer interrupts it with an exception, as pytest-timeout does. Elsewhere, and
    where there are no such timers, it runs in a thread of its own, which is left behind.

    Args:
        seconds: How long it may take; None for as long as it likes.
        call: What to call. It returns what it wants to tell, and raises nothing.

    Raises:
        TimeUp: when it took longer.
    """
    if seconds is None:
        return call()
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _interrupted(seconds, call)
    return _abandoned(seconds, call)


def _interrupted(seconds: float, call: Callable[[], T]) -> T:
    tries = 0
    is_over = False

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal tries
        tries += 1
        if is_over:
            return
        if tries > _TRIES:
            _give_up(seconds)
        raise TimeUp

    before = signal.signal(signal.SIGALRM, ring)
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
        return call()
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # somebody else's alarm, late at the most
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001), interval)


def _give_up(seconds: float) -> None:
    """The code catches whatever interrupts it: better an end with reasons than a hang."""
    sys.stderr.write(
        f"failpy: a body under exploration ran longer than {seconds:g} s and caught every exception that "
        "was to stop it, so this process ends; it was here:\n"
    )
    sys.stderr.flush()
    dump_traceback(sys.__stderr__ or 2)
    os._exit(1)


def _abandoned(seconds: float, call: Callable[[], T]) -> T:
    results: list[T] = []
    # No closure: its cells would live as long as the frames of what the call gives.
    arguments = (results, copy_context(), call)
    thread: Any = threading.Thread(target=_run, args=arguments, name="failpy-case", daemon=True)
    thread.start()
    thread.join(seconds)
    if not results:
        raise TimeUp
    return results[0]


def _run(results: list[T], context: Context, call: Callable[[], T]) -> None:
    results.append(context.run(call))


class _Alarm:
    """Cancels a task of asyncio again and again."""

    def __init__(self, seconds: float, task: Any) -> None:
        self.tries = 0
        self._seconds = seconds
        self._task = task
        self._loop = task.get_loop()
        self._handle = self._loop.call_later(seconds, self._ring)

    def _ring(self) -> None:
        self.tries += 1
        if self.tries > _TRIES:
            _give_up(self._seconds)
        self._task.cancel()
        self._handle = self._loop.call_later(_AGAIN, self._ring)

    def stop(self) -> None:
        self._handle.cancel()
        for _ in range(self.tries):
            self._task.uncancel()


@contextmanager
def cancelling(seconds: float | None, task: Any) -> Iterator[_Alarm]:
    """While this is open, a task of asyncio is cancelled when the time is up, and again where it goes on.

    In the main thread, a loop that a task holds up, so that nothing can be cancelled, is interrupted a
    second later, by `TimeUp` in that task.

    Args:
        seconds: How long it may take.
        task: The task that is in the block.

    Yields:
        What has counted in `tries` how often it was cancelled.
    """
    alarm = _Alarm(threading.TIMEOUT_MAX if seconds is None else seconds, task)
    in_main = threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer")
    if seconds is None or not in_main:
        try:
            yield alarm
        finally:
            alarm.stop()
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not alarm.tries:
            raise TimeUp

    before = signal.signal(signal.SIGALRM, interrupt)
    left, interval = signal.getitimer(signal.ITIMER_REAL)
    began = time.monotonic()
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds + _HELD_UP, _HELD_UP)
        yield alarm
    finally:
        alarm.stop()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - began), 0.001), interval)
