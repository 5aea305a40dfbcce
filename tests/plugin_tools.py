"""What the tests of the pytest plugin share: how a run inside the run is made and read."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.surroundings import PIPELINE

if TYPE_CHECKING:
    import pytest

HEAD = """
import pytest
from failpy import fail, failpoint

@failpoint("plugin.value", returns=str)
def value():
    return "body"

@failpoint("plugin.other", returns=str)
def other():
    return "body"

"""

FAILPY = "failpy.pytest_plugin"
ASYNCIO = "pytest_asyncio.plugin"
ANYIO = "anyio.pytest_plugin"


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the runs inside load the plugins that they are told to, and be told nothing by the environment."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("COLUMNS", "200")
    for name in tuple(os.environ):
        if name.startswith("FAILPY") or name in PIPELINE:
            monkeypatch.delenv(name)


def write(pytester: pytest.Pytester, source: str, name: str = "test_it") -> None:
    """A file of tests below the common head."""
    pytester.makepyfile(**{name: HEAD + textwrap.dedent(source)})


def run(
    pytester: pytest.Pytester,
    *args: str,
    plugins: Iterable[str] = (),
    failpy: bool = True,
    apart: bool = False,
) -> pytest.RunResult:
    """Run pytest in this process, or apart in one of its own."""
    loaded = [FAILPY, *plugins] if failpy else [*plugins]
    words = ["-p", "no:cacheprovider", *(word for each in loaded for word in ("-p", each)), *args]
    if ASYNCIO in loaded:
        words += ["-o", "asyncio_default_fixture_loop_scope=function"]  # it asks for a choice
    if apart:
        return pytester.runpytest_subprocess(*words)
    # What is an error in the run outside is none in the one inside.
    return pytester.runpytest_inprocess("-W", "always", *words, no_reraise_ctrlc=True)


def run_source(pytester: pytest.Pytester, source: str, *args: str, **how: object) -> pytest.RunResult:
    """Write a file of tests and run it."""
    write(pytester, source)
    return run(pytester, *args, **how)  # type: ignore[arg-type]


def line_of(pytester: pytest.Pytester, text: str, name: str = "test_it.py") -> int:
    """The number of the line that has this text, which one line has."""
    lines = (pytester.path / name).read_text("utf-8").splitlines()
    [found] = [number for number, line in enumerate(lines, 1) if text in line]
    return found


def places(result: pytest.RunResult) -> list[str]:
    """The files and lines that the tracebacks of a run show."""
    return [each[0] for line in result.outlines if (each := re.findall(r"^(\S+\.py:\d+): ", line))]


def names_of(result: pytest.RunResult, word: str) -> set[str]:
    """The tests that the short summary gives this word, such as FAILED."""
    found = (re.match(rf"{word} \S*?::(\S+)", line) for line in result.outlines)
    return {each[1] for each in found if each}
