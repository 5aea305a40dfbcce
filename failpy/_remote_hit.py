"""A hit in another service, as a report has told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from failpy._hit import Hit, TraceEntry

if TYPE_CHECKING:
    from failpy._actions import Step
    from failpy._activation import Activation

__all__ = ["RemoteHit"]


class RemoteHit(Hit[Any]):
    """A hit that happened elsewhere. It is over, so there is nothing to decide about it.

    Attributes:
        service: The name of the service.
        process: The number of its process.
    """

    __slots__ = ("process", "service")

    def __init__(
        self, activation: Activation, step: Step | None, service: str, process: int, ending: str | None
    ) -> None:
        super().__init__(activation, (), None, None)
        self.step = step
        self.service = service
        self.process = process
        self.ending = ending

    @property
    def thread(self) -> str:
        """The process, in place of a thread."""
        return f"process {self.process}"

    @property
    def address(self) -> str:
        """The point as one name: that of the service, and its own."""
        return f"{self.service}:{self.point.removeprefix(f'{self.service}:')}"

    def entry(self, end: str | None) -> TraceEntry:
        """It, as an entry of a trace, with its service."""
        return super().entry(end)._replace(service=self.service)
