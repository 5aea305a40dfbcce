"""Failpoints for Python: named places where a test, an operator or an explorer can make a program fail.

    from failpy import fail, failpoint

`fail` is this package itself, so that `fail.scope`, `fail.point` and the rest are its functions.

PYTEST_DONT_REWRITE: pytest would warn where a program that imports this runs it.
"""

import os as _os
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

import failpy as fail
from failpy._arming import Status
from failpy._attachment import Attachment, attach
from failpy._decorator import failpoint
from failpy._environment import load as _load
from failpy._errors import (
    BlockingWarning,
    Deadlock,
    FailpointConflict,
    FailpointError,
    FailpointPanic,
    Failure,
    HitError,
    Injected,
    InvalidName,
    LeftArmedWarning,
    NeverFired,
    PauseTimeout,
    ReturnTypeError,
    ScopeError,
    Swallowed,
    TermSyntaxError,
    UnknownFailpoint,
    WaitTimeout,
)
from failpy._grammar import parse
from failpy._hit import Hit, TraceEntry
from failpy._opening import current_scope, scope
from failpy._point import Point, point
from failpy._process import disable, enable, enable_all, points, status
from failpy._scope import Scope
from failpy._terms import (
    Break,
    Call,
    Delay,
    Exit,
    Kill,
    Off,
    Panic,
    Pause,
    Print,
    Raise,
    Return,
    Sleep,
    Term,
    Terms,
    Yield,
)
from failpy._trace import Trace

if _TYPE_CHECKING:
    from failpy._asgi import asgi
    from failpy._asgi_scopes import ASGIMiddleware
    from failpy._case import Case
    from failpy._celery import hook_celery
    from failpy._clients import hook_httpx, hook_requests
    from failpy._crashes import explore_crashes
    from failpy._exploration_report import Report
    from failpy._explore import aexplore, explore
    from failpy._posix import PosixAttachment, attach_posix
    from failpy._server import Server, serve
    from failpy._wsgi import wsgi
    from failpy._wsgi_scopes import WSGIMiddleware

__all__ = [
    "ASGIMiddleware",
    "Attachment",
    "BlockingWarning",
    "Break",
    "Call",
    "Case",
    "Deadlock",
    "Delay",
    "Exit",
    "FailpointConflict",
    "FailpointError",
    "FailpointPanic",
    "Failure",
    "Hit",
    "HitError",
    "Injected",
    "InvalidName",
    "Kill",
    "LeftArmedWarning",
    "NeverFired",
    "Off",
    "Panic",
    "Pause",
    "PauseTimeout",
    "Point",
    "PosixAttachment",
    "Print",
    "Raise",
    "Report",
    "Return",
    "ReturnTypeError",
    "Scope",
    "ScopeError",
    "Server",
    "Sleep",
    "Status",
    "Swallowed",
    "Term",
    "TermSyntaxError",
    "Terms",
    "Trace",
    "TraceEntry",
    "UnknownFailpoint",
    "WSGIMiddleware",
    "WaitTimeout",
    "Yield",
    "aexplore",
    "asgi",
    "attach",
    "attach_posix",
    "current_scope",
    "disable",
    "enable",
    "enable_all",
    "explore",
    "explore_crashes",
    "fail",
    "failpoint",
    "hook_celery",
    "hook_httpx",
    "hook_requests",
    "parse",
    "point",
    "points",
    "scope",
    "serve",
    "status",
    "wsgi",
]

# Tracebacks, reprs and the documentation name things where users import them from.
for _name in __all__:
    if getattr(globals().get(_name), "__module__", "").startswith("failpy._"):
        globals()[_name].__module__ = "failpy"

_load(_os.environ)


# What few ask for is imported when they do: it takes longer than all the rest.
_LATER = {
    "ASGIMiddleware": "_asgi_scopes",
    "Case": "_case",
    "PosixAttachment": "_posix",
    "Report": "_exploration_report",
    "Server": "_server",
    "WSGIMiddleware": "_wsgi_scopes",
    "aexplore": "_explore",
    "asgi": "_asgi",
    "attach_posix": "_posix",
    "explore": "_explore",
    "explore_crashes": "_crashes",
    "hook_celery": "_celery",
    "hook_httpx": "_clients",
    "hook_requests": "_clients",
    "serve": "_server",
    "wsgi": "_wsgi",
}


def __getattr__(name: str) -> _Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("failpy")
    if name not in _LATER:
        raise AttributeError(f"module 'failpy' has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"failpy.{_LATER[name]}"), name)
    found.__module__ = "failpy"
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, "__version__"})
