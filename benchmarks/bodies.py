"""The bodies that are explored."""

from __future__ import annotations

from pathlib import Path

from failpy import failpoint

__all__ = ["HITS", "body", "check", "crashing", "nothing"]

HITS = 100


@failpoint("bodies.step", faults=("raise(EIO)",))
def step() -> None:
    """What fails."""


def body() -> None:
    """Hit the point a hundred times, and survive."""
    for _ in range(HITS):
        try:
            step()
        except OSError:
            pass


def crashing(folder: Path) -> None:
    """Hit the point ten times, in a process that dies there."""
    for _ in range(10):
        step()


def check(folder: Path) -> None:
    """Find nothing to complain of."""


def nothing() -> None:
    """Do nothing, in a process of its own."""
