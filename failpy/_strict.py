"""What a strict scope has to say when it closes: no armed point may have done nothing in silence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from failpy._activation import Activation
from failpy._context import Layer, process
from failpy._errors import FailpointError, NeverFired
from failpy._order import Order
from failpy._registry import declared, misses_since, unknown
from failpy._terms import Chance

__all__ = ["complaint_of", "verdict"]

_UNSEEN = 3
_STAYS = (
    "its terms do not travel, since no text says an object, a function or a when=: give terms that text can "
    "say, such as raise(ConnectionError)"
)


def verdict(
    activations: Mapping[str, Activation], orders: Iterable[Order], layer: Layer
) -> FailpointError | None:
    """The error that these activations and orders amount to, or None when each did its work."""
    strangers = [name for name in activations if declared(name) is None and not _is_elsewhere(name, layer)]
    complaints = [complaint_of(each) for name, each in activations.items() if name not in strangers]
    idle = [complaint for complaint in complaints if complaint is not None]
    idle += [
        f"the order {order} was never completed: the next hit, of {order.remaining[0]!r}, did not happen; "
        "let the code reach it"
        for order in orders
        if order.remaining
    ]
    errors: list[FailpointError] = [_unknown(name) for name in strangers]
    if idle:
        errors.append(NeverFired("\n".join((*idle, f"(strict=False allows it; seed {layer.seed})"))))
    if not errors:
        return None
    first, *others = errors
    for other in others:
        first.add_note(f"{type(other).__name__}: {other}")
    return first


def _unknown(name: str) -> FailpointError:
    error = unknown(name)
    service, addressed, _ = name.partition(":")
    if addressed:
        error.add_note(f"if it is one of a service {service!r}, make the scope with propagate=True")
    return error


def _is_elsewhere(name: str, layer: Layer | None) -> bool:
    """Whether a name that no code here has declared may be that of another service."""
    propagation = getattr(layer, "propagation", None)
    return propagation is not None and (
        ":" in name or propagation.sent > 0 or propagation.answers.knows(name)
    )


def complaint_of(activation: Activation) -> str | None:
    """What is to be said of terms that never fired, or None when they did their work."""
    return None if _did_its_work(activation) else _never_fired(activation)


def _did_its_work(activation: Activation) -> bool:
    if activation.passive or activation.terms.optional:
        return True
    if all(term.action == "off" for term in activation.terms):
        return True
    if any(isinstance(modifier, Chance) for term in activation.terms for modifier in term.modifiers):
        return activation.hits > 0
    return activation.fired > 0


def _never_fired(activation: Activation) -> str:
    point = declared(activation.name)
    sites = ", ".join(point.sites) if point is not None else ""
    propagation = getattr(activation.layer, "propagation", None)
    if propagation is not None and activation.hits == 0 and point is None:
        stays = activation.terms.text is None or activation.when is not None
        return (
            f"failpoint {activation.name!r} was armed with {activation.terms} and never fired: no code here "
            f"has declared it, and {_STAYS if stays else propagation.story(activation.name)}"
        )
    if activation.hits == 0 and activation.refused:
        what = f"its when= predicate refused each of {activation.refused} hits"
        advice = "let the predicate accept one"
    elif activation.hits == 0:
        misses = misses_since(activation.name, activation.missed_before)
        if activation.layer is process:
            what = "execution did not reach it"
            advice = "run the code behind it, and in no scope that arms it too"
        else:
            what = "execution did not reach it in this scope"
            advice = "run the code behind it inside the scope, and in no inner one that arms it too"
        if misses:
            what += ", but reached it where the scope does not reach: " + ", ".join(
                f"{times} time{'s' * (times > 1)} in thread {thread!r}" for thread, times in misses.items()
            )
            advice = "carry the scope there with scope.bind(fn) or threads=True, or arm the process scope"
        elif not sites:
            advice = "it was detached: arm it while it is attached"
        else:
            advice += _unseen(activation.name)
        if propagation is not None:
            what += f", and elsewhere neither ({propagation.story(activation.name)})"
    else:
        times = "once" if activation.hits == 1 else f"{activation.hits} times"
        what = f"execution reached it {times}, and no term but `off` was due"
        advice = "let the code reach it more often, or change the terms"
    return (
        f"failpoint {activation.name!r} was armed with {activation.terms} and never fired: {what} "
        f"(it stands {f'at {sites}' if sites else 'nowhere now'}); {advice}"
    )


def _unseen(name: str) -> str:
    """Who may have made the calls that a point of the operating system has not seen."""
    if not name.startswith("posix/"):
        return ""
    from failpy._posix import unseen  # it stands, so this is there

    found = unseen([name])
    more = f" and {len(found) - _UNSEEN} more" if len(found) > _UNSEEN else ""
    return f". It does not see what others do past it: {', '.join(found[:_UNSEEN])}{more}" if found else ""
