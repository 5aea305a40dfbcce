"""A tear: what a power cut takes of the files that a program has written and not synced.

The model is that of a file system which keeps the order of what happens to names, and of what is written
to one file, and promises nothing of data before an `fsync`. So each file loses any number of its last
changes, the last that stays may be half there, and a file that was renamed has its new name all the same.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from failpy._undo_log import Change, File, is_another

__all__ = ["MOST", "Tear", "Tears", "find_tears", "tear_files"]

MOST = 16
"""How many ways to tear one file are tried at each crash."""
_LARGEST = 1 << 28  # bytes: as it is torn, a file is in memory as a whole
_MODE = stat.S_IRUSR | stat.S_IWUSR


class _Cut(NamedTuple):
    """How far a file got.

    Attributes:
        number: Which of the files of the log it is.
        kept: How many of its changes stay.
        part: How many bytes of the next.
    """

    number: int
    kept: int
    part: int


class Tear(NamedTuple):
    """What one power cut takes.

    Attributes:
        cuts: How far each of the files got; all others have what was written.
        said: That in words, file by file.
    """

    cuts: tuple[_Cut, ...]
    said: tuple[str, ...]


class Tears(NamedTuple):
    """What power cuts may take at one crash.

    Attributes:
        each: The tears that are worth a case, those that take the least first.
        untried: How many others there are.
        spared: Which files are not torn, and why, as sentences.
    """

    each: tuple[Tear, ...] = ()
    untried: int = 0
    spared: tuple[str, ...] = ()


def find_tears(files: Iterable[File], root: Path | None) -> Tears:
    """What a power cut may take now. No two of these leave the same, nor what is there.

    Args:
        files: What is not synced.
        root: The folder of the state. What is outside of it may be anybody's, and is not torn.
    """
    each: list[Tear] = []
    spared: list[str] = []
    untried = 0
    whole: list[Tear] = []
    for logged, path in _found(files, root):
        if root is not None and not path.is_relative_to(os.path.realpath(root)):
            spared.append(f"{str(path)!r} was not torn, as it is outside of the state")
            continue
        if path.stat().st_size > _LARGEST:
            spared.append(f"{_name(path, root)!r} was not torn, as it has more than {_LARGEST >> 20} MB")
            continue
        now = _get(path)
        if not now and is_another(logged.changes):
            continue
        file = _written(logged, len(now))
        cuts = list(_cuts(file))
        tried = cuts if len(cuts) <= MOST else [cuts[i * (len(cuts) - 1) // (MOST - 1)] for i in range(MOST)]
        untried += len(cuts) - len(tried)
        left = {now}
        for cut in tried:
            content = _torn(now, file.changes, cut)
            tear = Tear((cut,), (_said(_name(path, root), file, cut, now, content),))
            if content not in left:
                left.add(content)
                each.append(tear)
            if cut == tried[-1] and content != now:
                whole.append(tear)
    if len(whole) > 1:
        each.append(Tear(tuple(tear.cuts[0] for tear in whole), tuple(tear.said[0] for tear in whole)))
    return Tears(tuple(each), untried, tuple(spared))


def tear_files(tear: Tear, files: Iterable[File], root: Path | None) -> str | None:
    """Take from the files what a power cut has taken in the same case before.

    Args:
        tear: What to take.
        files: As for `find_tears`.
        root: The same.

    Returns:
        Why that cannot be, or None.
    """
    found = {file.number: (file, path) for file, path in _found(files, root)}
    for cut, said in zip(tear.cuts, tear.said, strict=True):
        file, path = found.get(cut.number, (None, None))
        now = b"" if path is None else _get(path)
        if file is None or path is None or cut not in _cuts(_written(file, len(now))):
            return f"it has not written what was to be lost so that {said}"
        _put(path, _torn(now, file.changes, cut))
    return None


def _get(path: Path) -> bytes:
    with _opened_up(path):
        return path.read_bytes()


def _put(path: Path, content: bytes) -> None:
    with _opened_up(path):
        path.write_bytes(content)


@contextmanager
def _opened_up(path: Path) -> Iterator[None]:
    """Let it be read and written meanwhile: programs make files that nobody is to write again."""
    mode = stat.S_IMODE(path.stat().st_mode)
    closed = mode & _MODE != _MODE
    if closed:
        path.chmod(mode | _MODE)
    try:
        yield
    finally:
        if closed:
            path.chmod(mode)


def _cuts(file: File) -> Iterator[_Cut]:
    """How far a file may have got, the farthest first."""
    for kept in reversed(range(len(file.changes))):
        size = file.changes[kept].size
        if size > 1:
            yield _Cut(file.number, kept, size // 2)
        yield _Cut(file.number, kept, 0)


def _torn(now: bytes, changes: tuple[Change, ...], cut: _Cut) -> bytes:
    """What a file holds that got only so far."""
    content = bytearray(now)
    for index in reversed(range(cut.kept, len(changes))):
        change = changes[index]
        part = cut.part if index == cut.kept else 0
        begin = change.offset + part
        old = change.old[part:]
        # A part of a write makes the file no longer than the whole has made it.
        length = max(change.length, min(begin, len(content))) if part else change.length
        content.extend(bytes(max(begin + len(old) - len(content), 0)))
        content[begin : begin + len(old)] = old
        content.extend(bytes(max(length - len(content), 0)))
        del content[length:]
    return bytes(content)


def _said(name: str, file: File, cut: _Cut, now: bytes, content: bytes) -> str:
    if now.startswith(content):
        return f"{name!r} has {len(content)} of its {len(now)} bytes"
    changes = "change" if len(file.changes) == 1 else f"{len(file.changes)} changes"
    if not cut.kept and not cut.part:
        return f"{name!r} is what it was before its last {changes}"
    part = f" and {_counted(cut.part, 'byte')} of the next" if cut.part else ""
    return f"{name!r} has {cut.kept} of its last {changes}{part}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"


def _name(path: Path, root: Path | None) -> str:
    base = root and Path(os.path.realpath(root))
    return str(path.relative_to(base) if base is not None and path.is_relative_to(base) else path)


def _found(files: Iterable[File], root: Path | None) -> Iterator[tuple[File, Path]]:
    """The files that are still there, wherever they are by now."""
    files = tuple(files)
    places: dict[tuple[int, int], Path] | None = None
    for file in files:
        path = Path(file.path)
        if _key(path) != file.key:
            if places is None:
                places = _places(files, root)
            renamed = places.get(file.key)
            if renamed is None:
                continue
            path = renamed
        yield file, path


def _written(file: File, length: int) -> File:
    """The file with what was written in place of what was asked for: `sendfile` asks for far too much.

    Args:
        file: A file.
        length: How many bytes it has now.
    """
    lengths = (*(change.length for change in file.changes[1:]), length)
    return file._replace(
        changes=tuple(
            change._replace(size=min(change.size, max(after - change.offset, 0)))
            for change, after in zip(file.changes, lengths, strict=True)
        )
    )


def _places(files: tuple[File, ...], root: Path | None) -> dict[tuple[int, int], Path]:
    found: dict[tuple[int, int], Path] = {}
    for folder in {Path(file.path).parent for file in files}:
        for entry in folder.glob("*"):
            found[_key(entry)] = entry
    for folder_name, _, names in os.walk(os.path.realpath(root) if root else ""):
        for name in names:
            found[_key(Path(folder_name, name))] = Path(folder_name, name)
    return found


def _key(path: Path) -> tuple[int, int]:
    try:
        status = path.lstat()
    except OSError:
        return 0, 0
    # What is none may have the number of a file that is gone.
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else (0, 0)
