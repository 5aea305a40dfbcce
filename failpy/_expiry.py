"""What is armed for a while only, and the thread that disarms it in time."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from threading import Condition, Thread

from failpy._activation import Activation
from failpy._arming import disable
from failpy._context import mute_thread, process
from failpy._errors import UnknownFailpoint

__all__ = ["expires_in", "expiry"]


_WHILE = 60.0


class _ReplacedError(Exception):
    """Something else is armed there by now."""


class _Deadlines:
    """By when each of these activations of the process scope is to be disarmed."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._due: dict[Activation, float] = {}
        self._reserved = 0
        self._thread: Thread | None = None

    @contextmanager
    def reserve(self) -> Iterator[Callable[[Iterable[Activation], float], None]]:
        """Have a thread that runs, before anything is armed that needs it."""
        with self._changed:
            self._reserved += 1
            try:
                self._start()
            except BaseException:
                self._reserved -= 1
                raise
        try:
            yield self._add
        finally:
            with self._changed:
                self._reserved -= 1
                self._changed.notify()

    def _add(self, activations: Iterable[Activation], seconds: float) -> None:
        with self._changed:
            self._due.update(dict.fromkeys(activations, time.monotonic() + seconds))

    def end_of(self, activation: Activation) -> float | None:
        return self._due.get(activation)

    def _start(self) -> None:
        if self._thread is None:
            thread = Thread(target=self._run, name="failpy-expiry", daemon=True)
            thread.start()
            self._thread = thread

    def _run(self) -> None:
        mute_thread()
        while True:
            changed = self._changed
            with changed:
                # What was disarmed or replaced meanwhile needs no end.
                self._due = {
                    each: end for each, end in self._due.items() if process.activations.get(each.name) is each
                }
                if not self._due and not self._reserved:
                    self._thread = None
                    return
                now = time.monotonic()
                over = [each for each, end in self._due.items() if end <= now]
                if not over:
                    # Not for longer than a while, so that what was disarmed meanwhile is let go of.
                    changed.wait(min([*self._due.values(), now + _WHILE]) - now)
                    continue
                for each in over:
                    del self._due[each]
            for each in over:
                _disarm(each)

    def forget_threads(self) -> None:
        """In a forked child the thread is gone, and the deadlines are not."""
        self._changed = Condition()
        self._reserved = 0
        self._thread = None
        if self._due:
            self._start()


def _disarm(activation: Activation) -> None:
    def guard() -> None:
        if process.activations.get(activation.name) is not activation:
            raise _ReplacedError

    try:
        disable(process, activation.name, guard=guard)
    except (_ReplacedError, UnknownFailpoint):
        return
    with suppress(Exception):  # a handler of the program's may raise, and others wait for their end
        logging.getLogger("failpy").info("failpoint %r disarmed: its time was up", activation.name)


_deadlines = _Deadlines()
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_deadlines.forget_threads)


def expiry() -> AbstractContextManager[Callable[[Iterable[Activation], float], None]]:
    """A block that is given what disarms activations after so many seconds, unless they are replaced.

    Raises:
        RuntimeError: on entering it, when there can be no thread for it.
    """
    return _deadlines.reserve()


def expires_in(activation: Activation) -> float | None:
    """In how many seconds it will be disarmed, or None when it will not be."""
    end = _deadlines.end_of(activation)
    return None if end is None else max(0.0, end - time.monotonic())
