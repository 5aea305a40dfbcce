"""The sockets of a program's processes: what `{pid}` stands for in the path that they share."""

from __future__ import annotations

import glob
import re
import socket
from pathlib import Path

__all__ = ["PID", "listens", "sockets_like"]

PID = "{pid}"
"""What stands for the number of the process."""


def sockets_like(path: str) -> list[str]:
    """The sockets with a number where the path says `{pid}`, by that number.

    Where it says so more than once, the number is the same.
    """
    first, *more = path.split(PID)
    exact = re.escape(first) + "(?P<pid>[0-9]+)" + "(?P=pid)".join(map(re.escape, more))
    found = []
    for each in glob.glob("[0-9]*".join(map(glob.escape, (first, *more)))):  # noqa: PTH207 - it keeps how the path is written
        match = re.fullmatch(exact, each)
        if match is not None and Path(each).is_socket():
            found.append((int(match["pid"]), each))
    return [each for _, each in sorted(found)]


def listens(path: str) -> bool:
    """Whether somebody listens there; the file outlives a process that was killed."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:  # busy, or closed to this user, which the request will say
            pass
    return True
