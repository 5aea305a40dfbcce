"""Exceptions and callables that a text names, found when the terms are enabled."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from failpy._errors import TermSyntaxError
from failpy._literals import fresh_copy, literal_text, shown
from failpy._lookup import NotFoundError, locate, named
from failpy._texts import exception_expression, exception_text

__all__ = ["CallSpec", "ExceptionSpec", "build"]


class Spec:
    """A path in a text, and where it stands there."""

    __slots__ = ("_found", "column", "path", "source")

    def __init__(self, path: str, source: str = "", column: int = 1) -> None:
        self.path = path
        self.source = source or path
        self.column = column
        self._found: Any = None

    @property
    def root(self) -> str:
        """The first part of the path: a module, where there is more than one part."""
        return self.path.partition(":")[0].partition(".")[0]

    def _fault(self, reason: str) -> TermSyntaxError:
        return TermSyntaxError(reason, self.source, self.column)

    def _locate(self, modules: list[str], names: list[str], importing: bool) -> Any:
        """Import the longest prefix that is a module, then follow the attributes."""
        try:
            return locate(modules, names, importing)
        except NotFoundError as exc:
            raise self._fault(f"{exc}") from exc.__cause__


class ExceptionSpec(Spec):
    """What `raise(...)` names: `pkg.errors.Conflict`, `ValueError("boom")`, `ENOSPC`.

    Args:
        path: The dotted path of a class, the bare name of a built-in one, or of an errno.
        args: The literal arguments; None when the text has no parentheses.
        kwargs: The literal keyword arguments.
        source: The whole text that names it.
        column: Where the path is in that text, from 1.
    """

    __slots__ = ("_errno", "args", "kwargs")

    def __init__(
        self,
        path: str,
        args: tuple[object, ...] | None = None,
        kwargs: dict[str, object] | None = None,
        source: str = "",
        column: int = 1,
    ) -> None:
        super().__init__(path, source, column)
        self._errno: int | None = None
        self.args = args
        self.kwargs = kwargs or {}

    @property
    def text(self) -> str:
        """The path and its arguments, in canonical form."""
        if self.args is None:
            return self.path
        arguments = [str(literal_text(value)) for value in self.args]
        arguments += [f"{key}={literal_text(value)}" for key, value in self.kwargs.items()]
        return f"{self.path}({', '.join(arguments)})"

    @property
    def expression(self) -> str | None:
        """The typed exception with the same text, as Python, or None when there is none."""
        if "." in self.path or self.kwargs:
            return None
        try:
            typed = self.resolve() if self.args is None else self.make()
        except TypeError:
            return None
        return exception_expression(typed) if exception_text(typed) == self.text else None

    def resolve(self, importing: bool = True) -> type[BaseException]:
        """Find the class.

        Args:
            importing: Whether modules may be imported for it; else only those already imported count.

        Raises:
            TermSyntaxError: when there is none, or when it is no exception.
        """
        if "." in self.path:
            *modules, name = self.path.split(".")
            found = self._locate(modules, [name], importing)
        else:
            found = named(self.path)
            if isinstance(found, int):
                self._errno, found = found, OSError
        if not (isinstance(found, type) and issubclass(found, BaseException)):
            raise self._fault(
                f"{self.path} is not an exception class: raise takes a subclass of BaseException"
            )
        self._found = found
        return found

    def make(self, importing: bool = True) -> BaseException:
        """Build a new exception.

        Raises:
            TermSyntaxError: when the class cannot be found.
            TypeError: when it does not take these arguments.
        """
        found = self.resolve(importing) if self._found is None else self._found
        if self._errno is not None:
            return OSError(self._errno, os.strerror(self._errno))
        if not self.args and not self.kwargs:
            return build(found)
        args = map(fresh_copy, self.args or ())
        return build(found, *args, **{key: fresh_copy(value) for key, value in self.kwargs.items()})

    def check(self, importing: bool) -> None:
        """Find the class anew, and see that it takes these arguments.

        Raises:
            TermSyntaxError: when it cannot be found or does not take them.
        """
        self.resolve(importing)
        try:
            self.make()
        except TypeError as exc:
            raise self._fault(f"{exc}") from exc.__cause__


class CallSpec(Spec):
    """What `call("pkg.mod:fn")` names."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The path as a literal."""
        return str(literal_text(self.path))

    def resolve(self, importing: bool = True) -> Callable[..., Any]:
        """Find the callable.

        Args:
            importing: Whether its module may be imported; else it must have been already.

        Raises:
            TermSyntaxError: when there is none, or when it cannot be called.
        """
        module, _, name = self.path.partition(":")
        found = self._locate([module], name.split("."), importing)
        if not callable(found):
            raise self._fault(f'{self.path} is not callable: call takes a function, as in "pkg.mod:fn"')
        self._found = found
        return found  # type: ignore[no-any-return]

    @property
    def function(self) -> Callable[..., Any]:
        """The callable, found once."""
        return self.resolve() if self._found is None else self._found


def build(found: type[BaseException], *args: object, **kwargs: object) -> BaseException:
    """Build an exception, and say what is wrong when its class will not."""
    given = "these arguments" if args or kwargs else "no arguments"
    try:
        made: object = found(*args, **kwargs)
    except Exception as exc:
        raise TypeError(
            f"{found.__qualname__} cannot be built from {given}: it raised {shown(exc)}; "
            f"give what it takes, or an instance: Raise({found.__qualname__}(...))"
        ) from exc
    if not isinstance(made, BaseException):
        raise TypeError(
            f"{found.__qualname__} built {shown(made)} from {given}, which is no exception: "
            "give an instance that can be raised"
        )
    return made
