"""Where the program is: its thread, its task, its event loop."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from threading import Thread, local
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from failpy._hit import Hit

__all__ = ["current_task", "event_loop", "note_whereabouts", "task_name"]

_modules = sys.modules


class _Here(local):
    """What this thread is, asked once: `current_thread` takes twice as long as to read it here."""

    thread: Thread | None = None


_here = _Here()


def _look_for_asyncio() -> Any:
    global running_loop  # noqa: PLW0603 - once it is there, asyncio itself is asked
    found = getattr(_modules.get("asyncio"), "_get_running_loop", None)
    if found is None:
        return None
    running_loop = found
    return found()


running_loop: Callable[[], Any] = _look_for_asyncio


def _ask() -> Thread:
    thread = threading.current_thread()
    # Not what stands in for a thread that has hardly begun, and is not known by its name yet.
    if threading.local is local and not isinstance(thread, threading._DummyThread):
        _here.thread = thread
    return thread


def note_whereabouts(hit: Hit[Any]) -> None:
    """Note on a hit in which thread and task it happens."""
    # gevent and its like put greenlets in place of threads, maybe after this module was imported.
    hit.in_thread = (_here.thread if threading.local is local else None) or _ask()
    # Every hit that is recorded comes here, and is done at once where no loop runs.
    if running_loop() is not None or "trio" in _modules:
        hit.task = task_name(current_task())


def current_task() -> Any:
    """The asyncio or trio task that runs, or None."""
    loop = event_loop()
    if loop is None:
        return None
    return _modules["trio"].lowlevel.current_task() if loop == "trio" else _modules["asyncio"].current_task()


def task_name(task: Any) -> str | None:
    """What a task is called: asyncio asks it, trio looks."""
    if task is None:
        return None
    return str(task.get_name() if hasattr(task, "get_name") else task.name)


def event_loop() -> str | None:
    """Which event loop runs in this thread: `"asyncio"`, `"trio"` or None.

    A library that was never imported runs no loop, so nothing is imported to find out.
    """
    # `getattr`, because another thread may be in the middle of importing it.
    if "trio" in _modules:
        trio = getattr(_modules["trio"], "lowlevel", None)
        if trio is not None and trio.in_trio_task():
            return "trio"
    return None if running_loop() is None else "asyncio"
