"""Who waits where: the hits that sleep or are paused now, with the stacks of their threads and tasks."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from failpy._gate import Gate
from failpy._registry import activations
from failpy._whereabouts import task_name

__all__ = ["who_waits"]


_SHOWN = 8


def who_waits() -> str:
    """A paragraph for an error message; what waits nowhere is said as well."""
    found = activations()
    hits = [hit for activation in found for hit in activation.waiting]
    lines = [f"\n{hit!r} waits in {_where(hit.gate)}" for hit in hits if hit.gate is not None]
    for order in dict.fromkeys(order for activation in found for order in activation.orders):
        lines += [
            f"\na hit of {name!r} waits for its turn in the order {order}, in {_where(gate)}"
            for name, gate in order.waiting
        ]
    return "".join(lines) or "\nno hit is paused anywhere"


def _where(gate: Gate) -> str:
    name = task_name(gate.task)
    thread = "a thread" if gate.thread is None else f"thread {gate.thread.name!r}"
    where = thread if name is None else f"task {name!r} of {thread}"
    frames = _task_frames(gate.task) if gate.task is not None else _thread_frames(gate.thread)
    import traceback  # few programs get here, and it takes a fifth of the time that failpy takes to import

    lines = traceback.StackSummary.extract((frame, frame.f_lineno) for frame in frames).format()
    return f"{where}:\n{''.join(lines).rstrip()}" if lines else where


def _thread_frames(thread: Any) -> list[FrameType]:
    frame = sys._current_frames().get(thread.ident) if thread is not None else None
    frames = []
    while frame is not None:
        frames.append(frame)
        frame = frame.f_back
    return _users(reversed(frames))[-_SHOWN:]


def _task_frames(task: Any) -> list[FrameType]:
    awaited = task.get_coro() if hasattr(task, "get_coro") else task.coro
    frames = []
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "ag_frame", None)
        if frame is not None:
            frames.append(frame)
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "ag_await", None)
    return _users(frames)


def _users(frames: Any) -> list[FrameType]:
    """Without what is failpy's own, or the interpreter's way into a thread."""
    own = ("failpy", "threading")
    return [frame for frame in frames if frame.f_globals.get("__name__", "").partition(".")[0] not in own]
