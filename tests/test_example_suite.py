"""The suite in `examples/` that tests a package from PyPI, and the page that shows what its report says."""

from __future__ import annotations

import doctest
import importlib.metadata
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import failpy
from tests.surroundings import plain_environ

ROOT = Path(__file__).parents[1]
SUITE = Path("examples") / "persist_queue_suite"
PAGE = ROOT / "docs" / "how-to" / "real-package.md"

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")


def counted(text: str) -> str:
    """The text without the counts that depend on what Hypothesis draws: how often, but not whether."""
    return re.sub(r"^(queue\.\S+ +\w+)(?: +\d+){3}(?= )", r"\1 N N N", text, flags=re.MULTILINE)


@cache
def run(*options: str) -> str:
    """What `python -m pytest SUITE` prints, with only the plugins that it needs."""
    own = {
        "COLUMNS": "80",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p failpy",
        "PYTHONPATH": str(Path(failpy.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", str(SUITE), *options],
        cwd=ROOT,
        env=plain_environ() | own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
def test_the_page_shows_what_the_suite_prints() -> None:
    shown = re.findall(r"^\$ python -m pytest (.+)\n((?:.*\n)*?)```$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert shown
    for arguments, output in shown:
        suite, *options = arguments.split()
        assert Path(suite) == SUITE
        printed = run(*options)
        checker = doctest.OutputChecker()
        # Where a long path is folded depends on where the package is installed.
        loosely = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        assert checker.check_output(counted(output), counted(printed), loosely), printed


def test_the_page_and_the_reasons_name_the_version_that_is_installed() -> None:
    version = importlib.metadata.version("persist-queue")
    for path in PAGE, ROOT / SUITE / "test_queue.py":
        assert set(re.findall(r"persist-queue (\d[\d.]*\d)", path.read_text("utf-8"))) == {version}


def test_what_the_children_did_is_in_the_report(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    run(f"--failpoints-report=json:{file}", "-k", "crash")
    points = {point["name"]: point for point in json.loads(file.read_text("utf-8"))["points"]}
    kills = {fault["fault"]: fault["injected"] for fault in points["queue.rename"]["faults"]}
    # One child is killed at each of three hits.
    assert kills == {"raise(EIO)": 0, "kill": 3}
