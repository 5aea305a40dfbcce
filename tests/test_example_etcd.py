"""The example with etcd, run as a reader runs it: as a process, against a real etcd where there is one."""

from __future__ import annotations

import re
import runpy
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import failpy
from failpy import fail
from tests.surroundings import plain_environ

EXAMPLES = Path(__file__).parents[1] / "examples"

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
needs_etcd = pytest.mark.skipif(
    shutil.which("etcd") is None, reason="no etcd on the PATH: install Debian's package etcd-server"
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One in which everything temporary has a folder of its own."""
    (tmp_path / "temporary").mkdir()
    return plain_environ() | {
        "PYTHONPATH": str(Path(failpy.__file__).parents[1]),
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(tmp_path / "temporary"),
    }


def run(environment: dict[str, str], *arguments: str, script: Path = EXAMPLES / "etcd_watch.py") -> str:
    """Run the example to an end that is as told, and give what it says on stdout."""
    command = [sys.executable, str(script), *arguments]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=140, check=False)
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stdout + ended.stderr
    return ended.stdout


def assert_nothing_is_left(environment: dict[str, str]) -> None:
    folder = environment["TMPDIR"]
    assert list(Path(folder).iterdir()) == []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = process.read_bytes().decode(errors="replace")
        except OSError:  # it has ended meanwhile
            continue
        assert not (command.startswith("etcd") and folder in command), command.split("\0")


@pytest.mark.slow
@needs_etcd
def test_the_demonstration_comes_out_as_told(environment: dict[str, str]) -> None:
    told = run(environment)

    assert_nothing_is_left(environment)
    parts = dict(re.findall(r"^(\w+\(\)[^\n]*):?$\n(.*?)(?=^\w+\(\)|\Z)", told, re.MULTILINE | re.DOTALL))
    by_hand, killed, failing, replayed, fixed_by_hand, fixed_killed, fixed_failing = (
        next(text for heading, text in parts.items() if heading.startswith(start))
        for start in (
            "follow(): the shipment",
            "follow(), killed",
            "follow(), with every error",
            "follow(), replayed",
            "follow_fixed(): the shipment",
            "follow_fixed(), killed",
            "follow_fixed(), with every error",
        )
    )
    for text, twice in (by_hand, "chair"), (replayed, "lamp"), (fixed_by_hand, "nothing"):
        assert "killed by SIGKILL" in text
        assert f"=> shipped twice: {twice}" in text
    assert re.search(r"as told by posix/net/send=\d+\*off->1\*kill", replayed)
    for text in killed, failing:
        assert re.search(r"explored \d+ cases of \d failpoints: \d+ passed, \d+ failed", text)
        assert "FAILED AssertionError: shipped {'lamp': 2, 'chair': 1, 'desk': 1}" in text
        assert "FAILPY_FAILPOINTS='posix/net/" in text
        assert text.count("FAILED") == 1
    for text in fixed_killed, fixed_failing:
        assert re.search(r"explored \d+ cases of \d failpoints: \d+ passed", text)
        assert "FAILED" not in text


@needs_etcd
def test_by_hand_against_an_etcd_that_runs(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", environment["TMPDIR"])
    with runpy.run_path(str(EXAMPLES / "etcd_server.py"))["etcd"]() as address:
        run(environment, "order", address)
        for version in [], ["--fixed"]:
            first = run(environment, "follow", address, f"ada{version}", *version)
            second = run(environment, "follow", address, f"ada{version}", *version)
            assert re.findall("ships the (.*)", first) == ["lamp", "chair", "desk"]
            assert "ships" not in second


@needs_etcd
def test_the_fixed_watcher_goes_on_where_a_ghost_has_ended(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", environment["TMPDIR"])
    monkeypatch.syspath_prepend(EXAMPLES)
    example = runpy.run_path(str(EXAMPLES / "etcd_watch.py"))
    shop, order_all, follow_fixed = (example[name] for name in ("Shop", "order_all", "follow_fixed"))
    with (
        runpy.run_path(str(EXAMPLES / "etcd_server.py"))["etcd"]() as address,
        closing(shop(address, "ada")) as ghost,
        closing(shop(address, "ada")) as watcher,
    ):
        order_all(address)

        def haunt(_: object) -> None:
            follow_fixed(ghost)

        with fail.scope({"etcd_watch.before_save": 1 * fail.Call(haunt)}):
            follow_fixed(watcher)

        assert watcher.shipped() == dict.fromkeys(["lamp", "chair", "desk"], 1)


@needs_etcd
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_one_that_is_interrupted_leaves_no_etcd(environment: dict[str, str], number: signal.Signals) -> None:
    command = [sys.executable, str(EXAMPLES / "etcd_watch.py")]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as program:
        assert program.stdout is not None
        assert "two requests" in program.stdout.readline()  # so that etcd runs
        program.send_signal(number)
        program.communicate(timeout=60)

    assert program.returncode != 0
    assert_nothing_is_left(environment)


@needs_etcd
def test_a_story_that_comes_out_differently_is_an_exit_status(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    shutil.copy(EXAMPLES / "etcd_server.py", tmp_path)
    source = (EXAMPLES / "etcd_watch.py").read_text()
    source = re.sub(r"^        mistakes \+= explore.*\n", "", source, flags=re.MULTILINE)
    script = tmp_path / "etcd_watch.py"
    script.write_text(source.replace("=1*off->1*kill", "=9*off->1*kill"))

    ended = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert "not as told: follow: exit status of the killed process: expected" in ended.stderr
    assert "not as told: follow: how many of them twice: expected 1, got 0" in ended.stderr
    assert_nothing_is_left(environment)


def test_without_etcd_it_says_what_to_install(tmp_path: Path, environment: dict[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / "etcd_watch.py")],
        env=environment | {"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (77, "")
    assert ended.stderr == "SKIPPED: no `etcd` on the PATH. On Debian: apt-get install etcd-server\n"
