"""What stops a command: one error with the words for stderr, the exit status and the data for `--json`."""

from __future__ import annotations

from collections.abc import Mapping

from failpy._errors import TermSyntaxError

__all__ = ["Complaint", "Refused", "Unreachable", "malformed"]


class Complaint(Exception):  # noqa: N818 - it is what a command says, whether that is an error or an answer
    """What a command has to say instead of doing what was asked.

    Args:
        message: What is wrong and the way out, in one or few lines.
        status: The exit status.
        kind: The name of the error, for machines.
        details: More about it, for machines.
    """

    status = 2
    kind = "UsageError"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        kind: str | None = None,
        details: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = self.status if status is None else status
        self.kind = self.kind if kind is None else kind
        self.details = dict(details or {})

    @property
    def data(self) -> dict[str, object]:
        """The same in the shape in which the endpoint tells its errors."""
        return {"error": {"type": self.kind, "message": self.message, **self.details}}


class Refused(Complaint):
    """The endpoint understood, and said no."""

    status = 1
    kind = "Refused"


class Unreachable(Complaint):
    """Nothing answers at the address, or it is not failpy that does."""

    status = 3
    kind = "Unreachable"


def malformed(exc: TermSyntaxError, *, source: str = "", status: int = 1) -> Complaint:
    """A complaint about terms, with the caret under the fault.

    Args:
        exc: What is wrong with them.
        source: Where they come from, if that is not plain.
        status: The exit status.
    """
    details = {"reason": exc.reason, "text": exc.text, "column": exc.column, "caret": exc.caret}
    message = f"{source}: {exc}" if source else str(exc)
    return Complaint(message, status=status, kind=type(exc).__name__, details=details)
