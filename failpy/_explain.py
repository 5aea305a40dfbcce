"""An explanation of terms: what they do, hit by hit, in plain words."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from failpy._literals import decimal_text, literal_text, unsayable
from failpy._lookup import named
from failpy._specs import CallSpec, ExceptionSpec
from failpy._terms import Chance, Exit, Kill, Pause, Raise, Return, Term, Terms
from failpy._texts import callable_text, exception_text

__all__ = ["Range", "explain", "ranges"]


class Range(NamedTuple):
    """Hits for which one and the same term is due.

    Attributes:
        first: The first of them, from 1.
        last: The last of them; None when there is no end.
        step: Which term of the chain, from 0; None when the chain is used up and execution passes.
    """

    first: int
    last: int | None
    step: int | None


def ranges(terms: Terms) -> list[Range]:
    """Which term is due for which hits, up to the first term that depends on chance.

    A term that ends the process is the last: a new process counts from 1 again.

    Args:
        terms: The chain.

    Examples:
        >>> from failpy import parse
        >>> for each in ranges(parse("2*off->1*raise")):
        ...     print(each)
        Range(first=1, last=2, step=0)
        Range(first=3, last=3, step=1)
        Range(first=4, last=None, step=None)
    """
    return _certain(terms)[0]


def explain(terms: Terms) -> list[str]:
    """What terms do, hit by hit, in plain words: a line for each step.

    Args:
        terms: The chain.

    Examples:
        >>> from failpy import parse
        >>> for line in explain(parse("2*off->1*raise(KeyError)->50%sleep(10)")):
        ...     print(line)
        hits 1 and 2: pass
        hit 3: raise KeyError
        from hit 4 on, with a chance of 50%: sleep 10 ms, then go on
        otherwise: pass
    """
    certain, index = _certain(terms)
    lines = [f"{_hits(each.first, each.last)}: {_what(terms, each.step)}" for each in certain]
    if index is not None:
        first = 1 if not certain else (certain[-1].last or 0) + 1
        lines += _by_chance(terms[index:], first)
    return [*lines, *_idle(terms)]


class _Limits(NamedTuple):
    """What the modifiers of a term come to, from left to right: the first that says no ends them.

    Attributes:
        tries: For how many of the hits that come to it the term is tried; None is no limit.
        chances: Each chance that is drawn then, and how many of those that had it go on; None is all.
        never: Whether the term never acts.
    """

    tries: int | None
    chances: tuple[tuple[float, int | None], ...]
    never: bool

    @property
    def certain(self) -> bool:
        """Whether it acts whenever it is tried."""
        return not self.chances and not self.never

    def end(self, term: Term) -> bool:
        """Whether nothing comes by this term, whose limits these are."""
        return self.certain and (self.tries is None or isinstance(term, Exit | Kill))


def _limits(term: Term) -> _Limits:
    tries: int | None = None
    chances: list[tuple[float, int | None]] = []
    tightest: int | None = None  # a count further right that is no lower is never used up
    for modifier in term.modifiers:
        if isinstance(modifier, Chance):
            if modifier.probability < 1:
                chances.append((modifier.probability, None))
        elif tightest is None or modifier.count < tightest:
            tightest = modifier.count
            if chances:
                chances[-1] = chances[-1][0], tightest
            else:
                tries = tightest
    never = tightest == 0 or any(probability == 0 for probability, _ in chances)
    return _Limits(tries, tuple(chances), never)


def _certain(terms: Terms) -> tuple[list[Range], int | None]:
    """The ranges, and the first term that depends on chance, if any is reached."""
    found: list[Range] = []
    first = 1
    for index, term in enumerate(terms):
        limits = _limits(term)
        if limits.never:
            continue
        if not limits.certain:
            return found, index
        last = None if limits.tries is None else first + limits.tries - 1
        found.append(Range(first, first if isinstance(term, Exit | Kill) else last, index))
        if last is None or limits.end(term):
            return found, None
        first = last + 1
    return [*found, Range(first, None, None)], None


def _by_chance(terms: tuple[Term, ...], first: int) -> Iterator[str]:
    """The steps from a term that depends on chance on; that hit comes to it first."""
    for i, term in enumerate(terms):
        limits = _limits(term)
        if limits.never:
            continue
        if i == 0:
            when = [_hits(first, limits.tries and first + limits.tries - 1)]
        else:
            when = ["otherwise"]
            if limits.tries is not None and not limits.end(term):
                when.append("the first time" if limits.tries == 1 else f"the first {limits.tries} times")
        for j, (probability, most) in enumerate(limits.chances):
            when.append(f"with a chance of {decimal_text(probability, 2)}%")
            if most is not None:
                is_last = j == len(limits.chances) - 1
                at_most = "at most once" if most == 1 else f"at most {most} times"
                when.append(at_most if is_last else f"of those the first {most}")
        yield f"{', '.join(when)}: {_action(term)}"
        if limits.end(term):
            return
    yield "otherwise: pass"


def _idle(terms: Terms) -> Iterator[str]:
    """What is to be said of terms that never act."""
    end: Term | None = None
    for term in terms:
        limits = _limits(term)
        if end is not None:
            why = "ends the process" if isinstance(end, Exit | Kill) else "acts on every hit that comes to it"
            yield f"never: `{term}`, because `{end}` before it {why}"
        elif limits.never:
            yield f"never: `{term}`, because of its modifiers"
        elif limits.end(term):
            end = term


def _hits(first: int, last: int | None) -> str:
    if last is None:
        return "every hit" if first == 1 else f"from hit {first} on"
    if last == first:
        return f"hit {first}"
    return f"hits {first} {'and' if last == first + 1 else 'to'} {last}"


def _what(terms: Terms, step: int | None) -> str:
    return "pass" if step is None else _action(terms[step])


def _action(term: Term) -> str:
    return _ACTIONS[term.action](term)


def _value(term: Return) -> str:
    if term.bare:
        return "return, without a value"
    text = literal_text(term.value)
    return f"return {unsayable(term.value) if text is None else text}"


def _exception(term: Raise) -> str:
    exc = term.exc
    if not isinstance(exc, ExceptionSpec):
        text = exception_text(exc)
        return f"raise {unsayable(exc) if text is None else text}"
    code = None if "." in exc.path else named(exc.path)
    return f"raise OSError {exc.path} ({os.strerror(code)})" if isinstance(code, int) else f"raise {exc.text}"


def _panic(term: Any) -> str:
    said = "" if term.msg is None else f"({literal_text(term.msg) or unsayable(term.msg)})"
    return f"raise FailpointPanic{said}, which `except Exception` does not catch"


def _print(term: Any) -> str:
    said = "" if term.msg is None else f" and {literal_text(term.msg) or unsayable(term.msg)}"
    return f"print the name of the point{said}, then go on"


def _call(term: Any) -> str:
    if isinstance(term.fn, CallSpec):
        path = term.fn.path
    else:
        path = (callable_text(term.fn) or unsayable(term.fn)).strip('"')
    return f"call {path}, and return what it returns, unless that is None"


def _pause(term: Pause) -> str:
    return f"pause until resumed, and raise PauseTimeout after {_duration(term.timeout)}"


def _duration(seconds: float) -> str:
    """A duration with units: `10 ms`, `1.5 s`, `1 h 30 min`."""
    if seconds < 1:
        return f"{decimal_text(seconds, 3)} ms"
    if seconds < 60 or seconds % 1:
        return f"{decimal_text(seconds)} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "min"), (rest, "s"))
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


_ACTIONS: dict[str, Callable[[Any], str]] = {
    "off": lambda _: "pass",
    "return": _value,
    "raise": _exception,
    "panic": _panic,
    "sleep": lambda term: f"sleep {_duration(term.seconds)}, then go on",
    "delay": lambda term: f"keep the CPU busy for {_duration(term.seconds)}, then go on",
    "print": _print,
    "pause": _pause,
    "yield": lambda _: "give up the turn once, then go on",
    "break": lambda _: "call breakpoint(), then go on",
    "exit": lambda term: f"end the process at once, with status {term.code}",
    "kill": lambda _: "kill the process at once",
    "call": _call,
}
