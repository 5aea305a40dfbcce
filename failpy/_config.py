"""What the environment decides for the whole process, read once at import."""

from __future__ import annotations

import sys

__all__ = ["FREE_THREADED", "config", "read_list"]

# Whether this Python was built to run without a GIL. Whether it has one now may yet change with an import.
FREE_THREADED = "free-threading" in sys.version


class Config:
    """The switches of this process.

    Attributes:
        enabled: False when `FAILPY=off` compiled failpoints out.
        seed: The value of `FAILPY_SEED`, or None.
        http_token: The value of `FAILPY_HTTP_TOKEN`, or None.
        http_allow: The actions that `FAILPY_HTTP_ALLOW` names.
        propagation_keys: The keys that `FAILPY_PROPAGATION_KEY` has.
        propagation_names: The patterns of `FAILPY_PROPAGATION_NAMES`, or None.
        propagation_allow: The actions that `FAILPY_PROPAGATION_ALLOW` names.
        service: The name of this service, as `FAILPY_SERVICE` or `OTEL_SERVICE_NAME` has it, or `""`.
    """

    __slots__ = (
        "enabled",
        "http_allow",
        "http_token",
        "propagation_allow",
        "propagation_keys",
        "propagation_names",
        "seed",
        "service",
    )

    def __init__(self) -> None:
        self.enabled = True
        self.seed: int | None = None
        self.http_token: str | None = None
        self.http_allow: tuple[str, ...] = ()
        self.propagation_keys: tuple[bytes, ...] = ()
        self.propagation_names: tuple[str, ...] | None = None
        self.propagation_allow: tuple[str, ...] = ()
        self.service = ""


config = Config()


def read_list(text: str) -> tuple[str, ...]:
    """What a variable names, with commas or spaces between."""
    return tuple(text.replace(",", " ").split())
