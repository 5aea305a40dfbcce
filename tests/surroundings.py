"""The environment of programs that tests start."""

from __future__ import annotations

import gc
import os
import sys
import warnings

# In a pipeline, pytest prints summaries in another way than at a desk.
PIPELINE = ("CI", "BUILD_NUMBER")

HAS_GIL = bool(getattr(sys, "_is_gil_enabled", lambda: True)())
# It needs no failpy for a child to hang at `dict(...)`: the lock of a dict may have been handed to a thread
# that is not there after the fork.
FORK_WITHOUT_GIL = "without a GIL, CPython 3.13 may leave the lock of a dict behind in a forked child"


def plain_environ() -> dict[str, str]:
    """The environment, without what is meant for the run of the tests themselves."""
    return {
        key: text
        for key, text in os.environ.items()
        if not key.startswith(("FAILPY", "PYTEST")) and key not in PIPELINE
    }


def collect() -> None:
    """Collect what earlier tests have left open, so that it is no surprise in the middle of this one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
