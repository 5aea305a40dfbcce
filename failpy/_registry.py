"""The failpoints that code has declared, and which of them are armed anywhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from itertools import chain
from threading import RLock, current_thread
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from failpy._errors import FailpointConflict, UnknownFailpoint, nearest, suggestion
from failpy._returns import Accepted, accepted, check_terms, describe
from failpy._site import Site
from failpy._terms import Terms

if TYPE_CHECKING:
    from failpy._activation import Activation
    from failpy._context import Layer

__all__ = [
    "Declared",
    "Switch",
    "activations",
    "all_declared",
    "armed",
    "check",
    "declare",
    "declared",
    "ignore_declarations",
    "lock",
    "missed",
    "misses_since",
    "names",
    "settle",
    "unknown",
    "watch_declarations",
]

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
        self._claims: dict[Site, object] = {}
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
        for said in (self._sites, self._claims, self._faults):
            said.pop(site, None)
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
        while self._armed != bool(_armed.get(self.name)):
            self.set_armed(not self._armed)

    def claim(self, site: Site, returns: object) -> dict[Site, object]:
        """The claims on the type of this point with one more among them."""
        claims = {other: claim for other, claim in self._claims.items() if not other.is_again(site)}
        for other, claim in claims.items():
            if claim != returns:
                raise FailpointConflict(
                    f"failpoint {self.name!r} is declared with returns={describe(returns)} at {site}, "
                    f"but with returns={describe(claim)} at {other}: one name has one type, "
                    "so let them agree, or give one of them another name"
                )
        return {**claims, site: returns}


# Reentrant: a signal handler or a finalizer may declare or arm while its thread is doing so.
lock = RLock()
_declared: dict[str, Any] = {}
# By name, then by the `id` of the layer: so that what a layer holds is in it once, whoever comes between.
_armed: dict[str, dict[int, Activation]] = {}
_misses: dict[str, list[str]] = {}
_MISSES = 1000
_watchers: list[Callable[[str], None]] = []


def declare(
    kind: type[Declared[T]], name: str, returns: object, faults: Iterable[Terms], site: Site, *, claims: bool
) -> Declared[T]:
    """The point of this name, made now if it is the first time.

    Args:
        kind: The class of a new point.
        name: A valid name.
        returns: The declared type.
        faults: What to add to its catalogue of faults.
        site: Where it is declared.
        claims: Whether the site says that the type is this; a mere look-up by name does not.

    Raises:
        FailpointConflict: when another site declares another type.
        ReturnTypeError: when it is armed, or its catalogue has a fault, with a `return` of another type.
    """
    types = accepted(returns)
    with lock:
        point: Declared[T] = _declared.get(name) or kind(name)
        if claims:
            taken = point.claim(site, returns)
        else:
            taken, returns, types = point._claims, point.returns, point.accepted
        # By site, so that a definition which runs again and again does not add to it.
        by_site = {**point._faults, site: tuple(faults)} if faults else point._faults
        catalogue = tuple(dict.fromkeys(chain.from_iterable(by_site.values())))
        for terms in catalogue:
            check_terms(name, returns, types, terms)
        if name not in _declared or types != point.accepted:
            for activation in tuple(_armed.get(name, {}).values()):
                check_terms(name, returns, types, activation.terms)
        point._claims, point.returns, point.accepted = taken, returns, types
        point._faults, point.faults = by_site, catalogue
        is_new = name not in _declared
        _declared[name] = point
        # Before the site goes on, so that who arms the point now sees its very first hit.
        for watcher in tuple(_watchers) if is_new else ():
            watcher(name)
        point.agree()
    return point


def watch_declarations(watcher: Callable[[str], None]) -> None:
    """Call this with the name of each point that is declared from now on, before its first hit.

    It is called while the lock is held: be quick.
    """
    with lock:
        _watchers.append(watcher)


def ignore_declarations(watcher: Callable[[str], None]) -> None:
    """Call it no more. Twice is no error."""
    with lock:
        _watchers[:] = [each for each in _watchers if each != watcher]


def check(activations: Iterable[Activation]) -> None:
    """Refuse activations with a `return` that is not of the type the point declares.

    Raises:
        ReturnTypeError: naming the point, both types, and the way out.
    """
    with lock:
        for activation in activations:
            point = _declared.get(activation.name)
            if point is not None:
                check_terms(point.name, point.returns, point.accepted, activation.terms)


def settle(layer: Layer, names: Iterable[str]) -> list[Activation]:
    """Let what counts as armed agree with what the layer holds under these names.

    Returns:
        What the layer held before and holds no more, for the caller to retire.
    """
    stale = []
    with lock:
        for name in names:
            holders = _armed.setdefault(name, {})
            # A signal handler may arm or disarm in the middle of this, so look again.
            while holders.get(id(layer)) is not (held := layer.activations.get(name)):
                before = holders.pop(id(layer), None)
                if before is not None:
                    stale.append(before)
                if held is not None:
                    holders[id(layer)] = held
                    held.missed_before = len(_misses.setdefault(name, []))
            if not holders:
                _misses.pop(name, None)
                _armed.pop(name, None)
                _armed.update({name: holders} if holders else {})  # a signal handler may have come in between
            point = _declared.get(name)
            if point is not None:
                point.agree()
    return stale


def armed() -> dict[str, int]:
    """How many activations each armed name has, over all layers."""
    with lock:
        return {name: len(holders) for name, holders in _armed.items() if holders}


def names() -> list[str]:
    """The declared names, sorted."""
    with lock:
        return sorted(_declared)


def all_declared() -> list[Declared[Any]]:
    """The declared points; without the lock, for who may hold others."""
    return list(_declared.values())


def declared(name: str) -> Declared[Any] | None:
    """The declared point of this name, or None."""
    return _declared.get(name)


attachable: set[str] = set()
"""The names of points that can be attached, for who misspells one that is not attached now."""


def unknown(name: str) -> UnknownFailpoint:
    """The error for a name that no code has declared."""
    near = nearest(name, names() if name in attachable else sorted({*names(), *attachable}))
    advice = (
        "The points of the operating system are there while fail.attach_posix() has them attached"
        if name.startswith("posix/")
        else "A point is known once the module that declares it is imported; "
        "a point inside a body, once it has run"
    )
    error = UnknownFailpoint(f"no code has declared a failpoint {name!r}{suggestion(near) or '.'} {advice}")
    error.near = tuple(near)
    return error


def activations() -> list[Activation]:
    """Every activation there is, in all layers."""
    with lock:
        return [activation for holders in _armed.values() for activation in holders.values()]


def missed(name: str) -> None:
    """Remember a hit of an armed point in a context that no scope reaches: of very many, the first."""
    misses = _misses.get(name)
    if misses is not None and len(misses) < _MISSES:
        misses.append(current_thread().name)


def misses_since(name: str, before: int) -> Counter[str]:
    """How often the point was missed, by the name of the thread, but for the first so many times."""
    return Counter(_misses.get(name, ())[before:])


def _after_fork_in_child() -> None:
    # Other threads are gone, and what they held or waited for with them.
    for activation in activations():
        activation.forget_threads()
    lock.release()


# Where the system cannot fork there is nothing to register with.
getattr(os, "register_at_fork", lambda **_: None)(
    before=lock.acquire, after_in_parent=lock.release, after_in_child=_after_fork_in_child
)
