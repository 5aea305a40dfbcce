"""The environment of programs that tests start."""

from __future__ import annotations

import gc
import os
import warnings

# In a pipeline, pytest prints summaries in another way than at a desk.
PIPELINE = ("CI", "BUILD_NUMBER")


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
