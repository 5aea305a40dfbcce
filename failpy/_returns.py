"""What a failpoint may return: the declared type, and whether a value is of it."""

from __future__ import annotations

import types
from typing import Any, Union, get_args, get_origin

from failpy._errors import ReturnTypeError
from failpy._terms import Return, Terms

__all__ = ["Accepted", "accepted", "check_terms", "check_value", "describe"]

Accepted = tuple[type, ...] | None
"""The classes a value may be an instance of; None stands for `Any`."""


def accepted(returns: object) -> Accepted:
    """The classes that a `returns=` stands for.

    Raises:
        TypeError: if it is not a class, a union of classes, None or `Any`.
    """
    if returns is Any:
        return None
    if returns is None:
        return (type(None),)
    if isinstance(returns, types.UnionType) or get_origin(returns) is Union:
        parts = [accepted(part) for part in get_args(returns)]
        return None if None in parts else tuple(t for part in parts if part for t in part)
    origin = get_origin(returns)
    kind = origin if isinstance(origin, type) else returns
    try:
        isinstance(None, kind)  # type: ignore[arg-type]
    except TypeError:
        kind = None
    if isinstance(kind, type):
        return (kind,)
    raise TypeError(
        f"returns={returns!r} is not a type that a value can be checked against: "
        "give a class, a union of classes, None or typing.Any"
    )


def describe(returns: object) -> str:
    """The declared type as one writes it: `str`, `int | None`, `Any`."""
    if returns is Any:
        return "Any"
    return returns.__name__ if type(returns) is type else str(returns)


def _is_instance(value: object, types: tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        # As in Go, a bool is no number here.
        types = tuple(t for t in types if t not in (int, float, complex))
    elif isinstance(value, int) and float in types:
        return True
    return isinstance(value, types)


def check_value(name: str, returns: object, types: Accepted, value: object, source: object) -> None:
    """Refuse a value that is not of the declared type.

    Raises:
        ReturnTypeError: naming the point, both types, and the way out.
    """
    if types is None or _is_instance(value, types):
        return
    declared = "no returns" if returns is None else f"returns={describe(returns)}"
    raise ReturnTypeError(
        f"failpoint {name!r} declares {declared}, but {source} gives "
        f"{'no value' if value is None else type(value).__name__}: "
        f"give a value of that type, or declare the point with another returns"
    )


def check_terms(name: str, returns: object, types: Accepted, terms: Terms) -> None:
    """Refuse terms with a `return` whose value is not of the declared type."""
    for term in terms:
        if isinstance(term, Return):
            check_value(name, returns, types, term.value, term)
