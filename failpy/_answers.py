"""Answers: what services have told of a scope that travels, besides the hits."""

from __future__ import annotations

from collections import Counter

from failpy._errors import did_you_mean
from failpy._feedback import Feedback

__all__ = ["Answers"]


class Answers:
    """What the services have told of one scope, as far as it explains what has not happened."""

    __slots__ = ("_known", "_refusals", "_services")

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._services: Counter[str] = Counter()
        self._refusals: dict[str, dict[str, str]] = {}

    def add(self, feedback: Feedback) -> None:
        """One more."""
        self._services.update(dict.fromkeys(feedback.services, 0))
        self._services[feedback.services[0]] += 1
        for service, name, why in feedback.refusals:
            self._refusals.setdefault(name, {})[service] = why
        self._known.update(account.name for account in feedback.accounts)

    def knows(self, name: str) -> bool:
        """Whether a service has declared the point."""
        return name in self._known

    def story(self, name: str, *, sent: bool) -> str:
        """How it went for terms that never fired.

        Args:
            name: The point, as the scope has it.
            sent: Whether the scope has been sent along at all.
        """
        refused = self._refusals.get(name)
        reports = self._services.total()
        partly = self._refusals.get("", {})  # no point has this name: what a report had no room for
        left_out = "".join(f"; {why}, of service {service!r}" for service, why in partly.items())
        if refused:
            return "; ".join(f"service {service!r} did not arm it: {why}" for service, why in refused.items())
        if not sent:
            return (
                "no request has carried it: call fail.hook_httpx(client), fail.hook_requests(session) or "
                "fail.hook_celery(app), send scope.headers(), or let OpenTelemetry instrument the client"
            )
        if not reports:
            return (
                "it was sent along, and no report came back: let the service have failpy's middleware, with "
                "the same FAILPY_PROPAGATION_KEY, and the client fail.hook_httpx or fail.hook_requests, "
                "which read it; a task of Celery tells with its result"
            )
        return self._silent(name, reports) + left_out

    def _silent(self, name: str, reports: int) -> str:
        """The same where services have answered, and none of them refused."""
        services = ", ".join(map(repr, sorted(self._services)))
        came = f"it was sent along, and {reports:,} report{'s' * (reports > 1)} came back, from {services}"
        service, addressed, _ = name.partition(":")
        if self.knows(name):
            return f"{came}: it was armed there, and execution did not reach it"
        if addressed and service not in self._services:
            nothing = f"{came}, with nothing of service {service!r}"
            meant = did_you_mean(service, self._services)
            if meant:
                return f"{nothing}{meant}"
            return (
                f"{nothing}: see that this is its name, that it has failpy's middleware and the same "
                "FAILPY_PROPAGATION_KEY, that the request reaches it and it answers, and that each client on "
                "the way there has a hook of failpy's: OpenTelemetry by itself brings no report back, though "
                "the fault may have acted"
            )
        return came
