"""Files that take part: what `open` gives while the catalogue of the operating system is attached.

Only the lowest layer is ours, a `FileIO` under the usual buffer and text layer. So buffering is what it
always is: an error of a write comes up at the `flush` or the `close` that really writes.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

from failpy._posix_caller import is_tool, length, strike

__all__ = ["METHODS", "FileIO", "FileSwitch", "open_file"]

_CHUNK = io.DEFAULT_BUFFER_SIZE
_DEFAULTS: dict[str, Any] = {
    "mode": "r",
    "buffering": -1,
    "encoding": None,
    "errors": None,
    "newline": None,
    "closefd": True,
    "opener": None,
}
_FILES = (int, str, bytes, os.PathLike)
_PARAMETERS = ("file", *_DEFAULTS)


class FileIO(io.FileIO):
    """An open file. While a point is armed anywhere, it has the methods of `METHODS`; else, those in C."""

    def __repr__(self) -> str:
        return super().__repr__().replace("<FileIO ", "<_io.FileIO ", 1)  # as Python 3.13 says it of its own


FileIO.__module__ = "_io"


def _write(self: FileIO, data: Any, /) -> int | None:
    __tracebackhide__ = True
    if self.closed or not self.writable():
        return io.FileIO.write(self, data)
    size = memoryview(data).nbytes
    try:
        hit = strike("posix/io/write", path=self.name, fd=self.fileno(), size=size)
    except BlockingIOError:
        return None  # which is how this layer says it
    if hit is not None and size:
        data = memoryview(data).cast("B")[: length(hit, size, 1)]
    return io.FileIO.write(self, data)


def _allowed(self: FileIO, size: int) -> int | None:
    """How many bytes one read of so many may give; None when it would block."""
    __tracebackhide__ = True
    try:
        hit = strike("posix/io/read", path=self.name, fd=self.fileno(), size=size)
    except BlockingIOError:
        return None
    return size if hit is None else length(hit, size, 0)


def _readinto(self: FileIO, buffer: Any, /) -> int | None:
    __tracebackhide__ = True
    if self.closed or not self.readable():
        return io.FileIO.readinto(self, buffer)
    view = memoryview(buffer).cast("B")
    allowed = _allowed(self, view.nbytes)
    return None if allowed is None else io.FileIO.readinto(self, view[:allowed])


def _read(self: FileIO, size: int | None = -1, /) -> bytes | None:
    __tracebackhide__ = True
    if self.closed or not self.readable():
        return io.FileIO.read(self, size)
    if size is None or size < 0:
        return self.readall()
    allowed = _allowed(self, size)
    return None if allowed is None else io.FileIO.read(self, allowed)


def _readall(self: FileIO) -> bytes | None:
    __tracebackhide__ = True
    if self.closed or not self.readable():
        return io.FileIO.readall(self)
    parts: list[bytes] = []
    # As in C: one read for what is known to be there, and others until there is no more.
    size = max(_rest(self) + 1, _CHUNK)
    while part := self.read(size):
        parts.append(part)
    return None if part is None and not parts else b"".join(parts)


def _rest(self: FileIO) -> int:
    try:
        return os.fstat(self.fileno()).st_size - self.tell()
    except OSError:
        return 0  # a pipe


def _truncate(self: FileIO, size: int | None = None, /) -> int:
    __tracebackhide__ = True
    if not self.closed and self.writable():
        strike("posix/io/truncate", path=self.name, fd=self.fileno(), size=size)
    return io.FileIO.truncate(self, size)


def _close(self: FileIO) -> None:
    __tracebackhide__ = True
    try:
        if not self.closed and self.closefd:
            strike("posix/io/close", path=self.name, fd=self.fileno())
    finally:
        # A close that fails has closed the file all the same.
        io.FileIO.close(self)


METHODS: dict[str, dict[str, Callable[..., Any]]] = {
    "posix/io/write": {"write": _write},
    "posix/io/read": {"read": _read, "readall": _readall, "readinto": _readinto},
    "posix/io/truncate": {"truncate": _truncate},
    "posix/io/close": {"close": _close},
}
"""What a file does instead while a point is armed, by the name of the point."""

for _methods in METHODS.values():
    for _name, _method in _methods.items():
        _method.__name__, _method.__qualname__ = _name, f"FileIO.{_name}"


class FileSwitch:
    """The methods of files at one point: there only while that is armed anywhere."""

    def switch(self, name: str, armed: bool, /) -> None:
        """Put them there, or take them away."""
        for each, method in METHODS[name].items():
            if armed:
                setattr(FileIO, each, method)
            elif each in vars(FileIO):
                delattr(FileIO, each)


def open_file(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """What stands in place of `open`."""
    __tracebackhide__ = True
    given = dict(zip(_PARAMETERS, args, strict=False)) | kwargs
    options = _DEFAULTS | given
    plan = None
    if len(given) == len(args) + len(kwargs) and len(options) == len(_PARAMETERS):
        plan = _plan(options["mode"]) if isinstance(options["mode"], str) else None
    if plan is None or not _is_sound(options, plan[1]) or is_tool(sys._getframe(1)):
        return wrapped(*args, **kwargs)  # which also says what is wrong with them
    if not isinstance(options["file"], _FILES):
        return wrapped(*args, **kwargs)  # a number that is no int, or what is wrong
    if not isinstance(options["file"], int):
        options["file"] = os.fspath(options["file"])
        if options["opener"] is None:  # else that opens
            hit = strike("posix/io/open", path=options["file"], mode=options["mode"])
            if hit is not None:
                return hit.value
    return _layers(options, *plan)


@lru_cache(maxsize=256)
def _plan(mode: str) -> tuple[str, bool] | None:
    """The mode of the raw layer, and whether there is no text layer; None for a mode that is none."""
    letters = set(mode)
    doing = letters & set("rwxa")
    if len(letters) != len(mode) or not letters <= set("rwxabt+") or len(doing) != 1 or letters >= set("bt"):
        return None
    return doing.pop() + "+" * ("+" in letters), "b" in letters


def _is_sound(options: dict[str, Any], binary: bool) -> bool:
    if type(options["buffering"]) is not int:
        return False
    if binary:
        return options["encoding"] is options["errors"] is options["newline"] is None
    return options["buffering"] != 0


def _layers(options: dict[str, Any], raw_mode: str, binary: bool) -> Any:
    """The file with its layers, as `open` in C makes them."""
    buffering: int = options["buffering"]
    encoding = None if binary else io.text_encoding(options["encoding"], 3)
    if binary and buffering == 1:
        warnings.warn(
            "line buffering (buffering=1) isn't supported in binary mode, the default buffer size "
            "will be used",
            RuntimeWarning,
            stacklevel=3,
        )
    raw = FileIO(options["file"], raw_mode, options["closefd"], options["opener"])
    result: Any = raw
    try:
        by_line = buffering == 1 or (buffering < 0 and raw.isatty())
        if buffering == 0:
            return raw
        size = buffering if buffering > 1 else cast("int", getattr(raw, "_blksize", _CHUNK))
        if "+" in raw_mode:
            result = io.BufferedRandom(cast("Any", raw), size)
        elif raw_mode == "r":
            result = io.BufferedReader(raw, size)
        else:
            result = io.BufferedWriter(raw, size)
        if binary:
            return result
        result = io.TextIOWrapper(
            result, cast("str", encoding), options["errors"], options["newline"], by_line
        )
        result.mode = options["mode"]
    except BaseException:
        result.close()
        raise
    return result
