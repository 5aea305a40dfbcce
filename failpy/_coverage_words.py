"""The words of a coverage report: what each state is called, and texts and numbers as people read them."""

from __future__ import annotations

__all__ = ["EXPLAINED", "percentage", "times"]

EXPLAINED = {
    "never": "never armed",
    "armed": "armed, and execution never reached it",
    "hit": "reached while armed, and it never fired",
    "partly": "fired, but not with every fault of its catalogue",
    "fired": "fired",
}
"""What each state means."""


def percentage(part: int, whole: int) -> str:
    """A share in percent, rounded down, so that it says 100 only where nothing is missing."""
    tenths = 1000 * part // whole if whole else 1000
    return f"{tenths // 10}.{tenths % 10} %".replace(".0 %", " %")


def times(count: int) -> str:
    """How often something happened."""
    return "never" if count == 0 else "once" if count == 1 else f"{count} times"
