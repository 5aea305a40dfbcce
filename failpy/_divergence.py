"""Divergence: how a run differed, before its fault, from the run that it goes on from."""

from __future__ import annotations

from collections import Counter

__all__ = ["divergence"]


def divergence(expected: tuple[str, ...], got: tuple[str, ...], missing: str | None) -> str | None:
    """It, in words; None where the two are the same.

    Args:
        expected: The points that were to be hit, up to that of the last fault.
        got: As many that were.
        missing: The hit that did not come, if it is one that was to get a fault.

    Examples:
        >>> divergence(("a", "b"), ("b", "a"), None)
        "before the fault, the same hits came in another order: hit 1 was to be 'a', and it was 'b'"
    """
    if missing is not None:
        return f"{missing}, did not happen{_difference(expected, got)}"
    if expected == got:
        return None
    if Counter(expected) == Counter(got):
        return f"before the fault, the same hits came in another order{_difference(expected, got)}"
    return f"before the fault, other hits came than in the run it goes on from{_difference(expected, got)}"


def _difference(expected: tuple[str, ...], got: tuple[str, ...]) -> str:
    for index, name in enumerate(expected):
        actual = got[index] if index < len(got) else None
        if actual != name:
            what = "there was none" if actual is None else f"it was {actual!r}"
            return f": hit {index + 1} was to be {name!r}, and {what}"
    return ""
