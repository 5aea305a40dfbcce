"""The package as a user meets it: one namespace, with what it promises in it."""

from __future__ import annotations

import sys

import failpy
import failpy as fail_module
from failpy import fail

PINNED = [
    "attach",
    "Attachment",
    "failpoint",
    "point",
    "Point",
    "Hit",
    "scope",
    "Scope",
    "enable",
    "disable",
    "enable_all",
    "status",
    "points",
    "Status",
    "current_scope",
    "Return",
    "Raise",
    "Panic",
    "Sleep",
    "Delay",
    "Print",
    "Pause",
    "Yield",
    "Break",
    "Exit",
    "Kill",
    "Call",
    "Off",
    "parse",
    "FailpointError",
    "TermSyntaxError",
    "UnknownFailpoint",
    "FailpointConflict",
    "ReturnTypeError",
    "NeverFired",
    "PauseTimeout",
    "Injected",
    "FailpointPanic",
]


def test_fail_is_the_package() -> None:
    assert fail is failpy is fail_module is sys.modules["failpy"]


def test_what_is_imported_late_is_listed() -> None:
    assert {"serve", "Server", "wsgi", "asgi", "__version__", "scope"} <= set(dir(fail))


def test_what_is_pinned_is_there() -> None:
    assert [name for name in PINNED if not hasattr(fail, name)] == []
    assert set(PINNED) <= set(failpy.__all__)


def test_all_is_sorted_and_names_every_public_name() -> None:
    assert failpy.__all__ == sorted(failpy.__all__)
    public = {name for name in vars(failpy) if not name.startswith("_")}
    # Modules that a tool has to name, and that it has imported here.
    assert public - set(failpy.__all__) <= {"annotations", "hypothesis", "pytest_plugin"}


def test_errors_have_the_bases_they_promise() -> None:
    for error, base in [
        (fail.TermSyntaxError, ValueError), (fail.UnknownFailpoint, LookupError),
        (fail.ReturnTypeError, TypeError), (fail.NeverFired, AssertionError),
        (fail.PauseTimeout, TimeoutError), (fail.Injected, Exception),
    ]:  # fmt: skip
        assert issubclass(error, base)
        assert issubclass(error, fail.FailpointError)
    assert not issubclass(fail.FailpointPanic, Exception)


def test_everything_public_has_a_docstring() -> None:
    assert [name for name in failpy.__all__ if not (getattr(failpy, name).__doc__ or "").strip()] == []
