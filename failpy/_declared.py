"""A declared failpoint, but for what is armed: its type, its faults, and the sites it stands at."""

from __future__ import annotations

from itertools import chain
from typing import Any, Generic, Protocol, TypeVar

from failpy._errors import FailpointConflict
from failpy._registry import is_armed, lock
from failpy._returns import Accepted, accepted, describe
from failpy._site import Site
from failpy._terms import Terms

__all__ = ["Declared", "Switch"]

T = TypeVar("T")


class Switch(Protocol):
    """Something at a site that must know whether the point is armed."""

    def switch(self, name: str, armed: bool, /) -> None: ...


class Declared(Generic[T]):
    """A declared failpoint: the part of it that does not depend on what is armed.

    Attributes:
        name: The name of the point.
        returns: The type that a `return` must give: a class, a union, None or `Any`.
        faults: The catalogue of realistic faults, as chains of terms.
    """

    __slots__ = (
        "__weakref__",
        "_armed",
        "_claims",
        "_faults",
        "_sites",
        "_switches",
        "accepted",
        "disarmed",
        "faults",
        "name",
        "returns",
    )

    def __init__(self, name: str) -> None:
        self.name = name
        self.returns: Any = None
        self.accepted: Accepted = (type(None),)
        self.faults: tuple[Terms, ...] = ()
        self.disarmed = 0  # by which change of the process scope
        self._sites: dict[Site, None] = {}
        self._claims: dict[tuple[str, str, int], tuple[Site, object]] = {}  # by place
        self._faults: dict[Site, tuple[Terms, ...]] = {}
        self._armed = False
        self._switches: dict[int, Switch] = {}

    @property
    def sites(self) -> tuple[str, ...]:
        """Where the point stands, as `file:line`."""
        return tuple(map(str, self.places))

    @property
    def places(self) -> tuple[Site, ...]:
        """The same, in parts."""
        sites = list(self._sites)  # in one step also without a GIL, which a tuple is not
        return tuple(sites)

    def stand_at(self, site: Site) -> None:
        """Remember one more site."""
        self._sites[site] = None

    def leave(self, site: Site) -> None:
        """Forget a site, with what it said of type and faults."""
        for said in (self._sites, self._faults):
            said.pop(site, None)
        if self._claims.get(site.place, (None,))[0] == site:
            del self._claims[site.place]
        self.faults = tuple(dict.fromkeys(chain.from_iterable(self._faults.values())))
        if not self._claims:
            self.returns, self.accepted = None, accepted(None)

    def add_switch(self, switch: Switch) -> None:
        """Let this site be told, now and from now on, whether the point is armed."""
        with lock:
            self._switches[id(switch)] = switch
            if self._armed:
                switch.switch(self.name, True)

    def drop_switch(self, key: int) -> None:
        """Forget the switch with this `id`. Safe in a garbage collector's callback."""
        self._switches.pop(key, None)

    def set_armed(self, armed: bool) -> None:
        """Tell every site."""
        for switch in list(self._switches.values()):
            switch.switch(self.name, armed)
        self._armed = armed

    def agree(self) -> None:
        """Be armed if there is an activation, and idle if there is none."""
        # A signal handler may arm or disarm the point in the middle of this, so look again.
        while self._armed != is_armed(self.name):
            self.set_armed(not self._armed)

    def check_claim(self, site: Site, returns: object) -> None:
        """Refuse another type than that of the other sites.

        Raises:
            FailpointConflict: naming both.
        """
        # They agree with each other, so one of them speaks for all.
        for place, (other, claim) in self._claims.items():
            if place == site.place:
                continue
            if claim == returns:
                return
            raise FailpointConflict(
                f"failpoint {self.name!r} is declared with returns={describe(returns)} at {site}, "
                f"but with returns={describe(claim)} at {other}: one name has one type, "
                "so let them agree, or give one of them another name"
            )

    def catalogue(self, site: Site, faults: tuple[Terms, ...]) -> tuple[Terms, ...]:
        """The catalogue of faults as it is when this site says these."""
        if not faults or self._faults.get(site) == faults:
            return self.faults
        if site not in self._faults:
            return tuple(dict.fromkeys((*self.faults, *faults)))
        # By site, so that a definition which runs again and again does not add to it.
        return tuple(dict.fromkeys(chain.from_iterable({**self._faults, site: faults}.values())))
