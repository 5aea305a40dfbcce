"""Functions whose code is swapped while a failpoint on them is armed.

The decorated function stays the object it was. While a point on it is armed, its `__code__` is a
trampoline: code of the same kind, with the same parameters and the same free variables, which
evaluates the point and then runs the original code over the very cells of the function. Disarming
puts the original code back, so an idle function is not slower by a single instruction.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from failpy._context import find

__all__ = ["Patch", "patch_of", "trampoline"]

# As in `inspect`, which takes as long to import as the whole of failpy.
CO_VARARGS = 0x04
CO_VARKEYWORDS = 0x08
CO_GENERATOR = 0x20
CO_COROUTINE = 0x80
CO_ITERABLE_COROUTINE = 0x100
CO_ASYNC_GENERATOR = 0x200
CO_NESTED = 0x10

# Stand-ins in a template, for what the trampoline made of it has as constants.
_FIND, _NAME, _BEGIN = "<failpy find>", "<failpy name>", "<failpy begin>"


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
            self._original = _beneath(function.__code__)
            self._codes.clear()
        while True:
            which = self._armed
            code = self._codes.get(which) if which else self._original
            if code is None:
                code = self._original
                for each in self._names:
                    if each in which:
                        code = trampoline(code, each)
                self._codes[which] = code
            function.__code__ = self._installed = code
            if which is self._armed:  # else a signal handler has switched another point in the middle of this
                return


def patch_of(function: FunctionType) -> Patch:
    """The patch of this function: the same one for every point that stands on it."""
    patch = _patches.get(id(function))
    return _patches.setdefault(id(function), Patch(function)) if patch is None else patch


def _beneath(code: CodeType) -> CodeType:
    """The code that a trampoline goes on to: a reloader may have copied one from an armed function."""
    while any(const is find for const in code.co_consts):
        code = next(const for const in code.co_consts if isinstance(const, CodeType))
    return code


def trampoline(code: CodeType, name: str, kind: str | None = None) -> CodeType:
    """Code that evaluates the point called `name` and then goes on to `code`.

    Args:
        code: What to go on to.
        name: The name of the point.
        kind: What a call of the trampoline makes, where `code` is a plain function that gives one.
    """
    positional = code.co_argcount
    keyword = code.co_kwonlyargcount
    flags = code.co_flags
    varargs, varkw = bool(flags & CO_VARARGS), bool(flags & CO_VARKEYWORDS)
    template = _template(
        kind or _kind(flags),
        positional,
        code.co_posonlyargcount,
        keyword,
        varargs,
        varkw,
        len(code.co_freevars),
    )
    parameters = code.co_varnames[: positional + keyword + varargs + varkw]
    names = dict(zip(template.co_varnames, parameters, strict=False))
    consts = tuple(_fill(const, names, code, name) for const in template.co_consts)
    return template.replace(
        co_argcount=positional,
        co_varnames=parameters + template.co_varnames[len(parameters) :],
        co_consts=consts,
        co_freevars=code.co_freevars,
        co_flags=(template.co_flags & ~CO_NESTED) | (flags & (CO_ITERABLE_COROUTINE | CO_NESTED)),
        co_names=template.co_names + code.co_names,  # for who looks up which globals the function uses
        co_filename=code.co_filename,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        co_firstlineno=code.co_firstlineno,
        co_linetable=_one_line(len(template.co_code) // 2),
    )


def _fill(const: object, names: dict[str, str], code: CodeType, name: str) -> object:
    if isinstance(const, CodeType):
        return code
    if isinstance(const, tuple):
        return tuple(_fill(each, names, code, name) for each in const)
    if const == _FIND:
        return find
    if const == _NAME:
        return name
    if const == _BEGIN:
        return begin
    return names.get(const, const) if isinstance(const, str) else const


def _one_line(units: int) -> bytes:
    """A location table that puts every instruction on the first line, without columns.

    A traceback then shows the decorator, which is where the point stands. The format is that of
    CPython's `Objects/locations.md`: entries of kind 13 (no columns), eight code units at the most.
    """
    full, rest = divmod(units, 8)
    table = bytes((0x80 | 13 << 3 | 7, 0)) * full
    return table + bytes((0x80 | 13 << 3 | rest - 1, 0)) if rest else table


def _kind(flags: int) -> str:
    if flags & CO_ASYNC_GENERATOR:
        return "async generator"
    if flags & CO_COROUTINE:
        return "coroutine"
    return "generator" if flags & CO_GENERATOR else "function"


def begin(body: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """The first step of an async generator that the event loop shall not know of.

    It knows the trampoline, and closing that closes the body; closing both at once is an error.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return body.__anext__()
    finally:
        sys.set_asyncgen_hooks(*hooks)


