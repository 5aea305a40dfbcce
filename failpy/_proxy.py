"""Failpoints on callables that are no Python functions: the only module that imports wrapt.

wrapt tests in C whether its `enabled` object is true, so that a list which is empty while the point
is idle keeps the cost of an idle call to that of the proxy itself.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, cast

from wrapt import FunctionWrapper, register_post_import_hook

from failpy._trampoline import trampoline

__all__ = ["LiveSwitch", "Proxy", "proxy", "stand_in", "when_imported"]


class Proxy(FunctionWrapper):  # type: ignore[misc, type-arg, unused-ignore]
    """A callable with a failpoint in front of it; in all else it passes for the callable.

    It pickles as the callable does: by reference where that has a name, else together with its point.
    """

    _self_rebuild: Callable[[Callable[..., Any]], object]

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = self.__wrapped__.__reduce_ex__(protocol)
        if isinstance(reduced, str) and self._is_found_as(reduced):
            return reduced
        return self._self_rebuild, (self.__wrapped__,)

    def _is_found_as(self, name: str) -> bool:
        found: object = sys.modules.get(self.__wrapped__.__module__)
        for part in name.split("."):
            found = getattr(found, part, None)
        return found is self

    def __copy__(self) -> Proxy:
        return self

    def __deepcopy__(self, memo: object) -> Proxy:
        return self


class LiveSwitch:
    """The `enabled` object of a proxy, which says in C whether the point is armed."""

    __slots__ = ("live",)

    def __init__(self) -> None:
        self.live: list[bool] = []

    def switch(self, name: str, armed: bool, /) -> None:
        """Be true while the point is armed."""
        self.live[:] = [True] * armed


def when_imported(module: str, hook: Callable[[ModuleType], None]) -> None:
    """Call the hook with the module as soon as that has been imported."""
    register_post_import_hook(hook, module)


def proxy(
    target: Callable[..., Any], name: str, rebuild: Callable[[Callable[..., Any]], object]
) -> tuple[Proxy, LiveSwitch]:
    """The callable with a point in front of it, and what turns the point on.

    Args:
        target: The callable.
        name: The name of the point.
        rebuild: Makes the like of the result from an unpickled target; must itself be picklable.
    """
    code = trampoline(_forward(target).__code__, name, _kind(target))

    def evaluate(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        __tracebackhide__ = True
        forward = _forward(wrapped)
        return FunctionType(code, forward.__globals__, closure=forward.__closure__)(*args, **kwargs)

    return stand_in(target, evaluate, rebuild)


def stand_in(
    target: Callable[..., Any],
    evaluate: Callable[[Callable[..., Any], object, Any, Any], Any],
    rebuild: Callable[[Callable[..., Any]], object],
) -> tuple[Proxy, LiveSwitch]:
    """The callable with something in front of it, and what turns that on.

    Args:
        target: The callable.
        evaluate: Called instead while it is on: with the callable, what it is bound to, and the arguments.
        rebuild: Makes the like of the result from an unpickled target; must itself be picklable.
    """
    switch = LiveSwitch()
    result = Proxy(target, evaluate, enabled=cast("Any", switch.live))
    result._self_rebuild = rebuild
    return result, switch


def _forward(wrapped: Callable[..., Any]) -> FunctionType:
    def call(*args: Any, **kwargs: Any) -> Any:
        return wrapped(*args, **kwargs)

    return call  # type: ignore[return-value]


def _kind(target: Callable[..., Any]) -> str:
    for candidate in (target, type(target).__call__):
        if inspect.isasyncgenfunction(candidate):
            return "async generator"
        if inspect.isgeneratorfunction(candidate):
            return "generator"
        if inspect.iscoroutinefunction(candidate):
            return "coroutine"
    return "function"
