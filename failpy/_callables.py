"""Whether what somebody gave to be called is async: a function, or an object that is called like one."""

from __future__ import annotations

import inspect

__all__ = ["is_async"]


def is_async(call: object) -> bool:
    """Whether a call of this gives a coroutine."""
    code = getattr(call, "__call__", None)  # noqa: B004 - of an object, what is called
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(code)
