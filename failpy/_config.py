"""What the environment decides for the whole process, read once at import."""

from __future__ import annotations

import sys

__all__ = ["FREE_THREADED", "config", "read_allow"]

# Whether this Python was built to run without a GIL. Whether it has one now may yet change with an import.
FREE_THREADED = "free-threading" in sys.version


class Config:
    """The switches of this process.

    Attributes:
        enabled: False when `FAILPY=off` compiled failpoints out.
        seed: The value of `FAILPY_SEED`, or None.
        http_token: The value of `FAILPY_HTTP_TOKEN`, or None.
        http_allow: The actions that `FAILPY_HTTP_ALLOW` names.
    """

    __slots__ = ("enabled", "http_allow", "http_token", "seed")

    def __init__(self) -> None:
        self.enabled = True
        self.seed: int | None = None
        self.http_token: str | None = None
        self.http_allow: tuple[str, ...] = ()


config = Config()


def read_allow(text: str) -> tuple[str, ...]:
    """The actions that `FAILPY_HTTP_ALLOW` names, with commas or spaces between them."""
    return tuple(text.replace(",", " ").split())
