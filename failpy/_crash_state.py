"""The states of crash cases: each case begins with one of its own, which is taken away in the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from failpy._errors import FailpointError
from failpy._literals import shown

__all__ = ["Reused", "States"]

_File = tuple[str, int, int, int]


class Reused(FailpointError):
    """Two cases were given the same state, with what the first has left in it."""


class States:
    """The states of one exploration.

    Args:
        setup: Gives a state: a value, or a context manager around one. None for an empty folder.
    """

    def __init__(self, setup: Callable[[], object] | None) -> None:
        self._setup = setup
        self._left: dict[Path, frozenset[_File]] = {}

    @contextmanager
    def fresh(self) -> Iterator[tuple[object, Path | None]]:
        """A state, and the folder to be in.

        Raises:
            Reused: when what an earlier case has written is still there.
        """
        if self._setup is None:
            with TemporaryDirectory(prefix="failpy-crash-", ignore_cleanup_errors=True) as name:
                yield Path(name), Path(name)
            return
        made = self._setup()
        # A path was a context manager once, to no purpose.
        if isinstance(made, AbstractContextManager) and not isinstance(made, PurePath):
            with made as state, self._watched(state):
                yield state, None
        else:
            with self._watched(made):
                yield made, None

    @contextmanager
    def _watched(self, state: object) -> Iterator[None]:
        place = Path(state).absolute() if isinstance(state, str | PurePath) else None
        if place is None or not place.exists():
            yield
            return
        before = _files(place)
        old = sorted(name for name, *_ in before & self._left.get(place, frozenset()))
        if old:
            more = f" and {len(old) - 1} more" if len(old) > 1 else ""
            raise Reused(
                f"setup gave {shown(str(place), None)} again, and {old[0]!r}{more} of an earlier case is "
                "still in it: give each case a new folder, as tempfile.mkdtemp() makes it, or empty it first"
            )
        yield
        self._left[place] = _files(place) - before


def _files(place: Path) -> frozenset[_File]:
    """What is there, so that no two files are the same, nor one before and after it was written."""
    found = [_file(place, place.name)] if place.is_file() else []
    for folder, _, names in os.walk(place):
        found += [_file(Path(folder, name), os.path.relpath(Path(folder, name), place)) for name in names]
    return frozenset(found)


def _file(path: Path, name: str) -> _File:
    try:
        status = path.lstat()
    except OSError:  # a process that got away has taken it
        return name, 0, 0, 0
    return name, status.st_ino, status.st_mtime_ns, status.st_size
