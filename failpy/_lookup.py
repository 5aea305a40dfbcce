"""Finding a module, a class or a function by its path, with or without importing."""

from __future__ import annotations

import builtins
import errno
import os
import sys
from collections.abc import Callable, Mapping
from types import FunctionType, MethodType, ModuleType
from typing import Any

from failpy import _errors
from failpy._errors import did_you_mean
from failpy._literals import shown

__all__ = ["NotFoundError", "known_names", "locate", "may_come", "named"]


def named(name: str) -> type[BaseException] | int | None:
    """What a bare name stands for: an exception of Python or of failpy, an errno, or nothing."""
    for space in (builtins, _errors):
        found = vars(space).get(name)
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    return vars(errno).get(name) if name.startswith("E") else None


def known_names() -> list[str]:
    """Every bare name that `raise` knows."""
    return [name for space in (builtins, _errors, errno) for name in vars(space) if named(name) is not None]


class NotFoundError(Exception):
    """Nothing is there.

    Args:
        reason: Why.
        hint: Gives the way out, which may take long to find: asked only when it is shown.
    """

    def __init__(self, reason: str, hint: Callable[[], str] = str) -> None:
        super().__init__(reason)
        self._hint = hint

    def __str__(self) -> str:
        return super().__str__() + self._hint()


def locate(modules: list[str], names: list[str], importing: bool) -> Any:
    """Take the longest prefix of `modules` that is a module, and follow what is left and the names from it.

    Args:
        modules: The parts of a path that may be modules; the first must be one.
        names: The parts that are attributes.
        importing: Whether to import; else only modules already imported count, and nothing that
            could import them is run on the way.

    Raises:
        NotFoundError: when it leads nowhere, or when importing raised an exception, which is its cause.
    """
    found: Any = None
    imported = 0
    path = ""
    for part in modules:
        path = f"{path}.{part}" if path else part
        module = _module(path, importing)
        if module is None:
            break
        found, imported = module, imported + 1
    if imported == 0:
        raise NotFoundError(
            f"there is no module {modules[0]!r}: check its spelling and sys.path"
            if importing
            else f"no module {modules[0]!r} is imported, and none is for a request: import it in the program"
        )
    where = ".".join(modules[:imported])
    for name in (*modules[imported:], *names):
        found = _attribute(found, name, where, importing)
        where = f"{where}.{name}"
    return found


def may_come(root: str) -> bool:
    """Whether what was not found in this module may be found later, when it has been imported."""
    module = sys.modules.get(root)
    if module is not None:
        importing = getattr(getattr(module, "__spec__", None), "_initializing", False)
        return bool(importing) or root == "__main__" or hasattr(module, "__path__")
    from importlib.util import find_spec

    return find_spec(root) is not None


def _is_the_script(name: str) -> bool:
    """Whether the program was started as `python name.py`: imported, it would run once more."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    if script is None or name in sys.modules or "." in name:
        return False
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec(name)
    return spec is not None and spec.origin is not None and Path(spec.origin).samefile(script)


def _module(name: str, importing: bool) -> Any:
    if not importing:
        main = sys.modules.get("__main__")
        script = getattr(main, "__file__", None) or ""
        is_script = name not in sys.modules and os.path.basename(script) == f"{name}.py"  # noqa: PTH119
        return main if is_script else sys.modules.get(name)
    from importlib import import_module

    try:
        if _is_the_script(name):
            return sys.modules["__main__"]
        return import_module(name)
    except Exception as exc:
        missing = exc.name if isinstance(exc, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            return None
        raise NotFoundError(
            f"importing {name} raised {shown(exc)}: mend the module, or name another"
        ) from exc


def _attribute(owner: Any, name: str, where: str, importing: bool) -> Any:
    try:
        if importing:
            return getattr(owner, name)
        return _stored(owner, name)
    except Exception as exc:
        raise NotFoundError(f"{where} has no {name!r}", lambda: _near(owner, name, importing)) from (
            None if isinstance(exc, AttributeError) else exc
        )


def _stored(owner: Any, name: str) -> Any:
    """An attribute as it is stored: whatever else could give one may import, or run anything."""
    for space in _spaces(owner):
        if name in space:
            found = space[name]
            if type(found) is FunctionType and not issubclass(type(owner), (type, ModuleType)):
                return MethodType(found, owner)
            return found.__get__(None, owner) if type(found) in (staticmethod, classmethod) else found
    raise AttributeError(name)


def _spaces(owner: Any) -> list[Mapping[str, Any]]:
    """The dictionaries of a module, of a class and its bases, or of the class of anything else."""
    if issubclass(type(owner), ModuleType):
        return [_MODULE_SPACE(owner)]
    return [_CLASS_SPACE(each) for each in _MRO(owner if issubclass(type(owner), type) else type(owner))]


# Past the classes' own `__getattribute__`, `__mro__` and `__dict__`.
_MRO = vars(type)["__mro__"].__get__
_CLASS_SPACE = vars(type)["__dict__"].__get__
_MODULE_SPACE = vars(ModuleType)["__dict__"].__get__


def _near(owner: Any, name: str, importing: bool) -> str:
    known = [each for space in _spaces(owner) for each in space]
    near = did_you_mean(name, [each for each in known if type(each) is str])
    if near or importing:
        return near or ": check its spelling"
    return (
        ": check its spelling; if it is a module, import it in the program, as none is imported for a request"
    )
