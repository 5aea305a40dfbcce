"""What the environment decides for the whole process, read once at import."""

from __future__ import annotations

__all__ = ["config"]


class Config:
    """The switches of this process.

    Attributes:
        enabled: False when `FAILPY=off` compiled failpoints out.
        seed: The value of `FAILPY_SEED`, or None.
    """

    __slots__ = ("enabled", "seed")

    def __init__(self) -> None:
        self.enabled = True
        self.seed: int | None = None


config = Config()
