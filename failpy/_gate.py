"""A gate that holds one hit, in a thread or in a task, until it is opened or its time is up."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING

from failpy._context import muted
from failpy._errors import FailpointError

if TYPE_CHECKING:
    import asyncio

_modules = sys.modules

__all__ = ["Gate", "event_loop", "task_name"]


def task_name() -> str | None:
    """The name of the asyncio or trio task that runs, or None."""
    loop = event_loop()
    if loop is None:
        return None
    if loop == "trio":
        return str(_modules["trio"].lowlevel.current_task().name)
    task = _modules["asyncio"].current_task()
    return None if task is None else str(task.get_name())


def event_loop() -> str | None:
    """Which event loop runs in this thread: `"asyncio"`, `"trio"` or None.

    A library that was never imported runs no loop, so nothing is imported to find out.
    """
    # `getattr`, because another thread may be in the middle of importing it.
    if "trio" in _modules:
        trio = getattr(_modules["trio"], "lowlevel", None)
        if trio is not None and trio.in_trio_task():
            return "trio"
    if "asyncio" in _modules:
        running_loop = getattr(_modules["asyncio"], "_get_running_loop", None)
        if running_loop is not None and running_loop() is not None:
            return "asyncio"
    return None


class Gate:
    """Where one hit waits. Opening is for good, and may come from any thread, before or after.

    Args:
        seconds: How long to wait at the most.
    """

    __slots__ = ("_lock", "_opened", "_wake", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._lock = Lock()
        self._opened = False
        self._wake: Callable[[], object] | None = None

    def open(self) -> None:
        """Let the hit go on. Opening an open gate does nothing."""
        with self._lock:
            self._opened = True
            wake, self._wake = self._wake, None
        if wake is not None:
            with muted():  # waking an event loop writes to a socket
                wake()

    def _on_open(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            if not self._opened:
                self._wake = wake
            return not self._opened

    def block(self) -> bool:
        """Wait in this thread.

        Returns:
            Whether the gate was opened; False when the time was up.
        """
        if self.seconds == 0:
            time.sleep(0)
            return self._opened
        barrier = Lock()
        barrier.acquire()
        if not self._on_open(barrier.release):
            return True
        return barrier.acquire(timeout=self.seconds)

    async def park(self) -> bool:
        """Wait in this task and leave its event loop free. Otherwise as `block`."""
        loop = event_loop()
        if loop == "asyncio":
            return await self._park_asyncio()
        if loop == "trio":
            return await self._park_trio()
        raise FailpointError(
            "a failpoint can wait in a task only under asyncio or trio, and neither runs here: "
            "use the sync form (`with`, `.hit()`), which blocks the thread"
        )

    async def _park_asyncio(self) -> bool:
        import asyncio

        if self.seconds == 0:
            await asyncio.sleep(0)
            return self._opened
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[bool] = loop.create_future()

        def wake() -> None:
            # A loop that has closed has nothing left that could wait.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, opened, True)

        if not self._on_open(wake):
            return True
        timer = loop.call_later(self.seconds, _settle, opened, False)
        try:
            return await opened
        finally:
            timer.cancel()

    async def _park_trio(self) -> bool:
        import trio

        if self.seconds == 0:
            await trio.lowlevel.checkpoint()
            return self._opened
        opened = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def wake() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(opened.set)

        if not self._on_open(wake):
            return True
        with trio.move_on_after(self.seconds):
            await opened.wait()
        return opened.is_set()


def _settle(future: asyncio.Future[bool], opened: bool) -> None:
    if not future.done():
        future.set_result(opened)
