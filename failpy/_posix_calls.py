"""The calls of the operating system that the catalogue knows: what each gives, and how it really fails.

The errors are those of the Linux manual pages that a sound program can meet, the likeliest first. Left
out are those of a program that is wrong (EBADF, EFAULT, EINVAL), and EINTR, which Python itself answers
by calling again (PEP 475) and so never shows.
"""

from __future__ import annotations

import errno
import socket
from typing import Any, NamedTuple

from failpy._errors import FailpointError, did_you_mean
from failpy._literals import shown

__all__ = ["CALLS", "GROUPS", "Call", "chosen"]


class Call(NamedTuple):
    """One operation.

    Attributes:
        returns: The type of what its point may return.
        faults: Its catalogue of faults, as texts.
    """

    returns: Any
    faults: tuple[str, ...]


def _call(errors: str, *others: str, returns: Any = None) -> Call:
    raising = (f"raise({error})" for error in errors.split() if hasattr(errno, error))
    return Call(returns, (*raising, *others))


def _resolving(code: int, message: str) -> str:
    return f'raise(socket.gaierror({code}, "{message}"))'


def _sqlite(message: str) -> str:
    return f'raise(sqlite3.OperationalError("{message}"))'


_FULL, _IOERR, _LOCKED = map(_sqlite, ("database or disk is full", "disk I/O error", "database is locked"))

CALLS = {
    "posix/io/open": _call("ENOENT EACCES EMFILE ENOSPC EROFS EIO ENFILE EDQUOT EISDIR", returns=Any),
    "posix/io/read": _call("EIO ESTALE", "return(0)", "return(1)", returns=int),
    # Twice, since a file that is closed tries once more to write what it could not.
    "posix/io/write": _call(
        "ENOSPC EIO EDQUOT EFBIG EPIPE", "return(1)", "1*return(1)->2*raise(ENOSPC)", returns=int
    ),
    "posix/io/fsync": _call("EIO ENOSPC EDQUOT"),
    "posix/io/truncate": _call("EIO EFBIG EACCES EROFS"),
    "posix/io/close": _call("EIO ENOSPC EDQUOT"),
    "posix/io/rename": _call("ENOSPC EACCES EXDEV EPERM EROFS EIO EBUSY ENOENT EDQUOT"),
    "posix/io/link": _call("EEXIST EACCES ENOSPC EPERM EROFS EIO EMLINK EDQUOT"),
    "posix/io/unlink": _call("EACCES ENOENT EPERM EBUSY EROFS EIO"),
    "posix/io/mkdir": _call("EEXIST EACCES ENOENT ENOSPC EROFS EDQUOT EMLINK"),
    "posix/io/rmdir": _call("ENOTEMPTY EACCES ENOENT EBUSY EROFS EPERM"),
    "posix/io/stat": _call("ENOENT EACCES EIO ELOOP ESTALE", returns=Any),
    "posix/io/listdir": _call("ENOENT EACCES EMFILE ENFILE EIO", returns=Any),
    "posix/net/resolve": _call(
        "",
        _resolving(socket.EAI_NONAME, "Name or service not known"),
        _resolving(socket.EAI_AGAIN, "Temporary failure in name resolution"),
        returns=Any,
    ),
    "posix/net/connect": _call("ECONNREFUSED ETIMEDOUT EHOSTUNREACH ENETUNREACH EADDRNOTAVAIL"),
    "posix/net/bind": _call("EADDRINUSE EACCES EADDRNOTAVAIL"),
    "posix/net/accept": _call("EMFILE ECONNABORTED ENFILE ENOBUFS ENOMEM", returns=Any),
    "posix/net/send": _call("EPIPE ECONNRESET ETIMEDOUT EHOSTUNREACH ENOBUFS", "return(1)", returns=int),
    "posix/net/recv": _call("ECONNRESET ETIMEDOUT", "return(0)", "return(1)", returns=int),
    "posix/sqlite/connect": _call("", _sqlite("unable to open database file"), returns=Any),
    "posix/sqlite/execute": _call("", _FULL, _IOERR, _LOCKED, returns=Any),
    "posix/sqlite/commit": _call("", _FULL, _IOERR, _LOCKED),
}
"""The operations, by the name of their point."""

GROUPS = ("io", "net", "sqlite")


def chosen(which: tuple[str, ...]) -> tuple[str, ...]:
    """The names that groups, names and patterns stand for; without any, all there are.

    Raises:
        TypeError: when one is no string.
        FailpointError: when one stands for nothing.
    """
    found: dict[str, None] = {}
    for each in which or GROUPS:
        if not isinstance(each, str):
            raise TypeError(f"attach_posix takes names of groups and points, such as 'io', not {shown(each)}")
        pattern = f"posix/{each}/*" if each in GROUPS else each
        names = _matching(pattern)
        if not names:
            hint = did_you_mean(each, (*GROUPS, *CALLS))
            raise FailpointError(
                f"the catalogue of the operating system has no group or point {each!r}{hint or '.'} "
                f"Its groups are {', '.join(map(repr, GROUPS))}"
            )
        found |= dict.fromkeys(names)
    return tuple(found)


def _matching(pattern: str) -> list[str]:
    from fnmatch import fnmatchcase

    return [name for name in CALLS if fnmatchcase(name, pattern)]
