"""An undo log: what a program has changed in files and not yet synced, written down so that it can be undone.

It is told of each hit of the operating system's points before the call is made, and saves what the call
is about to overwrite. The process may die of SIGKILL at any time: what is logged by then has been given to
the system, by one call for each record.
"""

from __future__ import annotations

import os
import pickle
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from failpy._hit import Hit

__all__ = ["LOGGED", "Change", "File", "UndoLog", "is_another", "read_log"]

LOGGED = frozenset(f"posix/io/{name}" for name in ("open", "write", "truncate", "fsync", "rename", "unlink"))
"""The points that it is to be told of."""

_MODE = 0o600
_AT_ONCE = getattr(os, "O_SYNC", 0) | getattr(os, "O_DSYNC", 0)
_STANDARD = 2  # the descriptors of the standard streams, which are no files of the program's
_Key = tuple[int, int]


class Change(NamedTuple):
    """What one call has changed in a file.

    Attributes:
        offset: Where it begins, in bytes.
        old: What was there. It is shorter than the change where the file has grown.
        length: How many bytes the file had.
        size: How many bytes were to be written; 0 where the file was only made longer or shorter.
    """

    offset: int
    old: bytes
    length: int
    size: int


class _Record(NamedTuple):
    """A line of the log: a change, or without one, that there is nothing to undo before it.

    Attributes:
        key: The device and the number of the file.
        path: Where it was; where it is going to be, if it is renamed; or `""`.
        change: What was changed, or None when it was synced, is renamed, or is gone.
        is_gone: Whether it is gone, so that another file may have its number.
    """

    key: _Key
    path: str
    change: Change | None
    is_gone: bool = False


class File(NamedTuple):
    """A file with changes that are not synced.

    Attributes:
        number: Which of the files of the log it is, from 0, in the order in which they were first changed.
        key: Its device and number.
        path: Where it was when it was last changed.
        changes: What was changed since it was last synced, in order.
    """

    number: int
    key: _Key
    path: str
    changes: tuple[Change, ...]


class UndoLog:
    """The log of one process.

    Args:
        file: Where it is written.
    """

    def __init__(self, file: Path) -> None:
        self._log = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, _MODE)
        self._notes: dict[str, Callable[[Any], None]] = {
            "posix/io/open": self._opens,
            "posix/io/write": self._writes,
            "posix/io/truncate": self._truncates,
            "posix/io/fsync": self._syncs,
            "posix/io/rename": self._renames,
            "posix/io/unlink": lambda values: self._unlinks(_placed(values, "path")),
        }

    def close(self) -> None:
        """End it."""
        os.close(self._log)

    def note(self, hit: Hit[Any]) -> None:
        """Take notice of a hit, before its call is made."""
        note = self._notes.get(hit.point)
        if note is not None:
            with suppress(OSError, TypeError, ValueError):  # a call that is wrong says so itself
                note(hit.values)

    def _opens(self, values: Any) -> None:
        mode, flags = values.get("mode"), values.get("flags", 0)
        if "w" in mode if isinstance(mode, str) else flags & os.O_TRUNC:
            self._cuts(_placed(values, "path"), 0)

    def _writes(self, values: Any) -> None:
        descriptor: int = values["fd"]
        offset = values.get("offset")
        found = _opened(descriptor)
        if found is None or descriptor <= _STANDARD:
            return
        status, flags, path = found
        if flags & _AT_ONCE:
            return
        if flags & os.O_APPEND:
            offset = status.st_size
        elif offset is None:
            offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        old = _read(path, offset, min(values["size"], max(status.st_size - offset, 0)))
        self._write(status, path, Change(offset, old, status.st_size, values["size"]))

    def _truncates(self, values: Any) -> None:
        descriptor, size = values.get("fd", values.get("path")), values.get("size")
        if not isinstance(descriptor, int):
            self._cuts(_placed(values, "path"), size)
        elif descriptor > _STANDARD and (found := _opened(descriptor)) is not None:
            self._cuts(found[2], os.lseek(descriptor, 0, os.SEEK_CUR) if size is None else size)

    def _cuts(self, path: str | bytes, size: int) -> None:
        status = os.stat(path)  # noqa: PTH116 - the path may be of bytes
        if stat.S_ISREG(status.st_mode) and status.st_size != size:
            old = _read(path, size, max(status.st_size - size, 0))
            self._write(status, path, Change(size, old, status.st_size, 0))

    def _syncs(self, values: Any) -> None:
        target = values["fd"]
        status = os.fstat(target if isinstance(target, int) else target.fileno())
        self._write(status, "", None)

    def _renames(self, values: Any) -> None:
        source = os.lstat(_placed(values, "src", "src_dir_fd"))
        target = _placed(values, "dst", "dst_dir_fd")
        with suppress(FileNotFoundError):
            if os.path.samestat(source, os.lstat(target)):
                return  # nothing happens
            self._unlinks(target)
        if stat.S_ISREG(source.st_mode):
            self._write(source, target, None)

    def _unlinks(self, path: Any) -> None:
        status = os.lstat(path)
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            self._write(status, "", None, is_gone=True)

    def _write(
        self, status: os.stat_result, path: str | bytes, change: Change | None, *, is_gone: bool = False
    ) -> None:
        place = os.path.realpath(os.fsdecode(path)) if path else ""
        record = pickle.dumps(_Record((status.st_dev, status.st_ino), place, change, is_gone))
        while record:
            record = record[os.write(self._log, record) :]


