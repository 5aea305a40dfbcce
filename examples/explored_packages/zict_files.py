"""zict's File: a mapping with a file for each key."""

from __future__ import annotations

from exploring import Series
from zict import File


def read(files: File) -> bytes | None:
    return bytes(files["lamp"]) if "lamp" in files else None


FILES = Series(
    package="zict",
    open=File,
    steps=[lambda files: files.update(lamp=b"on"), lambda files: files.update(lamp=b"off")],
    states=[None, b"on", b"off"],
    read=read,
    again=lambda files: files.update(desk=b"on"),
    close=lambda files: None,
)
