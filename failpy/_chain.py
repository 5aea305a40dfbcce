"""Terms and chains of terms: what every action has in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, Self, final, overload

from failpy._literals import decimal_text, shown, unsayable

__all__ = ["Chance", "Count", "Frozen", "Term", "Terms"]

_MAX_COUNT = 2**63 - 1


class Frozen:
    """A value: what it is made of never changes."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} objects cannot be changed: make a new one")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} objects cannot be changed: make a new one")

    def __setstate__(self, state: tuple[None, dict[str, object]]) -> None:
        self._set(**state[1])

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            object.__setattr__(self, name, value)


@final
class Count(Frozen):
    """A modifier: the term acts this many times. Text: `3*`.

    Attributes:
        count: An integer from 0 to 2**63 - 1.
    """

    __slots__ = ("count",)
    count: int

    def __init__(self, count: int) -> None:
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"a count must be an integer, not {shown(count)}: write it as in 3 * Return('x')")
        if not 0 <= count <= _MAX_COUNT:
            raise ValueError(
                f"a count must be between 0 and 2**63 - 1, not {shown(count)}: leave it out for no limit"
            )
        self._set(count=int(count))

    def __str__(self) -> str:
        return f"{self.count}*"

    def __repr__(self) -> str:
        return f"Count({self.count})"

    def __eq__(self, other: object) -> bool:
        return self.count == other.count if isinstance(other, Count) else NotImplemented

    def __hash__(self) -> int:
        return hash((Count, self.count))


@final
class Chance(Frozen):
    """A modifier: the term acts with this probability. Text: `50%`.

    Attributes:
        probability: A float from 0 to 1.
    """

    __slots__ = ("probability",)
    probability: float

    def __init__(self, probability: float) -> None:
        if isinstance(probability, bool) or not isinstance(probability, (int, float)):
            raise TypeError(
                f"a probability must be a number, not {shown(probability)}: write it as in .chance(0.5)"
            )
        if not 0 <= probability <= 1:
            raise ValueError(f"a probability must be between 0 and 1, not {shown(probability)}: 50% is 0.5")
        # The sum makes a zero of -0.0.
        self._set(probability=float(probability) + 0.0)

    def __str__(self) -> str:
        return f"{decimal_text(self.probability, 2)}%"

    def __repr__(self) -> str:
        return f"Chance({self.probability!r})"

    def __eq__(self, other: object) -> bool:
        return self.probability == other.probability if isinstance(other, Chance) else NotImplemented

    def __hash__(self) -> int:
        return hash((Chance, self.probability))


class Term(Frozen):
    """One term: modifiers, then an action. Made by its subclasses, one for each action.

    Attributes:
        modifiers: `Count` and `Chance`, in the order in which they are tried.
        action: The word for the action in text.
    """

    __slots__ = ("modifiers",)
    action: ClassVar[str]
    # The attribute with what the action acts with, where that may be something without a text.
    _holds: ClassVar[str]
    modifiers: tuple[Count | Chance, ...]

    def __init__(self) -> None:
        self._set(modifiers=())

    def __rmul__(self, count: int) -> Self:
        """`3 * term`: the same term, at most 3 times; text `3*...`."""
        return self.modified(Count(count))

    def chance(self, probability: float) -> Self:
        """The same term, with this probability from 0 to 1; text `50%...` for 0.5."""
        return self.modified(Chance(probability))

    def __rshift__(self, other: Term | Terms) -> Terms:
        """`a >> b`: b is tried where a's modifiers say no; text `a->b`."""
        return _joined(self, other)

    def modified(self, *modifiers: Count | Chance) -> Self:
        """The same term, with these modifiers to the left of its own."""
        return self._with((*modifiers, *self.modifiers))

    def unmodified(self) -> Self:
        """The same term, without its modifiers."""
        return self._with(())

    def _with(self, modifiers: tuple[Count | Chance, ...]) -> Self:
        twin = object.__new__(type(self))
        slots = [slot for base in type(self).__mro__ for slot in getattr(base, "__slots__", ())]
        twin._set(**{slot: getattr(self, slot) for slot in slots})
        twin._set(modifiers=modifiers)
        return twin

    @property
    def text(self) -> str | None:
        """The exact text, or None where no text says it."""
        argument = self._argument()
        return None if argument is None else self._rendered(argument)

    def __str__(self) -> str:
        argument = self._argument()
        return self._rendered(unsayable(getattr(self, self._holds)) if argument is None else argument)

    def __repr__(self) -> str:
        shape = self._expression()
        product = False
        for modifier in reversed(self.modifiers):
            shape = f"({shape})" if product else shape
            product = isinstance(modifier, Count)
            if isinstance(modifier, Count):
                shape = f"{modifier.count} * {shape}"
            else:
                shape = f"{shape}.chance({modifier.probability!r})"
        return shape

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Term):
            return NotImplemented
        if type(self) is not type(other) or self.modifiers != other.modifiers:
            return False
        ours, theirs = self._argument(), other._argument()
        if ours is not None or theirs is not None:
            return ours == theirs
        return _same(getattr(self, self._holds), getattr(other, self._holds))

    def __hash__(self) -> int:
        return hash((type(self), self.modifiers, self._key()))

    def _argument(self) -> str | None:
        """What stands between the parentheses, which are left out around nothing."""
        return ""

    def _key(self) -> str | None:
        """What the hash is made of: the same for equal terms, and never changing."""
        return self._argument()

    def _expression(self) -> str:
        """The Python expression that makes this action."""
        return f"{type(self).__name__}()"

    def _rendered(self, argument: str) -> str:
        modifiers = "".join(map(str, self.modifiers))
        return f"{modifiers}{self.action}({argument})" if argument else f"{modifiers}{self.action}"


