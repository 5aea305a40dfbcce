"""cachelib's FileSystemCache: a file for each entry."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cachelib import FileSystemCache
from exploring import Series

CACHE = Series(
    package="cachelib",
    open=lambda path: FileSystemCache(str(path), default_timeout=0),
    steps=[
        lambda cache: cache.set("lamp", "on"),
        lambda cache: cache.set("lamp", "off"),
        lambda cache: cache.delete("lamp"),
    ],
    states=[None, "on", "off", None],
    read=lambda cache: cache.get("lamp"),
    again=lambda cache: cache.set("desk", "on"),
    close=lambda cache: None,
)


def tidied(cache: FileSystemCache) -> object:
    """What is in the cache, if there is no file that it does not use."""
    left = list(Path(cache._path).glob("*.__wz_cache"))
    assert not left, f"{len(left)} of its temporary files are left"
    return cache.get("lamp")


TIDY_CACHE = replace(CACHE, read=tidied)
