"""A stream of server-sent events, read from the bytes of a response."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["Event", "read_events"]

_LONG = 2**20

Event = tuple[str, dict[str, Any]]
"""The kind of an event and its data."""


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events in chunks of bytes, as soon as each is complete.

    Raises:
        ValueError: when the data of one is no JSON object.
    """
    kind, data = "message", ""
    for line in _lines(chunks):
        field, _, value = line.partition(":")
        if field == "event":
            kind = value.strip()
        elif field == "data":
            data += value
        elif not line and data:
            yield kind, dict(json.loads(data))
            kind, data = "message", ""


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """Lines; unlike those of `str.splitlines`, never split within JSON."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONG:
            raise ValueError("a line has no end")
        for line in lines:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")
