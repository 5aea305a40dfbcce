"""sqlite3's connections and cursors, with the points of the catalogue in front of what they do.

SQLite reads and writes its files in C, where nothing can stand. What a program sees of that are
`connect`, `execute` and `commit`, and the errors that they raise; so there the points are.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Callable, Iterable
from functools import cache
from types import TracebackType
from typing import Any, Literal

from failpy._posix_caller import is_tool, strike

__all__ = ["connect"]

_FACTORY = 5
_CODES = {
    "database or disk is full": "SQLITE_FULL",
    "disk I/O error": "SQLITE_IOERR",
    "database is locked": "SQLITE_BUSY",
    "unable to open database file": "SQLITE_CANTOPEN",
}


def _struck(name: str, **values: Any) -> Any:
    """Hit a point; an error of SQLite's gets the code that it would have."""
    __tracebackhide__ = True
    try:
        return strike(name, **values)
    except sqlite3.Error as error:
        code = _CODES.get(str(error))
        if code is not None and not hasattr(error, "sqlite_errorcode"):
            error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, code), code
        raise


class _Cursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        __tracebackhide__ = True
        hit = _struck("posix/sqlite/execute", sql=sql)
        return super().execute(sql, parameters) if hit is None else hit.value

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        __tracebackhide__ = True
        hit = _struck("posix/sqlite/execute", sql=sql)
        return super().executemany(sql, parameters) if hit is None else hit.value

    def executescript(self, sql: str, /) -> Any:
        __tracebackhide__ = True
        hit = _struck("posix/sqlite/execute", sql=sql)
        return super().executescript(sql) if hit is None else hit.value


class _Connection(sqlite3.Connection):
    def cursor(self, factory: Any = sqlite3.Cursor) -> Any:
        return super().cursor(_seen(factory, sqlite3.Cursor, _Cursor))

    # In C these make a cursor past any `cursor` of a subclass.

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        __tracebackhide__ = True
        return _Connection.cursor(self).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Iterable[Any], /) -> Any:
        __tracebackhide__ = True
        return _Connection.cursor(self).executemany(sql, parameters)

    def executescript(self, sql: str, /) -> Any:
        __tracebackhide__ = True
        return _Connection.cursor(self).executescript(sql)

    def commit(self) -> None:
        __tracebackhide__ = True
        if _struck("posix/sqlite/commit") is None:
            super().commit()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> Literal[False]:
        __tracebackhide__ = True
        if kind is None:
            try:
                hit = _struck("posix/sqlite/commit")
            except BaseException as error:
                super().__exit__(type(error), error, None)  # it rolls back, as after any failed commit
                raise
            if hit is not None:
                return False
        return super().__exit__(kind, exc, tb)


def _seen(factory: Any, kind: Any, with_points: Any) -> Any:
    """The factory with the points in front; as it is if it is no class of that kind."""
    return (
        _subclass(factory, with_points)
        if isinstance(factory, type) and issubclass(factory, kind)
        else factory
    )


@cache
def _subclass(factory: Any, with_points: Any) -> Any:
    names = {"__module__": factory.__module__, "__qualname__": factory.__qualname__}
    return type(
        factory.__name__, (with_points,) if factory in with_points.__mro__ else (with_points, factory), names
    )


def connect(wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
    """What stands in place of `sqlite3.connect`."""
    __tracebackhide__ = True
    if is_tool(sys._getframe(1)):
        return wrapped(*args, **kwargs)
    hit = _struck("posix/sqlite/connect", path=args[0] if args else kwargs.get("database"))
    if hit is not None:
        return hit.value
    if len(args) > _FACTORY:
        args = (*args[:_FACTORY], _factory(args[_FACTORY]), *args[_FACTORY + 1 :])
    else:
        kwargs = {**kwargs, "factory": _factory(kwargs.get("factory", sqlite3.Connection))}
    return wrapped(*args, **kwargs)


def _factory(factory: Any) -> Any:
    return _seen(factory, sqlite3.Connection, _Connection)
