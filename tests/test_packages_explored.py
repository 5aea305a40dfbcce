"""What exploring packages from PyPI has found: the very cases that fail, and the page that tells of them."""

from __future__ import annotations

import doctest
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import failpy
from tests.surroundings import plain_environ

ROOT = Path(__file__).parents[1]
EXAMPLE = Path("examples") / "explored_packages"
PAGE = (ROOT / "docs" / "how-to" / "explored-packages.md").read_text("utf-8")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the page is about Linux")

# By store: the cases that fail when it is killed, and when its disk is full.
TINYDB = (
    ["posix/io/fsync=2*off->1*kill", "posix/io/truncate=2*off->1*kill"],
    [
        "posix/io/write=2*off->1*raise(ENOSPC)",
        "posix/io/fsync=2*off->1*raise(ENOSPC)",
        "posix/io/write=1*off->1*return(40)->raise(ENOSPC)",
    ],
)
ZICT = (
    ["posix/io/write=1*kill", "posix/io/open=1*off->1*kill", "posix/io/write=1*off->1*kill"],
    [
        "posix/io/write=1*raise(ENOSPC)",
        "posix/io/write=1*return(40)->1*raise(ENOSPC)",
        "posix/io/open=1*off->1*raise(ENOSPC)",
        "posix/io/write=1*off->1*raise(ENOSPC)",
    ],
)
TIDY = (
    [
        "posix/io/write=1*kill",
        "posix/io/close=1*kill",
        "posix/io/rename=1*kill",
        *(f"posix/io/write={before}*off->1*kill" for before in (1, 2, 3, 4)),
        *(f"posix/io/close={before}*off->1*kill" for before in (3, 5, 8, 10)),
        *(f"posix/io/rename={before}*off->1*kill" for before in (1, 2, 3, 4)),
    ],
    [
        "posix/io/write=1*raise(ENOSPC)",
        "posix/io/write=1*return(40)->1*raise(ENOSPC)",
        "posix/io/rename=1*raise(ENOSPC)",
        *(f"posix/io/write={before}*off->1*raise(ENOSPC)" for before in (1, 2, 3, 4)),
        *(f"posix/io/write={before}*off->1*return(40)->1*raise(ENOSPC)" for before in (1, 2, 3)),
        *(f"posix/io/rename={before}*off->1*raise(ENOSPC)" for before in (1, 2, 3, 4)),
        "posix/io/write=raise(ENOSPC)",
        "posix/io/write=2*off->raise(ENOSPC)",
        "posix/io/write=1*off->1*return(40)->raise(ENOSPC)",
        "posix/io/rename=raise(ENOSPC)",
        "posix/io/rename=2*off->raise(ENOSPC)",
    ],
)
FOUND: dict[str, tuple[list[str], list[str]]] = {
    "tinydb": TINYDB,
    "zict": ZICT,
    "cachelib": ([], []),
    "cachelib-tidy": TIDY,
    "file-queue": ([], []),
    "sqlite-queue": ([], []),
}


class Explored(NamedTuple):
    printed: str
    reports: dict[str, dict[str, Any]]


@cache
def explored(*arguments: str) -> Explored:
    own = {"PYTHONPATH": str(Path(failpy.__file__).parents[1])}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, str(EXAMPLE), "--json", folder, *arguments],
            cwd=ROOT,
            env=plain_environ() | own,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        reports = {file.stem: json.loads(file.read_text("utf-8")) for file in Path(folder).iterdir()}
    return Explored(done.stdout, reports)


def rows() -> dict[str, list[str]]:
    """The table of the page, by store."""
    cells = [
        [cell.strip(" `") for cell in line.strip("|").split("|")]
        for line in PAGE.splitlines()
        if line[:3] == "| `"
    ]
    return {name: rest for name, *rest in cells}


def counted(report: dict[str, Any]) -> str:
    failed = report["counts"].get("failed", 0)
    return f"{len(report['cases'])} cases" + f", {failed} fail" * bool(failed)


@pytest.mark.slow
@pytest.mark.parametrize("store", FOUND)
def test_what_was_found(store: str) -> None:
    reports = explored(store).reports
    for what, terms in zip(("killed", "full"), FOUND[store], strict=True):
        report = reports[f"{store}-{what}"]
        assert set(report["counts"]) <= {"passed", "failed"}
        assert not report["notes"]
        assert not report["stopped"]
        assert not [case for case in report["cases"] if case["divergence"] or case["leaks"] or case["flaky"]]
        assert sorted(case["terms"] for case in report["cases"] if case["outcome"] == "failed") == sorted(
            terms
        )


def test_what_passes_is_the_other_cases_of_the_same_calls() -> None:
    """No store passes for want of cases."""
    assert rows().keys() == FOUND.keys()
    for store, (_, killed, full, _) in rows().items():
        reports = explored(store).reports
        assert [killed, full] == [counted(reports[f"{store}-{what}"]) for what in ("killed", "full")]


def test_the_page_shows_what_the_example_prints() -> None:
    shown = re.findall(r"^\$ python (\S+) (.+)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
    cut = [output for path, given, output in shown if path == str(EXAMPLE) and given == "--tear tinydb"]
    shown = [
        (given.split(), output) for path, given, output in shown if path == str(EXAMPLE) and "--" not in given
    ]
    assert sorted(store for stores, _ in shown for store in stores) == sorted(FOUND)
    checker = doctest.OutputChecker()
    for stores, output in shown:
        printed = "".join(explored(store).printed for store in stores)
        assert checker.check_output(output, printed, doctest.ELLIPSIS), printed
    printed = explored("--tear", "tinydb").printed
    assert [checker.check_output(output, printed, doctest.ELLIPSIS) for output in cut] == [True], printed


@pytest.mark.slow
def test_what_a_power_cut_leaves() -> None:
    told = dict(re.findall(r"^\| (\S+) \| (\d+ cases(?:, \d+ fail)?) \| ", PAGE, re.MULTILINE))
    assert told.keys() == FOUND.keys() - {"cachelib-tidy", "sqlite-queue"}
    reports = explored("--tear", *told).reports
    for store, counts in told.items():
        report = reports[f"{store}-power cut"]
        assert counted(report) == counts
        assert set(report["counts"]) <= {"passed", "failed"}
        assert not [case for case in report["cases"] if case["divergence"] or case["flaky"]]
    assert "run has changed no file" in explored("--tear", "sqlite-queue").printed


def test_the_page_is_about_the_versions_that_are_installed() -> None:
    named = {package for package, *_ in rows().values()}
    assert named == {
        f"{name} {importlib.metadata.version(name)}"
        for name in ("cachelib", "persist-queue", "tinydb", "zict")
    }


def unindented(code: str) -> str:
    """Methods stand on the page without their class."""
    return re.sub(r"^ +", "", code, flags=re.MULTILINE)


def test_the_code_on_the_page_is_that_of_the_example() -> None:
    code = unindented("".join(file.read_text("utf-8") for file in sorted((ROOT / EXAMPLE).glob("*.py"))))
    blocks = re.findall(
        r"it is a part of examples/explored_packages -->\n```python\n((?:.*\n)*?)```$", PAGE, re.MULTILINE
    )
    assert len(blocks) == 4
    for part in "\n\n".join(blocks).split("\n\n"):
        assert unindented(part).strip("\n") in code


def test_a_store_that_there_is_not_is_an_error() -> None:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), "tinybd"],
        cwd=ROOT,
        env=plain_environ() | {"PYTHONPATH": str(Path(failpy.__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no store is named tinybd: tinydb, zict" in done.stderr