@final
class Terms(Frozen, Sequence[Term]):
    """A chain of terms: the first whose modifiers allow it acts. Text: `a->b`.

    Args:
        terms: At least one `Term`.
        source: The text that they were read from, if it was one.
        optional: Whether it is fine that they never fire.

    Attributes:
        source: That text, or None.
        optional: Whether a strict scope lets them be, though they never fired. What a search draws may
            be for a hit that does not happen.

    Raises:
        TypeError: when one is no term.
        ValueError: when there is none.
    """

    __slots__ = ("_terms", "optional", "source")
    _terms: tuple[Term, ...]
    source: str | None
    optional: bool

    def __init__(self, terms: Iterable[Term], source: str | None = None, *, optional: bool = False) -> None:
        chain = tuple(terms)
        for term in chain:
            if not isinstance(term, Term):
                raise TypeError(
                    f"a chain is made of terms, not {shown(term)}: give Return(...), Off() and the like"
                )
        if not chain:
            raise ValueError("a chain has at least one term: give Off() for one that does nothing")
        self._set(_terms=chain, source=source, optional=optional)

    @property
    def text(self) -> str | None:
        """The exact text, or None where no text says it."""
        texts = [term.text for term in self._terms]
        return None if None in texts else "->".join(map(str, texts))

    def __str__(self) -> str:
        return "->".join(map(str, self._terms))

    def __repr__(self) -> str:
        if len(self._terms) == 1:
            return f"Terms([{self._terms[0]!r}])"
        return " >> ".join(map(repr, self._terms))

    def __len__(self) -> int:
        return len(self._terms)

    def __iter__(self) -> Iterator[Term]:
        return iter(self._terms)

    @overload
    def __getitem__(self, index: int) -> Term: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Term, ...]: ...
    def __getitem__(self, index: int | slice) -> Term | tuple[Term, ...]:
        return self._terms[index]

    def __rshift__(self, other: Term | Terms) -> Terms:
        """`a >> b`: the terms of b come after those of a; text `a->b`."""
        return _joined(self, other)

    def __eq__(self, other: object) -> bool:
        return self._terms == other._terms if isinstance(other, Terms) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._terms)


def _same(one: object, other: object) -> bool:
    if one is other:
        return True
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:  # the == of somebody else's object may do anything, such as give an array
        return False


def _joined(left: Term | Terms, right: Term | Terms) -> Terms:
    if not isinstance(right, (Term, Terms)):
        return NotImplemented
    return Terms(
        (*(left if isinstance(left, Terms) else (left,)), *(right if isinstance(right, Terms) else (right,)))
    )
