"""The operating system: its catalogue of failpoints, attached to the standard library and taken away again.

In the spirit of libfiu, whose `posix/io/...` names these are, but for one scope, not for a whole process.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from types import ModuleType, TracebackType
from typing import Any, Self, cast

from failpy._config import config
from failpy._errors import FailpointError
from failpy._point import Point, catalogue, declare_point, point
from failpy._posix_caller import attached
from failpy._posix_calls import CALLS, chosen
from failpy._posix_file import METHODS, FileSwitch
from failpy._posix_functions import PLACES
from failpy._registry import attachable, declared, lock
from failpy._site import BODY, Site, body_site

__all__ = ["PosixAttachment", "attach_named", "attach_posix", "imported_early", "unseen"]

# Those known to read and write files or sockets in C by themselves.
_IN_C = {
    *("mmap", "_sqlite3", "_dbm", "_gdbm"),
    *("numpy", "h5py", "netCDF4", "pyarrow", "polars", "cv2", "lxml.etree"),
    *("duckdb", "lmdb", "rocksdb", "psycopg2", "psycopg_c", "MySQLdb"),
    *("pycurl", "grpc", "zmq", "uvloop"),
}
attachable.update(CALLS)
_DICT: Any = vars(ModuleType)["__dict__"]


class PosixAttachment:
    """The points of the operating system while they stand. Made by `failpy.attach_posix`.

    As a context manager it detaches when the block ends.

    Attributes:
        points: The failpoints.
    """

    __slots__ = ("_attached", "_undo", "points")

    def __init__(self, names: tuple[str, ...], site: Site) -> None:
        with ExitStack() as undo:
            for name in names if config.enabled else ():
                _stand(name, site)
                undo.callback(_leave, name)
            self.points: tuple[Point[Any], ...] = tuple(map(_point, names))
            self._undo = undo.pop_all()
        self._attached = True

    def __repr__(self) -> str:
        state = "attached" if self._attached else "detached"
        return f"<PosixAttachment of {len(self.points)} points: {state}>"

    @property
    def unseen(self) -> tuple[str, ...]:
        """Whose calls the points do not see, in words, among the modules that are loaded by now.

        That is who has imported a function by name before it was replaced, and who is known to read and
        write in C without Python's help.
        """
        return unseen(each.name for each in self.points)

    def detach(self) -> None:
        """Take the points away: the standard library is what it was. Twice is no error.

        Where the catalogue is attached several times, a point stands until the last one is detached.
        """
        with lock:
            self._attached = False
            self._undo.close()

    def __enter__(self) -> Self:
        if not self._attached:
            raise FailpointError(f"{self!r}, and stays so: attach it again with fail.attach_posix")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.detach()


def attach_posix(*which: str) -> PosixAttachment:
    """Failpoints on the calls of the operating system, beneath the standard library.

    They are named like `posix/io/write`, and stand on `open` and the files that it gives, on `os`, `socket`
    and `sqlite3`, and so beneath `pathlib`, `shutil`, `tempfile` and whatever else calls those. Each
    declares the errors that the call can really give. What failpy, pytest, coverage and imports read and
    write is never hit. Attaching again adds to what stands, and each has its own `detach`.

    Args:
        which: Groups (`"io"`, `"net"`, `"sqlite"`), names of points, or patterns as of `fnmatch`; all
            unless given.

    Returns:
        What detaches them again, with `.detach()` or at the end of a `with` block.

    Raises:
        FailpointError: when there is no such group or point.
        FailpointConflict: when code of the program declares one of the points with another type.

    Examples:
        >>> import os
        >>> from failpy import fail
        >>> with fail.attach_posix("io"), fail.scope({"posix/io/mkdir": "raise(ENOSPC)"}):
        ...     os.mkdir("new")
        Traceback (most recent call last):
        OSError: [Errno 28] No space left on device: 'new'
        injected by failpoint 'posix/io/mkdir': hit 1, raise(ENOSPC)
    """
    names = chosen(which)
    site = body_site(sys._getframe().f_back)
    with lock:
        return PosixAttachment(names, site)


def attach_named(names: Iterable[str], where: str) -> PosixAttachment:
    """Attach those points of the catalogue that are among these names, which may be none.

    Args:
        names: The names of any points.
        where: What has named them, for a report of where they stand.
    """
    found = tuple(name for name in names if name in CALLS)
    with lock:
        return PosixAttachment(found, Site(where, 0, BODY))


def _point(name: str) -> Point[Any]:
    found: Any = declared(name)
    return point(name) if found is None else cast("Point[Any]", found)


# --- what stands, and for how many ---

_users: Counter[str] = Counter()
_standing: dict[str, ExitStack] = {}


def _stand(name: str, site: Site) -> None:
    """Let the point stand, for one more."""
    if not _users[name]:
        call = CALLS[name]
        with ExitStack() as undo:
            standing = declare_point(name, call.returns, catalogue(call.faults), site, claims=True)
            undo.callback(standing.leave, site)
            standing.stand_at(site)
            attached.add(name)
            undo.callback(attached.discard, name)
            for place in PLACES[name]:
                undo.callback(place.leave, name)
                place.use(name)
            if name in METHODS:
                switch = FileSwitch()
                undo.callback(switch.switch, name, False)
                undo.callback(standing.drop_switch, id(switch))
                standing.add_switch(switch)
            _standing[name] = undo.pop_all()
    _users[name] += 1


def _leave(name: str) -> None:
    """Let the point stand for one less; for nobody, take it away."""
    _users[name] -= 1
    if not _users[name]:
        _standing.pop(name).close()


def unseen(names: Iterable[str]) -> tuple[str, ...]:
    """Whose calls these points do not see, as `PosixAttachment.unseen` says it: `imported_early` first.

    Args:
        names: The names of points that stand.
    """
    names = tuple(names)
    early = imported_early(names)
    # What SQLite does in C is behind its points.
    if all(name.startswith("posix/sqlite/") for name in names):
        return early
    return (*early, *(f"{each} reads and writes in C" for each in sys.modules.copy() if each in _IN_C))


def imported_early(names: Iterable[str]) -> tuple[str, ...]:
    """The same of those alone who have imported a function by name before it was replaced."""
    with lock:
        return tuple(_imported_early(names))


def _imported_early(names: Iterable[str]) -> Iterator[str]:
    originals = {
        id(place.original): f"{place.module}.{place.path}"
        for name in names
        for place in PLACES[name]
        if place.original is not None
    }
    modules: list[Any] = list(sys.modules.items())
    for module_name, module in modules:
        if not isinstance(module, ModuleType) or module_name.partition(".")[0] in sys.stdlib_module_names:
            continue
        # Not `vars(module)`: a lazy module would be loaded for it.
        for attribute, found in list(_DICT.__get__(module).items()):
            if id(found) in originals:
                yield f"{module_name}.{attribute} is {originals[id(found)]}, imported by name before"
