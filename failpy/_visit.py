"""A visit: the scopes that came with one request, open while this service works on it."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from failpy._admission import Admission
from failpy._arming import enable
from failpy._context import inside, muted
from failpy._endings import REACHED
from failpy._errors import FailpointError, FailpointPanic
from failpy._failures import without_unwinding
from failpy._feedback import BETWEEN, Account, Feedback, drawn, read, runs_of, summed, written
from failpy._names import check_name
from failpy._propagation import Propagation, collect
from failpy._registry import all_declared, declared, unknown
from failpy._scope import Scope, Settings
from failpy._signing import MOST, Refused, sign, verify
from failpy._ticket import Ticket, signer_first

if TYPE_CHECKING:
    from failpy._activation import Activation
    from failpy._hit import Hit

__all__ = ["Visit", "visit"]

_AGAIN = "again"
_COMPARED = 1000  # with more names than that, a request would wait to hear which are near
_all = chain.from_iterable
_SETTINGS = Settings({}, seed=None, strict=False, threads=True, allowed=None)


class _Guest(Scope):
    """A scope that came with a request. What does not fit in here has no effect, and is no error.

    Args:
        text: The ticket that it came with.
        ticket: What that says.
        admission: What it may do here.
    """

    __slots__ = ("_admission", "_earlier", "_names", "_refusals", "_resumed", "_ticket")

    def __init__(self, text: str, ticket: Ticket, admission: Admission) -> None:
        super().__init__(_SETTINGS._replace(seed=ticket.seed))
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
        for here, name in list(self._names.items()):
            activation = self.activations.get(here)
            if activation is None or declared(here) is None:
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


class Visit:
    """The scopes that came with one request, in one another.

    Args:
        admission: What they may do here.
        tickets: What they came with, the outermost first.
    """

    def __init__(self, admission: Admission, tickets: list[tuple[str, Ticket]]) -> None:
        self._admission = admission
        self._scopes: list[_Guest] = []
        try:
            for text, ticket in tickets:
                scope = _Guest(text, ticket, admission)
                with inside(self._scopes[-1]) if self._scopes else nullcontext():
                    self._scopes.append(scope)
                    scope.open()
        except BaseException:
            self.leave(None)
            raise

    @contextmanager
    def working(self) -> Iterator[None]:
        """A block that works on the request, in the scopes. There may be several, one after the other."""
        if not self._scopes:  # they are closed
            yield
            return
        innermost = self._scopes[-1]
        assert innermost.propagation is not None
        with inside(innermost):
            innermost.propagation.enter(innermost)
            try:
                yield
            finally:
                innermost.propagation.leave()

    def leave(self, raised: BaseException | None) -> None:
        """Close them. Twice is no error.

        Args:
            raised: What came out of the application.
        """
        while self._scopes:
            scope = self._scopes.pop()
            scope.dismiss(raised)
            scope.tell_strangers()

    def report(self, raised: BaseException | None = None) -> str:
        """What has happened so far, for who has sent the request; empty when no header can say it.

        Args:
            raised: What comes out of the application, if it is that.
        """
        room = MOST // max(1, len(self._scopes))
        with muted():
            try:
                texts = [scope.told(raised, room) for scope in self._scopes]
            except Exception:  # a report must not break a response
                self._admission.log(logging.ERROR, "a scope could not be reported on", exc_info=True)
                return ""
            if None in texts:
                self._admission.log(logging.WARNING, "a report on a scope is too long for a header")
            return written(filter(None, texts))

    def takes(self, relayed: str) -> bool:
        """Whether a report in the response of the application is about these scopes; it is in theirs then.

        A program that hands on the headers of a service that it has asked would else have it told twice.
        """
        with muted():
            return bool(self._scopes) and collect([relayed], self._scopes[-1]) > 0

    def so_far(self) -> str:
        """What another try of the same work goes on from, signed."""
        hits = [scope.so_far() for scope in self._scopes]
        return written([sign(_AGAIN, hits, self._admission.keys), self.report()])

    def resume(self, text: str) -> None:
        """Go on from there: with the counts that are left, and with what was told."""
        first, _, told = text.partition(BETWEEN)
        keys = self._admission.keys
        try:
            hits = dict(verify(_AGAIN, first, keys))
            earlier = [each for each in read(told, keys) if isinstance(each, Feedback)] if told else []
            for scope in self._scopes:
                assert scope.propagation is not None
                scope.resume(hits.get(scope.propagation.identity, {}), earlier)
        except (Refused, TypeError, ValueError) as exc:
            self._admission.log(logging.WARNING, "another try begins with the counts of the first: %s", exc)

    def ends(self, error: BaseException) -> bool:
        """Whether this ends the request and no more: what `fatal` of its scopes unwinds with, or a panic.

        A panic is logged, and the worker lives: in Go, `net/http` recovers a handler that panics.
        """
        left: BaseException | None = error
        for scope in self._scopes:
            left = without_unwinding(left, scope)
        panics = left
        if isinstance(left, BaseExceptionGroup):
            panics, left = left.split(FailpointPanic)
        elif isinstance(left, FailpointPanic):
            left = None
        if left is None and panics is not None:
            self._admission.log(logging.ERROR, "a request ended with %s", panics, exc_info=True)
        return left is None


def visit(admission: Admission, headers: Iterable[str]) -> Visit | None:
    """A visit of what came in these headers of one request; None when there is nothing that is good.

    No exception comes out of this: the request is served in any case.
    """
    try:
        with muted():
            tickets = admission.tickets(headers)
        return Visit(admission, tickets) if tickets else None
    except Exception:
        admission.log(logging.ERROR, "a scope that came with a request could not be opened", exc_info=True)
        return None
