"""Every block of the README and the documentation, and every example in a docstring, runs as shown.

Each page and each module gets a process of its own: a failpoint stays declared as long as its process.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

import failpy
from tests import run_page
from tests.surroundings import plain_environ

ROOT = Path(__file__).parents[1]
PACKAGE = Path(failpy.__file__).parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
EXAMPLES = sum(path.read_text(encoding="utf-8").count(">>> ") for path in PACKAGE.glob("*.py"))
# What is public says that it is `failpy`'s own, whatever module it is written in.
DOCTEST = f"""
import doctest, importlib, pkgutil, failpy, hypothesis
# How long it takes to draw says how busy the machine is, and nothing of the examples.
hypothesis.settings.register_profile("busy", suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")
names = ["failpy", *(f"failpy.{{module.name}}" for module in pkgutil.iter_modules(failpy.__path__))]
results = [doctest.testmod(importlib.import_module(name), report=False) for name in names]
attempted = sum(result.attempted for result in results)
assert attempted >= {EXAMPLES}, f"{{attempted}} of {EXAMPLES} examples were found"
assert not sum(result.failed for result in results)
"""


# What pages have in the environment, or not: gunicorn listens in the home folder, too, unless told not to.
ENVIRON: dict[str, dict[str, str | None]] = {
    "fleet.md": {"COLUMNS": "300", "GUNICORN_CMD_ARGS": "--no-control-socket"},
}
# What pages have installed, besides failpy itself.
PLUGINS = {
    "pytest-async.md": ("anyio", "pytest_asyncio.plugin"),
    "pytest-parallel.md": ("xdist", "run-parallel"),
}


def run(
    *arguments: str,
    cwd: Path,
    plugins: tuple[str, ...] = (),
    environ: Mapping[str, str | None] | None = None,
) -> None:
    kept = plain_environ()
    folders = [str(PACKAGE.parent), *filter(None, [kept.get("PYTHONPATH")])]
    programs = [str(Path(sys.executable).parent), kept["PATH"]]
    own = {
        "PYTHONPATH": os.pathsep.join(folders),
        "PATH": os.pathsep.join(programs),
        "COLUMNS": "60",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": " ".join(f"-p {each}" for each in ("failpy", *plugins)),
    }
    ended = subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=cwd,
        env={key: text for key, text in (kept | own | (environ or {})).items() if text is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path) -> None:
    own = ENVIRON.get(page.name)
    run(run_page.__file__, str(page), cwd=tmp_path, plugins=PLUGINS.get(page.name, ()), environ=own)


def test_docstrings(tmp_path: Path) -> None:
    run("-c", DOCTEST, cwd=tmp_path)


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```", "but this was printed"),
        ("```python\nprint(1)\n```", "not shown"),
        ("```python\nraise KeyError\n```", "KeyError"),
        ("<!-- expect: KeyError -->\n```python\npass\n```", "raised no KeyError"),
        ("```console\n$ echo 1\n2\n```", "but this was printed"),
        ("```pyhton\n```", "nobody knows how to run 'pyhton'"),
        ("```\n```", "without a language"),
        ("<!-- not run -->\n```python\n```", "needs a reason"),
        ("```python\n1\n", "not closed"),
    ],
)
def test_a_page_that_is_wrong_fails(page: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(page, encoding="utf-8")
    with pytest.raises(AssertionError, match=complaint):
        run(run_page.__file__, str(path), cwd=tmp_path)


def test_the_api_page_has_every_public_name() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
    assert {"fail", *re.findall(r"^::: failpy\.(\w+)$", page, re.MULTILINE)} == set(failpy.__all__)


def test_the_layers_in_contributing_are_those_that_are_checked() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = "".join(re.findall(r"^\| .* \| `.*$", text, re.MULTILINE))
    table = re.findall(r"`(\w+)`", rows)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = project["tool"]["importlinter"]["contracts"][0]
    assert table == contract["layers"]
