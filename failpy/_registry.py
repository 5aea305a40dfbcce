"""The failpoints that code has declared, and which of them are armed anywhere."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from threading import RLock, current_thread
from typing import TYPE_CHECKING, Any, TypeVar

from failpy._errors import ReturnTypeError, UnknownFailpoint, nearest, suggestion
from failpy._returns import accepted, check_terms
from failpy._site import Site
from failpy._terms import Terms

if TYPE_CHECKING:
    from failpy._activation import Activation
    from failpy._context import Layer
    from failpy._declared import Declared

__all__ = [
    "activations",
    "all_declared",
    "armed",
    "check",
    "declare",
    "declared",
    "ignore_declarations",
    "is_armed",
    "lock",
    "missed",
    "misses_since",
    "names",
    "settle",
    "unknown",
    "watch_declarations",
]

T = TypeVar("T")


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
            point.check_claim(site, returns)
        else:
            returns, types = point.returns, point.accepted
        faults = tuple(faults)
        catalogue = point.catalogue(site, faults)
        if types != point.accepted or catalogue is not point.faults:
            for terms in catalogue:
                check_terms(name, returns, types, terms)
        if name not in _declared or types != point.accepted:
            for activation in tuple(_armed.get(name, {}).values()):
                _check_armed(activation, returns, types)
        if claims:
            point._claims[site.place] = site, returns
        if faults:
            point._faults[site] = faults
        point.returns, point.accepted, point.faults = returns, types, catalogue
        is_new = name not in _declared
        _declared[name] = point
        # Before the site goes on, so that who arms the point now sees its very first hit.
        for watcher in tuple(_watchers) if is_new else ():
            watcher(name)
        point.agree()
    return point


def _check_armed(activation: Activation, returns: object, types: Any) -> None:
    """Refuse a declared type that what is armed does not fit, unless the layer would rather disarm it."""
    try:
        check_terms(activation.name, returns, types, activation.terms)
    except ReturnTypeError as exc:
        layer = activation.layer
        if layer is None or not layer.gives_way(activation.name, exc):
            raise
        layer.activations.pop(activation.name, None)
        for stale in settle(layer, [activation.name]):
            stale.retire()


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
    """Refuse activations with a `return` that is not of the type the point declares. Its user holds the lock.

    Raises:
        ReturnTypeError: naming the point, both types, and the way out.
    """
    for activation in activations:
        point = _declared.get(activation.name)
        if point is not None:
            check_terms(point.name, point.returns, point.accepted, activation.terms)


def settle(layer: Layer, names: Iterable[str]) -> list[Activation]:
    """Let what counts as armed agree with what the layer holds under these names. Its user holds the lock.

    Returns:
        What the layer held before and holds no more, for the caller to retire.
    """
    stale = []
    key = id(layer)
    for name in names:
        holders = _armed.get(name)
        if holders is None:
            holders = _armed.setdefault(name, {})
        # A signal handler may arm or disarm in the middle of this, so look again.
        while holders.get(key) is not (held := layer.activations.get(name)):
            before = holders.pop(key, None)
            if before is not None:
                stale.append(before)
            if held is not None:
                holders[key] = held
                held.missed_before = len(_misses.setdefault(name, []))
        if not holders:
            _misses.pop(name, None)
            _armed.pop(name, None)
            _armed.update({name: holders} if holders else {})  # a signal handler may have come in between
        point = _declared.get(name)
        if point is not None:
            point.agree()
    return stale


def is_armed(name: str) -> bool:
    """Whether any layer has armed the point."""
    return bool(_armed.get(name))


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
