"""The caller of the operating system: whether a call is the program's, and what then comes of it.

A test does its input and output in the same thread, and so in the same scope, as pytest does its own. So
it is asked whose code calls, past the standard library: the nearest frame that is not of it decides.
"""

from __future__ import annotations

import os
import sys
from types import FrameType
from typing import Any

from failpy._context import find
from failpy._errors import FailpointError
from failpy._hit import Hit

__all__ = ["attached", "is_tool", "length", "strike"]

_TOOLS = ("failpy", "_pytest", "pytest", "pluggy", "coverage", "xdist", "execnet", "hypothesis")
_STDLIB = os.path.dirname(os.__file__) + os.sep  # noqa: PTH120 - light
_PACKAGES = tuple(_STDLIB + name + os.sep for name in ("site-packages", "dist-packages"))
_OWN_FOLDER = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - light

# These call what somebody else has given them: a thread's target, the function of `pytest.raises`.
_THROUGH = tuple(
    name.replace("/", os.sep)
    for name in (
        *(f"failpy/_{name}.py" for name in ("carriers", "wrapping", "proxy", "decorator")),
        *(f"_pytest/{name}.py" for name in ("python_api", "raises", "recwarn")),
    )
)
# What it reads is source, for a traceback.
_READERS = (_STDLIB + "linecache.py", _STDLIB + "tokenize.py")
# By file and function. A callback of an event loop has nothing to do with what is below it, the loop wakes
# itself up, and tempfile tries its folder out once in a process.
_FUNCTIONS = {
    os.path.join(_STDLIB, "asyncio", "events.py"): {"_run": False},  # noqa: PTH118 - light
    os.path.join(_STDLIB, "asyncio", "selector_events.py"): {  # noqa: PTH118 - light
        "_read_from_self": True,
        "_write_to_self": True,
    },
    _STDLIB + "tempfile.py": {"_get_default_tempdir": True},
}

# By file: whether it is a tool's (True) or the program's (False); None when its caller decides.
_verdicts: dict[str, bool | None] = {}


def is_tool(frame: FrameType | None) -> bool:
    """Whether what this frame calls is the work of failpy, pytest or another tool, or of an import."""
    while frame is not None:
        file = frame.f_code.co_filename
        try:
            verdict = _verdicts[file]
        except KeyError:
            verdict = _verdicts[file] = _judge(file, frame)
        if verdict is None and file in _FUNCTIONS:
            verdict = _FUNCTIONS[file].get(frame.f_code.co_name)
        if verdict is not None:
            return verdict
        frame = frame.f_back
    return False


def _judge(file: str, frame: FrameType) -> bool | None:
    if file.startswith("<frozen "):
        return True if file.startswith("<frozen importlib") else None
    if file.startswith(_STDLIB) and not file.startswith(_PACKAGES):
        return True if file in _READERS else None
    if file.startswith(_OWN_FOLDER + "_posix") or file.endswith(_THROUGH):
        return None
    root = str(frame.f_globals.get("__name__")).partition(".")[0]
    if root == "wrapt":
        return None
    # By file as well: the examples in a docstring are not the module's own work.
    home = getattr(sys.modules.get(root), "__file__", None) if root in _TOOLS else None
    return home is not None and file.startswith(os.path.dirname(home))  # noqa: PTH120 - light


attached: set[str] = set()
"""The points that stand now. What was made while they did, a file say, may be used when they do no more."""


def strike(name: str, /, **values: Any) -> Hit[Any] | None:
    """Hit a point, if it stands, is armed here and the call is the program's.

    Args:
        name: The point.
        values: What a `when=` predicate or a `call` is to see.

    Returns:
        The hit when `return` fired, else None.

    Raises:
        BaseException: whatever the terms raise here.
    """
    __tracebackhide__ = True
    activation = find(name) if name in attached else None
    if activation is None or is_tool(sys._getframe(1)):
        return None
    hit = activation.hit(values=values)
    if hit is None or hit.error is None:
        return hit
    error = hit.take_error()
    # As the call itself would say it; but what somebody has given as an object stays as it is.
    if isinstance(error, OSError) and error.filename is None and error is not getattr(hit.term, "exc", None):
        path = None if "fd" in values else values.get("path", values.get("src"))
        if isinstance(path, str | bytes | os.PathLike):
            error.filename = os.fspath(path)
            if isinstance(values.get("dst"), str | bytes | os.PathLike):
                error.filename2 = os.fspath(values["dst"])
    raise error


def length(hit: Hit[Any], size: int, least: int) -> int:
    """How many bytes a call moves at which `return` fired: no more than it was asked to.

    Args:
        hit: The hit.
        size: How many bytes the call was asked to move.
        least: How many it must move if it is asked for any: 0 at a read, where that is the end.

    Raises:
        FailpointError: when it is fewer.
    """
    count: int = hit.value
    if count < least:
        raise FailpointError(
            f"{hit.term} at failpoint {hit.point!r}: the call cannot move {count} bytes and say that it went "
            f"well; return {least} or more, or raise an error"
        )
    return min(count, size)
