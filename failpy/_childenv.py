"""The environment of a child process that shall have the terms of a scope."""

from __future__ import annotations

from collections.abc import Mapping

from failpy._activation import Activation
from failpy._context import Layer
from failpy._errors import FailpointError

__all__ = ["child_environ"]


def child_environ(innermost: Layer, environ: Mapping[str, str]) -> dict[str, str]:
    """A copy of the environment with what this layer and those around it have armed.

    Raises:
        FailpointError: when terms cannot be said in text, or depend on a predicate.
    """
    entries: dict[str, str] = {}
    layer: Layer | None = innermost
    while layer is not None:
        for name, activation in list(layer.activations.items()):
            if name not in entries and not activation.passive:
                entries[name] = _text(name, activation)
        layer = layer.parent
    child = {key: value for key, value in environ.items() if key != "FAILPY_FAILPOINTS"}
    if entries:
        child["FAILPY_FAILPOINTS"] = ";".join(f"{name}={text}" for name, text in entries.items())
    child["FAILPY_SEED"] = str(innermost.seed)
    return child


def _text(name: str, activation: Activation) -> str:
    text = activation.terms.text
    if activation.when is not None or text is None:
        what = "its when= predicate" if activation.when is not None else str(activation.terms)
        raise FailpointError(
            f"a child process cannot have failpoint {name!r} as it is armed here: {what} cannot be said "
            "in text; enable it with terms that can"
        )
    return text
