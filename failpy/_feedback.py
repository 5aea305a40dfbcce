"""Feedback: what a service tells of a scope that came with a request, signed."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

from failpy._signing import MOST, Refused, sign, verify

__all__ = ["BETWEEN", "HEADER", "Account", "Feedback", "Run", "drawn", "read", "runs_of", "summed", "written"]

HEADER = "failpy-report"

_KIND = "report"
BETWEEN = "~"
_LISTED = 1000  # hits of one point in one request, of very many
# How much of it is told, from all of it to the bare counts, until it fits into a header.
_LEVELS = ((100, 300), (20, 100), (5, 60), (0, 0))
_TEXTS = 16  # in one header
_FAILURES = 10
_NUMBER = 2**53


class Run(NamedTuple):
    """Hits one after the other on which the same happened.

    Attributes:
        times: How many.
        term: Which term of the chain acted, from 0; -1 for none.
        ending: What became of the exception that was injected, or None.
    """

    times: int
    term: int
    ending: str | None


class Account(NamedTuple):
    """What happened at one point in one process.

    Attributes:
        service: The name of the service.
        process: The number of the process.
        name: The point, as the scope has it.
        hits: How many hits there were.
        selected: For how many a term was selected.
        fired: How many fired.
        runs: The hits in order; of many, the first.
    """

    service: str
    process: int
    name: str
    hits: int
    selected: int
    fired: int
    runs: Sequence[Run]


class Feedback(NamedTuple):
    """What one response tells of one scope.

    Attributes:
        scope: The identity of the scope.
        key: What tells this response from any other.
        services: The service that has sent it, and those that it has heard of the scope from.
        accounts: Of this service, and of those that it has asked.
        failures: Texts of what failed in the scope there, each with the service before it.
        refusals: Names that were not armed, each with the service and the reason.
    """

    scope: str
    key: str
    services: Sequence[str]
    accounts: Sequence[Account]
    failures: Sequence[Sequence[str]]
    refusals: Sequence[Sequence[str]]

    def text(self, keys: tuple[bytes, ...], room: int = MOST) -> str | None:
        """It, signed, and shortened until it has no more characters than there is room for; else None."""
        for runs, characters in _LEVELS:
            short = self._shortened(runs, characters)
            text = sign(_KIND, short, keys)
            if len(text) <= room:
                return text
        return self._parted(keys, room)

    def _parted(self, keys: tuple[bytes, ...], room: int) -> str | None:
        """As many of the points as there is room for: first what has fired, then what was hit."""
        told = sorted(self.accounts, key=lambda each: (each.fired, each.hits), reverse=True)
        accounts, refusals = len(told), len(self.refusals)
        while accounts or refusals:
            accounts, refusals = (accounts, refusals // 2) if refusals else (accounts // 2, 0)
            left_out = len(told) - accounts + len(self.refusals) - refusals
            note = [self.services[0], "", f"{left_out:,} points were left out of a report"]
            part = self._replace(accounts=told[:accounts], refusals=[note, *self.refusals[:refusals]])
            text = sign(_KIND, part._shortened(*_LEVELS[-1]), keys)
            if len(text) <= room:
                return text
        return None

    def _shortened(self, runs: int, characters: int) -> Feedback:
        return self._replace(
            accounts=[
                each._replace(
                    runs=[run._replace(ending=_cut(run.ending, characters)) for run in each.runs[:runs]]
                )
                for each in self.accounts
            ],
            failures=[[service, text[: characters or 60]] for service, text in self.failures[:_FAILURES]],
            refusals=[[service, name, why[: characters or 60]] for service, name, why in self.refusals],
        )


def drawn() -> str:
    """What nothing else is named: for a scope, or a response."""
    return urlsafe_b64encode(os.urandom(12)).decode()


def written(texts: Iterable[str]) -> str:
    """The value of the header."""
    return BETWEEN.join(texts)


def read(value: str, keys: tuple[bytes, ...]) -> Iterator[Feedback | Refused]:
    """What each text in such a value says, or why nobody listens to it."""
    texts = value.replace(",", BETWEEN).split(BETWEEN)  # two headers of one name are joined by commas
    if len(texts) > _TEXTS:
        yield Refused(f"it is {len(texts):,} reports, and {_TEXTS} are the most")
        return
    for text in texts:
        try:
            yield _sound(verify(_KIND, text.strip(), keys))
        except Refused as refused:
            yield refused


def runs_of(hits: Iterable[tuple[int, str | None]]) -> list[Run]:
    """Hits, given as which term acted and what became of it, as runs; of very many the first."""
    runs: list[Run] = []
    for term, ending in islice(hits, _LISTED):
        _go_on(runs, Run(1, term, ending))
    return runs


def _go_on(runs: list[Run], run: Run) -> None:
    """Add a run, to the last one if the same happened there."""
    if runs and runs[-1][1:] == run[1:]:
        runs[-1] = run._replace(times=runs[-1].times + run.times)
    else:
        runs.append(run)


def summed(accounts: Iterable[Account]) -> list[Account]:
    """These with one for each point of each process, in place of one for each time that it was asked."""
    sums: dict[tuple[str, int, str], Account] = {}
    for each in accounts:
        key = each[:3]
        known = sums.get(key)
        if known is None:
            sums[key] = each
            continue
        room = _LISTED - sum(run.times for run in known.runs)
        runs = [*known.runs]
        for run in each.runs:
            times = min(run.times, room)
            room -= times
            if times:
                _go_on(runs, run._replace(times=times))
        sums[key] = known._replace(
            hits=known.hits + each.hits,
            selected=known.selected + each.selected,
            fired=known.fired + each.fired,
            runs=runs,
        )
    return list(sums.values())


def _cut(text: str | None, characters: int) -> str | None:
    return None if text is None or not characters else text[:characters]


def _sound(content: Any) -> Feedback:
    """What was signed is of a service of ours, and perhaps of another version."""
    try:
        scope, key, services, accounts, failures, refusals = content
        return Feedback(
            _of(str, scope),
            _of(str, key),
            _texts(services, max(1, len(services))),
            [_account(*each) for each in _of(list, accounts)],
            [_texts(each, 2) for each in _of(list, failures)],
            [_texts(each, 3) for each in _of(list, refusals)],
        )
    except (TypeError, ValueError):
        raise Refused("it is signed, and no report") from None


def _account(service: Any, process: Any, name: Any, *rest: Any) -> Account:
    hits, selected, fired, runs = rest
    numbers = [_number(each) for each in (process, hits, selected, fired)]
    told = [
        Run(_number(times), _of(int, term), None if ending is None else _of(str, ending))
        for times, term, ending in _of(list, runs)
    ]
    if sum(run.times for run in told) > min(numbers[1], _LISTED):
        raise ValueError("more hits than there were")
    return Account(_of(str, service), numbers[0], _of(str, name), numbers[1], numbers[2], numbers[3], told)


def _texts(values: Any, count: int) -> list[str]:
    texts = [_of(str, each) for each in _of(list, values)]
    if len(texts) != count:
        raise ValueError("too few, or too many")
    return texts


def _number(value: Any) -> int:
    if not 0 <= _of(int, value) < _NUMBER:
        raise ValueError("no count")
    number: int = value
    return number


def _of(kind: Callable[..., Any], value: Any) -> Any:
    if type(value) is not kind:
        raise TypeError(f"no {kind}")
    return value
