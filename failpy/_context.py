"""Layers of activations, and the context variable that says which layer is innermost here."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any

from failpy._config import config
from failpy._registry import lock, missed

if TYPE_CHECKING:
    from collections.abc import Callable

    from failpy._activation import Activation
    from failpy._hit import Hit
    from failpy._order import Order

__all__ = [
    "Layer",
    "current",
    "current_if_any",
    "declare_variable",
    "find",
    "find_from",
    "inside",
    "mute_thread",
    "muted",
    "process",
    "set_current",
]


class Layer:
    """Activations by name, seen from a context and shadowing those of the parent layer.

    A layer that has closed holds no activations, so it needs no check of its own on the way out.
    """

    __slots__ = ("__weakref__", "_seed", "activations", "behind", "closed", "parent", "revision", "salt")

    def __init__(self, parent: Layer | None = None, seed: int | None = None) -> None:
        self.activations: dict[str, Activation] = {}
        self.parent = parent
        self.behind: Layer | None = None  # what a muted block hides
        self.closed = False
        self.revision = 0  # counts what was armed and disarmed
        self.salt = ""  # what draws depend on besides the seed
        self._seed: dict[str, int] = {} if seed is None else {"seed": seed}

    @property
    def seed(self) -> int:
        """The seed of this layer: as given, else `FAILPY_SEED`, else drawn on the first use."""
        # What is drawn for two hits at once must be one seed, and `setdefault` is one step.
        if "seed" not in self._seed:
            drawn = int.from_bytes(os.urandom(4), "big") if config.seed is None else config.seed
            return self._seed.setdefault("seed", drawn)
        return self._seed["seed"]

    def reseed(self) -> None:
        """Find the seed anew when it is used next."""
        self._seed = {}

    def record(self, hit: Hit[Any]) -> None:
        """Take notice of a hit that met an activation of this layer."""

    def injected(self, hit: Hit[Any], error: BaseException) -> None:
        """Take notice of an exception that this hit is about to raise."""

    def gives_way(self, name: str, error: Exception) -> bool:
        """Whether a point is disarmed when code declares it with a type that its terms do not fit."""
        return False

    def orders_of(self, name: str) -> tuple[Order, ...]:
        """What a hit of this point waits for its turn in."""
        return ()

    def is_within(self, other: Layer) -> bool:
        """Whether this layer is the other or one inside it."""
        layer: Layer | None = self
        while layer is not None and layer is not other:
            layer = layer.parent
        return layer is other

    def open_ancestor(self) -> Layer:
        """The nearest enclosing layer that is still open; the process layer always is."""
        layer = self.parent
        while layer is not None and layer.closed:
            layer = layer.parent
        return process if layer is None else layer


process = Layer()


def declare_variable() -> None:
    """Declare the context variable, once, before anything is armed.

    Not at import: contextvars-extras loads asyncio, which is half of the time that
    `import failpy` would take, and a program that arms nothing needs neither.
    """
    global _get, _set  # noqa: PLW0603 - what is rebound is read on every hit
    if _get is not _first_get:
        return
    # Not under the lock: a fork takes that after the locks of what is imported here.
    from contextvars_extras import ContextVarsRegistry

    with lock:

        class Current(ContextVarsRegistry):  # type: ignore[misc]
            layer = process

        if _get is _first_get:  # a signal handler may have come first
            # `get_raw` is the `ContextVar.get` underneath (13 ns; the registry's own is 55 to 100).
            _set = Current.layer.set  # type: ignore[attr-defined]
            _get = Current.layer.get_raw  # type: ignore[attr-defined]


def _first_get() -> Layer:
    declare_variable()
    return _get()


_get: Callable[[], Layer] = _first_get
_set: Callable[[Layer], object]  # there is always a `get` before it


def current() -> Layer:
    """The innermost layer of this context."""
    return _get()


def current_if_any() -> Layer:
    """The same where something may have been armed; else, with less to import, the outermost."""
    return process if _get is _first_get else _get()


def set_current(layer: Layer) -> None:
    """Make this the innermost layer of this context."""
    _set(layer)


def find(name: str) -> Activation | None:
    """The activation that a hit of this point is for, in this context."""
    innermost = layer = _get()
    while True:
        activation = layer.activations.get(name)
        if activation is not None:
            return activation
        if layer.parent is None:
            break
        layer = layer.parent
    if innermost is process or innermost.closed:
        missed(name)
    return None


def find_from(layer: Layer | None, name: str) -> Activation | None:
    """The same from this layer outwards."""
    while layer is not None:
        activation = layer.activations.get(name)
        if activation is not None:
            return activation
        layer = layer.parent
    return None


def mute_thread() -> None:
    """Let this thread hit no failpoint from now on, whatever scope it was started in."""
    declare_variable()
    set_current(Layer())


class muted:
    """A block in which this context hits no failpoint: what an action runs must not trigger any.

    What the block starts (a thread, a task) may outlive it, and is muted no longer than the block.
    """

    __slots__ = ("_layer", "_previous")

    def __enter__(self) -> None:
        self._previous = current()
        self._layer = Layer()
        self._layer.behind = self._previous
        set_current(self._layer)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        here = current().is_within(self._layer)
        self._layer.closed = True
        self._layer.behind, self._layer.parent = None, self._previous
        if here:
            set_current(self._previous)


class inside:
    """A block that runs in a layer, whatever the context has. It may be entered again and again.

    Args:
        layer: The layer; entered again, it is the one that the block had left.
    """

    __slots__ = ("_layer", "_outside")

    def __init__(self, layer: Layer) -> None:
        self._layer = layer

    def __enter__(self) -> None:
        self._outside = current()
        set_current(self._layer)

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        # Not so in another context, where a collector or somebody's `close` may end a suspended block.
        if current().is_within(self._layer):
            self._layer = current()  # the block may be in a scope that it opened itself
            set_current(self._outside)
