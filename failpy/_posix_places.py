"""Places: attributes of the standard library that hold something else while a point needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from inspect import getattr_static
from types import ModuleType
from typing import Any

from failpy._proxy import LiveSwitch, stand_in, when_imported
from failpy._registry import declared, lock

__all__ = ["Evaluate", "Place"]

Evaluate = Callable[[Callable[..., Any], object, Any, Any], Any]
_MISSING = object()


def _unpickled(wrapped: Callable[..., Any]) -> Callable[..., Any]:
    """What a replaced callable is unpickled as: itself."""
    return wrapped


class Place:
    """A callable of a module, and what is called instead.

    Args:
        module: The module; one that is not imported yet is waited for.
        path: Where the callable is in the module.
        evaluate: What is done instead.
        also: Other modules that hold the same object under the same name.
        always: Whether it is done even while no point is armed.
    """

    __slots__ = ("_also", "_always", "_evaluate", "_undo", "_users", "_waits", "module", "original", "path")

    def __init__(
        self,
        module: str,
        path: str,
        evaluate: Evaluate,
        *,
        also: tuple[str, ...] = (),
        always: bool = False,
    ) -> None:
        self.module, self.path = module, path
        self.original: Any = None
        self._evaluate = evaluate
        self._also = also
        self._always = always
        self._users: set[str] = set()
        self._undo: list[Callable[[], None]] = []
        self._waits = False

    def use(self, name: str) -> None:
        """Hold something else, for this point."""
        self._users.add(name)
        module = sys.modules.get(self.module)
        if self._undo:
            return
        if module is not None:
            self._put(module)
        elif not self._waits:
            self._waits = True
            when_imported(self.module, self._come)

    def leave(self, name: str) -> None:
        """Hold it no more for this point; for none, hold what was there."""
        self._users.discard(name)
        if not self._users:
            while self._undo:
                self._undo.pop()()
            self.original = None

    def _come(self, module: ModuleType) -> None:
        with lock:
            self._waits = False
            if self._users and not self._undo:
                self._put(module)

    def _put(self, module: ModuleType) -> None:
        owner: Any = module
        *parents, last = self.path.split(".")
        for parent in parents:
            owner = getattr(owner, parent)
        found = getattr_static(owner, last, None)
        if found is None:
            return  # this platform has no such call
        self.original = found
        instead, switch = stand_in(found, self._evaluate, _unpickled)
        self._switch(switch)
        self._hold(owner, last, instead)
        for each in self._also:
            self._hold(sys.modules[each], last, instead)

    def _switch(self, switch: LiveSwitch) -> None:
        if self._always:
            switch.switch("", True)
        else:
            for point in map(declared, self._users):
                assert point is not None  # it is declared before it stands
                point.add_switch(switch)
                self._undo.append(lambda point=point: point.drop_switch(id(switch)))  # type: ignore[misc]
        self._undo.insert(0, lambda: switch.switch("", False))

    def _hold(self, owner: Any, attribute: str, instead: Any) -> None:
        before = vars(owner).get(attribute, _MISSING)
        setattr(owner, attribute, instead)

        def undo() -> None:
            if vars(owner).get(attribute) is not instead:
                return  # somebody has put something around it, which goes on to what was there
            if before is _MISSING:
                delattr(owner, attribute)
            else:
                setattr(owner, attribute, before)

        self._undo.append(undo)
