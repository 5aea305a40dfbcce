"""The examples, run as a reader runs them: as processes, from somewhere else."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import failpy

WATCH = Path(__file__).parents[1] / "examples" / "watch.py"
ITEMS = ["lamp", "chair", "desk", "clock", "globe"]

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")


def watch(
    directory: Path, *arguments: str, script: Path = WATCH, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the example in `directory` with no failpoint settings but those given."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith("FAILPY")}
    kept["PYTHONPATH"] = str(Path(failpy.__file__).parents[1])
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        cwd=directory,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=140,
        check=False,
    )


def shipped(shop: Path) -> list[str]:
    with closing(sqlite3.connect(shop / "shipments.db")) as database:
        return [item for (item,) in database.execute("SELECT item FROM shipments ORDER BY rowid")]


def test_the_demonstration_comes_out_as_told(tmp_path: Path) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()

    done = watch(tmp_path, TMPDIR=str(temporary))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("killed by SIGKILL") == 2
    faulty, fixed = done.stdout.split("follow_fixed()")
    assert "=> shipped twice: desk" in faulty
    assert "=> shipped twice: nothing" in fixed
    assert list(temporary.iterdir()) == []
    assert list(tmp_path.iterdir()) == [temporary]


@pytest.mark.parametrize("nth", range(1, len(ITEMS) + 1))
def test_the_faulty_watcher_ships_again_exactly_the_event_it_died_on(tmp_path: Path, nth: int) -> None:
    terms = f"watch.before_save={nth - 1}*off->1*kill"

    killed = watch(tmp_path, "follow", "shop", FAILPY_FAILPOINTS=terms)
    assert killed.returncode == -signal.SIGKILL
    assert shipped(tmp_path / "shop") == ITEMS[:nth]

    assert watch(tmp_path, "follow", "shop").returncode == 0
    assert shipped(tmp_path / "shop") == ITEMS[:nth] + ITEMS[nth - 1 :]


@pytest.mark.parametrize("nth", range(1, len(ITEMS) + 1))
def test_the_fixed_watcher_ships_every_event_once(tmp_path: Path, nth: int) -> None:
    terms = f"watch.before_save={nth - 1}*off->1*kill"

    killed = watch(tmp_path, "follow", "shop", "--fixed", FAILPY_FAILPOINTS=terms)
    assert killed.returncode == -signal.SIGKILL
    assert shipped(tmp_path / "shop") == ITEMS[: nth - 1]

    assert watch(tmp_path, "follow", "shop", "--fixed").returncode == 0
    assert shipped(tmp_path / "shop") == ITEMS


@pytest.mark.parametrize("version", [[], ["--fixed"]], ids=["faulty", "fixed"])
def test_a_crash_before_the_effect_does_no_harm(tmp_path: Path, version: list[str]) -> None:
    terms = "watch.ship=2*off->1*kill"

    killed = watch(tmp_path, "follow", "shop", *version, FAILPY_FAILPOINTS=terms)
    assert killed.returncode == -signal.SIGKILL
    assert shipped(tmp_path / "shop") == ITEMS[:2]

    assert watch(tmp_path, "follow", "shop", *version).returncode == 0
    assert shipped(tmp_path / "shop") == ITEMS


def test_a_story_that_comes_out_differently_is_an_exit_status(tmp_path: Path) -> None:
    script = tmp_path / "watch.py"
    script.write_text(WATCH.read_text().replace("2*off->1*kill", "3*off->1*kill"))

    done = watch(tmp_path, script=script)

    assert done.returncode == 1
    assert "not as told: follow: revision and shipments after the crash" in done.stderr


@pytest.mark.slow
def test_the_exploration_finds_the_double_shipment_and_no_fault_of_the_fixed_version(tmp_path: Path) -> None:
    explored = watch(tmp_path, "explore")

    assert (explored.returncode, explored.stderr) == (0, "")
    assert "watch." not in " ".join(re.findall("FAILPY_FAILPOINTS=.*?'.*?'", explored.stdout))
    faulty, _, fixed = explored.stdout.partition("follow_fixed()")
    assert faulty.count("FAILED AssertionError: shipped lamp, lamp, chair, desk\n") == 2
    assert "FAILED" not in fixed
    assert re.findall(r"explored (\d+) cases of . failpoints: (\d+) passed$", fixed, re.MULTILINE)

    killing, raising = re.findall(r"^  (FAILPY_FAILPOINTS=.*) follow shop$", faulty, re.MULTILINE)
    assert "kill" in killing
    assert "raise" in raising
    for replay, status in (killing, -signal.SIGKILL), (raising, 1):
        variable, _, terms = shlex.split(replay)[0].partition("=")
        for version in [], ["--fixed"]:
            shop = tmp_path / f"{status}{version}"
            ended = watch(tmp_path, "follow", str(shop), *version, **{variable: terms})
            assert (ended.returncode, "armed in vain" in ended.stderr) == (status, False)

            assert watch(tmp_path, "follow", str(shop), *version).returncode == 0
            assert shipped(shop) == (ITEMS if version else ["lamp", *ITEMS])


def test_an_exploration_that_finds_nothing_in_the_faulty_version_is_an_exit_status(tmp_path: Path) -> None:
    script = tmp_path / "watch.py"
    careless = WATCH.read_text().replace("assert shipped == ITEMS", "assert set(shipped) == set(ITEMS)")
    script.write_text(careless.replace(" + explore(fixed=True)", ""))

    explored = watch(tmp_path, "explore", script=script)

    assert explored.returncode == 1
    assert "not as told: follow: killed: expected" in explored.stderr
    assert "not as told: follow: with errors: expected" in explored.stderr


@pytest.mark.parametrize("command", [[], ["explore"]])
def test_with_failpoints_compiled_out_it_says_so(tmp_path: Path, command: list[str]) -> None:
    done = watch(tmp_path, *command, FAILPY="off")

    assert done.returncode == 1
    assert "FAILPY=off: failpoints are compiled out" in done.stderr
