"""The latest of many things, which one thread may look at while others add to them."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["Latest"]

T = TypeVar("T")
_SPARE = 256


class Latest(list[T]):
    """A list that forgets its oldest members now and then, so that it has not many more than it should.

    Not a deque: on a free-threaded Python 3.13 one that grows meanwhile cannot be copied. Adding,
    forgetting and copying are each one operation of a list, so that there is no lock to hold.

    Args:
        most: How many to keep at least.

    Attributes:
        most: That.
        limit: How many there may be before the oldest are forgotten.
    """

    __slots__ = ("limit", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = most + _SPARE

    def add(self, member: T) -> None:
        """Add one, and forget the oldest if there are too many."""
        self.append(member)
        if len(self) > self.limit:
            self.trim()

    def trim(self) -> None:
        """Forget all but as many as are to be kept."""
        del self[: -self.most]

    @property
    def now(self) -> list[T]:
        """Those of this moment, the oldest first: the latest, so many at the most."""
        return self[-self.most :]
