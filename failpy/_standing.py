"""Standing terms: what is armed in the process scope for a whole run of pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failpy._arming import enable_again
from failpy._context import process
from failpy._registry import declared, unknown
from failpy._strict import complaint_of

if TYPE_CHECKING:
    from failpy._activation import Activation

__all__ = ["Standing"]


class Standing:
    """What is armed when the run begins: by its options, or by the environment.

    Attributes:
        worked: The names of those that did their work in some test.
    """

    def __init__(self) -> None:
        self.worked: set[str] = set()
        self._armed: dict[str, Activation] = {}

    def begin(self) -> None:
        """What is armed now stands."""
        self._armed = dict(process.activations)

    def holds(self, activation: Activation) -> bool:
        """Whether this is one of them."""
        return self._armed.get(activation.name) is activation

    def renew(self, nodeid: str) -> None:
        """Before a test: let them begin anew, with fresh counts, and draws that depend on the test alone."""
        process.salt = nodeid
        self._note()
        for name, activation in self._armed.items():
            mine = process.activations.get(name)
            if mine is None or (mine is activation and activation.hits):
                self._armed[name] = enable_again(process, activation, early=True)

    def put_back(self) -> None:
        """Arm again what a test has disarmed."""
        self._note()
        for name, activation in self._armed.items():
            if name not in process.activations:
                self._armed[name] = enable_again(process, activation, early=True)

    def in_vain(self) -> dict[str, str]:
        """After the run: what is to be said of those that did nothing in any test, by name."""
        self._note()
        told = {}
        for name, activation in self._armed.items():
            if name not in self.worked:
                complaint = unknown(name) if declared(name) is None else complaint_of(activation)
                if complaint is not None:
                    told[name] = str(complaint)
        return told

    def _note(self) -> None:
        for name, activation in self._armed.items():
            if activation.hits and complaint_of(activation) is None:
                self.worked.add(name)