# `def`, how the point is evaluated, and how the original code is gone on to. The call of the point
# stands in the user's frame, so that an injected exception has no frame of failpy in its traceback.
# Generators are driven by hand: `yield from` would treat GeneratorExit otherwise than the body does.
_DRIVE = """\
__failpy_body = __failpy_body({{call}})
        try:
            __failpy_item = {first}
            while True:
                __failpy_thrown = None
                try:
                    __failpy_sent = yield __failpy_item
                except BaseException as __failpy_caught:
                    __failpy_thrown = __failpy_caught
                # Outside of the handler: what the body raises now must not get it as its context.
                if __failpy_thrown is None:
                    __failpy_item = {send}(__failpy_sent)
                else:
                    __failpy_item = {throw}(__failpy_thrown)
        except {stop}"""

_SHAPES = {
    "function": ("def", "{hit}", "return __failpy_body({call})"),
    "coroutine": ("async def", "await {ahit}", "return await __failpy_body({call})"),
    "generator": (
        "def",
        "{hit}",
        _DRIVE.format(
            first="__failpy_body.send(None)",
            send="__failpy_body.send",
            throw="__failpy_body.throw",
            stop="StopIteration as __failpy_stop:\n            return __failpy_stop.value",
        ),
    ),
    "async generator": (
        "async def",
        "await {ahit}",
        f"__failpy_begin = {_BEGIN!r}\n        "
        + _DRIVE.format(
            first="await __failpy_begin(__failpy_body)",
            send="await __failpy_body.asend",
            throw="await __failpy_body.athrow",
            stop="StopAsyncIteration:\n            return",
        ),
    ),
}

_SOURCE = """\
def make({free}):
    {define} trampoline({parameters}):
        __failpy_hit = {find!r}
        __failpy_hit = __failpy_hit({name!r})
        if __failpy_hit is not None:
            __failpy_hit = {evaluate}
            if __failpy_hit is not None:
                if __failpy_hit.error is not None:
                    raise __failpy_hit.take_error()
                return{value}
        __tracebackhide__ = True
        def __failpy_body(): {free}
        {proceed}
    return trampoline
"""


@lru_cache(maxsize=1024)
def _template(
    kind: str, positional: int, posonly: int, keyword: int, varargs: bool, varkw: bool, free: int
) -> CodeType:
    """Trampoline code for this shape of function, with stand-ins for its names and constants."""
    args = [f"__failpy_a{i}" for i in range(positional)]
    keywords = [f"__failpy_k{i}" for i in range(keyword)]
    star, starstar = ["*__failpy_args"] * varargs, ["**__failpy_kwargs"] * varkw

    parameters = args[:posonly] + ["/"] * bool(posonly) + args[posonly:]
    parameters += star or ["*"] * bool(keyword)
    parameters += keywords + starstar
    call = args + star + [f"{name}={name}" for name in keywords] + starstar
    named = [f"{name!r}: {name}" for name in args[posonly:] + keywords] + starstar
    # A function without parameters makes no tuple and no dict for each hit, which would be kept with it.
    details = (
        f"({''.join(f'{each}, ' for each in args + star)}), {{{', '.join(named)}}}"
        if args + star + named
        else ""
    )

    define, evaluate, proceed = _SHAPES[kind]
    source = _SOURCE.format(
        # Zero-padded, so that the compiler's alphabetical order is the order of the positions.
        free=", ".join(f"__failpy_free{i:05}" for i in range(free)) + ("," if free else ""),
        define=define,
        parameters=", ".join(parameters),
        find=_FIND,
        name=_NAME,
        evaluate=evaluate.format(hit=f"__failpy_hit.hit({details})", ahit=f"__failpy_hit.ahit({details})"),
        value="" if kind == "async generator" else " __failpy_hit.value",
        proceed=proceed.format(call=", ".join(call)),
    ).replace("__failpy_body(): \n", "__failpy_body(): pass\n")
    make = compile(source, "<failpy trampoline>", "exec", dont_inherit=True, optimize=0)
    outer = next(const for const in make.co_consts if isinstance(const, CodeType))
    return next(const for const in outer.co_consts if isinstance(const, CodeType))
