"""Arming and disarming points in a layer, and what can be read of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from failpy._activation import Activation
from failpy._config import config
from failpy._context import Layer, declare_variable, process
from failpy._errors import FailpointError, ScopeError, TermSyntaxError
from failpy._grammar import as_terms, parse_set
from failpy._hit import Hit
from failpy._hold import Hold
from failpy._names import check_name
from failpy._observer import observing
from failpy._registry import check, declared, lock, names, settle, unknown
from failpy._resolve import resolve
from failpy._terms import Term, Terms

__all__ = [
    "Status",
    "When",
    "chain_for",
    "disable",
    "disable_all",
    "enable",
    "enable_again",
    "named_terms",
    "status",
    "statuses",
]

_ASYNC = 0x80 | 0x200  # CO_COROUTINE and CO_ASYNC_GENERATOR, as in `inspect`

When = Callable[[Hit[Any]], object]


def _unguarded() -> None:
    """Nothing to check."""


class Status(NamedTuple):
    """What can be said of one point in one layer. Reading it never consumes a hit.

    Attributes:
        name: The name of the point.
        terms: The text of what is enabled, or `""`.
        hits: How often execution reached the point since it was enabled.
        fired: How many of these hits a term other than `off` acted on.
        paused: How many hits wait at a `pause` now.
        returns: The declared type.
        faults: The catalogue of faults, as texts.
        sites: Where the point stands, as `file:line`; empty while no code has declared it.
        selected: How many hits a term was selected for, `off` included: what gofail counts.
    """

    name: str
    terms: str
    hits: int
    fired: int
    paused: int
    returns: Any
    faults: tuple[str, ...]
    sites: tuple[str, ...]
    selected: int


def named_terms(terms: Mapping[str, str | Term | Terms] | str | None) -> dict[str, Terms]:
    """Read what `fail.scope` and `fail.enable_all` take: a mapping, or a text like `A=panic;B=off`."""
    if terms is None:
        return {}
    if isinstance(terms, str):
        return parse_set(terms)
    if type(terms) is not dict and not isinstance(terms, Mapping):
        raise TypeError(
            "terms must be a mapping of names to terms, or a text like 'A=panic;B=2*off->print', "
            f"not {terms!r}"
        )
    return {check_name(name): _chain(name, each) for name, each in terms.items()}


def chain_for(name: str, terms: str | Term | Terms) -> Terms:
    """The chain that shall be enabled for this point.

    Raises:
        TermSyntaxError, TypeError: as `as_terms`, naming the point.
    """
    return _chain(check_name(name), terms)


def _chain(name: str, terms: str | Term | Terms) -> Terms:
    try:
        return as_terms(terms)
    except TermSyntaxError as exc:
        raise TermSyntaxError(f"failpoint {name!r}: {exc.reason}", exc.text, exc.column) from None
    except TypeError as exc:
        raise TypeError(f"failpoint {name!r}: {exc}") from None


def enable(
    layer: Layer,
    terms: Mapping[str, Terms],
    *,
    when: When | None = None,
    importing: bool = True,
    early: bool = False,
    hold: Hold | None = None,
    guard: Callable[[], None] = _unguarded,
) -> None:
    """Arm these points in the layer: all of them, or none if anything is wrong with one.

    Args:
        layer: Where.
        terms: The chains, by name.
        when: A predicate over the hit.
        importing: Whether modules may be imported for what the terms name.
        early: Whether the program has only begun, and what they name may still be on the way.
        hold: What the hits wait for.
        guard: Called once nobody else can arm or disarm; what it raises leaves everything as it was.

    Raises:
        FailpointError: under `FAILPY=off`.
        ScopeError: when the layer has closed.
        TermSyntaxError: when a name in the terms (an exception, a callable) cannot be found.
        ReturnTypeError: when a `return` is not of the type its point declares.
    """
    if not terms:
        return
    _check_possible(terms, when)
    declare_variable()
    for name, chain in terms.items():
        try:
            resolve(chain, importing=importing, early=early)
        except TermSyntaxError as exc:
            reason = f"failpoint {name!r}: {exc.reason}"
            raise TermSyntaxError(reason, exc.text, exc.column) from exc.__cause__
    with lock:
        if layer.closed:
            raise ScopeError(
                f"cannot enable {', '.join(map(repr, terms))}: the scope is closed; open a new one"
            )
        guard()
        held = () if hold is None else (hold,)
        fresh = {
            name: Activation(name, chain, when=when, layer=layer, orders=(*held, *layer.orders_of(name)))
            for name, chain in terms.items()
        }
        check(fresh.values())
        if hold is not None:
            hold.over(fresh.values())
        before = {name: layer.activations[name] for name in fresh if name in layer.activations}
        layer.activations.update(fresh)
        try:
            stale = settle(layer, fresh)
        except BaseException:
            for name in fresh:
                layer.activations.pop(name, None)
                if name in before:
                    layer.activations[name] = before[name]
            settle(layer, fresh)
            raise
        layer.revision += 1
        observing.armed(fresh.values(), layer)
    for activation in stale:
        activation.retire()


def enable_again(layer: Layer, activation: Activation, *, early: bool = False) -> Activation:
    """Arm a point in the layer as this activation has it, with fresh counts and draws.

    Args:
        layer: Where.
        activation: What to arm the like of.
        early: As for `enable`.

    Returns:
        The like of it, which is armed now.
    """
    name = activation.name
    enable(layer, {name: activation.terms}, when=activation.when, early=early)
    return layer.activations[name]


def _check_possible(terms: Mapping[str, Terms], when: When | None) -> None:
    if not config.enabled:
        raise FailpointError(
            f"cannot enable {', '.join(map(repr, terms))}: FAILPY=off compiled failpoints out of "
            "this process; start it without FAILPY=off"
        )
    if when is not None and not callable(when):
        raise TypeError(f"when must be a callable that takes the hit, not {when!r}")
    if getattr(getattr(when, "__code__", None), "co_flags", 0) & _ASYNC:
        raise TypeError(f"when must be a plain function, since a hit cannot await it, not {when!r}")


def disable(layer: Layer, name: str, *, guard: Callable[[], None] = _unguarded) -> None:
    """Disarm the point in the layer, and let go of what waits there. Disarming twice is no error.

    Args:
        layer: Where.
        name: The point.
        guard: As for `enable`.

    Raises:
        UnknownFailpoint: when nothing has declared or armed the name.
    """
    check_name(name)
    with lock:
        if name not in layer.activations and declared(name) is None:
            raise unknown(name)
        guard()
        _pop(layer, name)
        stale = settle(layer, [name])
    for activation in stale:
        activation.retire()


def _pop(layer: Layer, name: str) -> None:
    if layer.activations.pop(name, None) is not None:
        layer.revision += 1
        point = declared(name)
        if point is not None and layer is process:
            point.disarmed = layer.revision


def disable_all(layer: Layer, *, guard: Callable[[], None] = _unguarded) -> None:
    """Disarm whatever the layer has armed, and let go of what waits there."""
    with lock:
        guard()
        names = tuple(layer.activations)
        for name in names:
            _pop(layer, name)
        stale = settle(layer, names)
    for activation in stale:
        activation.retire()


def status(name: str, activations: Mapping[str, Activation]) -> Status:
    """What can be said of this point.

    Raises:
        UnknownFailpoint: when nothing has declared or armed the name.
    """
    check_name(name)
    point, activation = declared(name), activations.get(name)
    if point is None and activation is None:
        raise unknown(name)
    hits, selected, fired = (0, 0, 0) if activation is None else activation.counts
    return Status(
        name=name,
        terms="" if activation is None or activation.passive else str(activation.terms),
        hits=hits,
        fired=fired,
        paused=0 if activation is None else activation.paused,
        returns=None if point is None else point.returns,
        faults=() if point is None else tuple(map(str, point.faults)),
        sites=() if point is None else point.sites,
        selected=selected,
    )


def statuses(activations: Mapping[str, Activation], *, declared_too: bool) -> list[Status]:
    """The status of each armed point, and of each declared one if asked, sorted by name."""
    with lock:
        held = dict(activations)
        every = {*held, *(names() if declared_too else ())}
    return [status(name, held) for name in sorted(every)]
