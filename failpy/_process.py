"""The process scope: the outermost layer, seen by everything."""

from __future__ import annotations

from collections.abc import Mapping

from failpy import _arming
from failpy._arming import Status, When, chain_for, named_terms
from failpy._context import process
from failpy._terms import Term, Terms

__all__ = ["disable", "enable", "enable_all", "points", "status"]


def enable(name: str, terms: str | Term | Terms, *, when: When | None = None) -> None:
    """Arm a point for the whole process, in place of what was armed there.

    Prefer `failpy.scope`, which ends by itself and is seen by one test, task or request only.

    Args:
        name: The point; one that is not declared yet is armed as soon as it is.
        terms: Text such as `3*return("hello")`, or typed terms.
        when: A predicate over the hit; where it is false the hit passes and consumes nothing.

    Raises:
        TermSyntaxError: when the text is malformed; what was armed stays armed.
        ReturnTypeError: when a `return` is not of the declared type.
        FailpointError: under `FAILPY=off`.
    """
    _arming.enable(process, {name: chain_for(name, terms)}, when=when)


def enable_all(terms: Mapping[str, str | Term | Terms] | str) -> None:
    """Arm several points for the whole process: all of them, or none if anything is wrong with one.

    Args:
        terms: A mapping of names to terms, or a text such as `"A=panic;B=2*off->print"`.

    Raises:
        TermSyntaxError, ReturnTypeError, FailpointError: as `enable`.
    """
    if terms is None:
        raise TypeError("terms must be a mapping of names to terms, or a text, not None")
    _arming.enable(process, named_terms(terms))


def disable(name: str) -> None:
    """Disarm a point of the process scope; what waits there goes on. Twice is no error.

    Raises:
        UnknownFailpoint: when nothing has declared or armed the name.
    """
    _arming.disable(process, name)


def status(name: str) -> Status:
    """What can be said of a point in the process scope. Reading never consumes a hit.

    Raises:
        UnknownFailpoint: when nothing has declared or armed the name.
    """
    return _arming.status(name, process.activations)


def points() -> list[Status]:
    """Every point that is declared, or armed for the process, sorted by name."""
    return _arming.statuses(process.activations, declared_too=True)
