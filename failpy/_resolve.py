"""Finding what terms name, at the moment they are enabled."""

from __future__ import annotations

from collections.abc import Iterable

from failpy._errors import TermSyntaxError
from failpy._lookup import may_come
from failpy._specs import CallSpec, ExceptionSpec, Spec, build
from failpy._terms import Call, Raise, Term

__all__ = ["resolve"]


def resolve(terms: Iterable[Term], *, importing: bool = True, early: bool = False) -> None:
    """Find each exception and callable that the terms name, and build each exception once.

    What can go wrong so goes wrong here, where the terms are enabled, and not at a hit.

    Args:
        terms: The chain.
        importing: Whether modules may be imported for it; else only those already imported count.
        early: Whether the program has only begun, so that its modules may still be on the way. Then
            nothing is imported, and what is not there yet is looked for when it is first needed.

    Raises:
        TermSyntaxError: when something that text names cannot be found, called or built.
        TypeError: when the class of a typed `Raise` cannot be built without arguments.
    """
    for term in terms:
        try:
            _resolve(term, importing and not early)
        except TermSyntaxError:
            named = term.exc if isinstance(term, Raise) else term.fn if isinstance(term, Call) else None
            if not (early and isinstance(named, Spec) and may_come(named.root)):
                raise


def _resolve(term: Term, importing: bool) -> None:
    if isinstance(term, Raise):
        if isinstance(term.exc, ExceptionSpec):
            term.exc.check(importing)
        elif isinstance(term.exc, type):
            build(term.exc)
    elif isinstance(term, Call) and isinstance(term.fn, CallSpec):
        term.fn.resolve(importing)
