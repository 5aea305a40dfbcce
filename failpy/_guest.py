"""Guests: scopes that came with a request, as one service has them open."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from failpy._admission import Admission
from failpy._arming import enable
from failpy._endings import REACHED
from failpy._errors import FailpointError
from failpy._feedback import Account, Feedback, drawn, runs_of, summed
from failpy._names import check_name
from failpy._propagation import Propagation
from failpy._registry import all_declared, declared, unknown
from failpy._scope import Scope, Settings
from failpy._signing import Refused
from failpy._ticket import Ticket, signer_first

if TYPE_CHECKING:
    from failpy._activation import Activation
    from failpy._hit import Hit

__all__ = ["Guest"]

_COMPARED = 1000  # with more names than that, a request would wait to hear which are near
_all = chain.from_iterable
_SETTINGS = Settings({}, seed=None, strict=False, threads=True, allowed=None)


class Guest(Scope):
    """A scope that came with a request. What does not fit in here has no effect, and is no error.

    Args:
        text: The ticket that it came with.
        ticket: What that says.
        admission: What it may do here.
    """

    __slots__ = ("_admission", "_earlier", "_names", "_refusals", "_resumed", "_ticket")

    def __init__(self, text: str, ticket: Ticket, admission: Admission) -> None:
        super().__init__(_SETTINGS._replace(seed=ticket.seed))
        self.travels = True
        self.salt = f"{ticket.number}:{admission.service}:"
        keys = signer_first(text, admission.keys)
        self.propagation = Propagation(keys, 0, came=text, identity=ticket.scope)
        self._admission = admission
        self._ticket = ticket
        self._names: dict[str, str] = {}
        self._refusals: dict[str, str] = {}
        self._earlier: list[Feedback] = []
        self._resumed: dict[str, int] = {}

    def open(self) -> None:
        """Arm what may be armed here."""
        super().open()
        here = self._admission.name_here
        # What is addressed to this service comes last, so that it is what counts.
        for name in sorted(self._ticket.terms, key=lambda name: here(name) != name):
            self._arm(here(name), name, self._ticket.terms[name])

    def _arm(self, here: str, name: str, text: str) -> None:
        try:
            enable(self, {check_name(here): self._admission.chain(here, text)}, importing=False)
        except (Refused, FailpointError, TypeError, ValueError) as exc:
            if not _is_elsewhere(here, name):
                self._refuse(name, str(exc).partition("\n")[0])
        else:
            self._names[here] = name

    def _refuse(self, name: str, why: str) -> None:
        self._refusals[name] = why
        self._admission.log(
            logging.WARNING, "failpoint %r, which came with a request, has no effect: %s", name, why
        )

    def gives_way(self, name: str, error: Exception) -> bool:
        """It does: a request must not break the code that declares a point."""
        self._refuse(self._names.pop(name, name), str(error).partition("\n")[0])
        return True

    def so_far(self) -> list[object]:
        """How many hits there were of each name, in this try and those before it."""
        assert self.propagation is not None
        hits = {name: self._resumed.get(name, 0) + each.hits for name, each in self._served()}
        return [self.propagation.identity, hits]

    def resume(self, hits: Mapping[str, int], earlier: Iterable[Feedback]) -> None:
        """Go on where another try has ended.

        Args:
            hits: How many hits of each name there were.
            earlier: What it has told.
        """
        assert self.propagation is not None
        self._earlier = [each for each in earlier if each.scope == self.propagation.identity]
        for name, activation in self._served():
            self._resumed[name] = hits.get(name, 0)
            activation.resume(self._resumed[name])

    def _served(self) -> Iterator[tuple[str, Activation]]:
        armed = ((name, self.activations.get(here)) for here, name in list(self._names.items()))
        return ((name, each) for name, each in armed if each is not None)

    def feedback(self, raised: BaseException | None) -> Feedback:
        """What has happened so far, here and in the services that were asked from here.

        Args:
            raised: What comes out of the application, if it is that.
        """
        assert self.propagation is not None
        heard = self.propagation.forwarded.now
        others = [*self._earlier, *heard]
        service = self._admission.service
        # What is addressed elsewhere is no news.
        mine = ((here, name) for here, name in self._strangers() if not _is_elsewhere(here, name))
        refusals = {**self._refusals, **{name: _unknown(here, _how_many()) for here, name in mine}}
        before = _all(one.accounts for one in self._earlier)
        return Feedback(
            self.propagation.identity,
            drawn(),
            [*dict.fromkeys((service, *_all(one.services for one in others)))],
            summed(chain(before, self._accounts(raised), _all(one.accounts for one in heard))),
            [*([service, text] for text in self._failed()), *_all(one.failures for one in others)],
            [*([service, *each] for each in refusals.items()), *_all(one.refusals for one in others)],
        )

    def told(self, raised: BaseException | None, room: int) -> str | None:
        """The same, signed, in no more characters than there is room for; None when it takes more."""
        assert self.propagation is not None
        return self.feedback(raised).text(self.propagation.keys, room)

    def _strangers(self) -> Iterator[tuple[str, str]]:
        return ((here, name) for here, name in self._names.items() if declared(here) is None)

    def _accounts(self, raised: BaseException | None) -> Iterator[Account]:
        read = self.reader(raised)
        hits: defaultdict[Activation, list[Hit[Any]]] = defaultdict(list)
        for hit in self.recorded:
            hits[hit.activation].append(hit)
        for name, activation in self._served():
            if declared(activation.name) is None:
                continue
            steps = (
                (-1 if hit.step is None else hit.step.index, _elsewhere(read(hit).end))
                for hit in hits[activation]
            )
            runs = runs_of(steps)
            yield Account(self._admission.service, os.getpid(), name, *activation.counts, runs)

    def _failed(self) -> Iterator[str]:
        return (f"{type(each).__name__}: {each}" for each in self.failures.besides(None))

    def tell_strangers(self) -> None:
        """Log the names that no code has declared, now that the request is over."""
        for here, name in self._strangers():
            if _is_elsewhere(here, name):
                self._admission.log_elsewhere(name)
                continue
            # A name without an address may well be that of another service.
            level = logging.INFO if here == name else logging.WARNING
            self._admission.log(
                level, "failpoint %r, which came with a request: %s", name, _unknown(here, _how_many())
            )


def _is_elsewhere(here: str, name: str) -> bool:
    """Whether a name has the address of another service, as far as this one knows."""
    return here == name and ":" in name and declared(name) is None


def _how_many() -> int:
    return len(all_declared())


@lru_cache(maxsize=256)
def _unknown(name: str, among: int) -> str:
    """That no code has declared the name, as `unknown` says it.

    That compares it with all names that there are, and each request may come with the same ones.
    """
    return str(unknown(name)) if among <= _COMPARED else f"no code has declared a failpoint {name!r}"


def _elsewhere(ending: str | None) -> str | None:
    """What became of an exception, for who was not there."""
    return None if ending is None else ending.replace(REACHED, "came out of the service")
