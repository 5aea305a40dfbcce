"""Functions whose code is swapped while a failpoint on them is armed.

The decorated function stays the object it was. While a point on it is armed, its `__code__` is a
trampoline: code of the same kind, with the same parameters and the same free variables, which
evaluates the point and then runs the original code over the very cells of the function. Disarming
puts the original code back, so an idle function is not slower by a single instruction.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from types import CodeType, FunctionType

from failpy._config import FREE_THREADED
from failpy._trampoline import MOVES, beneath, trampoline

__all__ = ["Patch", "patch_of"]

_patches: dict[int, Patch] = {}


class Patch:
    """One Python function, the points that stand on it, and which of them are armed."""

    __slots__ = (
        "__weakref__",
        "_armed",
        "_codes",
        "_forget",
        "_function",
        "_installed",
        "_key",
        "_names",
        "_original",
    )

    def __init__(self, function: FunctionType) -> None:
        self._function = weakref.ref(function, self._gone)
        self._forget: list[Callable[[int], object]] = []
        self._key = id(function)
        self._original = self._installed = function.__code__
        self._names: tuple[str, ...] = ()  # innermost first: the order of decoration
        self._armed: frozenset[str] = frozenset()
        self._codes: dict[frozenset[str], CodeType] = {}

    def stand(self, name: str, forget: Callable[[int], object]) -> None:
        """Let one more point stand on the function, outside of those that already do.

        Args:
            name: The name of the point.
            forget: Called with the `id` of this patch when the function is gone.
        """
        if name not in self._names:
            self._names = (*self._names, name)
            self._forget.append(forget)

    def has(self, name: str) -> bool:
        """Whether this point stands on the function."""
        return name in self._names

    def leave(self, name: str, forget: Callable[[int], object]) -> None:
        """Let this point stand on the function no more."""
        self.switch(name, False)
        self._names = tuple(each for each in self._names if each != name)
        self._codes.clear()  # whoever comes back stands outside of the others
        self._forget.remove(forget)

    def _gone(self, _: object, patches: dict[int, Patch] = _patches) -> None:
        # No lock here: this runs wherever the collector happens to, and also while the interpreter ends,
        # when the global names are gone.
        patches.pop(self._key, None)
        for forget in self._forget:
            forget(id(self))

    def switch(self, name: str, armed: bool) -> None:
        """Put the code in that evaluates exactly the armed points."""
        self._armed = self._armed | {name} if armed else self._armed - {name}
        function = self._function()
        if function is None:
            return
        if function.__code__ is not self._installed:
            # A reloader gave the function new code: that is what there is to go on to now.
            self._original = beneath(function.__code__)
            self._codes.clear()
        while True:
            held = self._armed
            code = self._codes.get(held) if held else self._original
            if code is None:
                code = self._make(held)
            function.__code__ = self._installed = code
            if held is self._armed:  # else a signal handler has switched another point in the middle of this
                return

    def _make(self, armed: frozenset[str]) -> CodeType:
        code = self._original
        for each in self._names:
            if each in armed:
                code = trampoline(code, each)
        # Without a GIL, the code may be swapped in the middle of a call. A frame fits then, as a trampoline
        # has the parameters of the original; but CPython 3.13 gives a generator, a coroutine and an async
        # generator as much room as the code needs that the function has by then, and moves the frame there.
        # So all of them have to need as much, and the original is put back as an equal with a deeper stack.
        if FREE_THREADED and code.co_flags & MOVES:
            code = _as_roomy(code, self._original)
            roomier = _as_roomy(self._original, code)
            if roomier is not self._original:
                self._original = roomier
                self._codes.clear()
        self._codes[armed] = code
        return code


def patch_of(function: FunctionType) -> Patch:
    """The patch of this function: the same one for every point that stands on it."""
    patch = _patches.get(id(function))
    return _patches.setdefault(id(function), Patch(function)) if patch is None else patch


def _room(code: CodeType) -> int:
    """How many slots a frame of this code has."""
    return len({*code.co_varnames, *code.co_cellvars}) + len(code.co_freevars) + code.co_stacksize


def _as_roomy(code: CodeType, other: CodeType) -> CodeType:
    """The same code, with at least as much room in its frame as the other has."""
    more = _room(other) - _room(code)
    return code.replace(co_stacksize=code.co_stacksize + more) if more > 0 else code
