"""A schedule: which faults come at which hits of which points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import final

from failpy._arming import named_terms
from failpy._chain import Frozen
from failpy._terms import Term, Terms

__all__ = ["Schedule"]


@final
class Schedule(Frozen, Mapping[str, Terms]):
    """Which terms each of some points gets: an immutable mapping of names to terms.

    It goes wherever a mapping of names to terms does. A strict scope lets its terms be if they never
    fire, since what a search draws may be for a hit that does not happen.

    Args:
        terms: A mapping of names to terms, or a text such as `"A=1*raise;B=2*off->1*raise(EIO)"`.

    Raises:
        TypeError: when it is neither.
        TermSyntaxError: when a text is malformed.
        InvalidName: when no failpoint can have one of the names.

    Examples:
        >>> from failpy import fail, failpoint
        >>> @failpoint("schedule.read", returns=str)
        ... def read() -> str:
        ...     return "contents"
        >>> schedule = Schedule("schedule.read=1*off->1*return('')")
        >>> with fail.scope(schedule):
        ...     read(), read()
        ('contents', '')
        >>> schedule
        Schedule('schedule.read=1*off->1*return("")')
    """

    __slots__ = ("_terms",)
    _terms: dict[str, Terms]

    def __init__(self, terms: Mapping[str, str | Term | Terms] | str = "") -> None:
        chains = named_terms(terms)
        self._set(_terms={name: Terms(each, each.source, optional=True) for name, each in chains.items()})

    @property
    def text(self) -> str | None:
        """The text that `fail.scope`, `FAILPY_FAILPOINTS` and pytest's `--failpoints` take.

        None where no text says it, such as for an exception object that only this process has.
        """
        return None if any(terms.text is None for terms in self._terms.values()) else str(self)

    def __str__(self) -> str:
        return ";".join(f"{name}={terms}" for name, terms in self._terms.items())

    def __repr__(self) -> str:
        if not self._terms:
            return "Schedule()"
        # Only typed terms say what text cannot.
        return f"Schedule({self._terms!r})" if self.text is None else f"Schedule({self.text!r})"

    def __getitem__(self, name: str) -> Terms:
        return self._terms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._terms)

    def __len__(self) -> int:
        return len(self._terms)

    def __eq__(self, other: object) -> bool:
        return self._terms == other._terms if isinstance(other, Schedule) else NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._terms.items()))
