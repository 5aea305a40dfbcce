"""A gate that holds a thread or a task until it is opened or its time is up."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock, RLock, Thread, current_thread
from typing import TYPE_CHECKING, Any

from failpy._context import muted
from failpy._errors import FailpointError
from failpy._whereabouts import current_task, event_loop

if TYPE_CHECKING:
    import asyncio

__all__ = ["Gate"]


class Gate:
    """Where a hit waits, or who waits for one. Opening is for good, from any thread, before or after.

    Args:
        seconds: How long to wait at the most.

    Attributes:
        outcome: What the one that opened it passed on.
        thread: The thread that waits here, while one does.
        task: The task that waits here, while one does.
    """

    __slots__ = ("_closed", "_lock", "_opened", "_wake", "outcome", "seconds", "task", "thread")

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.outcome: Any = None
        self.thread: Thread | None = None
        self.task: Any = None
        self._lock = RLock()  # a signal handler may come to the same gate
        self._opened = self._closed = False
        self._wake: Callable[[], object] | None = None

    def open(self, outcome: Any = None) -> bool:
        """Let who waits go on.

        Returns:
            Whether this is what opened it; False when it was open already, or the time was up.
        """
        with self._lock:
            if self._closed:
                return False
            self._opened = self._closed = True
            self.outcome = outcome
            wake, self._wake = self._wake, None
        if wake is not None:
            with muted():  # waking an event loop writes to a socket
                wake()
        return True

    def _on_open(self, wake: Callable[[], object]) -> bool:
        with self._lock:
            if not self._opened:
                self._wake = wake
            return not self._opened

    def _close(self) -> bool:
        """No more waiting: whether it was opened before."""
        with self._lock:
            self._closed = True
            self._wake = None
            return self._opened

    def block(self) -> bool:
        """Wait in this thread.

        Returns:
            Whether the gate was opened; False when the time was up.
        """
        self.thread = current_thread()
        try:
            if self.seconds == 0:
                time.sleep(0)
            else:
                barrier = Lock()
                barrier.acquire()
                if self._on_open(barrier.release):
                    barrier.acquire(timeout=self.seconds)
        finally:
            opened = self._close()
        return opened

    async def park(self) -> bool:
        """Wait in this task and leave its event loop free. Otherwise as `block`."""
        loop = event_loop()
        if loop is None:
            self._close()
            raise FailpointError(
                "a failpoint can wait in a task only under asyncio or trio, and neither runs here: "
                "use the sync form (`with`, `.hit()`), which blocks the thread"
            )
        self.thread, self.task = current_thread(), current_task()
        try:
            await (self._park_asyncio() if loop == "asyncio" else self._park_trio())
        finally:
            opened = self._close()
        return opened

    async def _park_asyncio(self) -> None:
        import asyncio

        if self.seconds == 0:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        woken: asyncio.Future[None] = loop.create_future()

        def wake() -> None:
            # A loop that has closed has nothing left that could wait.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_settle, woken)

        if self._on_open(wake):
            timer = loop.call_later(self.seconds, _settle, woken)
            try:
                await woken
            finally:
                timer.cancel()

    async def _park_trio(self) -> None:
        import trio

        if self.seconds == 0:
            await trio.lowlevel.checkpoint()
            return
        woken = trio.Event()
        token = trio.lowlevel.current_trio_token()

        def wake() -> None:
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(woken.set)

        if self._on_open(wake):
            with trio.move_on_after(self.seconds):
                await woken.wait()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
