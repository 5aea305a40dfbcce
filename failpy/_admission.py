"""Admission: which scopes that come with a request are served here, and what of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from fnmatch import fnmatchcase
from threading import Lock

from failpy._arming import chain_for
from failpy._baggage import member_of
from failpy._config import config
from failpy._guarded import FROM_OUTSIDE, check_several, guarded
from failpy._names import check_name
from failpy._signing import Refused, keys_for
from failpy._terms import Terms
from failpy._ticket import Ticket, separate

__all__ = ["Admission", "admission"]

_logger = logging.getLogger("failpy.propagation")
_BURST, _PERIOD = 20, 10.0
_UNNAMED = "unnamed"


class Admission:
    """The rules of one service.

    Args:
        service: Its name.
        names: Patterns of the points that may be armed; None for any.
        allow: The guarded actions that may be armed.
        keys: What a scope may be signed with; none at all means that no scope is served.
    """

    def __init__(
        self, service: str, names: tuple[str, ...] | None, allow: frozenset[str], keys: tuple[bytes, ...]
    ) -> None:
        self.service = service
        self.keys = keys
        self._names = names
        self._allow = allow
        self._lock = Lock()
        self._period, self._said = 0.0, 0

    def tickets(self, headers: Iterable[str]) -> list[tuple[str, Ticket]]:
        """What came in these headers of one request, if it is good: each ticket, as text too.

        What is not good has no effect, and the reason is logged.
        """
        if not config.enabled:
            return []
        try:
            member = member_of(headers)
            if member is None:
                return []
            return [(text, Ticket.read(text, self.keys)) for text in separate(member)]
        except Refused as refused:
            self.log(logging.WARNING, "a request came with a scope that has no effect: %s", refused)
            return []

    def name_here(self, name: str) -> str:
        """The point that a name means in this service: without its address, if that is this one's."""
        return name.removeprefix(f"{self.service}:")

    def chain(self, name: str, text: str) -> Terms:
        """The terms for a point here.

        Raises:
            Refused: when they may not be armed here.
            FailpointError: when they cannot be.
        """
        chain = chain_for(name, text)
        if self._names is not None and not any(fnmatchcase(name, each) for each in self._names):
            raise Refused(f"{name!r} is none of the names that may be armed from outside")
        for term in chain:
            action = guarded(term)
            if action is not None and action not in self._allow:
                raise Refused(
                    f"{term} may not be armed from outside: start the service with "
                    f"FAILPY_PROPAGATION_ALLOW={action}, or its middleware with allow=({action!r},)"
                )
        return chain

    def log_elsewhere(self, name: str) -> None:
        """Log that a name is of another service, which matters where this one has been given no name."""
        if self.service == _UNNAMED:
            level = logging.INFO
            whose = "of a service by name, and this one has none: give it service=, or FAILPY_SERVICE"
        else:
            level, whose = logging.DEBUG, f"not of this service, which is {self.service!r}"
        self.log(level, "failpoint %r, which came with a request, is %s", name, whose)

    def log(self, level: int, message: str, *args: object, exc_info: bool = False) -> None:
        """Log what came in from outside, and not as often as somebody outside may like."""
        if not _logger.isEnabledFor(level):
            return  # what nobody reads takes no place from what somebody does
        with self._lock:
            now = time.monotonic()
            if now - self._period > _PERIOD:
                left_out = self._said - _BURST
                self._period, self._said = now, 0
                if left_out > 0:
                    _logger.warning("%d more messages like these were left out", left_out)
            self._said += 1
            if self._said > _BURST:
                return
        _logger.log(level, message, *args, exc_info=exc_info)


def admission(
    *,
    service: str | None = None,
    names: Iterable[str] | None = None,
    allow: Iterable[str] | None = None,
    key: str | None = None,
) -> Admission:
    """The rules, from what a program says and, where it says None, from the environment.

    Raises:
        FailpointError: when an action cannot be allowed, a service cannot have the name, or a key is short.
        TypeError: when something is of the wrong type.
    """
    check_several(names=names, allow=allow)
    patterns = config.propagation_names if names is None else tuple(names)
    for each in patterns or ():
        if not isinstance(each, str):
            raise TypeError(f"names must be patterns such as 'payments.*', not {each!r}")
    actions = config.propagation_allow if allow is None else tuple(allow)
    FROM_OUTSIDE.check(actions)
    name = config.service if service is None else check_name(service)
    return Admission(name or _UNNAMED, patterns, frozenset(actions), keys_for(key))
