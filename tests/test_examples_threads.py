"""The examples about threads, run as a reader runs them: as processes, from somewhere else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import failpy

EXAMPLES = Path(__file__).parents[1] / "examples"
HTTP_HANDLER, RACE = EXAMPLES / "http_handler.py", EXAMPLES / "race.py"


def run(script: Path, directory: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an example in `directory`, with no failpoint settings but those given."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith("FAILPY")}
    kept["PYTHONPATH"] = str(Path(failpy.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=directory,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def changed(script: Path, directory: Path, before: str, after: str) -> Path:
    """A copy of the example in which something is different."""
    text = script.read_text(encoding="utf-8")
    assert before in text
    copy = directory / script.name
    copy.write_text(text.replace(before, after), encoding="utf-8")
    return copy


def test_a_failed_check_in_a_handler_is_lost_in_plain_threads_and_fails_the_test_in_a_scope(
    tmp_path: Path,
) -> None:
    done = run(HTTP_HANDLER, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    plain, scoped = done.stdout.split("\n2. ")
    assert plain.count("the test passed: wrong") == 3
    assert "the test failed" not in plain
    assert scoped.count("the test failed: 1 failure in a failpy scope") == 3
    assert "the test passed" not in scoped
    for name, where in (("Failure", ""), ("Outcome", ""), ("AssertionError", "a request handler in ")):
        assert f"{name}: the client sent no token\n      in {where}thread 'Thread-" in scoped
    assert done.stdout.count("the client saw its connection closed") == 6
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("scope.fatal(MESSAGE)", "pass", "in a scope, scope.fatal: the failure, its message and its thread"),
        ("assert token, MESSAGE", "pass", "plain, assert: stderr"),
        ("self.server.cleaned_up.append(current_thread().name)", "pass", "IndexError"),
    ],
)
def test_a_handler_that_does_otherwise_is_an_exit_status(
    before: str, after: str, complaint: str, tmp_path: Path
) -> None:
    done = run(changed(HTTP_HANDLER, tmp_path, before, after), tmp_path)

    assert done.returncode == 1
    assert complaint in done.stderr


def test_the_update_is_lost_every_time_and_never_with_a_lock(tmp_path: Path) -> None:
    done = run(RACE, tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    without, with_lock = done.stdout.split("\nWith a lock")
    assert without.count("lost in 20 of 20 runs") == 2
    assert with_lock.count("'deposit.write' waited 0.2 s for its turn in the order") == 2
    assert with_lock.count("where 'deposit.read' is next") == 2
    assert with_lock.count("one after the other: 10 + 20 made 30") == 2


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("two_deposits(Account())", "two_deposits(LockedAccount())", "WaitTimeout"),
        ("two_deposits(LockedAccount())", "two_deposits(Account())", "threads: the order was kept"),
        ("LockedAsyncAccount())", "AsyncAccount())", "tasks: the order was kept, and the balance is"),
        # Of the tasks: a thread may read the balance before its turn to have read it.
        ("INTERLEAVED, run) for", "ONE_BY_ONE, run) for", "not as told: tasks: [30, 30"),
    ],
)
def test_an_account_that_does_otherwise_is_an_exit_status(
    before: str, after: str, complaint: str, tmp_path: Path
) -> None:
    done = run(changed(RACE, tmp_path, before, after), tmp_path)

    assert done.returncode == 1
    assert complaint in done.stderr


def test_with_failpoints_compiled_out_the_race_says_so(tmp_path: Path) -> None:
    done = run(RACE, tmp_path, FAILPY="off")

    assert done.returncode == 1
    assert "FAILPY=off: failpoints are compiled out" in done.stderr
