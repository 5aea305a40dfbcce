"""What the HTTP endpoint tells of failpoints, as text and as JSON."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from failpy._activation import Activation
from failpy._arming import status
from failpy._context import process
from failpy._expiry import expires_in
from failpy._registry import declared, lock, names
from failpy._returns import describe
from failpy._whereabouts import task_name

__all__ = [
    "as_json",
    "listing",
    "overview",
    "point_json",
    "point_text",
    "revision",
    "revision_of",
    "terms_of",
]


def revision(name: str | None = None) -> str:
    """The state of one point in the process scope, or of everything there.

    It begins with the process, so that what was read before a restart is not taken for what is there now.
    """
    if name is None:
        return revision_of(process.revision)
    return _at_one_moment(name)[1]


def revision_of(change: int) -> str:
    """The revision that so many changes of the process scope have led to."""
    return f"{_process.mark}.{change}"


def _revision_of_point(name: str, activation: Activation | None) -> str:
    if activation is not None:
        return revision_of(activation.revision)
    point = declared(name)
    return revision_of(0 if point is None else point.disarmed)


class _Process:
    """What tells the revisions of this process from those of others, also where all have one number."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        """For a forked child."""
        self.mark = os.urandom(4).hex()


_process = _Process()
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_process.renew)


def terms_of(activation: Activation | None) -> str:
    """The terms of a point as they were given, or `""` when it is disarmed."""
    if activation is None:
        return ""
    source = activation.terms.source
    return source if source is not None and source.isprintable() else str(activation.terms)


def point_text(name: str) -> tuple[str, str]:
    """The terms of a point, and their revision.

    Raises:
        UnknownFailpoint: when nothing has declared or armed the name.
    """
    activation, now = _at_one_moment(name)
    status(name, {} if activation is None else {name: activation})
    return terms_of(activation), now


def _at_one_moment(name: str) -> tuple[Activation | None, str]:
    """What is armed at a point, and the revision of that."""
    with lock:
        activation = process.activations.get(name)
        return activation, _revision_of_point(name, activation)


def listing() -> tuple[str, str]:
    """Every point, a line each in gofail's format, and the revision of it all."""
    now, every = _everything()
    return "\n".join(f"{name}={terms_of(activation)}" for name, activation, _ in every) + "\n", now


def overview() -> dict[str, Any]:
    """Every point, and what program this is."""
    now, every = _everything()
    return {
        "revision": now,
        "pid": os.getpid(),
        "program": os.path.basename(sys.argv[0]) if sys.argv else "",  # noqa: PTH119 - any text at all
        "version": _version(),
        "failpoints": [_point(*each) for each in every],
    }


def _everything() -> tuple[str, list[tuple[str, Activation | None, str]]]:
    """What there is at one moment. What is said of it may run code of the program: after the lock."""
    with lock:
        every = sorted({*names(), *process.activations})
        held = [(name, process.activations.get(name)) for name in every]
        return revision(), [(name, each, _revision_of_point(name, each)) for name, each in held]


def _version() -> str:
    try:
        return version("failpy")
    except PackageNotFoundError:  # run from a source tree
        return ""


def point_json(name: str) -> dict[str, Any]:
    """One point.

    Raises:
        UnknownFailpoint: when nothing has declared or armed the name.
    """
    return _point(name, *_at_one_moment(name))


def _point(name: str, activation: Activation | None, now: str) -> dict[str, Any]:
    said = status(name, {} if activation is None else {name: activation})
    known = declared(name) is not None
    waiting = () if activation is None else [hit for hit in activation.waiting if hit.term.action == "pause"]
    where = [(hit, hit.gate) for hit in waiting]
    return {
        "name": said.name,
        "terms": terms_of(activation),
        "hits": said.hits,
        "fired": said.fired,
        "selected": said.selected,
        "paused": said.paused,
        "paused_hits": [
            {
                "nth": hit.nth,
                "thread": None if gate is None or gate.thread is None else gate.thread.name,
                "task": None if gate is None else task_name(gate.task),
            }
            for hit, gate in where
        ],
        "sites": list(said.sites),
        "returns": describe(said.returns) if known else None,
        "faults": list(said.faults),
        "declared": known,
        "conditional": activation is not None and activation.when is not None,
        "revision": now,
        "expires_in": None if activation is None else expires_in(activation),
    }


def as_json(value: object) -> bytes:
    """The bytes of a JSON reply, with a newline for those who read it in a terminal."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace") + b"\n"
