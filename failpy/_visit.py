"""A visit: the scopes that came with one request, open while this service works on it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

from failpy._admission import Admission
from failpy._context import inside, muted
from failpy._errors import FailpointPanic
from failpy._failures import without_unwinding
from failpy._feedback import BETWEEN, Feedback, read, written
from failpy._guest import Guest
from failpy._propagation import collect
from failpy._signing import MOST, Refused, sign, verify
from failpy._ticket import Ticket

__all__ = ["Visit", "visit"]

_AGAIN = "again"


class Visit:
    """The scopes that came with one request, in one another.

    Args:
        admission: What they may do here.
        tickets: What they came with, the outermost first.
    """

    def __init__(self, admission: Admission, tickets: list[tuple[str, Ticket]]) -> None:
        self._admission = admission
        self._scopes: list[Guest] = []
        try:
            for text, ticket in tickets:
                scope = Guest(text, ticket, admission)
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
