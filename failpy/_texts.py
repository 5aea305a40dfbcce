"""The text that names an exception or a callable, if there is one."""

from __future__ import annotations

from collections.abc import Callable
from types import BuiltinFunctionType, GetSetDescriptorType, MemberDescriptorType, WrapperDescriptorType
from typing import Any

from failpy._literals import MAX_WORD, WORD, literal_text, shown
from failpy._lookup import NotFoundError, locate, named

__all__ = ["callable_expression", "callable_text", "exception_expression", "exception_text"]


def exception_text(exc: type[BaseException] | BaseException) -> str | None:
    """The text from which an equal exception can be built; None where there is none."""
    if isinstance(exc, type):
        return _class_path(exc)
    path = _class_path(type(exc))
    arguments = [literal_text(value) for value in exc.args]
    if path is None or None in arguments or not _can_be_rebuilt(exc):
        return None
    return f"{path}({', '.join(map(str, arguments))})"


def exception_expression(exc: type[BaseException] | BaseException) -> str:
    """The Python expression for an exception; its repr, where no text names it."""
    if exception_text(exc) is None:
        return shown(exc, limit=None)
    if isinstance(exc, type):
        return str(_class_path(exc))
    return f"{_class_path(type(exc))}({', '.join(map(repr, exc.args))})"


def callable_text(fn: Callable[..., Any]) -> str | None:
    """The text that leads to this very callable; None where none does."""
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if type(module) is not str or type(name) is not str:
        return None
    return literal_text(f"{module}:{name}") if _leads_to([module], name.split("."), fn) else None


def callable_expression(fn: Callable[..., Any]) -> str:
    """The Python expression for a callable; its repr, where no text names it."""
    if callable_text(fn) is None:
        return shown(fn, limit=None)
    return f"{fn.__module__}.{fn.__qualname__}".removeprefix("builtins.")


def _class_path(cls: type[BaseException]) -> str | None:
    """The path that leads to this very class; None where none does."""
    if named(cls.__qualname__) is cls:
        return cls.__qualname__
    *modules, name = f"{cls.__module__}.{cls.__qualname__}".split(".")
    return f"{cls.__module__}.{cls.__qualname__}" if _leads_to(modules, [name], cls) else None


def _leads_to(modules: list[str], names: list[str], target: object) -> bool:
    path = ".".join((*modules, *names))
    if len(path) > MAX_WORD or not WORD.fullmatch(path):
        return False
    try:
        return locate(modules, names, importing=False) is target
    except NotFoundError:
        return False


def _can_be_rebuilt(exc: BaseException) -> bool:
    """Whether the class of an exception, given its args, makes one that is no different."""
    cls = type(exc)
    if (
        not isinstance(cls.__init__, WrapperDescriptorType)
        or not isinstance(cls.__new__, BuiltinFunctionType)
        or type(cls).__call__ is not type.__call__
    ):
        return False
    # Notes say where it was raised before; failpy itself adds one on each hit.
    if exc.__cause__ is not None or set(vars(exc)) - {"__notes__"}:
        return False
    try:
        twin = cls(*exc.args)
        return type(twin) is cls and _slots(twin) == _slots(exc)
    except Exception:  # a class written in C may refuse its own args
        return False


def _slots(exc: BaseException) -> dict[str, object]:
    return {
        name: getattr(exc, name, None)
        for base in type(exc).__mro__
        if base not in (BaseException, object)
        for name, attribute in vars(base).items()
        if isinstance(attribute, (GetSetDescriptorType, MemberDescriptorType))
        and name not in ("__weakref__", "__dict__")
    }