def _placed(values: Any, label: str, folder: str = "dir_fd") -> str | bytes:
    """A path that a call names, perhaps from a folder that is open."""
    path: str | bytes = os.fspath(values.get(label))
    descriptor = values.get(folder)
    if descriptor is None:
        return path
    return os.path.join(f"/proc/self/fd/{descriptor}", os.fsdecode(path))  # noqa: PTH118 - it may be absolute


def _opened(descriptor: int) -> tuple[os.stat_result, int, str] | None:
    """A regular file that is open: its status, its flags, and a path that leads to it."""
    from fcntl import F_GETFL, fcntl  # not on every system, and crashes are explored on those that have it

    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        return None
    return status, fcntl(descriptor, F_GETFL), f"/proc/self/fd/{descriptor}"


def _read(path: str | bytes, offset: int, size: int) -> bytes:
    if not size:
        return b""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)


def read_log(file: Path, before: tuple[File, ...] = ()) -> tuple[File, ...]:
    """The files with changes that are not synced, as far as the log of a dead process tells.

    Args:
        file: Where it was written; it need not be there.
        before: The files with changes that were not synced when it began.
    """
    numbers = {each.key: each.number for each in before}
    changes = {each.key: list(each.changes) for each in before}
    paths = {each.key: each.path for each in before}
    counter = count(max(numbers.values(), default=-1) + 1)
    for key, path, change, is_gone in _records(file):
        if change is None and path:
            if key in paths:
                paths[key] = path
            continue
        is_new = change is not None and not change.length and is_another(changes.get(key, ()))
        if change is None or is_new:
            changes.pop(key, None)
        if is_gone or is_new:
            # Which number the system gives to a new file is up to it, and not the same in every run.
            numbers.pop(key, None)
        if change is not None:
            if key not in numbers:
                numbers[key] = next(counter)
            changes.setdefault(key, []).append(change)
            paths[key] = path
    return tuple(File(numbers[key], key, paths[key], tuple(each)) for key, each in changes.items())


def is_another(changes: Iterable[Change]) -> bool:
    """Whether a file that is empty cannot be the one with these changes: that is gone, and nobody saw it go.

    Its number is given to a new file at once by some file systems.
    """
    # A write to an empty file may have failed.
    last = next((each for each in reversed(tuple(changes)) if each.length), None)
    return last is not None and (last.size, last.offset) != (0, 0)


def _records(file: Path) -> Iterator[_Record]:
    if not file.exists():
        return
    with file.open("rb") as stream:
        while True:
            try:
                yield pickle.load(stream)  # noqa: S301 - our child has written it
            except (EOFError, pickle.UnpicklingError):
                return  # it was killed by another thread while it wrote the last
