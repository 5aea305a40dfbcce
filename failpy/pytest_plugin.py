"""The pytest plugin: a marker, a fixture, options, and a report of the failure paths that a run has taken.

It is found by its entry point, and `-p no:failpy` leaves it out.
"""

from __future__ import annotations

import pytest

from failpy import _options
from failpy._explorer import SIGNATURE, Explorer
from failpy._run import Run
from failpy._scope import Scope
from failpy._trial import MARKER

__all__ = ["failpoints"]

_run = pytest.StashKey[Run]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    _options.add(parser)


# Last, so that pytest's own hook for exceptions in threads is there already.
@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Begin the run."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(terms=None, *, seed=None, strict=True, threads=True, on_swallowed='ignore', "
        "may_swallow=(), propagate=False): run the test in a fail.scope of these arguments; of several, the "
        "closest decides, name by name",
    )
    config.addinivalue_line("markers", SIGNATURE)
    config.pluginmanager.register(Explorer(), "failpy-explorer")
    run = config.stash[_run] = Run(config)
    config.add_cleanup(run.end)
    config.pluginmanager.register(run, "failpy-run")


@pytest.fixture
def failpoints(request: pytest.FixtureRequest) -> Scope:
    """The scope of the test: what its code reaches, its fixtures' too, is armed and watched here."""
    return request.config.stash[_run].trial_of(request.node).open()
