"""Opening scopes: from arguments as a user gives them, and which one is open here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from failpy._arming import named_terms
from failpy._config import config
from failpy._context import Layer, current, process
from failpy._endings import Allowed
from failpy._errors import FailpointError
from failpy._keys import LONGEST, SECONDS
from failpy._scope import Scope, Settings
from failpy._terms import Term, Terms

__all__ = ["current_scope", "scope"]


def scope(
    terms: Mapping[str, str | Term | Terms] | str | None = None,
    *,
    seed: int | None = None,
    strict: bool = True,
    threads: bool = True,
    on_swallowed: Literal["ignore", "error"] = "ignore",
    may_swallow: Iterable[Allowed] = (),
    propagate: bool | float = False,
) -> Scope:
    """A scope: points armed for this test, task or request, and for nothing else.

    Args:
        terms: A mapping of names to terms, or a text such as `"A=panic;B=2*off->print"`.
        seed: What the probabilities are drawn from; else `FAILPY_SEED`, else drawn and shown in failures.
        strict: Whether closing raises when a name is unknown or terms never fired.
        threads: Whether the scope follows work into threads and pools.
        on_swallowed: With `"error"`, an injected exception that some code handled is a failure.
        may_swallow: Who may handle one all the same: functions, or their names as `"function"`,
            `"Class.method"` or `"file.py:function"`.
        propagate: Whether the terms that text can say travel with the requests that are made in the
            scope; or for how many seconds each request may be served with them, 60 for `True`.

    Raises:
        FailpointError: when it shall travel, and there is no `FAILPY_PROPAGATION_KEY`.
        TermSyntaxError: when a text is malformed.
        TypeError: when an argument is of the wrong type.
        ValueError: when `on_swallowed` is neither `"ignore"` nor `"error"`, or `propagate` out of range.

    Examples:
        >>> from failpy import fail, failpoint
        >>> @failpoint("greeting", returns=str)
        ... def greeting() -> str:
        ...     return "hello"
        >>> with fail.scope({"greeting": '1*return("hi")'}) as scope:
        ...     print(greeting(), greeting())
        hi hello
        >>> scope.status("greeting").hits
        2
    """
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise TypeError(f"seed must be an int or None, not {seed!r}")
    for argument, value in (("strict", strict), ("threads", threads)):
        if not isinstance(value, bool):
            raise TypeError(f"{argument} must be True or False, not {value!r}")
    if on_swallowed not in ("ignore", "error"):
        raise ValueError(f"on_swallowed must be 'ignore' or 'error', not {on_swallowed!r}")
    names = (may_swallow,) if isinstance(may_swallow, str) else tuple(may_swallow)
    for each in names:
        if not isinstance(each, str) and not hasattr(each, "__code__"):
            raise TypeError(f"may_swallow takes functions and names of functions, not {each!r}")
    allowed = names if on_swallowed == "error" else None
    return Scope(Settings(named_terms(terms), seed, strict, threads, allowed, _seconds(propagate)))


def _seconds(propagate: bool | float) -> float | None:
    """For how long a request may be served with the terms; None when they do not travel."""
    if propagate is False:
        return None
    if not isinstance(propagate, int | float):
        raise TypeError(f"propagate must be True, False or a number of seconds, not {propagate!r}")
    if propagate is not True and not 0 < propagate <= LONGEST:
        raise ValueError(
            f"propagate must be more than 0 and at most {LONGEST:,} seconds, not {propagate!r}: whoever has "
            "the header of a request can use it for so long"
        )
    if config.enabled and not config.propagation_keys:
        raise FailpointError(
            "a scope with propagate=True is signed, and there is no key: set FAILPY_PROPAGATION_KEY, here "
            "and for the services that shall take it, to a long random text, such as from "
            "secrets.token_urlsafe()"
        )
    return SECONDS if propagate is True else propagate


def current_scope() -> Scope | None:
    """The innermost open scope of this context, or None."""
    layer: Layer | None = current()
    while layer is not None and layer is not process:
        if isinstance(layer, Scope) and not layer.closed:
            return layer
        layer = layer.behind or layer.parent
    return None
