"""Sites: the places in source where points stand."""

from __future__ import annotations

from types import FrameType
from typing import NamedTuple

__all__ = ["BODY", "Site", "body_site", "remote_site"]

BODY = "<body>"
"""Where a site is that is no decorated function."""


class Site(NamedTuple):
    """One place in source where a point stands."""

    file: str
    line: int
    where: str
    """The qualified name of the decorated function; `<body>` for a point inside one."""

    def __str__(self) -> str:
        return self.file if self.file.startswith("<service ") else f"{self.file}:{self.line}"

    @property
    def place(self) -> tuple[str, str, int]:
        """What two sites share that are one place: the same line, or one definition that a reload moved."""
        return self.file, self.where, self.line if "<" in self.where else 0


def remote_site(service: str) -> Site:
    """The site of a point that another service has told of, which says no more."""
    return Site(f"<service {service}>", 0, BODY)


def body_site(frame: FrameType | None) -> Site:
    """The site of a point inside the body that this frame runs; a bottom frame has no caller."""
    return (
        Site("<unknown>", 0, BODY) if frame is None else Site(frame.f_code.co_filename, frame.f_lineno, BODY)
    )
