"""Leftovers of tests: what one leaves armed in the process scope, or leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from failpy._arming import disable, enable_again
from failpy._context import Layer, current_if_any, process, set_current
from failpy._scope import Scope
from failpy._standing import Standing

if TYPE_CHECKING:
    from failpy._activation import Activation

__all__ = ["Leftovers"]


class Leftovers:
    """What a test leaves behind, but for what stands for the run and what fixtures of a wider scope hold.

    Args:
        standing: What stands for the run.
    """

    def __init__(self, standing: Standing) -> None:
        self._standing = standing
        self._outside = current_if_any()
        self._fixtures: dict[object, tuple[dict[str, Activation], Layer]] = {}

    def before_fixture(self) -> tuple[Mapping[str, Activation], Layer]:
        """What there is before a fixture is set up, to compare with."""
        return dict(process.activations), current_if_any()

    def after_fixture(self, fixture: object, before: tuple[Mapping[str, Activation], Layer]) -> None:
        """What the fixture has armed, and the scope that it has opened, stay until it ends."""
        activations, layer = before
        armed = {
            name: each for name, each in process.activations.items() if activations.get(name) is not each
        }
        here = current_if_any()
        if armed or here is not layer:
            self._fixtures[fixture] = (armed, here)

    def end_fixture(self, fixture: object) -> None:
        """The fixture has ended."""
        self._fixtures.pop(fixture, None)

    def take(self) -> list[str]:
        """After a test: undo what it has left over, and say what that was."""
        return [*self._take_scopes(), *self._take_armed()]

    def _take_scopes(self) -> list[str]:
        kept = {id(layer) for _, layer in self._fixtures.values()}
        told: list[str] = []
        while True:
            layer = current_if_any()
            if not isinstance(layer, Scope) or layer.closed or id(layer) in kept or layer is self._outside:
                return told
            told.append(f"{layer!r} was left open; it was closed: use it in a `with` block")
            set_current(layer.open_ancestor())
            layer.close()

    def _take_armed(self) -> list[str]:
        kept = {id(each) for armed, _ in self._fixtures.values() for each in armed.values()}
        told = []
        for name, activation in list(process.activations.items()):
            if id(activation) in kept or self._standing.holds(activation):
                continue
            told.append(
                f"failpoint {name!r} was left armed in the process scope, with {activation.terms}; it was "
                "disarmed: use fail.scope or the marker, or fail.disable it where the test ends"
            )
            disable(process, name)
        self._standing.put_back()
        for armed, _ in self._fixtures.values():
            for name, activation in armed.items():
                if process.activations.get(name) is not activation:
                    armed[name] = enable_again(process, activation)
        return told
