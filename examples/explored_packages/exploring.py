"""What is done to each store: it is killed at every call of the system, and finds the disk full at each."""

from __future__ import annotations

import contextlib
import gc
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failpy import Report, Scope, fail

_FULL = 'raise(sqlite3.OperationalError("database or disk is full"))'
FULL_DISK = {
    "posix/io/open": ["raise(ENOSPC)"],
    "posix/io/write": ["raise(ENOSPC)", "1*return(40)->raise(ENOSPC)"],  # at once, or after 40 bytes
    "posix/io/fsync": ["raise(ENOSPC)"],
    "posix/io/rename": ["raise(ENOSPC)"],
    "posix/io/mkdir": ["raise(ENOSPC)"],
    "posix/sqlite/execute": [_FULL],
    "posix/sqlite/commit": [_FULL],
}


def aside() -> Scope:
    """In this block nobody is killed, the disk has room, and no hit is a case."""
    names = [status.name for status in fail.points() if status.name.startswith("posix/")]
    return fail.scope(dict.fromkeys(names, "off"))


@dataclass(frozen=True)
class Series:
    """A store, and a short series of changes to it.

    Attributes:
        package: Whose store it is, as on PyPI.
        open: Opens the store at a path, or creates it.
        steps: The changes, in order. One that gives False says that it has not happened, as one that raises.
        states: What `read` is to give: before the first change, then after each.
        read: What is in the store.
        again: One more change, which `read` does not show.
        close: Closes it.
        errors: What opening and changing may raise on a full disk.
    """

    package: str
    open: Callable[[Path], Any]
    steps: Sequence[Callable[[Any], object]]
    states: Sequence[object]
    read: Callable[[Any], object]
    again: Callable[[Any], object]
    close: Callable[[Any], object]
    errors: tuple[type[Exception], ...] = (OSError,)

    def run(self, folder: Path) -> None:
        """The program: it writes down how many changes have been accepted."""
        store = self.open(folder / "store")
        for number, step in enumerate(self.steps, 1):
            step(store)
            with aside():
                (folder / "accepted").write_text(str(number))
        self.close(store)

    def check(self, folder: Path) -> None:
        """The program after a crash: what was accepted is there, and at most the change after it."""
        with aside():
            file = folder / "accepted"
            accepted = int(file.read_text()) if file.exists() else 0
        store = self.open(folder / "store")
        self._look(store, accepted)

    def full(self) -> None:
        """The program on a disk that gets full, and the one that starts when there is room again."""
        with _fresh() as folder:
            accepted, store = 0, None
            with contextlib.suppress(*self.errors):
                store = self.open(folder / "store")
                for step in self.steps:
                    if step(store) is False:
                        break
                    accepted += 1
            if store is not None:
                with contextlib.suppress(*self.errors):
                    self.close(store)
            with aside():
                anew = self.open(folder / "store")
                self._look(anew, accepted)

    def _look(self, store: Any, accepted: int) -> None:
        state = self.read(store)
        allowed = self.states[accepted : accepted + 2]
        assert state in allowed, f"{state!r}, not {' or '.join(map(repr, allowed))}"
        assert self.again(store) is not False
        self.close(store)


@contextlib.contextmanager
def _fresh() -> Iterator[Path]:
    with aside():
        folder = tempfile.mkdtemp()
    try:
        yield Path(folder)
    finally:
        with aside():
            gc.collect()  # what a store has left behind closes its files here, and not in the next case
            shutil.rmtree(folder)


def crashes(series: Series, **options: Any) -> Report:
    """Kill it at every hit."""
    with fail.attach_posix():
        return fail.explore_crashes(series.run, series.check, points="posix/*", **options)


def full_disk(series: Series) -> Report:
    """Fill the disk at every hit, for that one and for good."""
    with fail.attach_posix():
        return fail.explore(series.full, points=FULL_DISK, persistent=True)
