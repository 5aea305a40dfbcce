"""Faults: what may go wrong at a declared point, and the terms that make it so at chosen hits."""

from __future__ import annotations

from collections.abc import Mapping

from failpy._literals import shown
from failpy._registry import declared, unknown
from failpy._returns import Accepted
from failpy._terms import Count, Off, Raise, Return, Term, Terms

__all__ = ["at_hit", "faults_of", "persisting", "schedule_terms", "span"]

# What text can say of a type, the simplest first.
_VALUES: dict[type, tuple[object, ...]] = {
    bool: (False, True),
    int: (0, -1),
    float: (0.0, -1.0),
    str: ("",),
    list: ([],),
    dict: ({},),
    type(None): (None,),
}


def faults_of(name: str) -> tuple[Terms, ...]:
    """The faults that may be injected at a declared point, the simplest first.

    They are the point's own catalogue, `faults=`, in its order. A point without one can `raise`, and
    return the emptiest values of the types in its `returns=`. One without `returns` can only raise: to
    leave its body out is a fault only where nobody needs what the body gives, which a catalogue has to
    say: `faults=("raise", "return")`.

    Args:
        name: The name of the point.

    Raises:
        UnknownFailpoint: when no code has declared it.

    Examples:
        >>> from failpy import failpoint
        >>> @failpoint("faults.count", returns=int | None)
        ... def count() -> int | None:
        ...     return 7
        >>> print(*faults_of("faults.count"))
        raise return(0) return(-1) return(None)
    """
    point = declared(name)
    if point is None:
        raise unknown(name)
    return point.faults or (Terms((Raise(),)), *_values(point.accepted))


def _values(types: Accepted) -> tuple[Terms, ...]:
    if types == (type(None),):
        return ()
    every = (type(None),) if types is None else types
    # As read from text, so that each hit gets a list of its own.
    return tuple(Terms((Return.read(value),)) for each in every for value in _VALUES.get(each, ()))


def at_hit(nth: int, fault: Terms) -> Terms:
    """The terms that inject this fault at the nth hit, and at no other.

    Args:
        nth: Which hit, counted from 1.
        fault: The fault; see `schedule_terms`.

    Raises:
        TypeError: when `nth` is no integer.
        ValueError: when it is less than 1.

    Examples:
        >>> from failpy import parse
        >>> str(at_hit(3, parse("raise(ENOSPC)")))
        '2*off->1*raise(ENOSPC)'
    """
    return schedule_terms({nth: fault})


def schedule_terms(hits: Mapping[int, Terms]) -> Terms:
    """The terms that inject a fault at each of these hits of one point, and nothing at the others.

    A fault takes one hit. One with a count takes so many in a row, and a chain takes those of its terms,
    one after the other: `2*raise(EAGAIN)->raise(EIO)` takes three. Probabilities are left out, since it
    is decided here when a fault is due. A fault whose hit is still taken by an earlier one comes
    right after that.

    Args:
        hits: The faults, by the number of the hit at which they begin, counted from 1.

    Raises:
        TypeError: when the number of a hit is no integer.
        ValueError: when it is less than 1, or there is no hit at all.

    Examples:
        >>> from failpy import parse
        >>> faults = {2: parse("raise(ENOSPC)"), 3: parse("2*raise(EIO)"), 4: parse("return")}
        >>> str(schedule_terms(faults))
        '1*off->1*raise(ENOSPC)->2*raise(EIO)->1*return'
    """
    if not hits:
        raise ValueError("a schedule needs at least one hit: leave the point out to inject nothing there")
    chain: list[Term] = []
    taken = 0
    for nth in sorted(map(_checked, hits)):
        terms = _counted(hits[nth])
        if not terms:
            continue
        if nth > taken + 1:
            chain.append((nth - 1 - taken) * Off())
            taken = nth - 1
        chain += terms
        taken += span(hits[nth])
    return Terms(chain or (Off(),))


def persisting(terms: Terms) -> Terms:
    """The same terms, the last of which never ends: SQLite's faults that stay, besides those that come once.

    Examples:
        >>> from failpy import parse
        >>> str(persisting(at_hit(3, parse("raise(ENOSPC)"))))
        '2*off->raise(ENOSPC)'
    """
    return Terms((*terms[:-1], terms[-1].unmodified()))


def span(fault: Terms) -> int:
    """How many hits in a row this fault takes: 0 for one that may never act, such as `0*raise`."""
    return sum(map(_count, fault))


def _checked(nth: int) -> int:
    if isinstance(nth, bool) or not isinstance(nth, int):
        raise TypeError(f"the number of a hit must be an integer, not {shown(nth)}: the first hit is 1")
    if nth < 1:
        raise ValueError(f"the number of a hit must be at least 1, not {shown(nth)}: the first hit is 1")
    return nth


def _counted(fault: Terms) -> list[Term]:
    return [term.unmodified().modified(Count(count)) for term in fault if (count := _count(term))]


def _count(term: Term) -> int:
    return min((modifier.count for modifier in term.modifiers if isinstance(modifier, Count)), default=1)
