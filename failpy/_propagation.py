"""How a scope travels with requests: what their headers say of it, and what came back."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import count
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from failpy._answers import Answers
from failpy._baggage import Carried, attach, detach
from failpy._config import config
from failpy._context import Layer
from failpy._errors import FailpointError, Failure
from failpy._feedback import Account, Feedback, drawn, read
from failpy._latest import Latest
from failpy._observer import observing
from failpy._remote_hit import RemoteHit
from failpy._signing import MOST, Refused
from failpy._ticket import HIGHEST, NESTED, Ticket, joined

if TYPE_CHECKING:
    from failpy._record import Record

__all__ = ["Propagation", "collect", "is_awaited", "tickets_of"]

_KEPT = 10_000
_SPARE = 40  # the numbers of a later ticket may have more digits
_logger = logging.getLogger("failpy.propagation")
# By identity, those that began here. What came with a request is found in its context.
_begun: WeakValueDictionary[str, Record] = WeakValueDictionary()


class Propagation:
    """The travels of one scope.

    Args:
        keys: What its tickets are signed with, and what is told of it.
        seconds: For how long each ticket is good.
        came: The ticket that it came with, if it did: that is passed on as it is.
        identity: The identity in that ticket; else drawn.

    Attributes:
        answers: What services have told besides hits.
        forwarded: What other services have told, for who asked this one; only of a scope that came.
        sent: How many tickets were made.
    """

    __slots__ = (
        "_before",
        "_carried",
        "_lock",
        "_numbers",
        "_seen",
        "answers",
        "came",
        "forwarded",
        "identity",
        "keys",
        "seconds",
        "sent",
        "unlisted",
    )

    def __init__(
        self, keys: tuple[bytes, ...], seconds: float, *, came: str | None = None, identity: str | None = None
    ) -> None:
        self.keys = keys
        self.seconds = seconds
        self.came = came
        self.identity = drawn() if identity is None else identity
        self.sent = 0
        self.forwarded: Latest[Feedback] = Latest(_KEPT)
        self.unlisted = 0
        self._numbers = count()
        self._lock = Lock()
        self._seen: dict[str, None] = {}
        self.answers = Answers()
        self._carried = Carried(str)
        self._before: object = None

    # --- on the way out ---

    def begin(self, scope: Record) -> None:
        """Let what is told of the scope find it from any context."""
        _begun[self.identity] = scope

    def enter(self, scope: Record) -> None:
        """Put the scope into the baggage of this context."""
        self._carried = Carried(lambda: _quietly(scope))
        self._before = attach(self._carried)

    def leave(self) -> None:
        """Take it out."""
        detach(self._carried, self._before)

    def ticket(self, scope: Record, *, on_trial: bool = False) -> str:
        """A ticket for one request; empty when nothing is armed that text can say.

        Args:
            scope: The scope.
            on_trial: Whether it is only to be seen how long it is.
        """
        if self.came is not None:
            return self.came
        terms = _said(scope)
        if not terms:
            return ""
        if on_trial:
            return self._ticket(scope, terms, 0)
        text = self._ticket(scope, terms, next(self._numbers))
        self.sent += 1
        return text

    def _ticket(self, scope: Record, terms: dict[str, str], number: int) -> str:
        expires = math.ceil(time.time() + self.seconds)
        return Ticket(self.identity, terms, scope.seed, number, expires).text(self.keys)

    def check(self, scope: Record, terms: Mapping[str, str | None]) -> None:
        """Refuse terms that are too long to travel.

        Args:
            scope: The scope.
            terms: What is about to be armed besides; None for what cannot be said in text.

        Raises:
            FailpointError: saying how long they are, and how long they may be.
        """
        if abs(scope.seed) >= HIGHEST:
            raise FailpointError(
                f"a scope that travels needs a seed of less than 2**128, and not one of "
                f"{scope.seed.bit_length():,} bits: give a smaller one"
            )
        every = {name: text for name, text in {**_said(scope), **terms}.items() if text is not None}
        text = self._ticket(scope, every, 0)
        around = tickets_of(scope.parent, besides=self.identity, on_trial=True)
        if len(around) >= NESTED:
            raise FailpointError(
                f"this is scope {len(around) + 1} of those in one another that travel, and {NESTED} are the "
                "most: arm the points in fewer scopes, or make this one without propagate"
            )
        if len(joined([*around, text])) > MOST - _SPARE:
            outer = ", with those of the scopes around it," if around else ""
            raise FailpointError(
                f"the terms of this scope{outer} are too long to travel: they make a header of "
                f"{len(joined([*around, text])):,} characters, and {MOST - _SPARE:,} are the most; name "
                "fewer points, or give them to the services with FAILPY_FAILPOINTS"
            )

    # --- on the way back ---

    def merge(self, scope: Record, feedback: Feedback) -> None:
        """Take in what a service tells of the scope. What was told before is not told again."""
        with self._lock:
            if feedback.key in self._seen or scope.closed:
                return
            self._seen[feedback.key] = None
            if len(self._seen) > _KEPT:
                del self._seen[next(iter(self._seen))]
        if self.came is not None:
            self.forwarded.add(feedback)
            return
        with self._lock:
            self.answers.add(feedback)
        for account in feedback.accounts:
            self._take(scope, account)
        for service, text in feedback.failures:
            failure = Failure(text)
            failure.add_note(f"in service {service!r}")
            scope.failures.add(failure)

    def _take(self, scope: Record, account: Account) -> None:
        activation = scope.activations.get(account.name)
        if activation is None or activation.passive:
            return  # it was disarmed meanwhile
        hits = [
            RemoteHit(activation, activation.step(run.term), account.service, account.process, run.ending)
            for run in account.runs
            for _ in range(run.times)
        ]
        with self._lock:
            self.unlisted += account.hits - len(hits)
        activation.reported(hits, account.hits, account.selected, account.fired)
        for hit in hits:
            scope.record_reported(hit)
            for observer in observing.now:
                observer.reported(hit)

    def story(self, name: str) -> str:
        """How it went for terms that never fired."""
        return self.answers.story(name, sent=self.sent > 0)


def _said(scope: Record) -> dict[str, str]:
    """What is armed in the scope, as far as text can say it."""
    return {
        name: each.terms.text
        for name, each in list(scope.activations.items())
        if each.terms.text is not None and each.when is None and not each.passive
    }


def _travelling(layer: Layer | None) -> Iterator[tuple[Record, Propagation]]:
    """The scopes that travel with what is asked in this layer, the innermost first."""
    while layer is not None:
        propagation: Propagation | None = getattr(layer, "propagation", None)
        if propagation is not None and not layer.closed:
            yield layer, propagation  # type: ignore[misc]  # only a record has one
        layer = layer.parent


def tickets_of(layer: Layer | None, *, besides: str = "", on_trial: bool = False) -> list[str]:
    """The tickets that travel with what is asked in this layer, that of the outermost scope first.

    Args:
        layer: The layer.
        besides: The identity of a scope to leave out.
        on_trial: Whether no request is going to have them.
    """
    tickets: dict[str, str] = {besides: ""}  # in a test of one process, a scope may be around itself
    for scope, propagation in _travelling(layer):
        if propagation.identity not in tickets:
            tickets[propagation.identity] = propagation.ticket(scope, on_trial=on_trial)
    return [ticket for ticket in reversed(tickets.values()) if ticket]


def is_awaited(layer: Layer) -> bool:
    """Whether anything that travels with what is asked in this layer would like to be told of it."""
    return next(_travelling(layer), None) is not None


def _quietly(scope: Layer) -> str:
    """The tickets of this scope for OpenTelemetry, which would hand an exception to who sends a request."""
    try:
        return joined(tickets_of(scope))
    except Exception:
        _logger.exception("a scope could not be put into the baggage of a request")
        return ""


def collect(values: Iterable[str], here: Layer) -> int:
    """Merge what headers tell into the scopes that it is about: those around here, or open ones.

    Args:
        values: What the headers say.
        here: The layer of the context.

    Returns:
        Of how many scopes something was told.
    """
    told = 0
    keys = _keys(here)
    for value in values if keys else ():  # without a key no scope has travelled
        refused = None
        for found in read(value, keys):
            if isinstance(found, Refused):
                if refused is None:  # whoever answers does not decide how much is logged
                    _logger.warning("a report of a service is left aside: %s", found)
                refused = found
                continue
            scope = _scope(found.scope, here)
            if scope is None:
                _logger.info("a report of a service is left aside: its scope has closed")
                continue
            propagation: Any = scope.propagation
            propagation.merge(scope, found)
            told += 1
    return told


def _keys(here: Layer) -> tuple[bytes, ...]:
    keys = (key for _, propagation in _travelling(here) for key in propagation.keys)
    return tuple(dict.fromkeys((*keys, *config.propagation_keys)))


def _scope(identity: str, here: Layer) -> Record | None:
    for scope, propagation in _travelling(here):
        if propagation.identity == identity:
            return scope
    scope_begun = _begun.get(identity)
    return None if scope_begun is None or scope_begun.closed else scope_begun
