"""What a scope does that travels with requests: its headers, and what they bring back."""

from __future__ import annotations

from collections.abc import Mapping

from failpy._armory import Armory
from failpy._config import config
from failpy._errors import ScopeError
from failpy._literals import shown
from failpy._terms import Terms

__all__ = ["Traveller"]


class Traveller(Armory):
    """An armory that may travel.

    Attributes:
        travels: Whether it does.
    """

    __slots__ = ("travels",)
    travels: bool

    def headers(self) -> dict[str, str]:
        """The header of one request that shall carry this scope, and those around it that travel.

        Make it anew for each request: it expires, and the draws of each request are its own.

        Returns:
            `{"baggage": "failpy=..."}`; nothing while nothing is armed that text can say.

        Raises:
            ScopeError: when the scope is not open, or was made without `propagate=True`.
        """
        self._check_travelling("make its headers")
        from failpy._baggage import HEADER, with_member
        from failpy._propagation import tickets_of
        from failpy._ticket import joined

        tickets = joined(tickets_of(self))
        return {HEADER: with_member(None, tickets)} if tickets else {}

    def collect(self, headers: Mapping[str, str]) -> bool:
        """Merge what the headers of a response tell of what happened in this scope elsewhere.

        The hooks for httpx and requests do so by themselves. What is told twice is merged once.

        Args:
            headers: Those of the response, whatever their case.

        Returns:
            Whether there was something for any open scope.

        Raises:
            ScopeError: when the scope is not open, or was made without `propagate=True`.
            TypeError: when it is given no headers, such as the response itself.
        """
        self._check_travelling("collect a report")
        if not hasattr(headers, "items"):
            raise TypeError(f"collect takes headers, such as response.headers, not {shown(headers)}")
        from failpy._feedback import HEADER
        from failpy._propagation import collect

        return collect([value for key, value in headers.items() if key.lower() == HEADER], self) > 0

    def _check_travelling(self, what: str) -> None:
        self._check_open(what)
        if not self.travels:
            raise ScopeError(f"cannot {what}: the scope stays here; make it with propagate=True")

    # --- for the scope ---

    def _set_out(self, seconds: float, terms: Mapping[str, Terms]) -> None:
        if config.enabled:  # without failpoints there need not be a key
            from failpy._propagation import Propagation
            from failpy._signing import keys_for

            self.propagation = Propagation(keys_for(None), seconds)
            self.propagation.check(self, {name: each.text for name, each in terms.items()})
            self.propagation.begin(self)
