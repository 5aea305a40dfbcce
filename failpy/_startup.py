"""The HTTP endpoint that the environment asks for, and its way through forks and child processes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, MutableMapping

from failpy._access import access_for
from failpy._address import InUseError
from failpy._errors import FailpointError
from failpy._server import Server, serve

__all__ = ["SERVED", "start"]

SERVED = "FAILPY_HTTP_SERVED"
"""A variable that tells child processes, which inherit the others, where one above them listens already."""

_own: Server | None = None


def start(environ: Mapping[str, str], inherited: MutableMapping[str, str] = os.environ) -> None:
    """Start what `FAILPY_HTTP` asks for, with `FAILPY_HTTP_TOKEN` and `FAILPY_HTTP_ALLOW`.

    Args:
        environ: The environment to read.
        inherited: The environment that child processes will get.

    Raises:
        FailpointError: naming the variable, what is wrong with its value, and the way out.
    """
    global _own  # noqa: PLW0603 - there is one for the process
    address = environ.get("FAILPY_HTTP", "").strip()
    try:
        access_for(token=None, allow=None, hosts=None)
    except FailpointError as exc:
        raise FailpointError(f"FAILPY_HTTP_ALLOW or FAILPY_HTTP_TOKEN cannot be applied: {exc}") from exc
    if not address:
        return
    try:
        _own = serve(address)
    except InUseError as exc:
        if environ.get(SERVED) != address:
            raise FailpointError(f"FAILPY_HTTP={address!r} cannot be applied: {exc}") from exc
        logging.getLogger("failpy").warning(
            "FAILPY_HTTP=%r: a process above this one listens there, so process %d has no HTTP endpoint; "
            "give each its own, such as unix:/run/app-{pid}.sock",
            address,
            os.getpid(),
        )
    except FailpointError as exc:
        raise FailpointError(f"FAILPY_HTTP={address!r} cannot be applied: {exc}") from exc
    else:
        inherited[SERVED] = address
        # A port that the system chose is known from nowhere else, so it is said even where no log is set up.
        level = logging.WARNING if address.endswith(":0") else logging.INFO
        logging.getLogger("failpy").log(level, "the HTTP endpoint listens at %s", _own.url)
        if "{pid}" in address:
            getattr(os, "register_at_fork", lambda **_: None)(after_in_child=lambda: _start_again(address))


def _start_again(address: str) -> None:
    """In a forked child whose address is its own."""
    global _own  # noqa: PLW0603 - as above
    try:
        _own = serve(address)
    except Exception as exc:  # a fork cannot fail for this
        logging.getLogger("failpy").warning("a forked child has no HTTP endpoint: %s", exc)
